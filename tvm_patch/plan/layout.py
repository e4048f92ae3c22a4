"""How a plan is carried out: groups of operators, the part of each tensor they hold, row windows.

Layer by layer is the simplest stage: one operator, one tile as large as its output. So the
planner's cost model and the generator of C both read this one description.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm_patch.errors import PlanError
from tvm_patch.plan.columns import ColumnRun, ColumnSteps, RowStore, column_runs, column_steps
from tvm_patch.plan.graph import Access, Graph, Operator, Tensor
from tvm_patch.plan.record import BufferMode, StagePlan
from tvm_patch.plan.region import Holding, Region, Span, Tiling, stage_holdings

FETCH = "fetch"
"""Kind of the operator that brings rows of an input from outside."""

# Operators that move rows, or have a kernel for each input.
NOT_STEPPED = (FETCH, "pad", "concatenate", "resize_nearest")

# An operator that takes its inputs whole has no tiles; what it holds is never read.
_NOTHING = Region(Span(1, 0, 0), Span(1, 0, 0))
_NOTHING_HELD = Holding(_NOTHING, _NOTHING, 0)


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
            spans[layout.operator.name] = _covering(needed)
        for unit in self.units:
            names = [self.operators[place].operator.name for place in unit]
            together = _covering([spans[name] for name in names])
            spans.update(dict.fromkeys(names, together))
        return spans

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates executed, recomputed halos and blanked columns included."""
        return sum(self.macs_of(layout) for layout in self.operators)

    def macs_of(self, layout: OperatorLayout) -> int:
        """Those that one of its operators executes."""
        return _executed_macs(layout, self.tiling, self.blocks)


def _covering(spans: Sequence[range]) -> range:
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


def _stays_inside(cols: Span, tiling: Tiling, width: int) -> bool:
    starts = [cols.start(tile_start) for tile_start in tiling.col_starts]
    return all(start >= 0 and start + cols.extent <= width for start in starts)


def _layout_operator(
    graph: Graph, operator: Operator, blocks: Mapping[str, Block], holding: Holding, tiling: Tiling
) -> OperatorLayout:
    paced_by = graph.tensor[operator.paced_by]
    inside = _stays_inside(holding.computed.cols, tiling, paced_by.width)
    windows: list[RowWindow | None] = []
    for i, name in enumerate(operator.inputs):
        reads_in_place = operator.kind == "pad" or (not operator.window.has_padding and inside)
        if name in operator.whole_inputs or blocks[name].region is not None or reads_in_place:
            windows.append(None)
            continue
        windows.append(
            RowWindow(
                buffer=f"{operator.name}.window{i}",
                rows=operator.window.span_h,
                columns=max(0, operator.window.columns_read(holding.computed.cols.extent)),
                pixel_bytes=graph.tensor[name].pixel_bytes,
            )
        )
    rows = holding.computed.rows
    continuous = rows.extent == rows.scale
    return OperatorLayout(operator, holding, tuple(windows), continuous)


def _layout_stepped(
    graph: Graph,
    operator: Operator,
    blocks: Mapping[str, Block],
    holding: Holding,
    steps: ColumnSteps,
    *,
    is_kept: bool,
) -> OperatorLayout:
    """The layout of an operator of a column run, which reads all its inputs in place."""
    if operator.kind in NOT_STEPPED:
        raise PlanError(
            f"operator {operator.name} ({operator.kind}) cannot be part of a column run",
            hint="begin the run behind it",
        )
    for name in operator.inputs:
        held_whole = name not in operator.whole_inputs and blocks[name].region is None
        if held_whole and operator.window.has_padding:
            raise PlanError(
                f"operator {operator.name} pads {name}, which is held whole: a column run cannot "
                "begin with it",
                hint="begin the run behind it",
            )
    store = None
    if is_kept and holding.kept_rows:
        tensor = graph.tensor[operator.output]
        store = RowStore(
            f"{operator.output}.rows", holding.kept_rows, tensor.width, tensor.pixel_bytes
        )
    windows = (None,) * len(operator.inputs)
    return OperatorLayout(operator, holding, windows, False, steps, store)


def _whole_group(graph: Graph, operator: Operator) -> Group:
    names = (*operator.inputs, operator.output)
    blocks = {name: Block(graph.tensor[name], None) for name in names}
    layout = OperatorLayout(operator, _NOTHING_HELD, (None,) * len(operator.inputs), False)
    return Group(operator.name, (layout,), None, blocks, None)


