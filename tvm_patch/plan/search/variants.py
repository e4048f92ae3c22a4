"""The ways in which a run of operators can be streamed, cheapest first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tvm_patch.compat import zip_strict
from tvm_patch.plan.graph import Access, Graph, Operator
from tvm_patch.plan.layout.stage import NOT_STEPPED
from tvm_patch.plan.record import StagePlan
from tvm_patch.plan.search.patches import row_stage, stepped_stage

_STEP_WIDTHS = (8, 4, 2, 1)
# Tiles (height, width) in which rows are made again; the higher, the fewer MACs are done twice.
_RECOMPUTED_TILES = ((8, 4), (4, 4), (2, 4), (4, 1), (2, 1), (1, 1))


@dataclass(frozen=True)
class Variant:
    """One way to stream a run of operators.

    Parameters
    ----------
    tile_h, tile_w : int
        Rows and columns of the output in one step.
    runs : tuple of (int, int)
        Operators that go through rows in steps of columns; empty for whole rows throughout.
    recomputed : tuple of int
        Operators inside the runs whose rows are made again for each tile instead of being kept.
    """

    tile_h: int
    tile_w: int
    runs: tuple[tuple[int, int], ...] = ()
    recomputed: tuple[int, ...] = ()

    def stage(self, operators: tuple[Operator, ...], fetched: Collection[str]) -> StagePlan:
        """The stage of these operators; ``fetched`` as for ``row_stage``."""
        if not self.runs:
            return row_stage(operators, self.tile_h, self.tile_w, fetched=fetched)
        return stepped_stage(
            operators,
            self.tile_h,
            self.tile_w,
            self.runs,
            recomputed={operators[place].output for place in self.recomputed},
            fetched=fetched,
        )


@dataclass(frozen=True)
class Variants:
    """Ways to stream the same operators.

    Parameters
    ----------
    keeping : tuple of tuple of Variant
        Families that compute every row once. Of each the later ones need less memory at more
        effort; the first family is whole rows throughout.
    recomputing : tuple of tuple of Variant
        Families of which the later ones need less memory at more MACs.
    """

    keeping: tuple[tuple[Variant, ...], ...]
    recomputing: tuple[tuple[Variant, ...], ...]


def stream_variants(
    graph: Graph,
    begin: int,
    end: int,
    *,
    steps: bool = True,
    recompute: bool = True,
    fetched: Collection[str] = (),
) -> Variants:
    """Ways to stream operators ``begin`` to ``end - 1``.

    Whole rows throughout; then steps of columns, ever narrower, either in one run or in runs that
    hand on the tensors with the smallest rows. Rows inside these runs may also be made again for
    each tile, with ``recompute``. Without ``steps`` there are whole rows only. ``fetched`` names
    inputs of the network that are brought row by row.
    """
    operators = graph.operators[begin:end]
    output = graph.tensor[operators[-1].paced_by]
    families: list[tuple[Variant, ...]] = [(Variant(1, output.width),)]
    if not steps:
        return Variants(tuple(families), ())
    places = stepped_places(operators, fetched)
    narrow = narrow_runs(graph, operators, places)
    patterns = (
        whole_run(operators, places),
        unstrided_runs(operators, places),
        narrow,
        window_runs(operators, places),
        reducing_runs(graph, operators, places),
    )
    for runs in dict.fromkeys(patterns):
        if runs:
            families.append(narrowing(output.width, runs))
    again = [
        family
        for runs in dict.fromkeys((narrow, patterns[0]) if recompute else ())
        if runs
        for family in recomputing(graph, operators, runs)
    ]
    return Variants(tuple(families), tuple(again))


def narrowing(width: int, runs: tuple[tuple[int, int], ...]) -> tuple[Variant, ...]:
    """The same runs in ever narrower steps over an output of ``width`` columns."""
    widths = [width, *(step for step in _STEP_WIDTHS if step < width)]
    return tuple(Variant(1, tile_w, runs) for tile_w in widths)


def recomputing(
    graph: Graph, operators: Sequence[Operator], runs: tuple[tuple[int, int], ...]
) -> Iterator[tuple[Variant, ...]]:
    """Families in which ever more tensors inside the runs are made again.

    Those come first whose rows take much memory and few MACs.
    """
    output = graph.tensor[operators[-1].paced_by]
    inside = [place for first, last in runs for place in range(first, last)]
    spans: dict[str, int] = {}
    for operator in operators:
        for name in operator.inputs:
            spans[name] = max(spans.get(name, 1), operator.window.span_h)

    def worth(place: int) -> float:
        tensor = graph.tensor[operators[place].output]
        return (spans.get(tensor.name, 1) - 1) * tensor.row_bytes / (operators[place].macs + 1)

    order = sorted(inside, key=worth, reverse=True)
    kept = [place for place in order if spans.get(operators[place].output, 1) > 1]
    counts = [*range(1, len(kept)), len(order)]
    for tile_h, tile_w in _RECOMPUTED_TILES:
        if tile_h > max(1, output.height // 2):
            continue
        yield tuple(
            Variant(tile_h, min(tile_w, output.width), runs, tuple(sorted(order[:count])))
            for count in counts
        )


def stepped_places(operators: Sequence[Operator], fetched: Collection[str]) -> range:
    """The operators that runs may be of.

    One that pads a whole input of the stage gathers whole rows, so runs begin behind it; and one
    that adds up rows takes them whole.
    """
    first = operators[0]
    gathers = first.window.has_padding and not all(name in fetched for name in first.inputs)
    adds_up = operators[-1].access is Access.ACCUMULATE
    return range(1 if gathers else 0, len(operators) - (1 if adds_up else 0))


def whole_run(operators: Sequence[Operator], places: range) -> tuple[tuple[int, int], ...]:
    """One run of as many operators as can be in one."""
    return _runs_of(operators, [places])


def unstrided_runs(operators: Sequence[Operator], places: range) -> tuple[tuple[int, int], ...]:
    """Runs that no stride is inside of, so that each operator makes one row at a time."""
    units: list[range] = []
    first = places.start
    for place in places:
        made = {operator.output for operator in operators[first:place]}
        inside = any(name in made for name in operators[place].inputs)
        if operators[place].window.stride_h > 1 and inside:
            units.append(range(first, place))
            first = place
    units.append(range(first, places.stop))
    return _runs_of(operators, units)


def window_runs(operators: Sequence[Operator], places: range) -> tuple[tuple[int, int], ...]:
    """Runs that end with a window and begin with what makes its rows.

    Each run has its working tiles to itself only while it goes through a row.
    """
    made = {operators[place].output: place for place in places}
    units: list[range] = []
    for place in places:
        operator = operators[place]
        if operator.window.span_h == 1 or operator.inputs[0] not in made:
            continue
        first = made[operator.inputs[0]]
        if units and first < units[-1].stop:
            first = units.pop().start
        units.append(range(first, place + 1))
    return _runs_of(operators, units)


def reducing_runs(
    graph: Graph, operators: Sequence[Operator], places: range
) -> tuple[tuple[int, int], ...]:
    """Runs that begin with a window over whole rows and go on while rows do not grow."""
    row_bytes = [graph.tensor[operator.output].row_bytes for operator in operators]
    units: list[range] = []
    growing = True
    for place in places:
        if operators[place].window.span_h > 1:
            units.append(range(place, place + 1))
            growing = False
        elif not growing and row_bytes[place] <= row_bytes[place - 1]:
            units[-1] = range(units[-1].start, place + 1)
        else:
            growing = True
    return _runs_of(operators, units)


def narrow_runs(
    graph: Graph, operators: Sequence[Operator], places: range
) -> tuple[tuple[int, int], ...]:
    """Runs between the tensors whose rows are smaller than their neighbours'."""
    row_bytes = [graph.tensor[operator.output].row_bytes for operator in operators]
    units: list[range] = []
    first = places.start
    for place in places:
        before = row_bytes[place - 1] if place else graph.tensor[operators[0].inputs[0]].row_bytes
        falls = row_bytes[place] <= before
        at_end = place == places[-1]
        if at_end or (falls and row_bytes[place] <= row_bytes[place + 1]):
            units.append(range(first, place + 1))
            first = place + 1
    return _runs_of(operators, units)


def neighbouring_runs(
    operators: Sequence[Operator], places: range, runs: Sequence[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], ...]]:
    """Runs in which one pair of successive operators more is, or is not, in the same run."""
    joined = {place for first, last in runs for place in range(first, last)}
    for place in places[:-1]:
        ends = [each for each in places if each not in joined ^ {place}]
        begins = [places.start, *(end + 1 for end in ends[:-1])]
        units = [range(first, end + 1) for first, end in zip_strict(begins, ends)]
        together = _runs_of(operators, units)
        if together and sum(last - first for first, last in together) == len(joined ^ {place}):
            yield together


def _runs_of(operators: Sequence[Operator], units: Iterable[range]) -> tuple[tuple[int, int], ...]:
    """Those of several operators, all of which can go through a row in steps."""
    return tuple(
        (unit.start, unit.stop - 1)
        for unit in units
        if len(unit) > 1 and all(operators[place].kind not in NOT_STEPPED for place in unit)
    )
