"""How a plan is carried out: groups of operators, and the part of each tensor that they hold.

Layer by layer is the simplest stage: one operator, one tile as large as its output. So the
planner's cost model and the generator of C both read this one description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm_patch.plan.graph import Access, Operator, Tensor
from tvm_patch.plan.layout.columns import ColumnRun, ColumnSteps, RowStore
from tvm_patch.plan.layout.region import Holding, Region, Tiling
from tvm_patch.plan.record import StagePlan


@dataclass(frozen=True)
class RowWindow:
    """A small buffer in which the input rows under an operator's window are gathered.

    It makes padding real: columns and rows outside the input are written with the operator's
    padding value, so that kernels never test bounds.

    Parameters
    ----------
    buffer : str
        Name of its storage.
    rows, columns : int
        Rows under the window, and columns that one output row of the tile reads.
    pixel_bytes : int
        Bytes of a pixel.
    """

    buffer: str
    rows: int
    columns: int
    pixel_bytes: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.columns * self.pixel_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole window; never none, even if no tile reads anything inside."""
        return max(1, self.rows * self.row_bytes)


def scratch_of(operator: str) -> str:
    """Name of the storage of an operator's scratch memory."""
    return f"{operator}.scratch"


@dataclass(frozen=True)
class Block:
    """The part of a tensor that a group holds.

    Parameters
    ----------
    tensor : Tensor
        Whose part it is.
    region : Region or None
        What a PATCH buffer holds; None for the whole tensor.
    """

    tensor: Tensor
    region: Region | None

    @property
    def row_bytes(self) -> int:
        """Bytes from one row to the next."""
        if self.region is None:
            return self.tensor.row_bytes
        return self.region.cols.extent * self.tensor.pixel_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes held; never none, even if no tile needs anything inside."""
        if self.region is None:
            return self.tensor.size_bytes
        return max(1, self.region.rows.extent * self.row_bytes)


@dataclass(frozen=True)
class OperatorLayout:
    """One operator inside a group.

    Parameters
    ----------
    operator : Operator
        What is computed.
    holding : Holding
        What is held of the output, and the part of it that each tile computes.
    windows : tuple of RowWindow or None
        For each input, where its rows are gathered; None where the kernel reads it in place.
    continuous : bool
        Each time just the rows are computed that follow those of the time before, so that row
        windows stay filled.
    steps : ColumnSteps or None
        Inside a column run: what is computed in each of its steps.
    store : RowStore or None
        Inside a column run: where rows are kept for the next time.
    """

    operator: Operator
    holding: Holding
    windows: tuple[RowWindow | None, ...]
    continuous: bool
    steps: ColumnSteps | None = None
    store: RowStore | None = None

    def positions(self, tiling: Tiling) -> range:
        """Numbers of the times that the operator runs, from top to bottom."""
        steps, rate = tiling.steps, self.holding.rate
        return range(steps.start * rate, steps.stop * rate)

    @property
    def region(self) -> Region:
        """What is held of the output."""
        return self.holding.region

    @property
    def first_row(self) -> int:
        """First computed row, counted from the first one held."""
        return self.region.rows.offset - self.holding.computed.rows.offset

    @property
    def rows(self) -> int:
        """Rows computed in every tile."""
        return self.holding.computed.rows.extent

    @property
    def first_column(self) -> int:
        """First computed column, counted from the first one held."""
        return self.region.cols.offset - self.holding.computed.cols.offset

    @property
    def columns(self) -> int:
        """Columns computed in every row of every tile."""
        return self.holding.computed.cols.extent

    @property
    def is_idle(self) -> bool:
        """Whether no tile computes anything: all that is read of the output is padding."""
        return 0 in (self.rows, self.columns)

    @property
    def scratch_bytes(self) -> int:
        """What the kernel needs to itself; nothing too where no tile computes anything."""
        scratch, columns = self.operator.scratch, self.columns
        if self.steps is not None:
            columns = max(self.steps.widths, default=0)
        if scratch is None:
            return 0
        if self.operator.access is Access.WHOLE:
            columns = scratch.block_columns * scratch.most_blocks
        elif 0 in (self.rows, columns):
            return 0
        return scratch.size_bytes(columns)


@dataclass(frozen=True)
class Group:
    """A stage, or one operator that runs on its own.

    Parameters
    ----------
    name : str
        The stage's name or the operator's.
    operators : tuple of OperatorLayout
        In execution order.
    tiling : Tiling or None
        Tiles over the output, or over the map that the last operator adds up; None for an operator
        that takes its inputs whole.
    blocks : mapping of str to Block
        By tensor name, all that the group reads or writes.
    stage : StagePlan or None
        None for an operator on its own.
    runs : tuple of ColumnRun
        Operators that go through each row together.
    """

    name: str
    operators: tuple[OperatorLayout, ...]
    tiling: Tiling | None
    blocks: Mapping[str, Block]
    stage: StagePlan | None
    runs: tuple[ColumnRun, ...] = ()

    @property
    def output(self) -> str:
        """The tensor that is materialised."""
        return self.operators[-1].operator.output

    @property
    def accumulates(self) -> bool:
        """Whether the output is a sum over rows, complete after the last tile only."""
        return self.operators[-1].operator.access is Access.ACCUMULATE

    @property
    def steps(self) -> int:
        """Tiles from top to bottom, if each is as wide as the image; else one step for all."""
        if self.tiling is None or self.tiling.tiles_x > 1:
            return 1
        return len(self.tiling.steps)

    @cached_property
    def rates(self) -> tuple[int, ...]:
        """How often operators run for each tile, most often first."""
        return tuple(sorted({layout.holding.rate for layout in self.operators}, reverse=True))

    @cached_property
    def units(self) -> tuple[range, ...]:
        """What runs at once, by the places of its operators: a column run, or one operator."""
        runs = {run.first: run for run in self.runs}
        units: list[range] = []
        place = 0
        while place < len(self.operators):
            end = runs[place].last + 1 if place in runs else place + 1
            units.append(range(place, end))
            place = end
        return tuple(units)

    @cached_property
    def unit_of(self) -> tuple[int, ...]:
        """The unit of each operator, by its place."""
        return tuple(number for number, unit in enumerate(self.units) for _ in unit)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The units of one tile in the order in which they run, by number.

        Those that run often run until what comes after them can run once.
        """
        unit_rates = [self.operators[unit.start].holding.rate for unit in self.units]

        def level(depth: int) -> list[int]:
            rate = self.rates[depth]
            own = [number for number, unit_rate in enumerate(unit_rates) if unit_rate == rate]
            if depth == 0:
                return own
            return level(depth - 1) * (self.rates[depth - 1] // rate) + own

        return tuple(level(len(self.rates) - 1))

    @cached_property
    def made(self) -> Mapping[str, range]:
        """By operator, the positions at which it makes rows of the image."""
        assert self.tiling is not None
        spans: dict[str, range] = {}
        for layout in self.operators:
            rows = layout.holding.computed.rows
            height = self.blocks[layout.operator.paced_by].tensor.height
            spans[layout.operator.name] = rows.touching(layout.positions(self.tiling), height)
        return spans

    @cached_property
    def active(self) -> Mapping[str, range]:
        """By operator, the positions at which it does anything; all others it skips.

        It begins with its first row of the image, or where a reader begins that sees nothing but
        padding yet, and ends with its last reader's last row. Before and behind that nobody reads
        what it holds, so its buffers live no longer.
        """
        assert self.tiling is not None
        spans: dict[str, range] = {}
        for index, layout in enumerate(self.operators):
            needed = [self.made[layout.operator.name]]
            for reader in self.operators[index + 1 :]:
                if layout.operator.output in reader.operator.inputs:
                    reads = self.made[reader.operator.name]
                    ratio = layout.holding.rate // reader.holding.rate
                    needed.append(range(reads.start * ratio, reads.stop * ratio))
            needed = [span for span in needed if span] or [layout.positions(self.tiling)]
            spans[layout.operator.name] = covering(needed)
        for unit in self.units:
            names = [self.operators[place].operator.name for place in unit]
            together = covering([spans[name] for name in names])
            spans.update(dict.fromkeys(names, together))
        return spans

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates executed, recomputed halos and blanked columns included."""
        return sum(self.macs_of(layout) for layout in self.operators)

    def macs_of(self, layout: OperatorLayout) -> int:
        """Those that one of its operators executes."""
        return _executed_macs(layout, self.tiling, self.blocks)


def covering(spans: Sequence[range]) -> range:
    """The smallest range that covers all."""
    return range(min(span.start for span in spans), max(span.stop for span in spans))


def _executed_macs(
    layout: OperatorLayout, tiling: Tiling | None, blocks: Mapping[str, Block]
) -> int:
    operator = layout.operator
    if tiling is None or operator.macs == 0:
        return operator.macs
    output = blocks[operator.output].tensor
    per_pixel = operator.macs // (output.height * output.width)
    computed = layout.holding.computed.rows
    rows = computed.total_inside(layout.positions(tiling), output.height)
    columns = layout.columns if layout.steps is None else layout.steps.columns
    return rows * tiling.tiles_x * columns * per_pixel