def layer_group(graph: Graph, operator: Operator) -> Group:
    """The group of one operator that runs on its own.

    An operator without a window makes its output in one go, any other row by row.
    """
    tiled = graph.tensor[operator.paced_by]
    if operator.access not in (Access.ROWS, Access.ACCUMULATE) or not tiled.is_map:
        return _whole_group(graph, operator)
    # Row by row, so that what is read may shrink while what is written grows.
    in_one_go = operator.access is Access.ROWS and operator.window.is_identity
    tiles = Tiling(tiled.height, tiled.width, tiled.height if in_one_go else 1, tiled.width)
    holdings, tiling = stage_holdings(graph, (operator,), tiles)
    names = (*operator.inputs, operator.output)
    blocks = {name: Block(graph.tensor[name], None) for name in names}
    layout = _layout_operator(graph, operator, blocks, holdings[operator.output], tiling)
    return Group(operator.name, (layout,), tiling, blocks, None)


def padding_conflict(graph: Graph, operators: Sequence[Operator]) -> str | None:
    """The first tensor made inside a stage whose readers want different padding values.

    A tile's buffer holds its border once, so all operators that pad it must read the same value.
    """
    names = {operator.name for operator in operators}
    for operator in operators:
        values = {
            graph.operators[i].pad_value
            for i in graph.consumers[operator.output]
            if graph.operators[i].name in names and graph.operators[i].pad_value is not None
        }
        if len(values) > 1:
            return operator.output
    return None


def stage_group(graph: Graph, stage: StagePlan, name: str) -> Group:
    """The group of a stage.

    Raises
    ------
    PlanError
        When the stage is not a run of streamable operators of the graph with one output, or names
        a buffer mode that this version cannot carry out.
    """
    operators = stage_operators(graph, stage)
    operators = (*_fetches(graph, stage, operators), *operators)
    tiled = graph.tensor[operators[-1].paced_by]
    tile_h, tile_w = min(stage.tile_h, tiled.height), min(stage.tile_w, tiled.width)
    made = {operator.output for operator in operators[:-1]}
    made -= set(graph.inputs)
    modes = _checked_modes(graph, name, stage, operators, made)
    runs = column_runs(graph, operators, modes, tile_w)
    tiles = Tiling(tiled.height, tiled.width, tile_h, tiled.width if runs else tile_w)
    keeping = (BufferMode.ROWS, BufferMode.ROWS_COLS)
    line_buffered = {tensor for tensor, mode in modes.items() if mode in keeping}
    steps: dict[str, ColumnSteps] = {}
    for run in runs:
        members = operators[run.first : run.last + 1]
        inside = {operator.output for operator in members[:-1]}
        steps.update(column_steps(graph, members, run, inside))
    holdings, tiling = stage_holdings(graph, operators, tiles, line_buffered, runs, steps)
    blocks = {
        tensor: Block(
            graph.tensor[tensor], None if mode is BufferMode.FULL else holdings[tensor].region
        )
        for tensor, mode in modes.items()
    }
    layouts = tuple(
        _layout_stepped(
            graph,
            op,
            blocks,
            holdings[op.output],
            steps[op.name],
            is_kept=modes[op.output] is BufferMode.ROWS_COLS,
        )
        if op.name in steps
        else _layout_operator(graph, op, blocks, holdings[op.output], tiling)
        for op in operators
    )
    group = Group(name, layouts, tiling, blocks, stage, runs)
    full_width = [operator.name for operator in operators if operator.is_full_width]
    if full_width and tiling.tiles_x > 1:
        # Strips may overlap, and what lies in two of them would be added twice; and a resize
        # chooses columns for whole rows.
        raise PlanError(
            f"stage {name}: operator {full_width[0]} cannot run in tiles narrower than its map",
            hint=f"make the stage's tiles {tiled.width} columns wide",
        )
    for often, seldom in itertools.pairwise(group.rates):
        if often % seldom:
            raise PlanError(
                f"stage {name}: its branches run {often} and {seldom} times for each tile",
                hint="end the stage before the branch",
            )
    return group


def _fetches(graph: Graph, stage: StagePlan, operators: Sequence[Operator]) -> tuple[Operator, ...]:
    """Operators that bring the rows of inputs which are not resident.

    Raises
    ------
    PlanError
        When such an input is read elsewhere too, or in strips narrower than the image.
    """
    members = {operator.name for operator in operators}
    tiled = graph.tensor[operators[-1].paced_by]
    fetches: list[Operator] = []
    for name in graph.inputs:
        if stage.mode_of(name) is not BufferMode.ROWS:
            continue
        readers = [graph.operators[i] for i in graph.consumers[name]]
        whole = any(name in reader.whole_inputs for reader in readers)
        elsewhere = any(reader.name not in members for reader in readers)
        in_strips = stage.tile_w < tiled.width and not stage.steps_columns
        if whole or elsewhere or in_strips:
            raise PlanError(
                f"input {name} cannot be fetched by rows: it is read more than once",
                hint="let one stage of full-width tiles read it, or keep it resident",
            )
        fetches.append(Operator(f"{name}.fetch", FETCH, (), name, Access.ROWS))
    return tuple(fetches)


