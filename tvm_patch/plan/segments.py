"""Streams: networks cut into stages that keep all overlaps, so that no MAC is done twice.

A network under such a plan is a sequence of segments: an operator on its own, or a run of operators
streamed row by row. What a segment needs depends on nothing outside it: its own buffers, what is
left of its inputs, what there is of its output, and tensors that only pass by. So the sequence with
the least peak is a bottleneck shortest path over segment boundaries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from itertools import accumulate
from itertools import count as count_from

from tvm_patch.deadline import Deadline
from tvm_patch.errors import PlanError
from tvm_patch.memory import Buffer, Piece
from tvm_patch.plan.effort import UNLIMITED, Work, group_instructions
from tvm_patch.plan.graph import Access, Graph
from tvm_patch.plan.inside import assign_inside, may_take_place_of
from tvm_patch.plan.layout import Group, layer_group, stage_group
from tvm_patch.plan.record import InputMode, StagePlan
from tvm_patch.plan.timeline import Timeline, counted_growth, rows_in_use
from tvm_patch.plan.variants import (
    Variant,
    Variants,
    narrowing,
    neighbouring_runs,
    stepped_places,
    stream_variants,
)

_UNKNOWN = 1 << 62
# Limits tried one by one above the least, where packing decides; then in steps of this factor.
_FINE_LIMITS = 8
_COARSE_STEP = 1.12
# A search for a limit stops when it is known this well.
_NEARLY, _NEARLY_BYTES = 200, 64

# Runs are searched for in steps of this width, and where they may save at most this share.
_NARROWEST = 1
_HOPED_FOR = 0.9
_LONGEST_SEARCHED = 14

# Longer stages hold more line buffers than they save.
_LONGEST = 24
# Halos of halos are computed again and again.
_LONGEST_RECOMPUTED = 10


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
    work : Work
        What it costs.
    """

    begin: int
    end: int
    stage: StagePlan | None
    peak_bytes: int
    work: Work


class Hop:
    """From one boundary of the network to another, by any of several segments.

    Segments are looked at when they are asked for, since most of them never matter.

    Parameters
    ----------
    space : StreamSpace
        Where it belongs.
    begin, end : int
        Operators ``begin`` to ``end - 1``.
    variants : Variants or None
        Stages; None for an operator on its own.
    """

    def __init__(self, space: StreamSpace, begin: int, end: int, variants: Variants | None) -> None:
        self.begin = begin
        self.end = end
        self.floor_bytes = space.floor_bytes(begin, end)
        self._space = space
        self._variants = variants
        self._searched: tuple[tuple[Variant, ...], ...] = ()
        self._known: dict[Variant | None, Segment | None] = {}

    def _segment(self, variant: Variant | None) -> Segment | None:
        if variant not in self._known:
            self._known[variant] = self._space.segment(self.begin, self.end, variant)
        return self._known[variant]

    @property
    def known(self) -> Iterator[Segment]:
        """Segments looked at so far."""
        return (segment for segment in self._known.values() if segment is not None)

    @property
    def _families(self) -> Sequence[Sequence[Variant | None]]:
        if self._variants is None:
            return ((None,),)
        return self._variants.keeping + self._searched + self._variants.recomputing

    def simplest(self) -> Segment | None:
        """The segment that is tried first; None where it cannot be carried out."""
        return self._segment(self._families[0][0])

    def least(self) -> Segment | None:
        """The segment that needs least memory."""
        segments = [self._segment(family[-1]) for family in self._families]
        return min(
            (segment for segment in segments if segment is not None),
            key=lambda segment: (segment.peak_bytes, segment.work),
            default=None,
        )

    @property
    def may_search(self) -> bool:
        """Whether :meth:`search_runs` may find anything."""
        length = self.end - self.begin
        if self._variants is None or length > _LONGEST_SEARCHED:
            return False
        return len(self._variants.keeping) > 1

    def search_runs(self) -> Segment | None:
        """Better runs than those of the patterns, by steps from the best of these."""
        assert self._variants is not None
        operators = self._space.graph.operators[self.begin : self.end]
        places = stepped_places(operators, self._space.fetched)
        found = [
            (segment.peak_bytes, segment.work, family[-1])
            for family in self._variants.keeping
            if (segment := self._segment(family[-1])) is not None
        ]
        if not found:
            return None
        peak_bytes, work, best = min(found, key=lambda each: each[:2])
        start = best
        better = True
        while better:
            better = False
            for runs in neighbouring_runs(operators, places, best.runs):
                variant = Variant(1, _NARROWEST, runs)
                segment = self._segment(variant)
                if segment and (segment.peak_bytes, segment.work) < (peak_bytes, work):
                    peak_bytes, work, best = segment.peak_bytes, segment.work, variant
                    better = True
        if best != start:
            output = self._space.graph.tensor[operators[-1].paced_by]
            self._searched = (narrowing(output.width, best.runs),)
        return self._segment(best)

    def cheapest(self, limit_bytes: int, *, thrifty: bool, simply: bool = False) -> Segment | None:
        """The segment with the least work, see :meth:`Work.key`, within a limit of live bytes.

        The one that is tried first, or none, if ``simply``.
        """
        if self.floor_bytes > limit_bytes:
            return None
        simplest = self.simplest()
        if simplest is not None and simplest.peak_bytes <= limit_bytes:
            return simplest
        if simply:
            return None
        fitting = [self._first_fitting(family, limit_bytes) for family in self._families]
        segments = [segment for segment in fitting if segment is not None]
        return min(segments, key=lambda segment: segment.work.key(thrifty), default=None)

    def _first_fitting(self, family: Sequence[Variant | None], limit_bytes: int) -> Segment | None:
        """The first of a family that fits: a binary search, since later ones need less."""
        best = self._segment(family[-1])
        if best is None or best.peak_bytes > limit_bytes:
            return None
        low, high = 0, len(family) - 1
        while low < high:
            middle = (low + high) // 2
            segment = self._segment(family[middle])
            if segment is not None and segment.peak_bytes <= limit_bytes:
                best, high = segment, middle
            else:
                low = middle + 1
        return best


