"""What it takes to move and fill bytes, as ``micro_project/kernels/move.h`` does it.

Counted on an emulated Cortex-M7, the loops and conditions of generated code around it included.
"""

from __future__ import annotations

from dataclasses import dataclass

_WORD_BYTES = 4
_PER_MOVE = 32.0
_PER_MOVED_BYTE, _PER_MOVED_BYTE_UNALIGNED = 0.125, 0.75
_PER_FILL = 32.0
_PER_FILLED_BYTE = 0.1


def move_instructions(size_bytes: int, unit_bytes: int) -> float:
    """Instructions of moving bytes once.

    Parameters
    ----------
    size_bytes : int
        How many.
    unit_bytes : int
        What source and target lie apart by and begin at is a multiple of it: bytes of a pixel.
    """
    return _PER_MOVE + size_bytes * per_moved_byte(unit_bytes)


def per_moved_byte(unit_bytes: int) -> float:
    """Instructions for each byte of a long move; ``unit_bytes`` as for a move."""
    return _PER_MOVED_BYTE_UNALIGNED if unit_bytes % _WORD_BYTES else _PER_MOVED_BYTE


def fill_instructions(size_bytes: int) -> float:
    """Instructions of filling bytes once."""
    return _PER_FILL + size_bytes * _PER_FILLED_BYTE


@dataclass(frozen=True)
class TileMove:
    """How columns of a working tile move to the left.

    Parameters
    ----------
    pieces : int
        Moves, one row after the other; one for the whole tile.
    piece_bytes : int
        Bytes of each.
    instructions : float
        Of all of them, roughly.
    """

    pieces: int
    piece_bytes: int
    instructions: float


def tile_move(rows: int, row_bytes: int, kept_bytes: int, pixel_bytes: int) -> TileMove:
    """The quicker way to move what a tile keeps: row by row, or all that lies in between as well.

    Parameters
    ----------
    rows, row_bytes : int
        Of the tile.
    kept_bytes : int
        Of each row.
    pixel_bytes : int
        Of a pixel.
    """
    whole_bytes = (rows - 1) * row_bytes + kept_bytes
    by_rows = rows * move_instructions(kept_bytes, pixel_bytes)
    whole = move_instructions(whole_bytes, pixel_bytes)
    if by_rows < whole:
        return TileMove(rows, kept_bytes, by_rows)
    return TileMove(1, whole_bytes, whole)