def _checked_modes(
    graph: Graph,
    name: str,
    stage: StagePlan,
    operators: Sequence[Operator],
    made: Collection[str],
) -> Mapping[str, BufferMode]:
    """Buffer mode of every tensor that the stage reads or writes."""
    tensors = dict.fromkeys(t for op in operators for t in (*op.inputs, op.output))
    modes = {tensor: stage.mode_of(tensor) for tensor in tensors}
    for tensor, mode in modes.items():
        possible = [BufferMode.FULL]
        if tensor in made:
            possible = [BufferMode.PATCH, BufferMode.ROWS, BufferMode.ROWS_COLS, BufferMode.COLS]
        elif tensor in graph.inputs:
            possible = [BufferMode.FULL, BufferMode.ROWS]
        if mode not in possible:
            raise PlanError(
                f"stage {name}: tensor {tensor} has buffer mode {mode.value}, which this "
                f"version cannot carry out there",
                hint=f"use mode {' or '.join(m.value for m in possible)}",
            )
    return modes


def stage_operators(graph: Graph, stage: StagePlan) -> tuple[Operator, ...]:
    """The operators of a stage, checked.

    Raises
    ------
    PlanError
        When names are unknown, not contiguous, not streamable, or more than one tensor leaves.
    """
    for name in stage.operators:
        if name not in graph.operator_index:
            raise PlanError(
                f"the plan names operator {name}, which the model does not have",
                hint="the plan belongs to another model; make one with: tvm-patch plan MODEL",
            )
    indices = [graph.operator_index[name] for name in stage.operators]
    if not indices or indices != list(range(indices[0], indices[0] + len(indices))):
        raise PlanError("a stage must be a run of operators in execution order")
    operators = tuple(graph.operators[i] for i in indices)
    for operator in operators:
        if operator.access not in (Access.ROWS, Access.ACCUMULATE) or not operator.streamable:
            raise PlanError(
                f"operator {operator.name} ({operator.kind}) cannot be part of a stage",
                hint="end the stage before it",
            )
        if operator.access is Access.ACCUMULATE and operator is not operators[-1]:
            raise PlanError(
                f"operator {operator.name} ({operator.kind}) is complete only when a stage ends",
                hint="end the stage with it",
            )
    members = set(indices)
    for operator in operators[:-1]:
        readers = graph.consumers[operator.output]
        if operator.output in graph.outputs or any(i not in members for i in readers):
            raise PlanError(
                f"tensor {operator.output} leaves the stage, but only {operators[-1].output} may",
                hint="end the stage where a single tensor is handed on",
            )
    made = {operator.output for operator in operators}
    for operator in operators:
        if any(name in made for name in operator.whole_inputs):
            raise PlanError(f"operator {operator.name} needs a tensor of its own stage whole")
    conflict = padding_conflict(graph, operators)
    if conflict is not None:
        raise PlanError(
            f"tensor {conflict} is padded with different values by its readers",
            hint="end the stage at this tensor",
        )
    return operators


def groups_of(
    graph: Graph, stages: Sequence[StagePlan], layers: Mapping[str, Group] | None = None
) -> tuple[Group, ...]:
    """All groups of a plan in execution order; views run nothing and have none.

    ``layers`` may hold what :func:`layer_group` gives for each operator, to save making it anew.

    Raises
    ------
    PlanError
        When stages overlap or cannot be carried out.
    """
    groups: list[Group] = []
    starts: dict[str, tuple[int, StagePlan]] = {}
    staged: set[str] = set()
    for i, stage in enumerate(stages):
        if staged.intersection(stage.operators):
            raise PlanError(f"stage {i} shares an operator with an earlier stage")
        staged.update(stage.operators)
        if stage.operators:
            starts[stage.operators[0]] = (i, stage)
    for operator in graph.operators:
        if operator.name in starts:
            i, stage = starts[operator.name]
            groups.append(stage_group(graph, stage, f"stage{i}"))
        elif operator.name not in staged and operator.access is not Access.VIEW:
            layer = layers[operator.name] if layers else layer_group(graph, operator)
            groups.append(layer)
    unknown = staged.difference(graph.operator_index)
    if unknown:
        stage = next(s for s in stages if unknown.intersection(s.operators))
        stage_operators(graph, stage)
    return tuple(groups)
