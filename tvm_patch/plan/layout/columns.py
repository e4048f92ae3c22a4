"""Column runs: operators of a stage that go through each row together, a few columns at a time.

A window over whole rows holds as many rows as it is high. Stepped along x it needs all but the
newest of them, and of the newest a few columns; and what lies between the operators of a run is a
few columns wide instead of a row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tvm_patch.compat import zip_strict
from tvm_patch.errors import PlanError
from tvm_patch.plan.graph import Access, Graph, Operator
from tvm_patch.plan.record import BufferMode

STEPPED_MODES = (BufferMode.ROWS_COLS, BufferMode.COLS)
"""Modes of tensors that live inside a column run."""


@dataclass(frozen=True)
class ColumnRun:
    """Operators that go through a row together.

    Parameters
    ----------
    first, last : int
        Places of its operators in the stage, both inclusive.
    tile_w : int
        Columns of the last operator's output made in one step.
    """

    first: int
    last: int
    tile_w: int

    def __contains__(self, place: int) -> bool:
        return self.first <= place <= self.last


@dataclass(frozen=True)
class ColumnSteps:
    """What an operator of a run computes in each column step.

    Parameters
    ----------
    new : tuple of (int, int)
        Columns [begin, end) of the image, by step; empty where there is nothing to do.
    starts : tuple of int
        Column of the image at which the working tile begins, by step.
    extent : int
        Columns of the working tile.
    """

    new: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]
    extent: int

    @property
    def columns(self) -> int:
        """Columns computed in all steps."""
        return sum(end - begin for begin, end in self.new)

    @property
    def widths(self) -> tuple[int, ...]:
        """Distinct numbers of columns computed in a step."""
        return tuple(sorted({end - begin for begin, end in self.new if end > begin}))


@dataclass(frozen=True)
class RowStore:
    """Whole rows of a tensor that the next rows need, without padding, in a ring of rows.

    Parameters
    ----------
    buffer : str
        Name of its storage.
    rows, width : int
        Rows kept, and columns of each.
    pixel_bytes : int
        Bytes of a pixel.
    """

    buffer: str
    rows: int
    width: int
    pixel_bytes: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.width * self.pixel_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of all rows."""
        return self.rows * self.row_bytes


def column_runs(
    graph: Graph, operators: Sequence[Operator], modes: Mapping[str, BufferMode], tile_w: int
) -> tuple[ColumnRun, ...]:
    """The runs that a stage's buffer modes ask for.

    Parameters
    ----------
    graph : Graph
        The network.
    operators : sequence of Operator
        The stage.
    modes : mapping of str to BufferMode
        Of its tensors.
    tile_w : int
        Columns of the stage's output made in one step; a run in front of a stride makes as many
        more.

    Raises
    ------
    PlanError
        When a tensor of another mode lies inside a run.
    """
    places = {operator.name: place for place, operator in enumerate(operators)}
    spans: list[list[int]] = []
    for place, operator in enumerate(operators):
        if modes[operator.output] not in STEPPED_MODES:
            continue
        readers = [graph.operators[i].name for i in graph.consumers[operator.output]]
        last = max((places[name] for name in readers if name in places), default=place)
        if spans and place <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], last)
        else:
            spans.append([place, last])
    scale = 1
    runs: list[ColumnRun] = []
    for place in reversed(range(len(operators))):
        for first, last in spans:
            if place == last:
                width = graph.tensor[operators[last].output].width
                runs.append(ColumnRun(first, last, min(width, tile_w * scale)))
        scale *= operators[place].window.stride_w
    for run in runs:
        last_one = operators[run.last]
        if last_one.access is Access.ACCUMULATE:
            raise PlanError(
                f"operator {last_one.name} ({last_one.kind}) adds up whole rows: it cannot be "
                "part of a column run",
                hint="end the run in front of it",
            )
        for operator in operators[run.first : run.last]:
            if modes[operator.output] not in STEPPED_MODES:
                raise PlanError(
                    f"tensor {operator.output} lies inside a run of columns, but has buffer mode "
                    f"{modes[operator.output].value}",
                    hint="use mode rows_cols or cols for it",
                )
    return tuple(reversed(runs))


