"""A run of operators that may become a stage, and the best ways to stream it within a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tvm_patch.plan.search.segment import Segment, Segments
from tvm_patch.plan.search.variants import (
    Variant,
    Variants,
    narrowing,
    neighbouring_runs,
    stepped_places,
)

# Runs are searched for in steps of this width, and where they may save at most this share.
_NARROWEST = 1
_LONGEST_SEARCHED = 14


class Hop:
    """From one boundary of the network to another, by any of several segments.

    Segments are looked at when they are asked for, since most of them never matter.

    Parameters
    ----------
    segments : Segments
        What makes them.
    begin, end : int
        Operators ``begin`` to ``end - 1``.
    variants : Variants or None
        Stages; None for an operator on its own.
    """

    def __init__(self, segments: Segments, begin: int, end: int, variants: Variants | None) -> None:
        self.begin = begin
        self.end = end
        self.floor_bytes = segments.live.floor_bytes(begin, end)
        self._segments = segments
        self._variants = variants
        self._searched: tuple[tuple[Variant, ...], ...] = ()
        self._known: dict[Variant | None, Segment | None] = {}

    def _segment(self, variant: Variant | None) -> Segment | None:
        if variant not in self._known:
            self._known[variant] = self._segments.between(self.begin, self.end, variant)
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
        operators = self._segments.graph.operators[self.begin : self.end]
        places = stepped_places(operators, self._segments.fetched)
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
            output = self._segments.graph.tensor[operators[-1].paced_by]
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
