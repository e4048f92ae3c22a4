"""Moving a working tile: row by row where it keeps little, at once where it keeps much."""

from __future__ import annotations

import pytest

from tvm_patch.plan.movement import move_instructions, tile_move


def test_a_wide_tile_that_keeps_two_columns_moves_them_alone() -> None:
    move = tile_move(rows=3, row_bytes=10 * 64, kept_bytes=2 * 64, pixel_bytes=64)
    assert (move.pieces, move.piece_bytes) == (3, 2 * 64)
    assert move.instructions == 3 * move_instructions(2 * 64, 64)


def test_a_tile_that_keeps_nearly_all_moves_at_once() -> None:
    move = tile_move(rows=7, row_bytes=7 * 16, kept_bytes=6 * 16, pixel_bytes=16)
    assert (move.pieces, move.piece_bytes) == (1, 6 * 7 * 16 + 6 * 16)


def test_one_row_is_one_move() -> None:
    assert tile_move(1, 96, 32, 8).piece_bytes == 32


@pytest.mark.parametrize("size_bytes", [16, 200])
def test_bytes_between_words_take_more(size_bytes: int) -> None:
    assert move_instructions(size_bytes, 3) > move_instructions(size_bytes, 4)
