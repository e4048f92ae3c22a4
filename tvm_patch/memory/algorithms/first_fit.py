"""Placing buffers one after the other, each at the lowest free offset.

Everything but the exact algorithm searches over orders. For whole buffers that loses nothing:
taking the buffers of any packing by rising offset, first fit puts none of them higher than it was,
so some order gives an optimal packing. The same holds for pieces if what each pair forbids is one
interval around 0, as for a stage's input and output. Otherwise the lowest place may be the wrong
one: a buffer that could lie inside another one's freed rows may be pushed out when that one moves
down, and only the exact algorithm finds the way back.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm_patch.memory.conflicts import ConflictGraph
from tvm_patch.memory.problem import Problem

UNPLACED = -1


class FirstFit:
    """First-fit placement for one problem.

    Parameters
    ----------
    problem : Problem
        Whose buffers are placed.
    graph : ConflictGraph
        Of the same problem.
    """

    def __init__(self, problem: Problem, graph: ConflictGraph) -> None:
        self._neighbours = graph.neighbours
        self._sizes = [buffer.size_bytes for buffer in problem.buffers]
        self._masks = [buffer.alignment_bytes - 1 for buffer in problem.buffers]

    def place_all(self, order: Sequence[int]) -> tuple[list[int], int]:
        """Place all buffers in the order given; returns (offsets, arena), both in bytes."""
        offsets = [UNPLACED] * len(self._sizes)
        self.place(order, offsets)
        return offsets, self.arena_bytes(offsets)

    def place_upside_down(self, order: Sequence[int]) -> list[int]:
        """Place all buffers in the order given, each as high as possible below a common ceiling.

        A stage's output lies best a few rows below its input. Where the larger input is placed
        first, at the bottom, there is nothing below it; hanging from the ceiling there is.

        Returns
        -------
        list of int
            The buffers by rising offset: an order for the other methods.
        """
        sizes, masks = self._sizes, self._masks
        # Distances from the ceiling down to the end of each buffer.
        drops = [UNPLACED] * len(sizes)
        for i in order:
            size, mask = sizes[i], masks[i]
            blocked = []
            for j, low, high in self._neighbours[i]:
                if drops[j] >= 0:
                    base = drops[j] + sizes[j] - size
                    blocked.append((base - high, base - low))
            blocked.sort()
            begin = (size + mask) & ~mask
            for low, high in blocked:
                if low >= begin - size:
                    break
                if high > begin - size:
                    begin = (high + size + mask) & ~mask
            drops[i] = begin - size
        return sorted(range(len(sizes)), key=lambda i: (-drops[i] - sizes[i], i))

    def place(self, order: Sequence[int], offsets: list[int], limit_bytes: int = 1 << 62) -> bool:
        """Place buffers among those that have an offset already.

        Parameters
        ----------
        order : sequence of int
            The buffers to place, by index.
        offsets : list of int
            In bytes, changed in place; ``UNPLACED`` where a buffer has no place yet.
        limit_bytes : int
            Give up as soon as a buffer ends above this.

        Returns
        -------
        bool
            False if it gave up.
        """
        sizes, masks, neighbours = self._sizes, self._masks, self._neighbours
        for i in order:
            blocked = []
            for j, low, high in neighbours[i]:
                base = offsets[j]
                if base >= 0:
                    blocked.append((base + low, base + high))
            blocked.sort()
            mask = masks[i]
            offset = 0
            for low, high in blocked:
                if low >= offset:
                    break
                if high > offset:
                    offset = (high + mask) & ~mask
            if offset + sizes[i] > limit_bytes:
                return False
            offsets[i] = offset
        return True

    def arena_bytes(self, offsets: Sequence[int]) -> int:
        """End of the buffer that reaches highest."""
        return max(map(int.__add__, offsets, self._sizes))
