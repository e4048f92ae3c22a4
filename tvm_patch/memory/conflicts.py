"""Which buffers exclude each other, worked out once and used by every algorithm."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_patch.compat import SLOTS
from tvm_patch.memory.problem import Problem


@dataclass(frozen=True, **SLOTS)
class ConflictGraph:
    """Buffers that are live together, by index into ``problem.buffers``.

    Parameters
    ----------
    neighbours : tuple of tuple of (int, int, int)
        For each buffer i the triples (j, low, high): i and j collide if
        ``low < offset(i) - offset(j) < high`` (bytes).
    """

    neighbours: tuple[tuple[tuple[int, int, int], ...], ...]


def build_conflicts(problem: Problem) -> ConflictGraph:
    """Find all pairs of buffers that are live together.

    Returns
    -------
    ConflictGraph
        Found by a sweep over time, in O(n log n + pairs).
    """
    buffers = problem.buffers
    neighbours: list[list[tuple[int, int, int]]] = [[] for _ in buffers]
    by_start = sorted(range(len(buffers)), key=lambda i: buffers[i].first_use)
    active: list[int] = []
    for i in by_start:
        buffer = buffers[i]
        start = buffer.first_use
        active = [j for j in active if buffers[j].last_use >= start]
        for j in active:
            for low, high in buffer.forbidden_differences(buffers[j]):
                neighbours[i].append((j, low, high))
                neighbours[j].append((i, -high, -low))
        active.append(i)
    return ConflictGraph(neighbours=tuple(map(tuple, neighbours)))
