from __future__ import annotations

import dataclasses
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.memory import Buffer, Piece, Problem, merge_pieces, pieces_by_step

from .strategies import collides, pieced_buffers


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ((-1, 2, 0, 4), "live range -1..2"),
        ((3, 2, 0, 4), "live range 3..2"),
        ((0, 2, -1, 4), r"bytes \[-1, 4\)"),
        ((0, 2, 4, 4), r"bytes \[4, 4\)"),
    ],
)
def test_piece_refuses_values_out_of_range(values: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Piece(*values)


@pytest.mark.parametrize(
    ("pieces", "complaint"),
    [
        ((Piece(1, 3, 0, 4),), "begins in step 1, before first_use 2"),
        ((Piece(2, 6, 0, 4),), "ends in step 6, after last_use 5"),
        ((Piece(2, 3, 0, 17),), "ends at byte 17, above size_bytes 16"),
        ((Piece(2, 3, 0, 4), Piece(3, 4, 8, 9)), "overlap in step 3"),
        ((Piece(4, 5, 0, 4), Piece(2, 3, 0, 4)), "not sorted by time"),
    ],
)
def test_buffer_refuses_pieces_that_do_not_fit_it(
    pieces: tuple[Piece, ...], complaint: str
) -> None:
    with pytest.raises(ValueError, match=f"'act'.*{complaint}"):
        Buffer("act", 16, 2, 5, pieces=pieces)


def test_pieces_made_from_a_list_are_kept_as_a_tuple() -> None:
    piece = Piece(2, 3, 0, 4)
    as_list: Any = [piece]
    buffer = Buffer("act", 16, 2, 5, pieces=as_list)
    assert buffer.pieces == (piece,)
    assert hash(buffer) == hash(dataclasses.replace(buffer))
    nothing: Any = []
    assert Buffer("act", 16, 2, 5, pieces=nothing) == Buffer("act", 16, 2, 5)


def test_equal_neighbours_merge_and_others_do_not() -> None:
    pieces = [Piece(4, 5, 0, 8), Piece(0, 1, 0, 4), Piece(2, 3, 0, 4), Piece(7, 7, 0, 8)]
    assert merge_pieces(pieces) == (Piece(0, 3, 0, 4), Piece(4, 5, 0, 8), Piece(7, 7, 0, 8))


def test_pieces_by_step_skip_steps_without_live_bytes() -> None:
    live = [(3, 3), (0, 4), (0, 4), (0, 0), (0, 4), (2, 4), (4, 4)]
    assert pieces_by_step(10, live) == (
        Piece(11, 12, 0, 4),
        Piece(14, 14, 0, 4),
        Piece(15, 15, 2, 4),
    )
    assert pieces_by_step(0, []) == ()
    with pytest.raises(ValueError, match=r"bytes \[4, 2\)"):
        pieces_by_step(0, [(4, 2)])


def test_from_pieces_lives_as_long_as_its_pieces_and_knows_a_whole_buffer() -> None:
    buffer = Buffer.from_pieces("act", 8, [Piece(5, 6, 4, 8), Piece(2, 3, 0, 4)])
    assert (buffer.first_use, buffer.last_use, buffer.alignment_bytes) == (2, 6, 4)
    assert [buffer.live_bytes_at(step) for step in range(1, 8)] == [0, 4, 4, 0, 4, 4, 0]
    whole = Buffer.from_pieces("act", 8, [Piece(2, 3, 0, 8), Piece(4, 5, 0, 8)])
    assert whole == Buffer("act", 8, 2, 5)
    assert whole.live_pieces == (Piece(2, 5, 0, 8),)
    part = Buffer.from_pieces("act", 8, [Piece(2, 3, 0, 7)])
    assert part.pieces == (Piece(2, 3, 0, 7),)
    with pytest.raises(ValueError, match="'act': no pieces"):
        Buffer.from_pieces("act", 8, [])


def test_touching_intervals_leave_the_difference_between_them_allowed() -> None:
    lower = Buffer("lower", 8, 0, 1, 1, (Piece(0, 0, 0, 2), Piece(1, 1, 4, 6)))
    assert lower.forbidden_differences(Buffer("dot", 2, 0, 1, 1)) == ((-6, -2), (-2, 2))


@given(mine=pieced_buffers("mine"), theirs=pieced_buffers("theirs"))
@settings(max_examples=300, deadline=None)
def test_forbidden_differences_are_those_at_which_painted_bytes_collide(
    mine: Buffer, theirs: Buffer
) -> None:
    forbidden = mine.forbidden_differences(theirs)
    assert all(high <= low for (_, high), (low, _) in pairwise(forbidden))
    problem = Problem((mine, theirs))
    for difference in range(-26, 27):
        offsets = {"mine": 26 + difference, "theirs": 26}
        told = any(low < difference < high for low, high in forbidden)
        assert told == collides(problem, offsets)
    mirrored = tuple((-high, -low) for low, high in reversed(forbidden))
    assert theirs.forbidden_differences(mine) == mirrored


@given(buffer=pieced_buffers("act"), data=st.data())
def test_cutting_pieces_in_time_changes_nothing(buffer: Buffer, data: st.DataObject) -> None:
    normal = Buffer.from_pieces("act", buffer.size_bytes, buffer.live_pieces)
    rng = random.Random(data.draw(st.integers(0, 99)))
    cut = [
        Piece(step, step, piece.begin_bytes, piece.end_bytes)
        for piece in buffer.live_pieces
        for step in range(piece.first_use, piece.last_use + 1)
    ]
    rng.shuffle(cut)
    assert Buffer.from_pieces("act", buffer.size_bytes, cut) == normal
    last = max(piece.last_use for piece in cut)
    live = [
        (piece.begin_bytes, piece.end_bytes) if piece else (0, 0)
        for piece in map(buffer.piece_at, range(last + 1))
    ]
    assert pieces_by_step(0, live) == normal.live_pieces
