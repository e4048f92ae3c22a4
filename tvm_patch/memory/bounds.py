"""What no packing can get below: the bytes that are live together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tvm_patch.compat import SLOTS
from tvm_patch.memory.pieces import Piece
from tvm_patch.memory.problem import Buffer, Problem


@dataclass(frozen=True, **SLOTS)
class Peak:
    """The step that needs the most memory.

    Parameters
    ----------
    step : int
        The first such step; 0 for a problem without buffers.
    live_bytes : int
        What the buffers live in it need at least, alignment gaps included; where one buffer, whose
        place must hold all of it, needs more than any step: its size.
    buffers : tuple of Buffer
        Those buffers, the one with most live bytes first.
    """

    step: int
    live_bytes: int
    buffers: tuple[Buffer, ...]


def find_peak(problem: Problem) -> Peak:
    """Find the step whose live buffers need the most memory.

    Returns
    -------
    Peak
        With the first step of all that need the same.
    """
    best = Peak(step=0, live_bytes=0, buffers=())
    for ceiling, step in _steps_by_ceiling(problem.buffers):
        if ceiling < best.live_bytes or (ceiling == best.live_bytes and step > best.step):
            # Steps come by falling ceiling, then rising step: nothing better can follow.
            break
        live = _live_at(problem.buffers, step)
        live_bytes = stacked_bytes([(piece, buffer.alignment_bytes) for buffer, piece in live])
        if live_bytes > best.live_bytes or (live_bytes == best.live_bytes and step < best.step):
            live.sort(key=lambda item: (-item[1].size_bytes, item[0].name))
            best = Peak(step, live_bytes, buffers=tuple(buffer for buffer, _ in live))
    largest = max(problem.buffers, key=lambda buffer: buffer.size_bytes, default=None)
    if largest is not None and largest.size_bytes > best.live_bytes:
        return Peak(largest.first_use, largest.size_bytes, (largest,))
    return best


def lower_bound_bytes(problem: Problem) -> int:
    """Bytes that every packing of the problem needs at least, alignment gaps included."""
    return find_peak(problem).live_bytes


def stacked_bytes(live: Sequence[tuple[Piece, int]]) -> int:
    """Bytes that pieces which are all live together need at least.

    All offsets of buffers aligned to A or more are multiples of A, so each of them but the topmost
    takes its size rounded up to A. Of a piece this holds for the part from the first multiple of A
    on; the bytes below may lie in another one's gap. The bound is the best over all A that occur.

    Parameters
    ----------
    live : sequence of (Piece, int)
        Pieces of different buffers, and the alignment of each buffer in bytes.
    """
    best = sum(piece.end_bytes - piece.begin_bytes for piece, _ in live)
    for alignment in {alignment for _, alignment in live}:
        total = widest_gap = 0
        for piece, own_alignment in live:
            if own_alignment >= alignment:
                gap = -piece.end_bytes % alignment
                begin = piece.begin_bytes + -piece.begin_bytes % alignment
                if begin < piece.end_bytes:
                    total += piece.end_bytes + gap - begin
                    widest_gap = max(widest_gap, gap)
        best = max(best, total - widest_gap)
    return best


def _live_at(buffers: Sequence[Buffer], step: int) -> list[tuple[Buffer, Piece]]:
    live = []
    for buffer in buffers:
        if buffer.first_use <= step <= buffer.last_use:
            piece = buffer.piece_at(step)
            if piece is not None:
                live.append((buffer, piece))
    return live


def _steps_by_ceiling(buffers: Sequence[Buffer]) -> list[tuple[int, int]]:
    """(ceiling, step) of every step in which a piece begins, highest ceiling first.

    The ceiling, every live piece with its end rounded up to the largest alignment, is cheap to
    keep up to date and never below :func:`stacked_bytes`, so most steps need no closer look.
    """
    coarsest = max((buffer.alignment_bytes for buffer in buffers), default=1)
    change: defaultdict[int, int] = defaultdict(int)
    starts: set[int] = set()
    for buffer in buffers:
        for piece in buffer.live_pieces:
            rounded = piece.size_bytes + -piece.end_bytes % coarsest
            change[piece.first_use] += rounded
            change[piece.last_use + 1] -= rounded
            starts.add(piece.first_use)
    ceilings = []
    live_bytes = 0
    for step in sorted(change):
        live_bytes += change[step]
        if step in starts:
            ceilings.append((live_bytes, step))
    ceilings.sort(key=lambda item: (-item[0], item[1]))
    return ceilings
