"""JSON records of what was found; keys are stable, values unknown are null."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any

from tvm_patch.analysis.cost import NetworkCost
from tvm_patch.board import Board
from tvm_patch.measurement import Measurement
from tvm_patch.plan import Plan
from tvm_patch.validation import Validation

_PACKAGES = ("tvm-patch", "apache-tvm", "apache-tvm-ffi", "ai-edge-litert", "numpy")


def versions(tools: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Versions of Python, of the packages that compute, and of the tools given."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found | dict(tools or {})


def operator_records(cost: NetworkCost) -> dict[str, Any]:
    """A network's cost, operator by operator, with its totals."""
    heaviest = cost.heaviest
    return {
        "operators": [
            asdict(operator) | {"working_bytes": operator.working_bytes}
            for operator in cost.operators
        ],
        "macs": cost.macs,
        "live_macs": cost.live_macs,
        "weight_bytes": cost.weight_bytes,
        "naive_peak_bytes": cost.naive_peak_bytes,
        "naive_peak_operator": heaviest.name if heaviest else None,
    }


def plan_record(plan: Plan) -> dict[str, Any]:
    """What a plan does, without the place of every buffer."""
    return {
        "macs": plan.macs,
        "mac_overhead": plan.mac_overhead,
        "stages": [
            {
                "operators": list(stage.operators),
                "tile_h": stage.tile_h,
                "tile_w": stage.tile_w,
                "buffering": {b.tensor: b.mode.value for b in stage.buffering},
            }
            for stage in plan.stages
        ],
        "input_mode": plan.input_mode.value,
        "algorithm": plan.memory.algorithm,
    }


def measured_record(measurement: Measurement, board: Board) -> dict[str, Any]:
    """A measurement; instructions are an emulator's, cycles hardware's."""
    return {
        "arena_bytes": measurement.arena_bytes,
        "stack_bytes": measurement.stack_bytes,
        "peak_sram_bytes": measurement.peak_sram_bytes,
        "flash_bytes": measurement.flash_bytes,
        "static_sram_bytes": measurement.static_sram_bytes,
        "instructions": measurement.instructions,
        "cycles": measurement.cycles,
        "latency_us": _latency_us(measurement),
        "clock_hz": measurement.clock_hz or board.clock_hz or None,
        "runs": measurement.runs,
        "minimum": measurement.minimum,
        "maximum": measurement.maximum,
        "median": measurement.median,
        "median_interval_95": measurement.interval,
        "unit": unit_of(measurement),
    }


def profile_records(
    measurement: Measurement, operators: Sequence[tuple[str, str, int]]
) -> list[dict[str, Any]]:
    """What each operator took, with its kind and MACs; ``unit`` is the measurement's."""
    known = {name: (kind, macs) for name, kind, macs in operators}
    return [
        {
            "name": time.name,
            "kind": known.get(time.name, (None, None))[0],
            "macs": known.get(time.name, (None, None))[1],
            unit_of(measurement): time.units,
        }
        for time in measurement.profile
    ]


def deployment_record(
    *,
    model: str,
    cost: NetworkCost,
    plan: Plan,
    layers: Plan,
    board: Board,
    measurement: Measurement,
    validation: Validation,
    operators: Sequence[tuple[str, str, int]],
    tools: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything that ``deploy --json`` writes.

    Parameters
    ----------
    model : str
        Its name.
    cost : NetworkCost
        Of the network layer by layer.
    plan, layers : Plan
        The plan carried out, and layer by layer to compare with.
    board : Board
        What it ran on.
    measurement, validation : Measurement, Validation
        What the device needed and computed.
    operators : sequence of (str, str, int)
        Name, kind and MACs of what the profile lists.
    tools : mapping of str to str
        Versions of compiler and emulator.
    """
    return {
        "model": {
            "name": model,
            "macs": cost.macs,
            "live_macs": cost.live_macs,
            "weight_bytes": cost.weight_bytes,
            "naive_peak_bytes": cost.naive_peak_bytes,
            "fingerprint": plan.graph_fingerprint,
        },
        "board": board.name,
        "emulated_by": board.emulated_by,
        "plan": plan_record(plan),
        "planned": {
            "arena_bytes": plan.memory.arena_bytes,
            "lower_bound_bytes": plan.memory.lower_bound_bytes,
            "layer_by_layer_arena_bytes": layers.memory.arena_bytes,
        },
        "measured": measured_record(measurement, board),
        "profile": profile_records(measurement, operators),
        "validation": asdict(validation),
        "versions": versions(tools),
    }


def unit_of(measurement: Measurement) -> str:
    """What the device's stopwatch counts: ``instructions``, ``cycles`` or ``nanoseconds``."""
    if measurement.instructions is not None:
        return "instructions"
    return "cycles" if measurement.cycles is not None else "nanoseconds"


def _latency_us(measurement: Measurement) -> float | None:
    """Median time; unknown on an emulator, which has instructions only."""
    latency_ms = measurement.latency_ms
    return None if latency_ms is None else latency_ms * 1000
