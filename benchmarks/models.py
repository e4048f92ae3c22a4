"""Real networks on the emulated Cortex-M7: layer by layer, patched, and streamed.

    python benchmarks/models.py [--models mlperf-ic,digits] [--markdown] [--summary] [--json FILE]

Deploys every network under three plans and prints what was planned beside what the device reported,
and beside ``anchors.toml``, what others need for the same network. *Patched* is the least memory of
one stage that recomputes halos, at a MAC overhead of at most 1.3; *streamed* the least memory of
stages that keep rows, so that no MAC is done twice. The networks are files of the folder
``TVM_PATCH_MODELS`` (default: ``../shared/models``) and the one of ``examples/digits``.

The exit status is that of the first error, or 1 where integers differ from the reference. Time is
not judged: instructions are counted, so they are the same in every run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from networks import (
    NAMES,
    STREAMED,
    anchors,
    chosen_names,
    markdown_table,
    plain_table,
    read,
    say,
    those_that_are_there,
)

from tvm_patch import Deployment, Prepared, Requirements, deploy
from tvm_patch.errors import TvmPatchError
from tvm_patch.plan import InputMode
from tvm_patch.report import to_json, write_atomically
from tvm_patch.report.export import versions

BOARD = "qemu_cortex_m7"
MAX_OVERHEAD = 1.3
PLANS: Mapping[str, Requirements | None] = {
    "layers": None,
    "patched": Requirements(objective="memory", max_overhead=MAX_OVERHEAD, buffering="patch"),
    "streamed": STREAMED,
    "by rows": Requirements(objective="memory", max_overhead=1.0, input_mode=InputMode.ROWS),
}


@dataclass(frozen=True)
class Result:
    """One network under one plan.

    Parameters
    ----------
    model, plan : str
        Which network, and ``layers``, ``patched`` or ``streamed``.
    macs : int
        Of the network layer by layer.
    mac_overhead : float
        MACs executed over ``macs``.
    planned_arena_bytes, measured_arena_bytes, stack_bytes, peak_sram_bytes : int
        Arena as planned; arena, stack and their sum as the device painted and read them.
    flash_bytes : int
        Of the whole firmware.
    instructions : int
        Of one inference.
    bit_exact : bool
        Whether the outputs are LiteRT's.
    instructions_to_tflm, arena_to_tflm : float or None
        Ratio to TensorFlow Lite Micro with CMSIS-NN; None where that is not known.
    tinyengine_bytes : int or None
        What TinyEngine needs, input included: layer by layer for ``layers``, by its best patches
        for ``patched``, the lesser of both for ``streamed``. None where that is not known.
    goal_bytes : int or None
        Peak SRAM that ``streamed`` is meant to come down to; None for other plans.
    """

    model: str
    plan: str
    macs: int
    mac_overhead: float
    planned_arena_bytes: int
    measured_arena_bytes: int
    stack_bytes: int
    peak_sram_bytes: int
    flash_bytes: int
    instructions: int
    bit_exact: bool
    instructions_to_tflm: float | None
    arena_to_tflm: float | None
    tinyengine_bytes: int | None
    goal_bytes: int | None

    @property
    def instructions_per_mac(self) -> float:
        """Instructions for each MAC of the network, so that recomputed halos count as cost."""
        return self.instructions / self.macs


def run_model(name: str, say: Callable[[str], None]) -> list[Result]:
    """Deploy a network under each plan."""
    say(f"{name}: import")
    prepared = read(name)
    results = []
    for plan, requirements in PLANS.items():
        if plan == "by rows" and not _begins_with_a_map(prepared):
            continue
        say(f"{name}: {plan}")
        with tempfile.TemporaryDirectory() as folder:
            deployment = deploy(
                prepared,
                board=BOARD,
                requirements=requirements,
                layers=requirements is None,
                folder=Path(folder),
            )
        results.append(_result(name, plan, deployment))
    return results


def _begins_with_a_map(prepared: Prepared) -> bool:
    """Whether the input has rows that could be fetched."""
    graph = prepared.network.graph
    return all(graph.tensor[name].is_map for name in graph.inputs)


def _result(name: str, plan: str, deployment: Deployment) -> Result:
    found = deployment.measurement
    if found.instructions is None or found.stack_bytes is None or found.peak_sram_bytes is None:
        raise TvmPatchError(f"{BOARD} reports neither instructions nor stack")
    known = anchors().get(name, {})
    tflm, tinyengine = known.get("tflm", {}), known.get("tinyengine", {})
    theirs = {key: tinyengine.get(f"{key}_bytes") for key in ("layers", "patched")}
    theirs["streamed"] = min(filter(None, theirs.values()), default=None)
    # Nobody else leaves the image out of the arena and counts that.
    theirs["by rows"] = None
    return Result(
        model=name,
        plan=plan,
        macs=deployment.prepared.network.graph.macs,
        mac_overhead=deployment.plan.mac_overhead,
        planned_arena_bytes=deployment.plan.memory.arena_bytes,
        measured_arena_bytes=found.arena_bytes,
        stack_bytes=found.stack_bytes,
        peak_sram_bytes=found.peak_sram_bytes,
        flash_bytes=found.flash_bytes,
        instructions=found.instructions,
        bit_exact=deployment.validation.bit_exact,
        instructions_to_tflm=_ratio(found.instructions, tflm.get("instructions")),
        arena_to_tflm=_ratio(found.arena_bytes, tflm.get("arena_bytes")),
        tinyengine_bytes=theirs[plan],
        goal_bytes=known.get("goal", {}).get(f"{plan.replace(' ', '_')}_bytes"),
    )


def _ratio(value: int, anchor: int | None) -> float | None:
    return None if anchor is None else value / anchor


_HEADER = (
    *("model", "plan", "F", "planned arena", "measured arena", "stack", "peak SRAM", "flash"),
    *("instructions", "per MAC", "instr / TFLM", "arena / TFLM", "TinyEngine", "goal"),
    "bit-exact",
)


def table_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Text of the table's cells, its header first."""
    return [_HEADER, *(_cells(result) for result in results)]