def column_steps(
    graph: Graph, operators: Sequence[Operator], run: ColumnRun, inside: Collection[str]
) -> Mapping[str, ColumnSteps]:
    """What each operator of a run does in each step, by operator.

    Each column of the image is computed once. An operator in front is ahead of the last one by as
    many columns as the windows in between want, so the first steps are its alone, and the last
    steps are without it. No operator makes more columns in one step than the step is wide for it.

    Parameters
    ----------
    graph : Graph
        The network.
    operators : sequence of Operator
        Those of the run.
    run : ColumnRun
        With the width of its steps.
    inside : collection of str
        Tensors that only the run itself reads.
    """
    paces = _paces(operators, run, inside)
    widths = [graph.tensor[operator.output].width for operator in operators]
    by_name = dict(zip_strict((operator.name for operator in operators), widths))
    first = min(
        -(-(1 - ahead) // pace) - 1 for pace, ahead, _ in (paces[op.name] for op in operators)
    )
    count = -(-widths[-1] // run.tile_w)
    numbers = range(min(first, 0), count)
    new: dict[str, tuple[tuple[int, int], ...]] = {}
    for name, (pace, ahead, first_column) in paces.items():
        spans: list[tuple[int, int]] = []
        done = 0
        for number in numbers:
            size = by_name[name]
            end = size if number == count - 1 else min(size, pace * (number + 1) + ahead)
            begin = max(done, min(size, pace * number + first_column))
            spans.append((begin, max(begin, end)))
            done = max(done, end)
        new[name] = tuple(spans)
    starts, extents = _tiles(operators, inside, new)
    return {
        op.name: ColumnSteps(new[op.name], starts[op.name], extents[op.name]) for op in operators
    }


def _paces(
    operators: Sequence[Operator], run: ColumnRun, inside: Collection[str]
) -> Mapping[str, tuple[int, int, int]]:
    """Of each operator: columns a step, how far it is ahead, and its first column of use.

    In step ``t`` of the last operator it is done up to column ``pace * (t + 1) + ahead``, and
    nothing before column ``pace * t + first`` is of any use then.
    """
    paces = {operators[-1].output: (run.tile_w, 0, 0)}
    for operator in reversed(operators):
        pace, ahead, first = paces[operator.output]
        window = operator.window
        for name in dict.fromkeys(operator.inputs):
            if name not in inside:
                continue
            stride = window.stride_w
            reads = (
                pace * stride,
                ahead * stride + window.span_w - stride - window.pad_left,
                first * stride - window.pad_left,
            )
            known = paces.get(name, reads)
            if known[0] != reads[0]:
                raise PlanError(
                    f"operator {operator.name}: branches of different stride meet at tensor {name}",
                    hint="end the run before the branch",
                )
            paces[name] = (reads[0], max(known[1], reads[1]), min(known[2], reads[2]))
    return {operator.name: paces[operator.output] for operator in operators}


def _tiles(
    operators: Sequence[Operator],
    inside: Collection[str],
    new: Mapping[str, Sequence[tuple[int, int]]],
) -> tuple[Mapping[str, tuple[int, ...]], Mapping[str, int]]:
    """By operator, the first column of its working tile in each step, and the tile's width."""
    starts: dict[str, tuple[int, ...]] = {}
    extents: dict[str, int] = {}
    for operator in operators:
        spans = new[operator.name]
        if operator.output not in inside:
            starts[operator.name] = tuple(begin for begin, _ in spans)
            extents[operator.name] = max(end - begin for begin, end in spans)
            continue
        readers = [reader for reader in operators if operator.output in reader.inputs]
        begins: list[int] = []
        extent = 1
        for number, (_, end) in enumerate(spans):
            read = [
                (
                    begin * reader.window.stride_w - reader.window.pad_left,
                    (stop - 1) * reader.window.stride_w
                    - reader.window.pad_left
                    + reader.window.span_w,
                )
                for reader in readers
                for begin, stop in [new[reader.name][number]]
                if stop > begin
            ]
            # What a reader will want first, if it has nothing to do yet.
            pending = [
                following * reader.window.stride_w - reader.window.pad_left
                for reader in readers
                for following in [_next_column(new[reader.name], number)]
                if following is not None
            ]
            before = begins[-1] if begins else 0
            begins.append(min(pending, default=before))
            extent = max([extent, end - begins[-1], *(last - begins[-1] for _, last in read)])
        starts[operator.name] = tuple(begins)
        extents[operator.name] = extent
    return starts, extents


def _next_column(spans: Sequence[tuple[int, int]], number: int) -> int | None:
    """The next column that an operator computes, from a step on; None when it is done."""
    return next((begin for begin, end in spans[number:] if end > begin), None)
