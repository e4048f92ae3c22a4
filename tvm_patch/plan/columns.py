"""Column runs: operators of a stage that go through each row together, a few columns at a time.

A window over whole rows holds as many rows as it is high. Stepped along x it needs all but the
newest of them, and of the newest a few columns; and what lies between the operators of a run is a
few columns wide instead of a row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

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
        Columns [begin, end) of the image, by step; empty where nothing is left to do.
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

    Each column of the image is computed once, as soon as a later operator needs it. So the first
    steps of the operators in front are wider than the others, and their last ones are narrower.

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
    width = graph.tensor[operators[-1].output].width
    begins = range(0, width, run.tile_w)
    ends = [min(width, begin + run.tile_w) for begin in begins]
    needed = {operators[-1].output: (list(begins), ends)}
    steps: dict[str, ColumnSteps] = {}
    for operator in reversed(operators):
        starts, stops = needed[operator.output]
        size = graph.tensor[operator.output].width
        new: list[tuple[int, int]] = []
        done = 0
        for start, stop in zip(starts, stops, strict=True):
            begin = min(max(done, start, 0), size)
            done = max(done, min(stop, size))
            new.append((begin, max(begin, min(stop, size))))
        extent = max(stop - start for start, stop in zip(starts, stops, strict=True))
        steps[operator.name] = ColumnSteps(tuple(new), tuple(starts), extent)
        window = operator.window
        for name in dict.fromkeys(operator.inputs):
            if name not in inside:
                continue
            first = [start * window.stride_w - window.pad_left for start in starts]
            last = [(s - 1) * window.stride_w - window.pad_left + window.span_w for s in stops]
            if name in needed:
                first = [min(a, b) for a, b in zip(first, needed[name][0], strict=True)]
                last = [max(a, b) for a, b in zip(last, needed[name][1], strict=True)]
            needed[name] = (first, last)
    return steps
