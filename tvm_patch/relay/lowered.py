"""When a lowered kernel uses its buffers, as USMP sees it: it looks into kernels, loop by loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import tvm


@dataclass(frozen=True)
class Usage:
    """When a lowered kernel uses its parameters and what it allocates.

    ``allocated`` has name, bytes, first and last phase of each block; ``last_reads`` goes by
    parameter.
    """

    phases: int = 1
    last_reads: Mapping[int, int] = field(default_factory=dict)
    first_write: int = 0
    allocated: tuple[tuple[str, int, int, int], ...] = ()


def usage_of(primitive: Any) -> Usage:
    """Read a lowered PrimFunc; its last parameter is its output."""
    phases = _phases(primitive.body)
    used: dict[Any, tuple[int, int]] = {}
    sizes: list[tuple[Any, int]] = []

    def visit_allocation(node: Any) -> None:
        if isinstance(node, tvm.tir.Allocate):
            extents = [int(extent) for extent in node.extents]
            sizes.append((node.buffer_var, prod(extents) * element_bytes(str(node.dtype))))

    tvm.tir.stmt_functor.post_order_visit(primitive.body, visit_allocation)
    for phase, statement in enumerate(phases):

        def visit(node: Any, phase: int = phase) -> None:
            if isinstance(node, (tvm.tir.BufferLoad, tvm.tir.BufferStore)):
                data = node.buffer.data
            elif isinstance(node, tvm.tir.Var):
                data = node
            else:
                return
            used[data] = (used.get(data, (phase, phase))[0], phase)

        tvm.tir.stmt_functor.post_order_visit(statement, visit)
    last = len(phases) - 1
    variables = [
        primitive.buffer_map[parameter].data if parameter in primitive.buffer_map else parameter
        for parameter in primitive.params
    ]
    return Usage(
        phases=len(phases),
        last_reads={i: used.get(variable, (0, last))[1] for i, variable in enumerate(variables)},
        first_write=used.get(variables[-1], (0, last))[0],
        allocated=tuple(
            (str(variable.name), size, *used.get(variable, (0, last))) for variable, size in sizes
        ),
    )


def _phases(statement: Any) -> list[Any]:
    """The outermost loops of a kernel, in order."""
    if isinstance(statement, tvm.tir.SeqStmt):
        return [phase for part in statement.seq for phase in _phases(part)]
    if isinstance(statement, (tvm.tir.AttrStmt, tvm.tir.Allocate, tvm.tir.LetStmt)) or (
        type(statement).__name__ in ("AllocateConst", "DeclBuffer", "BufferRealize")
    ):
        return _phases(statement.body)
    return [statement]


def element_bytes(dtype: str) -> int:
    """Bytes of one element."""
    kind = tvm.DataType(dtype)
    return int(kind.bits * kind.lanes + 7) // 8
