"""How many instructions a plan takes, roughly: enough to tell plans of equal MACs apart.

Fitted to counts of the kernels on a Cortex-M7 (`benchmarks/widths.py`). What matters is what
differs between plans: narrow pieces of rows share fewer loads, rows are copied, kernels are called
more often. A ratio of two estimates is good to a few per cent; the figures themselves are not
shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm_patch.compat import pairwise
from tvm_patch.plan.graph import Operator
from tvm_patch.plan.layout.group import Group, OperatorLayout
from tvm_patch.plan.layout.stage import FETCH

UNLIMITED = 1 << 62
"""More work than anything takes."""

# What a byte of pressure is worth.
_BYTES_PER_INSTRUCTION = 2

_PER_CALL = 25
_PER_BYTE = 0.45
_PER_GATHERED_BYTE = 0.4

# Instructions per MAC over wide rows, requantisation included.
_CONV = 1.27
_CONV_OF_FEW_CHANNELS = 1.9
_FEW_CHANNELS = 8
_DEPTHWISE, _DEPTHWISE_PER_OUTPUT, _DEPTHWISE_STRIDED = 1.0, 15.0, 0.4
_OTHER = 1.6
# More for each MAC where a piece of a row has at most so many columns; depthwise by the least area
# of the window.
_NARROW_CONV = ((1, 0.16), (2, 0.1), (4, 0.05), (8, 0.02))
_NARROW_DEPTHWISE = (
    (49, ((1, 0.95), (2, 0.65), (4, 0.6), (8, 0.15))),
    (25, ((1, 0.75), (2, 0.45), (4, 0.4), (8, 0.12))),
    (0, ((1, 0.25),)),
)
# Instructions per element of what has no MACs.
_PER_ELEMENT = 8.0
_PER_FETCHED_BYTE = 2.0


@dataclass(frozen=True, order=True)
class Work:
    """What a part of the network costs.

    Parameters
    ----------
    macs : int
        Multiply-accumulates.
    instructions : int
        By estimate.
    pressure_bytes : int
        Sum of the peaks of its parts. Of plans that take about as long, one of few parts with small
        peaks is easier to pack.
    """

    macs: int
    instructions: int
    pressure_bytes: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.macs + other.macs,
            self.instructions + other.instructions,
            self.pressure_bytes + other.pressure_bytes,
        )

    def within(self, most: Work) -> bool:
        """Whether neither is more than that of ``most``."""
        return self.macs <= most.macs and self.instructions <= most.instructions

    def key(self, thrifty: bool) -> tuple[int, int]:
        """What to order by: fewest MACs first if ``thrifty``, else fewest instructions."""
        instructions = self.instructions + self.pressure_bytes // _BYTES_PER_INSTRUCTION
        return (self.macs, instructions) if thrifty else (instructions, self.macs)


def group_instructions(group: Group) -> int:
    """Instructions that a group takes, roughly."""
    if group.tiling is None:
        return round(sum(_whole(group, layout) for layout in group.operators))
    return round(sum(_tiled(group, layout) for layout in group.operators))


def _whole(group: Group, layout: OperatorLayout) -> float:
    operator = layout.operator
    elements = group.blocks[operator.output].tensor.size_bytes
    work = operator.macs * _per_mac(group, operator) if operator.macs else elements * _PER_ELEMENT
    return _PER_CALL + work


def _per_mac(group: Group, operator: Operator) -> float:
    window = operator.window
    if operator.kind == "depthwise_conv2d":
        per_output = _DEPTHWISE_PER_OUTPUT / max(window.kernel_h * window.kernel_w, 4)
        strided = _DEPTHWISE_STRIDED if window.stride_w > 1 else 0.0
        return _DEPTHWISE + per_output + strided
    if operator.kind == "conv2d":
        channels = group.blocks[operator.inputs[0]].tensor.shape[-1]
        return _CONV_OF_FEW_CHANNELS if channels < _FEW_CHANNELS else _CONV
    return _OTHER


def _narrow(operator: Operator, width: int) -> float:
    steps: Sequence[tuple[int, float]] = ()
    if operator.kind == "conv2d":
        steps = _NARROW_CONV
    elif operator.kind == "depthwise_conv2d":
        area = operator.window.kernel_h * operator.window.kernel_w
        steps = next(steps for least, steps in _NARROW_DEPTHWISE if area >= least)
    return next((more for columns, more in steps if width <= columns), 0.0)


def _tiled(group: Group, layout: OperatorLayout) -> float:
    tiling, operator = group.tiling, layout.operator
    assert tiling is not None
    paced = group.blocks[operator.paced_by].tensor
    positions = len(group.made[operator.name])
    rows = min(positions * layout.rows, paced.height) * tiling.tiles_x
    pieces, width = 1, layout.columns
    if layout.steps is not None:
        pieces = sum(end > begin for begin, end in layout.steps.new)
        width = max(layout.steps.widths, default=1)
    instructions = float(rows * pieces * _PER_CALL)
    if operator.macs:
        per_mac = _per_mac(group, operator)
        in_one_go = group.stage is None and operator.window.is_identity
        if operator.kind == "conv2d" and width % 2 and width > 1 and not in_one_go:
            # Columns go in pairs.
            per_mac += _narrow(operator, 1) / width
        if width < paced.width:
            per_mac += _narrow(operator, width)
        instructions += group.macs_of(layout) * per_mac
    else:
        per_byte = _PER_FETCHED_BYTE if operator.kind == FETCH else _PER_ELEMENT
        instructions += rows * paced.row_bytes * per_byte
    return instructions + _moved(group, layout, rows, positions)


def _moved(group: Group, layout: OperatorLayout, rows: int, positions: int) -> float:
    """Instructions that copy rows and columns."""
    output = group.blocks[layout.operator.output]
    instructions, copied_bytes = 0.0, 0
    for window in layout.windows:
        if window is not None:
            instructions += rows * window.size_bytes * _PER_GATHERED_BYTE
    kept_rows = layout.holding.kept_rows
    if layout.steps is None:
        copied_bytes += positions * kept_rows * output.row_bytes
    elif output.region is not None and layout.store is not None:
        copied_bytes += rows * (kept_rows + 1) * layout.store.row_bytes
    if layout.steps is not None and output.region is not None:
        for before, start in pairwise(layout.steps.starts):
            kept = layout.steps.extent - (start - before)
            if start > before and kept > 0:
                size_bytes = layout.region.rows.extent * kept * output.tensor.pixel_bytes
                copied_bytes += positions * size_bytes
                instructions += positions * _PER_CALL
    return instructions + copied_bytes * _PER_BYTE
