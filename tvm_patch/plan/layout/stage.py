"""From stages to groups: what each operator computes and holds, tile by tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tvm_patch.compat import pairwise
from tvm_patch.errors import PlanError
from tvm_patch.plan.graph import Access, Graph, Operator
from tvm_patch.plan.layout.checks import checked_modes, stage_operators
from tvm_patch.plan.layout.columns import ColumnSteps, RowStore, column_runs, column_steps
from tvm_patch.plan.layout.group import Block, Group, OperatorLayout, RowWindow
from tvm_patch.plan.layout.region import Holding, Region, Span, Tiling, stage_holdings
from tvm_patch.plan.record import BufferMode, StagePlan

FETCH = "fetch"
"""Kind of the operator that brings rows of an input from outside."""

# Operators that move rows, or have a kernel for each input.
NOT_STEPPED = (FETCH, "pad", "concatenate", "resize_nearest")

# An operator that takes its inputs whole has no tiles; what it holds is never read.
_NOTHING = Region(Span(1, 0, 0), Span(1, 0, 0))
_NOTHING_HELD = Holding(_NOTHING, _NOTHING, 0)


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
    modes = checked_modes(graph, name, stage, operators, made)
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
    for often, seldom in pairwise(group.rates):
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
