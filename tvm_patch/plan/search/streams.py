"""Streams: networks cut into stages that keep all overlaps, so that no MAC is done twice.

A network under such a plan is a sequence of segments: an operator on its own, or a run of operators
streamed row by row. What a segment needs depends on nothing outside it: its own buffers, what is
left of its inputs, what there is of its output, and tensors that only pass by. So the sequence with
the least peak is a bottleneck shortest path over segment boundaries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from heapq import heappop, heappush
from itertools import accumulate
from itertools import count as count_from

from tvm_patch.deadline import Deadline
from tvm_patch.plan.effort import UNLIMITED, Work, group_instructions
from tvm_patch.plan.graph import Access, Graph
from tvm_patch.plan.layout.stage import layer_group
from tvm_patch.plan.record import InputMode, StagePlan
from tvm_patch.plan.search.hop import Hop
from tvm_patch.plan.search.segment import Segment, Segments
from tvm_patch.plan.search.variants import stream_variants

_UNKNOWN = 1 << 62
# Limits tried one by one above the least, where packing decides; then in steps of this factor.
_FINE_LIMITS = 8
_COARSE_STEP = 1.12
# A search for a limit stops when it is known this well.
_NEARLY, _NEARLY_BYTES = 200, 64

# A search for runs has to save this share to be worth it.
_HOPED_FOR = 0.9

# Longer stages hold more line buffers than they save.
_LONGEST = 24
# Halos of halos are computed again and again.
_LONGEST_RECOMPUTED = 10


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
        self.segments = Segments(graph, self.fetched)
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
            yield Hop(self.segments, begin, begin + 1, None)
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
            yield Hop(self.segments, begin, end, variants)

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
