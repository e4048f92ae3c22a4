"""Greedy packing: one pass of first fit in an order that puts the awkward buffers first."""

from __future__ import annotations

from collections import defaultdict
from operator import itemgetter

from tvm_patch.compat import zip_strict
from tvm_patch.memory.algorithms.first_fit import FirstFit
from tvm_patch.memory.algorithms.interface import Packing, SearchLimits
from tvm_patch.memory.conflicts import ConflictGraph
from tvm_patch.memory.problem import Problem


def order_by_size(problem: Problem) -> list[int]:
    """Largest buffer first; of equal ones the one that lives longer.

    Greedy by size of Pisarchyk and Lee (arXiv 2001.03288).

    Returns
    -------
    list of int
        Indices into ``problem.buffers``.
    """
    buffers = problem.buffers

    def key(i: int) -> tuple[int, int, int]:
        buffer = buffers[i]
        return (-buffer.size_bytes, buffer.first_use - buffer.last_use, i)

    return sorted(range(len(buffers)), key=key)


def order_by_conflict(problem: Problem, graph: ConflictGraph) -> list[int]:
    """The buffer that has the most bytes to avoid first (TVM's USMP, greedy by conflicts).

    Returns
    -------
    list of int
        Indices into ``problem.buffers``.
    """
    sizes = [buffer.size_bytes for buffer in problem.buffers]
    pressure = [
        size + sum(sizes[j] for j in {triple[0] for triple in around})
        for size, around in zip_strict(sizes, graph.neighbours)
    ]
    return sorted(range(len(sizes)), key=lambda i: (-pressure[i], -sizes[i], i))


def order_by_breadth(problem: Problem) -> list[int]:
    """Step by step, the step with the most live bytes first, its buffers largest first.

    Greedy by breadth of Pisarchyk and Lee (arXiv 2001.03288).

    Returns
    -------
    list of int
        Indices into ``problem.buffers``.
    """
    buffers = problem.buffers
    change: defaultdict[int, int] = defaultdict(int)
    for buffer in buffers:
        for piece in buffer.live_pieces:
            change[piece.first_use] += piece.size_bytes
            change[piece.last_use + 1] -= piece.size_bytes
    breadths = []
    breadth = 0
    for step in sorted(change):
        breadth += change[step]
        breadths.append((-breadth, step))
    breadths.sort()

    remaining = order_by_size(problem)
    order: list[int] = []
    for _, step in breadths:
        later: list[int] = []
        for i in remaining:
            live = buffers[i].first_use <= step <= buffers[i].last_use
            (order if live else later).append(i)
        remaining = later
        if not remaining:
            break
    return order


def order_by_time(problem: Problem, *, backwards: bool = False) -> list[int]:
    """Buffers with pieces first, in the order in which they are needed; then all others.

    In a chain of stages each map then finds its place a few rows beside the one before, and the
    rest goes around them.

    Parameters
    ----------
    problem : Problem
        What to order.
    backwards : bool
        Begin with the buffer that is needed last.

    Returns
    -------
    list of int
        Indices into ``problem.buffers``.
    """

    def key(i: int) -> tuple[bool, int, int, int]:
        buffer = problem.buffers[i]
        time = -buffer.last_use if backwards else buffer.first_use
        return (not buffer.pieces, time, -buffer.size_bytes, i)

    return sorted(range(len(problem.buffers)), key=key)


def both_ways(problem: Problem, fit: FirstFit, order: list[int]) -> list[list[int]]:
    """The order, and what it comes to from the top down where pieces make that another matter.

    Returns
    -------
    list of list of int
        One or two orders for first fit.
    """
    if any(buffer.pieces for buffer in problem.buffers):
        return [order, fit.place_upside_down(order)]
    return [order]


def pack_greedy_by_size(problem: Problem, graph: ConflictGraph, limits: SearchLimits) -> Packing:
    """Pack the largest buffer first; see :class:`~.interface.Algorithm`."""
    del limits
    return _pack(problem, graph, order_by_size(problem))


def pack_greedy_by_conflict(
    problem: Problem, graph: ConflictGraph, limits: SearchLimits
) -> Packing:
    """Pack the most constrained buffer first; see :class:`~.interface.Algorithm`."""
    del limits
    return _pack(problem, graph, order_by_conflict(problem, graph))


def pack_greedy_by_breadth(problem: Problem, graph: ConflictGraph, limits: SearchLimits) -> Packing:
    """Pack the fullest step first; see :class:`~.interface.Algorithm`."""
    del limits
    return _pack(problem, graph, order_by_breadth(problem))


def _pack(problem: Problem, graph: ConflictGraph, order: list[int]) -> Packing:
    fit = FirstFit(problem, graph)
    packings = [fit.place_all(each) for each in both_ways(problem, fit, order)]
    return Packing(min(packings, key=itemgetter(1))[0])
