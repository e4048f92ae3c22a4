"""The packing problem and its answer: buffers with live ranges, and where each one lies.

Time is a count of steps (operators, or steps of a stage loop) as the planner numbers them. Names
that share storage, such as the two ends of an operator that works in place, are one buffer here:
whoever makes the problem merges them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Dict, NoReturn

from tvm_patch.compat import SLOTS, bisect_left
from tvm_patch.memory.pieces import Piece, check_pieces, forbidden_by_pieces, merge_pieces


@dataclass(frozen=True, **SLOTS)
class Buffer:
    """A block of memory that is in use, as a whole or in pieces, during an interval of steps.

    How two buffers exclude each other is answered by :meth:`forbidden_differences` alone; the
    solvers know nothing else about geometry.

    Parameters
    ----------
    name : str
        Unique within the problem.
    size_bytes : int
        At least 1.
    first_use, last_use : int
        First and last step, both inclusive, in which the content matters; 0 <= first <= last.
    alignment_bytes : int
        A power of two that divides the buffer's offset.
    pieces : tuple of Piece
        What is live when. Empty: all bytes in all steps. Otherwise sorted by time, without
        overlaps in time, within the live range and the size; steps and bytes that no piece has
        are free for other buffers.

    Raises
    ------
    ValueError
        For values out of these ranges.
    """

    name: str
    size_bytes: int
    first_use: int
    last_use: int
    alignment_bytes: int = 4
    pieces: tuple[Piece, ...] = ()

    def __post_init__(self) -> None:
        if self.size_bytes < 1:
            raise ValueError(f"buffer {self.name!r}: size_bytes is {self.size_bytes}, below 1")
        if not 0 <= self.first_use <= self.last_use:
            raise ValueError(
                f"buffer {self.name!r}: live range {self.first_use}..{self.last_use} is not "
                "0 <= first_use <= last_use"
            )
        alignment = self.alignment_bytes
        if alignment < 1 or alignment & (alignment - 1):
            raise ValueError(
                f"buffer {self.name!r}: alignment_bytes is {alignment}, not a power of two"
            )
        if self.pieces:
            object.__setattr__(self, "pieces", tuple(self.pieces))
            wrong = check_pieces(self.pieces, self.first_use, self.last_use, self.size_bytes)
            if wrong is not None:
                raise ValueError(f"buffer {self.name!r}: {wrong}")
        elif self.pieces != ():
            object.__setattr__(self, "pieces", ())

    @classmethod
    def from_pieces(
        cls, name: str, size_bytes: int, pieces: Iterable[Piece], alignment_bytes: int = 4
    ) -> Buffer:
        """Make a buffer that lives exactly as long as its pieces, in normal form.

        Pieces may come in any order; equal neighbours are joined, and pieces that come to the
        whole buffer all the time are left out.

        Raises
        ------
        ValueError
            If there is no piece, pieces overlap in time, or values are out of range.
        """
        merged = merge_pieces(pieces)
        if not merged:
            raise ValueError(f"buffer {name!r}: no pieces")
        first_use, last_use = merged[0].first_use, merged[-1].last_use
        if len(merged) == 1 and merged[0].size_bytes == size_bytes:
            merged = ()
        return cls(name, size_bytes, first_use, last_use, alignment_bytes, merged)

    @property
    def live_pieces(self) -> tuple[Piece, ...]:
        """The pieces, or one that is the whole buffer."""
        return self.pieces or (Piece(self.first_use, self.last_use, 0, self.size_bytes),)

    def piece_at(self, step: int) -> Piece | None:
        """What is live in a step; None if nothing is."""
        pieces = self.pieces
        if not pieces and self.first_use <= step <= self.last_use:
            return Piece(self.first_use, self.last_use, 0, self.size_bytes)
        place = bisect_left(pieces, step, key=attrgetter("last_use"))
        if place < len(pieces) and pieces[place].first_use <= step:
            return pieces[place]
        return None

    def live_bytes_at(self, step: int) -> int:
        """Number of bytes that are live in a step."""
        piece = self.piece_at(step)
        return piece.size_bytes if piece is not None else 0

    def forbidden_differences(self, other: Buffer) -> tuple[tuple[int, int], ...]:
        """Where this buffer must not lie relative to another one.

        Returns
        -------
        tuple of (int, int)
            Open intervals (low, high) in bytes, rising and disjoint: the two collide exactly if
            ``low < offset(self) - offset(other) < high`` for one of them. Empty if the two are
            never live together. Intervals may touch: the difference between them is allowed.
        """
        if self.first_use > other.last_use or other.first_use > self.last_use:
            return ()
        if not self.pieces and not other.pieces:
            return ((-self.size_bytes, other.size_bytes),)
        return forbidden_by_pieces(self.live_pieces, other.live_pieces)


@dataclass(frozen=True, **SLOTS)
class Problem:
    """Buffers that have to share one arena.

    Parameters
    ----------
    buffers : tuple of Buffer
        With distinct names; may be empty.
    capacity_bytes : int or None
        The most that the arena may take; None for no limit.

    Raises
    ------
    ValueError
        If two buffers have the same name or the capacity is negative.
    """

    buffers: tuple[Buffer, ...]
    capacity_bytes: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "buffers", tuple(self.buffers))
        if self.capacity_bytes is not None and self.capacity_bytes < 0:
            raise ValueError(f"capacity_bytes is {self.capacity_bytes}, below 0")
        names = {buffer.name for buffer in self.buffers}
        if len(names) != len(self.buffers):
            seen: set[str] = set()
            for buffer in self.buffers:
                if buffer.name in seen:
                    raise ValueError(f"two buffers are named {buffer.name!r}")
                seen.add(buffer.name)

    @property
    def alignment_bytes(self) -> int:
        """Alignment that the arena's own address needs: the largest of any buffer, at least 1."""
        return max((buffer.alignment_bytes for buffer in self.buffers), default=1)


class Offsets(Dict[str, int]):
    """Offsets in bytes by buffer name; read-only, so that a validated layout stays as it is.

    A dict by type, so that ``json``, ``dataclasses.asdict`` and ``pickle`` take it as it stands.
    """

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError("the offsets of an allocation are read-only")

    __setitem__ = __delitem__ = __ior__ = _refuse  # type: ignore[assignment]
    clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Offsets, (dict(self),))


@dataclass(frozen=True, **SLOTS)
class Allocation:
    """Where every buffer of a problem lies.

    Parameters
    ----------
    offsets_bytes : Mapping of str to int
        From the arena's start, in the order of the problem's buffers; made read-only.
    arena_bytes : int
        The end of the buffer that reaches highest; not rounded up.
    algorithm : str
        Name of the algorithm that found it.
    lower_bound_bytes : int
        No packing of this problem is smaller (:func:`tvm_patch.memory.lower_bound_bytes`).
    optimal : bool
        True if it is proved that no packing is smaller: the lower bound is met, or the exact
        algorithm finished. False says nothing.
    """

    offsets_bytes: Mapping[str, int]
    arena_bytes: int
    algorithm: str
    lower_bound_bytes: int
    optimal: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets_bytes", Offsets(self.offsets_bytes))
