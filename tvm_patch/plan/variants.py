"""The ways in which a run of operators can be streamed, cheapest first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tvm_patch.plan.enumerate import row_stage, stepped_stage
from tvm_patch.plan.graph import Access, Graph, Operator
from tvm_patch.plan.layout import NOT_STEPPED
from tvm_patch.plan.record import StagePlan

_STEP_WIDTHS = (8, 4, 2, 1)
_TILE_HEIGHTS = (12, 8, 6, 4, 3, 2, 1)


@dataclass(frozen=True)
class Variant:
    """One way to stream a run of operators.

    Parameters
    ----------
    tile_h, tile_w : int
        Rows and columns of the output in one step.
    runs : tuple of (int, int)
        Operators that go through rows in steps of columns; empty for whole rows throughout.
    recomputes : bool
        Rows inside the runs are made again for each tile instead of being kept.
    """

    tile_h: int
    tile_w: int
    runs: tuple[tuple[int, int], ...] = ()
    recomputes: bool = False

    def stage(self, operators: tuple[Operator, ...], fetched: Collection[str]) -> StagePlan:
        """The stage of these operators; ``fetched`` as for ``row_stage``."""
        if not self.runs:
            return row_stage(operators, self.tile_h, self.tile_w, fetched=fetched)
        inside = {op.output for first, last in self.runs for op in operators[first:last]}
        return stepped_stage(
            operators,
            self.tile_h,
            self.tile_w,
            self.runs,
            recomputed=inside if self.recomputes else (),
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


def stream_variants(graph: Graph, begin: int, end: int, *, steps: bool = True) -> Variants:
    """Ways to stream operators ``begin`` to ``end - 1``.

    Whole rows throughout; then steps of columns, ever narrower, either in one run or in runs that
    hand on the tensors with the smallest rows. Rows inside these runs may also be made again for
    each tile. Without ``steps`` there are whole rows only.
    """
    operators = graph.operators[begin:end]
    output = graph.tensor[operators[-1].paced_by]
    if not steps:
        return Variants(((Variant(1, output.width),),), ())
    stepped = operators[:-1] if operators[-1].access is Access.ACCUMULATE else operators
    narrow = narrow_runs(graph, stepped)
    widths = [output.width, *(width for width in _STEP_WIDTHS if width < output.width)]
    families: list[tuple[Variant, ...]] = [(Variant(1, output.width),)]
    patterns = (whole_run(stepped), unstrided_runs(stepped), narrow, window_runs(graph, stepped))
    for runs in dict.fromkeys(patterns):
        if runs:
            families.append(tuple(Variant(1, tile_w, runs) for tile_w in widths))
    heights = [height for height in _TILE_HEIGHTS if height <= max(1, output.height // 2)]
    again = tuple(
        tuple(Variant(tile_h, min(tile_w, output.width), narrow, True) for tile_h in heights)
        for tile_w in (4, 1)
        if narrow
    )
    return Variants(tuple(families), again)


def whole_run(operators: Sequence[Operator]) -> tuple[tuple[int, int], ...]:
    """One run of as many operators as can be in one."""
    first = _first_stepped(operators) if operators else 0
    last = len(operators) - 1
    return ((first, last),) if last > first and _may_step(operators[first:]) else ()


def unstrided_runs(operators: Sequence[Operator]) -> tuple[tuple[int, int], ...]:
    """Runs that no stride is inside of, so that each operator makes one row at a time."""
    runs: list[tuple[int, int]] = []
    first = _first_stepped(operators) if operators else 0
    for place in range(first, len(operators) + 1):
        if place < len(operators) and operators[place].window.stride_h == 1:
            continue
        if place - 1 > first and _may_step(operators[first:place]):
            runs.append((first, place - 1))
        first = place
    return tuple(runs)


def window_runs(graph: Graph, operators: Sequence[Operator]) -> tuple[tuple[int, int], ...]:
    """Runs that end with a window and begin with what makes its rows.

    Each run has its working tiles to itself only while it goes through a row.
    """
    places = {operator.output: place for place, operator in enumerate(operators)}
    runs: list[tuple[int, int]] = []
    for place in range(_first_stepped(operators) if operators else 0, len(operators)):
        operator = operators[place]
        if operator.window.span_h == 1 or operator.inputs[0] not in places:
            continue
        first = places[operator.inputs[0]]
        if runs and first <= runs[-1][1]:
            first = runs.pop()[0]
        if first >= _first_stepped(operators) and _may_step(operators[first : place + 1]):
            runs.append((first, place))
    return tuple(runs)


def narrow_runs(graph: Graph, operators: Sequence[Operator]) -> tuple[tuple[int, int], ...]:
    """Runs between the tensors whose rows are smaller than their neighbours'."""
    row_bytes = [graph.tensor[operator.output].row_bytes for operator in operators]
    begin = _first_stepped(operators) if operators else 0
    runs: list[tuple[int, int]] = []
    first = begin
    for place in range(begin, len(operators)):
        at_end = place == len(operators) - 1
        falls = place == 0 or row_bytes[place] <= row_bytes[place - 1]
        if at_end or (falls and row_bytes[place] <= row_bytes[place + 1]):
            if place > first and _may_step(operators[first : place + 1]):
                runs.append((first, place))
            first = place + 1
    return tuple(runs)


def _first_stepped(operators: Sequence[Operator]) -> int:
    """An operator that pads the stage's input gathers whole rows, so runs begin behind it."""
    return 1 if operators[0].window.has_padding else 0


def _may_step(operators: Sequence[Operator]) -> bool:
    return all(operator.kind not in NOT_STEPPED for operator in operators)
