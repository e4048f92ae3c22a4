"""``model.json``: what the generated folder holds, for people and for the firmware build."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from tvm_patch.lower import LoweredModel
from tvm_patch.plan import BufferMode

MANIFEST_FORMAT_VERSION = 1


@dataclass(frozen=True)
class BoundaryTensor:
    """An input or output of the model.

    Parameters
    ----------
    name : str
        Name in the graph, also that of the member in the C structure.
    shape : tuple of int
        NHWC for images.
    dtype : str
        ``int8`` or ``float32``.
    size_bytes : int
        Bytes.
    arena_offset : int or None
        Where it lies in the arena, in bytes; None for an input that is fetched by rows.
    scale, zero_point : float, int or None
        Real value = scale * (integer - zero_point); None for float32.
    resident : bool
        Whether it lies in the arena whole.
    rows, row_bytes : int or None
        What an input that is not resident is fetched in.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int
    arena_offset: int | None
    scale: float | None
    zero_point: int | None
    resident: bool = True
    rows: int | None = None
    row_bytes: int | None = None


@dataclass(frozen=True)
class Quantisation:
    """Scale and zero point of a boundary tensor."""

    scale: float | None = None
    zero_point: int | None = None


def boundary_tensors(
    model: LoweredModel, names: Sequence[str], quantisation: Mapping[str, Quantisation]
) -> tuple[BoundaryTensor, ...]:
    """Describe inputs or outputs."""
    described = []
    for name in names:
        tensor = model.network.graph.tensor[name]
        q = quantisation.get(name, Quantisation())
        resident = name not in model.network.graph.inputs or not is_fetched(model, name)
        described.append(
            BoundaryTensor(
                name=name,
                shape=tensor.shape,
                dtype=tensor.dtype,
                size_bytes=tensor.size_bytes,
                arena_offset=tensor_offset(model, name) if resident else None,
                scale=q.scale,
                zero_point=q.zero_point,
                resident=resident,
                rows=None if resident else tensor.height,
                row_bytes=None if resident else tensor.row_bytes,
            )
        )
    return tuple(described)


def is_fetched(model: LoweredModel, name: str) -> bool:
    """Whether an input is brought row by row."""
    return any(stage.mode_of(name) is BufferMode.ROWS for stage in model.plan.stages)


def tensor_offset(model: LoweredModel, name: str) -> int:
    """Offset of a tensor's storage in the arena, in bytes."""
    return model.plan.memory.offsets_bytes[model.execution.storage_of[name]]


def manifest(
    model: LoweredModel,
    *,
    inputs: Sequence[BoundaryTensor],
    outputs: Sequence[BoundaryTensor],
    sources: Sequence[str],
) -> str:
    """The manifest as JSON text; the same plan gives the same bytes."""
    data = {
        "format_version": MANIFEST_FORMAT_VERSION,
        "name": model.network.graph.name,
        "c_name": model.c_name,
        "fingerprint": model.network.graph.fingerprint,
        "input_mode": model.plan.input_mode.value,
        "arena_size_bytes": model.plan.memory.arena_bytes,
        "macs": model.execution.macs,
        "inputs": [asdict(tensor) | {"c_name": tensor.name} for tensor in inputs],
        "outputs": [asdict(tensor) | {"c_name": tensor.name} for tensor in outputs],
        "operators": [_describe_group(model, i) for i in range(len(model.groups))],
        "layers": [
            {
                "name": layout.operator.name,
                "kind": layout.operator.kind,
                "operator": group.name,
                "macs": group.group.macs_of(layout),
                "kernels": model.kernels_of[layout.operator.name],
            }
            for group in model.groups
            for layout in group.group.operators
        ],
        "marks": [asdict(mark) for mark in model.marks],
        "memory_map": _memory_map(model),
        "plan": json.loads(model.plan.to_json()),
        "constant_bytes": sum(int(constant.value.nbytes) for constant in model.constants),
        "include": "include",
        "instructions": model.instructions.value,
        "sources": list(sources),
        "versions": versions(),
    }
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def versions() -> dict[str, str]:
    """Versions of what made the C."""
    return {package: _version(package) for package in ("tvm-patch", "apache-tvm")}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _describe_group(model: LoweredModel, index: int) -> dict[str, Any]:
    group = model.groups[index]
    return {
        "name": group.name,
        "symbol": group.symbol,
        "kind": "stage" if group.group.stage else group.group.operators[0].operator.kind,
        "layers": [layout.operator.name for layout in group.group.operators],
        "output": group.group.output,
        "output_offset": tensor_offset(model, group.group.output),
        "output_size_bytes": model.network.graph.tensor[group.group.output].size_bytes,
        "macs": group.group.macs,
    }


def _memory_map(model: LoweredModel) -> list[dict[str, Any]]:
    return [
        {
            "name": storage.name,
            "offset": model.plan.memory.offsets_bytes[storage.name],
            "size_bytes": storage.size_bytes,
            "first_use": storage.first_use,
            "last_use": storage.last_use,
        }
        for storage in model.execution.storages
    ]
