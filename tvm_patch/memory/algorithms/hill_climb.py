"""Hill climbing over placement orders, after the planners of TFLite Micro and TVM's USMP.

The search starts from the best greedy order. Each step takes a buffer at the top of the arena, or
one that holds it up, and moves it in the order relative to a buffer that it conflicts with. The
new order is kept if its arena is not far above the smallest one so far; how far shrinks to nothing
(record-to-record travel, Dueck 1993). Without that leeway it gets stuck where alignments differ.
"""

from __future__ import annotations

import random
from operator import itemgetter

from tvm_patch.memory.algorithms.first_fit import UNPLACED, FirstFit
from tvm_patch.memory.algorithms.greedy import (
    both_ways,
    order_by_breadth,
    order_by_conflict,
    order_by_size,
    order_by_time,
)
from tvm_patch.memory.algorithms.interface import Packing, SearchLimits
from tvm_patch.memory.conflicts import ConflictGraph
from tvm_patch.memory.problem import Problem

# One trial costs about as many of these units as there are buffers and conflicts. The budget is
# work, not time, so that a busy machine finds the same packing as an idle one.
_WORK_UNITS = 600_000
_MAX_TRIALS = 2_000
# The leeway at the start, as a fraction of the best arena. Of 0, 2, 5 and 10 % this left the
# smallest mean distance to the bound on random problems of 4 to 80 buffers.
_INITIAL_LEEWAY = 0.05
# Whether a map lies a few rows below the one before or high above it decides about all that
# follow, and few moves turn that round. On 120 chains of 2 to 10 stages, one start left up to 19 %
# above the smallest packing, six different ones with the same trials in total 1.7 % (mean 0.03 %).
_STARTS_WITH_PIECES = 6


def pack_hill_climb(problem: Problem, graph: ConflictGraph, limits: SearchLimits) -> Packing:
    """Improve the best greedy packing by reordering; see :class:`~.interface.Algorithm`."""
    fit = FirstFit(problem, graph)
    rng = random.Random(limits.seed)
    starts = _starts(problem, graph, fit)
    trials = _trials(graph) // len(starts)
    best_offsets, best_arena_bytes, _ = starts[0]
    for offsets, _, order in starts:
        climber = _Climber(problem, graph, fit, order, offsets, rng)
        for trial in range(trials):
            if climber.best_arena_bytes <= limits.lower_bound_bytes:
                break
            climber.step(leeway=_INITIAL_LEEWAY * (1 - trial / trials))
        if climber.best_arena_bytes < best_arena_bytes:
            best_offsets, best_arena_bytes = climber.best_offsets, climber.best_arena_bytes
        if best_arena_bytes <= limits.lower_bound_bytes:
            break
    return Packing(best_offsets)


def _starts(
    problem: Problem, graph: ConflictGraph, fit: FirstFit
) -> list[tuple[list[int], int, list[int]]]:
    """(offsets, arena, order) to climb from, the smallest arena first."""
    orders = [
        order_by_size(problem),
        order_by_conflict(problem, graph),
        order_by_breadth(problem),
    ]
    count = 1
    if any(buffer.pieces for buffer in problem.buffers):
        orders += [order_by_time(problem), order_by_time(problem, backwards=True)]
        count = _STARTS_WITH_PIECES
    packings: dict[tuple[int, ...], tuple[list[int], int, list[int]]] = {}
    for order in orders:
        for each in both_ways(problem, fit, order):
            offsets, arena_bytes = fit.place_all(each)
            packings.setdefault(tuple(offsets), (offsets, arena_bytes, each))
    return sorted(packings.values(), key=itemgetter(1))[:count]


def _trials(graph: ConflictGraph) -> int:
    work = len(graph.neighbours) + sum(map(len, graph.neighbours))
    return min(_MAX_TRIALS, _WORK_UNITS // work)


class _Climber:
    """The current order and packing, and the best so far."""

    def __init__(
        self,
        problem: Problem,
        graph: ConflictGraph,
        fit: FirstFit,
        order: list[int],
        offsets: list[int],
        rng: random.Random,
    ) -> None:
        self._sizes = [buffer.size_bytes for buffer in problem.buffers]
        self._neighbours = [sorted({triple[0] for triple in n}) for n in graph.neighbours]
        self._fit = fit
        self._order = order
        self._rng = rng
        self._offsets = offsets
        self._arena_bytes = fit.arena_bytes(offsets)
        self.best_offsets = offsets
        self.best_arena_bytes = self._arena_bytes

    def step(self, leeway: float) -> None:
        """Try one move; keep it if the arena is at most the best times 1 + leeway."""
        start, tail = self._move()
        offsets = list(self._offsets)
        for i in tail:
            offsets[i] = UNPLACED
        limit_bytes = self.best_arena_bytes + int(leeway * self.best_arena_bytes)
        if not self._fit.place(tail, offsets, limit_bytes):
            return
        self._order[start:] = tail
        self._offsets = offsets
        self._arena_bytes = self._fit.arena_bytes(offsets)
        if self._arena_bytes < self.best_arena_bytes:
            self.best_offsets = offsets
            self.best_arena_bytes = self._arena_bytes

    def _move(self) -> tuple[int, list[int]]:
        """A changed end of the order, and the position from which it counts."""
        order, rng, sizes = self._order, self._rng, self._sizes
        arena_bytes = self._arena_bytes
        top = rng.choice([i for i, o in enumerate(self._offsets) if o + sizes[i] == arena_bytes])
        pivot = top
        if rng.random() < 0.5:
            # Often it is not the top buffer that is in the wrong place but one that holds it up.
            pivot = rng.choice(self._neighbours[top] or [top])
        other = rng.choice(self._neighbours[pivot] or [pivot])
        first, last = sorted((order.index(pivot), order.index(other)))
        span = order[first : last + 1]
        kind = rng.random()
        if kind < 0.4:
            span.insert(0, span.pop())
        elif kind < 0.6:
            span.append(span.pop(0))
        else:
            span[0], span[-1] = span[-1], span[0]
        return first, span + order[last + 1 :]
