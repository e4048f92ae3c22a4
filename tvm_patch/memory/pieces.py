"""Liveness by rows: which bytes of a buffer matter in which steps.

A tensor that is made and read row by row is never live as a whole: rows not yet written and rows
read for the last time are free for others. Its buffer says so in pieces, rectangles of steps by
bytes, and two buffers may overlap as long as none of their pieces do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from tvm_patch.compat import SLOTS, bisect_left


@dataclass(frozen=True, **SLOTS)
class Piece:
    """The bytes of a buffer that are live during some steps.

    Parameters
    ----------
    first_use, last_use : int
        First and last step, both inclusive; 0 <= first <= last.
    begin_bytes, end_bytes : int
        The live bytes [begin, end), counted from the buffer's offset; 0 <= begin < end.

    Raises
    ------
    ValueError
        For values out of these ranges.
    """

    first_use: int
    last_use: int
    begin_bytes: int
    end_bytes: int

    def __post_init__(self) -> None:
        if not 0 <= self.first_use <= self.last_use:
            raise ValueError(
                f"piece: live range {self.first_use}..{self.last_use} is not "
                "0 <= first_use <= last_use"
            )
        if not 0 <= self.begin_bytes < self.end_bytes:
            raise ValueError(
                f"piece: bytes [{self.begin_bytes}, {self.end_bytes}) are not 0 <= begin < end"
            )

    @property
    def size_bytes(self) -> int:
        """Number of live bytes."""
        return self.end_bytes - self.begin_bytes


def merge_pieces(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Sort pieces by time and join those that follow each other and have the same bytes.

    Parameters
    ----------
    pieces : iterable of Piece
        In any order; overlaps in time are left for :class:`~.problem.Buffer` to refuse.
    """
    merged: list[Piece] = []
    for piece in sorted(pieces, key=attrgetter("first_use")):
        if merged:
            last = merged[-1]
            if (
                last.last_use + 1 == piece.first_use
                and last.begin_bytes == piece.begin_bytes
                and last.end_bytes == piece.end_bytes
            ):
                merged[-1] = Piece(
                    last.first_use, piece.last_use, piece.begin_bytes, piece.end_bytes
                )
                continue
        merged.append(piece)
    return tuple(merged)


def pieces_by_step(first_step: int, live_bytes: Iterable[tuple[int, int]]) -> tuple[Piece, ...]:
    """Pieces of a buffer from its live bytes step by step, equal neighbours joined.

    Parameters
    ----------
    first_step : int
        Step of the first entry; at least 0.
    live_bytes : iterable of (int, int)
        The live bytes [begin, end) of each step; begin == end where nothing is live.

    Raises
    ------
    ValueError
        If a begin is negative or above its end.
    """
    pieces: list[Piece] = []
    since = first_step
    current: tuple[int, int] = (0, 0)
    step = first_step
    for span in live_bytes:
        if span != current:
            if current[0] != current[1]:
                pieces.append(Piece(since, step - 1, *current))
            since, current = step, span
        step += 1
    if current[0] != current[1]:
        pieces.append(Piece(since, step - 1, *current))
    return tuple(pieces)


def check_pieces(
    pieces: Sequence[Piece], first_use: int, last_use: int, size_bytes: int
) -> str | None:
    """What is wrong with the pieces of one buffer, or None."""
    free_from = first_use
    for piece in pieces:
        if piece.first_use < free_from:
            if piece.first_use < first_use:
                return f"a piece begins in step {piece.first_use}, before first_use {first_use}"
            return f"pieces overlap in step {piece.first_use} or are not sorted by time"
        free_from = piece.last_use + 1
        if piece.end_bytes > size_bytes:
            return f"a piece ends at byte {piece.end_bytes}, above size_bytes {size_bytes}"
    if free_from > last_use + 1:
        return f"a piece ends in step {free_from - 1}, after last_use {last_use}"
    return None


def forbidden_by_pieces(
    mine: Sequence[Piece], theirs: Sequence[Piece]
) -> tuple[tuple[int, int], ...]:
    """Differences of two buffers' offsets at which some of their pieces collide.

    Parameters
    ----------
    mine, theirs : sequence of Piece
        Each sorted by time and without overlaps in time; at least one.

    Returns
    -------
    tuple of (int, int)
        Open intervals of offset(mine) - offset(theirs) in bytes, rising and disjoint. Two that
        only touch stay apart: the difference between them is allowed.
    """
    intervals: list[tuple[int, int]] = []
    # Neighbours in time mostly give overlapping intervals: this joins them without a sort.
    low = high = 0
    i = bisect_left(mine, theirs[0].first_use, key=attrgetter("last_use"))
    j = bisect_left(theirs, mine[0].first_use, key=attrgetter("last_use"))
    while i < len(mine) and j < len(theirs):
        a, b = mine[i], theirs[j]
        if a.first_use <= b.last_use and b.first_use <= a.last_use:
            bottom = b.begin_bytes - a.end_bytes
            top = b.end_bytes - a.begin_bytes
            if bottom < high and low < top:
                low, high = min(low, bottom), max(high, top)
            else:
                if low < high:
                    intervals.append((low, high))
                low, high = bottom, top
        if a.last_use < b.last_use:
            i += 1
        else:
            j += 1
    if low < high:
        intervals.append((low, high))
    if len(intervals) < 2:
        return tuple(intervals)
    return _union(intervals)


def _union(intervals: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    intervals.sort()
    union = [intervals[0]]
    for low, high in intervals[1:]:
        if low < union[-1][1]:
            if high > union[-1][1]:
                union[-1] = (union[-1][0], high)
        else:
            union.append((low, high))
    return tuple(union)