def _cells(result: Result) -> tuple[str, ...]:
    ratios = (result.instructions_to_tflm, result.arena_to_tflm)
    return (
        result.model,
        result.plan,
        f"{result.mac_overhead:.3f}",
        f"{result.planned_arena_bytes:,}",
        f"{result.measured_arena_bytes:,}",
        f"{result.stack_bytes:,}",
        f"{result.peak_sram_bytes:,}",
        f"{result.flash_bytes:,}",
        f"{result.instructions:,}",
        f"{result.instructions_per_mac:.2f}",
        *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        *(_figure(value) for value in (result.tinyengine_bytes, result.goal_bytes)),
        "yes" if result.bit_exact else "NO",
    )


def _figure(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


_SUMMARY_HEADER = (
    *("model", "layers: SRAM", "instructions", "patched: SRAM", "F", "instructions"),
    *("streamed: SRAM", "instructions", "input by rows: SRAM", "TFLM arena", "TinyEngine"),
)


def summary_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """One line a network: peak SRAM and millions of instructions of its plans."""
    known = anchors()
    rows: list[tuple[str, ...]] = [_SUMMARY_HEADER]
    for name in dict.fromkeys(result.model for result in results):
        of_plan = {result.plan: result for result in results if result.model == name}
        layers, patched, streamed = (of_plan[plan] for plan in ("layers", "patched", "streamed"))
        by_rows = of_plan.get("by rows")
        rows.append(
            (
                *(name, _figure(layers.peak_sram_bytes), _millions(layers)),
                *(_figure(patched.peak_sram_bytes), f"{patched.mac_overhead:.2f}"),
                *(_millions(patched), _figure(streamed.peak_sram_bytes), _millions(streamed)),
                _figure(by_rows.peak_sram_bytes if by_rows else None),
                _figure(known.get(name, {}).get("tflm", {}).get("arena_bytes")),
                _figure(streamed.tinyengine_bytes),
            )
        )
    return rows


def _millions(result: Result) -> str:
    return f"{result.instructions / 1e6:.2f} M"


def json_record(results: Sequence[Result]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "board": BOARD,
        "max_overhead": MAX_OVERHEAD,
        "results": [
            asdict(result) | {"instructions_per_mac": result.instructions_per_mac}
            for result in results
        ],
        "versions": versions(),
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark of whole networks.")
    parser.add_argument("--models", metavar="A,B", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--markdown", action="store_true", help="the whole table as Markdown")
    parser.add_argument("--summary", action="store_true", help="the same in one line a network")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON too")
    options = parser.parse_args(arguments)
    options.names = chosen_names(options.models, parser.error)
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the networks that are there."""
    options = _parse(arguments)
    results: list[Result] = []
    try:
        for name in those_that_are_there(options.names):
            results += run_model(name, say)
        if options.markdown or not options.summary:
            rows = table_rows(results)
            print(markdown_table(rows) if options.markdown else plain_table(rows))
        if options.summary:
            print("", markdown_table(summary_rows(results)), sep="\n")
        if options.json is not None:
            write_atomically(options.json, to_json(json_record(results)))
    except TvmPatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0 if all(result.bit_exact for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
