"""How many instructions a plan takes, roughly: enough to tell plans of equal MACs apart.

:mod:`kernel_effort` has what calls of kernels take and :mod:`movement` what moving bytes takes;
here is how often a group does what. What matters is what differs between plans: narrow pieces of
rows share fewer loads, rows are copied, kernels are called more often. The ratio of two estimates
is good to about one per cent for streams that keep all rows, and to two where rows are made
again; the figures themselves are not shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tvm_patch.compat import pairwise, zip_strict
from tvm_patch.plan.kernel_effort import row_instructions, whole_instructions
from tvm_patch.plan.layout.columns import ColumnSteps
from tvm_patch.plan.layout.group import Group, OperatorLayout, RowWindow
from tvm_patch.plan.layout.stage import FETCH
from tvm_patch.plan.movement import fill_instructions, move_instructions, tile_move

UNLIMITED = 1 << 62
"""More work than anything takes."""

# Around each row that an operator makes, or each part of a row.
_PER_ROW = 5


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
        """What to order by: fewest MACs first if ``thrifty``, else fewest instructions.

        A byte of pressure counts as an instruction.
        """
        instructions = self.instructions + self.pressure_bytes
        return (self.macs, instructions) if thrifty else (instructions, self.macs)


def group_instructions(group: Group) -> int:
    """Instructions that a group takes, roughly."""
    return round(sum(_operator(group, layout) for layout in group.operators))


def _operator(group: Group, layout: OperatorLayout) -> float:
    operator, tiling = layout.operator, group.tiling
    blocks = group.blocks
    output = blocks[operator.output].tensor
    source = blocks[operator.inputs[0]].tensor if operator.inputs else output
    in_one_go = group.stage is None and operator.window.is_identity
    if tiling is None or (in_one_go and operator.paced_by == operator.output):
        return whole_instructions(operator, source, output)
    paced = blocks[operator.paced_by].tensor
    positions = len(group.made[operator.name])
    computed = layout.holding.computed.rows
    rows = computed.total_inside(layout.positions(tiling), paced.height) * tiling.tiles_x
    row_bytes = _row_bytes(group, layout)
    if layout.steps is None:
        kernel = 0.0
        if operator.kind != FETCH and not layout.is_idle:
            kernel = row_instructions(operator, source, output, layout.columns, row_bytes)
        around = _PER_ROW + sum(_gathered(layout, window) for window in layout.windows if window)
        return rows * (kernel + around) + _line_buffer(group, layout, rows, positions)
    widths = layout.steps.widths
    counts = Counter(end - begin for begin, end in layout.steps.new)
    kernels = sum(
        counts[width] * row_instructions(operator, source, output, width, row_bytes)
        for width in widths
    )
    around = _PER_ROW * sum(counts[width] for width in widths)
    moved = _working_tile if _is_inside_run(group, layout) else _line_buffer
    return rows * (kernels + around) + moved(group, layout, rows, positions)


def _row_bytes(group: Group, layout: OperatorLayout) -> int:
    """From one row to the next where a kernel reads its first input."""
    window = layout.windows[0] if layout.windows else None
    if window is not None or not layout.operator.inputs:
        return window.row_bytes if window is not None else 0
    block = group.blocks[layout.operator.inputs[0]]
    return block.row_bytes if block.tensor.is_map else 0


def _is_inside_run(group: Group, layout: OperatorLayout) -> bool:
    """Whether its output is a working tile, which only its column run reads."""
    return all(group.operators[run.last] is not layout for run in group.runs)


def _gathered(layout: OperatorLayout, window: RowWindow) -> float:
    """Instructions that bring the rows under the window of one row."""
    pixel_bytes, geometry = window.pixel_bytes, layout.operator.window
    new_rows = min(geometry.stride_h, window.rows)
    kept_bytes = (window.rows - new_rows) * window.row_bytes
    instructions = new_rows * move_instructions(window.row_bytes, pixel_bytes)
    if kept_bytes:
        instructions += move_instructions(kept_bytes, pixel_bytes)
    for pad in (geometry.pad_left, geometry.pad_right):
        if pad:
            instructions += new_rows * fill_instructions(pad * pixel_bytes)
    return instructions


def _line_buffer(group: Group, layout: OperatorLayout, rows: int, positions: int) -> float:
    """Instructions that move rows up and pad new ones."""
    block = group.blocks[layout.operator.output]
    if block.region is None:
        return 0.0
    pixel_bytes, instructions = block.tensor.pixel_bytes, 0.0
    if layout.holding.kept_rows:
        kept_bytes = layout.holding.kept_rows * block.row_bytes
        instructions += positions * move_instructions(kept_bytes, pixel_bytes)
    beside = block.region.cols.extent - block.tensor.width
    if beside > 0:
        instructions += rows * 2 * fill_instructions(beside * pixel_bytes // 2)
    return instructions


def _working_tile(group: Group, layout: OperatorLayout, rows: int, positions: int) -> float:
    """Instructions that move the tile on, and load, store and pad columns of it."""
    steps, store = layout.steps, layout.store
    assert steps is not None
    block = group.blocks[layout.operator.output]
    pixel_bytes, tile_rows = block.tensor.pixel_bytes, layout.region.rows.extent
    instructions = 0.0
    for (shift, width), times in _alike(steps).items():
        kept = steps.extent - shift
        if shift > 0 and kept > 0:
            move = tile_move(tile_rows, block.row_bytes, kept * pixel_bytes, pixel_bytes)
            instructions += times * move.instructions
        if store is not None and width > 0:
            copies = layout.holding.kept_rows + min(layout.rows, store.rows)
            instructions += times * copies * move_instructions(width * pixel_bytes, pixel_bytes)
    for pad in _padding(group, layout.operator.output):
        instructions += tile_rows * fill_instructions(pad * pixel_bytes)
    return positions * instructions


def _alike(steps: ColumnSteps) -> Counter[tuple[int, int]]:
    """How many steps move the tile on by so many columns, and make so many."""
    shifts = (0, *(start - before for before, start in pairwise(steps.starts)))
    return Counter(zip_strict(shifts, (end - begin for begin, end in steps.new)))


def _padding(group: Group, tensor: str) -> Iterator[int]:
    """The most columns that any reader pads a tensor by, left and right."""
    readers = [each.operator.window for each in group.operators if tensor in each.operator.inputs]
    for pads in ([w.pad_left for w in readers], [w.pad_right for w in readers]):
        most = max(pads, default=0)
        if most:
            yield most
