"""The choices there are: where the first stage ends and how large its tiles are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tvm_patch.errors import PlanError
from tvm_patch.plan.graph import Access, Graph, Operator
from tvm_patch.plan.layout.checks import stage_operators
from tvm_patch.plan.record import BufferMode, StagePlan, TensorBuffering


def patch_stage(operators: tuple[Operator, ...], tile_h: int, tile_w: int) -> StagePlan:
    """A stage that recomputes the halo of each tile: PATCH inside, FULL at both ends."""
    return _stage(operators, tile_h, tile_w, BufferMode.PATCH)


def row_stage(
    operators: tuple[Operator, ...], tile_h: int, tile_w: int, *, fetched: Collection[str] = ()
) -> StagePlan:
    """A stage that keeps rows in line buffers: ROWS inside, FULL at both ends.

    ``fetched`` names inputs of the network that are brought row by row too.
    """
    modes = dict.fromkeys(fetched, BufferMode.ROWS)
    return _stage(operators, tile_h, tile_w, BufferMode.ROWS, modes)


def _stage(
    operators: Sequence[Operator],
    tile_h: int,
    tile_w: int,
    inside: BufferMode,
    modes: Mapping[str, BufferMode] | None = None,
) -> StagePlan:
    """A stage of one mode inside, with other ``modes`` for some tensors, and FULL at both ends."""
    tensors = dict.fromkeys(name for op in operators for name in (*op.inputs, op.output))
    known = {**{op.output: inside for op in operators[:-1]}, **(modes or {})}
    return StagePlan(
        operators=tuple(operator.name for operator in operators),
        tile_h=tile_h,
        tile_w=tile_w,
        buffering=tuple(
            TensorBuffering(name, known.get(name, BufferMode.FULL)) for name in tensors
        ),
    )


def stepped_stage(
    operators: tuple[Operator, ...],
    tile_h: int,
    tile_w: int,
    runs: Iterable[tuple[int, int]],
    *,
    recomputed: Collection[str] = (),
    fetched: Collection[str] = (),
) -> StagePlan:
    """A stage in line buffers, some of whose operators go through rows in steps of columns.

    Parameters
    ----------
    operators : tuple of Operator
        In execution order.
    tile_h, tile_w : int
        Rows and columns of the stage's output in one step.
    runs : iterable of (int, int)
        Places of the first and last operator of each run, both inclusive.
    recomputed : collection of str
        Tensors inside runs whose rows are computed again instead of being kept (mode COLS).
    fetched : collection of str
        As for :func:`row_stage`.
    """
    modes = dict.fromkeys(fetched, BufferMode.ROWS)
    for first, last in runs:
        for operator in operators[first:last]:
            recomputes = operator.output in recomputed
            modes[operator.output] = BufferMode.COLS if recomputes else BufferMode.ROWS_COLS
    return _stage(operators, tile_h, tile_w, BufferMode.ROWS, modes)


def with_resident_inputs(stage: StagePlan, inputs: Collection[str]) -> StagePlan:
    """The same stage with its inputs held whole, as on the host, where nothing fetches rows."""
    buffering = tuple(
        replace(item, mode=BufferMode.FULL) if item.tensor in inputs else item
        for item in stage.buffering
    )
    return replace(stage, buffering=buffering)


def first_stage_ends(graph: Graph) -> tuple[int, ...]:
    """Indices of the operators at which a stage that begins the network may end."""
    ends: list[int] = []
    for end, operator in enumerate(graph.operators):
        if operator.access not in (Access.ROWS, Access.ACCUMULATE) or not operator.streamable:
            break
        # A stage of one operator saves nothing by recomputing halos.
        if end == 0:
            continue
        names = tuple(op.name for op in graph.operators[: end + 1])
        try:
            stage_operators(graph, StagePlan(names, 1, 1, ()))
        except PlanError:
            continue
        ends.append(end)
    return tuple(ends)


def tile_sizes(size: int, most_tiles: int = 16) -> tuple[int, ...]:
    """Tile sizes along one axis, largest first: one for each count of tiles that it changes."""
    return tuple(dict.fromkeys(-(-size // count) for count in range(1, min(size, most_tiles) + 1)))


def first_stages(graph: Graph) -> Iterator[StagePlan]:
    """Every patch-tiled first stage worth looking at."""
    for end in first_stage_ends(graph):
        operators = graph.operators[: end + 1]
        tiled = graph.tensor[operators[-1].paced_by]
        full_width = any(operator.is_full_width for operator in operators)
        widths = (tiled.width,) if full_width else tile_sizes(tiled.width)
        for tile_h in tile_sizes(tiled.height):
            for tile_w in widths:
                if (tile_h, tile_w) != (tiled.height, tiled.width):
                    yield patch_stage(operators, tile_h, tile_w)


def stage_from_split(graph: Graph, split: int | str, grid: tuple[int, int]) -> StagePlan:
    """The first stage that ends at a given operator, cut into a grid of tiles.

    Parameters
    ----------
    graph : Graph
        The network.
    split : int or str
        Number of operators in the stage, or the name of its last operator.
    grid : (int, int)
        Tiles along y and x.

    Raises
    ------
    PlanError
        When there is no such operator, or the stage cannot end there.
    """
    if isinstance(split, str):
        if split not in graph.operator_index:
            raise PlanError(
                f"there is no operator {split} in {graph.name}",
                hint="tvm-patch inspect MODEL lists the operators",
            )
        count = graph.operator_index[split] + 1
    else:
        count = split
    if not 1 <= count <= len(graph.operators):
        raise PlanError(f"split {split} is not between 1 and {len(graph.operators)} operators")
    operators = graph.operators[:count]
    tiled = graph.tensor[operators[-1].paced_by]
    rows, cols = grid
    if not tiled.is_map or not (1 <= rows <= tiled.height and 1 <= cols <= tiled.width):
        raise PlanError(
            f"a grid of {rows}x{cols} does not fit tensor {tiled.name} {list(tiled.shape)}"
        )
    stage = patch_stage(operators, -(-tiled.height // rows), -(-tiled.width // cols))
    stage_operators(graph, stage)
    return stage