class StreamSpace:
    """All segments of a graph, and the best sequences of them.

    Parameters
    ----------
    graph : Graph
        The network.
    input_mode : InputMode
        Whether its inputs are resident or brought row by row.
    recompute : bool
        Whether rows may be computed more than once.
    steps : bool
        Whether rows may be gone through in steps of columns.
    deadline : Deadline or None
        Once it has passed, all further operators are left on their own.
    """

    def __init__(
        self,
        graph: Graph,
        input_mode: InputMode = InputMode.RESIDENT,
        *,
        recompute: bool = True,
        steps: bool = True,
        deadline: Deadline | None = None,
    ) -> None:
        self.graph = graph
        self._steps = steps
        self.recompute = recompute
        self.fetched = graph.inputs if input_mode is InputMode.ROWS else ()
        self._deadline = deadline or Deadline()

    @cached_property
    def hops(self) -> Mapping[int, tuple[Hop, ...]]:
        """Hops by the operator that they begin with."""
        operators = range(len(self.graph.operators))
        return {begin: tuple(self._hops_from(begin)) for begin in operators}

    def _hops_from(self, begin: int) -> Iterator[Hop]:
        graph = self.graph
        operator = graph.operators[begin]
        if not any(name in self.fetched for name in operator.inputs):
            yield Hop(self, begin, begin + 1, None)
        for end in range(begin + 1, min(len(graph.operators), begin + _LONGEST) + 1):
            last = graph.operators[end - 1]
            if last.access not in (Access.ROWS, Access.ACCUMULATE) or not last.streamable:
                return
            variants = stream_variants(
                graph,
                begin,
                end,
                steps=self._steps,
                recompute=self.recompute and end - begin <= _LONGEST_RECOMPUTED,
                fetched=self.fetched,
            )
            yield Hop(self, begin, end, variants)

    @cached_property
    def least_peak_bytes(self) -> int:
        """Least live bytes at the worst tick of any sequence, whatever its work.

        A bottleneck shortest path.

        It looks at a hop only when nothing less demanding has reached its end before.
        """
        count = len(self.graph.operators)
        best = [_UNKNOWN] * (count + 1)
        best[0] = 0
        settled = [False] * (count + 1)
        queue: list[tuple[int, int, int, Hop | None, bool]] = [(0, 0, 0, None, False)]
        tickets = count_from(1)

        def reach(hop: Hop, segment: Segment | None) -> int:
            """Take note of a segment; the peak of the best way that ends with it."""
            if segment is None:
                return _UNKNOWN
            key = max(best[hop.begin], segment.peak_bytes)
            if key < best[hop.end]:
                best[hop.end] = key
                heappush(queue, (key, hop.end, next(tickets), None, False))
            return key

        while queue:
            peak_bytes, place, _, hop, again = heappop(queue)
            if settled[hop.end if hop is not None else place]:
                continue
            if hop is None:
                if place == count:
                    return peak_bytes
                settled[place] = True
                for following in self.hops[place]:
                    key = max(peak_bytes, following.floor_bytes)
                    heappush(queue, (key, place, next(tickets), following, False))
                continue
            # What begins with the first operator is looked at in any case: an input by rows needs
            # a stage there.
            if hop.begin > 0 and hop.end > hop.begin + 1 and self._deadline.passed():
                continue
            if again:
                reach(hop, hop.search_runs())
                continue
            key = reach(hop, hop.simplest())
            if key > peak_bytes:
                key = min(key, reach(hop, hop.least()))
            if _UNKNOWN > key > peak_bytes and hop.may_search:
                hoped = max(peak_bytes, round(key * _HOPED_FOR))
                heappush(queue, (hoped, place, next(tickets), hop, True))
        return best[count]

    def cheapest(self, limit_bytes: int, *, thrifty: bool = False) -> tuple[Segment, ...] | None:
        """The sequence with the least work, see :meth:`Work.key`, within a limit of live bytes."""
        count = len(self.graph.operators)
        work: list[Work | None] = [Work(0, 0), *([None] * count)]
        chosen: list[Segment | None] = [None] * (count + 1)
        for end in range(1, count + 1):
            # The shortest first: where layers on their own do, longer ones are not narrowed.
            for hop in self._hops_to[end]:
                done, known = work[hop.begin], work[end]
                if done is None:
                    continue
                at_least = done + self._layers_between(hop.begin, end)
                # In whole rows it may be a little faster than layer by layer, else it is not.
                enough = known is not None and known.key(thrifty) <= at_least.key(thrifty)
                segment = hop.cheapest(limit_bytes, thrifty=thrifty, simply=enough)
                if segment is None:
                    continue
                total = done + segment.work
                if known is None or total.key(thrifty) < known.key(thrifty):
                    work[end], chosen[end] = total, segment
        segments: list[Segment] = []
        at = count
        while at > 0:
            step = chosen[at]
            if step is None:
                return None
            segments.append(step)
            at = step.begin
        return tuple(reversed(segments))

    @cached_property
    def _hops_to(self) -> Mapping[int, Sequence[Hop]]:
        """Hops by their end, the shortest first."""
        ends: dict[int, list[Hop]] = {end + 1: [] for end in range(len(self.graph.operators))}
        for begin in reversed(range(len(self.graph.operators))):
            for hop in self.hops[begin]:
                ends[hop.end].append(hop)
        return ends

    @cached_property
    def _layers_before(self) -> Sequence[Work]:
        """What operators in front of each boundary take on their own."""
        groups = (
            None if operator.access is Access.VIEW else layer_group(self.graph, operator)
            for operator in self.graph.operators
        )
        each = (Work(g.macs, group_instructions(g)) if g else Work(0, 0) for g in groups)
        return list(accumulate(each, initial=Work(0, 0)))

    def _layers_between(self, begin: int, end: int) -> Work:
        first, last = self._layers_before[begin], self._layers_before[end]
        return Work(last.macs - first.macs, last.instructions - first.instructions)

    def limits(self, least_bytes: int, *, all_above: bool = True) -> Iterator[int]:
        """Limits of live bytes worth trying, from a least one upwards.

        Packing decides among those just above it, which are tried one by one; with ``all_above``
        others follow, ever wider apart, up to where all runs layer by layer.
        """
        yield least_bytes
        hops = [hop for some in self.hops.values() for hop in some]
        known = {segment.peak_bytes for hop in hops for segment in hop.known}
        above = sorted(peak for peak in known if peak > least_bytes)
        yield from above[:_FINE_LIMITS]
        limit_bytes = float(least_bytes)
        while all_above and above and limit_bytes < above[-1]:
            limit_bytes *= _COARSE_STEP
            yield round(limit_bytes)

    def least_within(self, most: Work, *, thrifty: bool = False) -> tuple[int, int]:
        """The least limit of live bytes that some sequence keeps to at no more than this work.

        Returns
        -------
        (int, int)
            A limit that does, found to a small fraction, and one that no sequence keeps to unless
            it is the same.
        """
        low = self.least_peak_bytes
        if self._work(low, thrifty).within(most):
            return low, low
        high = 2 * low
        while not self._work(high, thrifty).within(most) and high < _UNKNOWN:
            low, high = high, 2 * high
        while high - low > max(_NEARLY_BYTES, high // _NEARLY):
            middle = (low + high) // 2
            low, high = (
                (low, middle) if self._work(middle, thrifty).within(most) else (middle, high)
            )
        return high, low

    def _work(self, limit_bytes: int, thrifty: bool) -> Work:
        """What the cheapest sequence within a limit takes; very much if there is none."""
        segments = self.cheapest(limit_bytes, thrifty=thrifty)
        if segments is None:
            return Work(2 * UNLIMITED, 2 * UNLIMITED)
        return sum((segment.work for segment in segments), start=Work(0, 0))

    def segment(self, begin: int, end: int, variant: Variant | None) -> Segment | None:
        """One segment, an operator on its own without a variant; None where it cannot be."""
        operator = self.graph.operators[begin]
        if operator.access is Access.VIEW:
            return Segment(begin, end, None, 0, Work(0, 0)) if variant is None else None
        stage = None
        if variant is not None:
            stage = variant.stage(self.graph.operators[begin:end], self.fetched)
        try:
            group = (
                layer_group(self.graph, operator)
                if stage is None
                else stage_group(self.graph, stage, "stage0")
            )
        except PlanError:
            return None
        peak_bytes = self._peak(group, begin, end)
        work = Work(group.macs, group_instructions(group), peak_bytes)
        return Segment(begin, end, stage, peak_bytes, work)

    def floor_bytes(self, begin: int, end: int) -> int:
        """Live bytes that operators on their own or as a stage cannot do without.

        Before the first operator runs all that they are given is there, and behind the last one
        all that they hand on.
        """
        given = self._alive_bytes(begin)
        left = self._alive_bytes(end)
        return max(given, left)

    def _alive_bytes(self, boundary: int) -> int:
        """Whole tensors that live at a boundary."""
        return self._alive_at[boundary]

    @cached_property
    def _alive_at(self) -> Sequence[int]:
        views = {op.output for op in self.graph.operators if op.access is Access.VIEW}
        alive = [0] * (len(self.graph.operators) + 1)
        for tensor in self.graph.tensors:
            if tensor.name in views or tensor.name in self.fetched:
                continue
            first = self.graph.producer.get(tensor.name, -1) + 1
            last = min(self._last_reader[tensor.name], len(self.graph.operators))
            for boundary in range(first, last + 1):
                alive[boundary] += tensor.size_bytes
        return alive

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
            and tensor.name not in self.fetched
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
            if any(name in layout.operator.whole_inputs for layout in readers):
                continue
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


def segment_sequences(
    space: StreamSpace, limits: Iterable[int], most: int, *, thrifty: bool = False
) -> Iterator[tuple[StagePlan, ...]]:
    """Stages of distinct sequences, the cheapest within each limit, at most ``most`` of them."""
    seen: set[tuple[StagePlan, ...]] = set()
    for limit_bytes in limits:
        if len(seen) >= most:
            return
        segments = space.cheapest(limit_bytes, thrifty=thrifty)
        if segments is None:
            continue
        stages = tuple(each.stage for each in segments if each.stage is not None)
        if stages not in seen:
            seen.add(stages)
            yield stages
