"""Streams: networks cut into stages that keep all overlaps, so that no MAC is done twice.

A network under such a plan is a sequence of segments: an operator on its own, or a run of operators
streamed row by row. What a segment needs depends on nothing outside it: its own buffers, what is
left of its inputs, what there is of its output, and tensors that only pass by. So the sequence with
the least peak is a bottleneck shortest path over segment boundaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from tvm_patch.deadline import Deadline
from tvm_patch.errors import PlanError
from tvm_patch.memory import Buffer, Piece
from tvm_patch.plan.enumerate import row_stage
from tvm_patch.plan.graph import Access, Graph
from tvm_patch.plan.inside import assign_inside, may_take_place_of
from tvm_patch.plan.layout import Group, layer_group, stage_group
from tvm_patch.plan.record import InputMode, StagePlan
from tvm_patch.plan.timeline import Timeline, counted_growth, rows_in_use

_FEWEST = float("inf")
# Longer stages hold more line buffers than they save.
_LONGEST = 24


@dataclass(frozen=True)
class Segment:
    """A part of the network in execution order.

    Parameters
    ----------
    begin, end : int
        Operators ``begin`` to ``end - 1``.
    stage : StagePlan or None
        How it is streamed; None for an operator on its own.
    peak_bytes : int
        Live bytes at its worst tick, tensors that only pass by included.
    """

    begin: int
    end: int
    stage: StagePlan | None
    peak_bytes: int

    @property
    def streamed_operators(self) -> int:
        """Operators that run row by row, and so a little slower than in one go."""
        return self.end - self.begin if self.stage is not None else 0


class StreamSpace:
    """All segments of a graph, and the best sequences of them.

    Parameters
    ----------
    graph : Graph
        The network.
    input_mode : InputMode
        Whether its inputs are resident or brought row by row.
    deadline : Deadline or None
        Once it has passed, all further operators are left on their own.
    """

    def __init__(
        self,
        graph: Graph,
        input_mode: InputMode = InputMode.RESIDENT,
        *,
        deadline: Deadline | None = None,
    ) -> None:
        self.graph = graph
        self._deadline = deadline or Deadline()
        self._fetched = graph.inputs if input_mode is InputMode.ROWS else ()

    @cached_property
    def segments(self) -> Mapping[int, tuple[Segment, ...]]:
        """Segments by the operator that they begin with."""
        operators = range(len(self.graph.operators))
        return {begin: tuple(self._segments_from(begin)) for begin in operators}

    @cached_property
    def least_peak_bytes(self) -> int:
        """Least live bytes that any sequence of segments has at its worst tick."""
        count = len(self.graph.operators)
        best = [0, *([1 << 62] * count)]
        for begin in range(count):
            for segment in self.segments[begin]:
                peak = max(best[begin], segment.peak_bytes)
                best[segment.end] = min(best[segment.end], peak)
        return best[count]

    def cheapest(self, limit_bytes: int) -> tuple[StagePlan, ...] | None:
        """The stages of the sequence that streams fewest operators within a limit of live bytes."""
        count = len(self.graph.operators)
        cost: list[float] = [0, *([_FEWEST] * count)]
        chosen: list[Segment | None] = [None] * (count + 1)
        for begin in range(count):
            for segment in self.segments[begin]:
                if segment.peak_bytes > limit_bytes:
                    continue
                total = cost[begin] + segment.streamed_operators
                if total < cost[segment.end]:
                    cost[segment.end], chosen[segment.end] = total, segment
        if chosen[count] is None:
            return None
        stages: list[StagePlan] = []
        at = count
        while at > 0:
            step = chosen[at]
            assert step is not None
            if step.stage is not None:
                stages.append(step.stage)
            at = step.begin
        return tuple(reversed(stages))

    def limits(self) -> Iterator[int]:
        """Limits of live bytes that make a difference, least first."""
        least = self.least_peak_bytes
        peaks = {s.peak_bytes for some in self.segments.values() for s in some}
        yield from sorted(peak for peak in peaks if peak >= least)

    def _segments_from(self, begin: int) -> Iterator[Segment]:
        graph = self.graph
        operator = graph.operators[begin]
        if operator.access is Access.VIEW:
            yield Segment(begin, begin + 1, None, 0)
            return
        if not any(name in self._fetched for name in operator.inputs):
            group = layer_group(graph, operator)
            yield Segment(begin, begin + 1, None, self._peak(group, begin, begin + 1))
        for end in range(begin + 1, min(len(graph.operators), begin + _LONGEST) + 1):
            # What begins with the first operator is looked at in any case: an input by rows needs
            # a stage there.
            if begin > 0 and self._deadline.passed():
                return
            last = graph.operators[end - 1]
            if last.access not in (Access.ROWS, Access.ACCUMULATE) or not last.streamable:
                return
            width = graph.tensor[last.paced_by].width
            stage = row_stage(graph.operators[begin:end], 1, width, fetched=self._fetched)
            try:
                group = stage_group(graph, stage, "stage0")
            except PlanError:
                continue
            yield Segment(begin, end, stage, self._peak(group, begin, end))

    @cached_property
    def _last_reader(self) -> Mapping[str, int]:
        """Index of the last operator that reads each tensor, itself or through a view."""
        graph, end = self.graph, len(self.graph.operators)
        last = {name: max(readers, default=-1) for name, readers in graph.consumers.items()}
        last.update(dict.fromkeys(graph.outputs, end))
        for operator in reversed(graph.operators):
            if operator.access is Access.VIEW:
                source = operator.inputs[0]
                last[source] = max(last[source], last[operator.output])
        return last

    def _passing_bytes(self, group: Group, begin: int, end: int) -> int:
        """Whole tensors that live through a segment without being read or written in it."""
        views = {op.output for op in self.graph.operators if op.access is Access.VIEW}
        return sum(
            tensor.size_bytes
            for tensor in self.graph.tensors
            if tensor.name not in group.blocks
            and tensor.name not in views
            and tensor.name not in self._fetched
            and self.graph.producer.get(tensor.name, -1) < begin
            and self._last_reader[tensor.name] >= end
        )

    def _peak(self, group: Group, begin: int, end: int) -> int:
        """Live bytes at a segment's worst tick."""
        whole = {name: block for name, block in group.blocks.items() if block.region is None}
        output = whole.pop(group.output)
        timeline = Timeline(self.graph, (group,))
        ticks = group.steps * len(group.order)
        inside = _live_bytes(assign_inside(self.graph, timeline, group).buffers, ticks)
        steady = self._passing_bytes(group, begin, end)
        dying = [name for name in whole if self._last_reader[name] < end]
        steady += sum(block.tensor.size_bytes for block in whole.values())
        if group.steps == 1:
            last = group.operators[-1]
            takes_place = any(may_take_place_of(last, group, name) for name in dying)
            return steady + max(inside) + (0 if takes_place else output.tensor.size_bytes)
        freed = [0] * ticks
        for name in dying:
            readers = [layout for layout in group.operators if name in layout.operator.inputs]
            row_bytes = whole[name].tensor.row_bytes
            for tick, rows in enumerate(rows_in_use(group, readers, name)):
                freed[tick] += rows * row_bytes
        last_unit = len(group.units) - 1
        worst = tick = 0
        made = output.tensor.size_bytes if group.accumulates else 0
        for grown in counted_growth(group):
            for unit in group.order:
                made = grown if unit == last_unit else made
                worst = max(worst, inside[tick] + made - freed[tick])
                tick += 1
        return steady + worst


def _live_bytes(buffers: Sequence[Buffer], ticks: int) -> list[int]:
    """Bytes of all buffers at each tick."""
    changes = [0] * (ticks + 1)
    for buffer in buffers:
        pieces = buffer.pieces or (Piece(buffer.first_use, buffer.last_use, 0, buffer.size_bytes),)
        for piece in pieces:
            changes[piece.first_use] += piece.size_bytes
            changes[piece.last_use + 1] -= piece.size_bytes
    return list(accumulate(changes[:-1]))


def segment_sequences(space: StreamSpace, most: int) -> Iterator[tuple[StagePlan, ...]]:
    """Distinct sequences, least live bytes first, at most ``most`` of them."""
    seen: set[tuple[StagePlan, ...]] = set()
    for limit_bytes in space.limits():
        if len(seen) >= most:
            return
        stages = space.cheapest(limit_bytes)
        if stages is not None and stages not in seen:
            seen.add(stages)
            yield stages
