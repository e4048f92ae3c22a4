"""Stages whose input shrinks while their output grows: the point of having pieces."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.errors import DoesNotFitError, InvalidAllocationError
from tvm_patch.memory import (
    ALGORITHMS,
    Allocation,
    Buffer,
    Piece,
    Problem,
    allocate,
    find_peak,
    lower_bound_bytes,
    pieces_by_step,
    validate,
)
from tvm_patch.memory.algorithms.first_fit import FirstFit
from tvm_patch.memory.conflicts import build_conflicts

from .strategies import collides, diagonal, pieced_problems

HEURISTICS = [name for name in ALGORITHMS if name != "exact"]


def smallest_arena(problem: Problem) -> int:
    """Smallest arena over all aligned offsets, by painting bytes. For two or three buffers."""
    arena_bytes = max(b.size_bytes for b in problem.buffers)
    while True:
        if _fits(problem, {}, list(problem.buffers), arena_bytes):
            return arena_bytes
        arena_bytes += 1


def _fits(
    problem: Problem, offsets: dict[str, int], missing: list[Buffer], arena_bytes: int
) -> bool:
    if not missing:
        return True
    placed = Problem(tuple(b for b in problem.buffers if b not in missing[1:]))
    buffer = missing[0]
    return any(
        not collides(placed, {**offsets, buffer.name: offset})
        and _fits(problem, {**offsets, buffer.name: offset}, missing[1:], arena_bytes)
        for offset in range(0, arena_bytes - buffer.size_bytes + 1, buffer.alignment_bytes)
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("in_row", "out_row"), [(10, 4), (10, 10), (7, 7), (4, 3)])
def test_an_output_grows_into_the_rows_of_its_input_behind_a_margin(
    algorithm: str, in_row: int, out_row: int
) -> None:
    problem = Problem(diagonal(rows=20, in_row_bytes=in_row, out_row_bytes=out_row, ahead=3))
    allocation = allocate(problem, algorithm)
    # The first output row is written while no input row is free yet: it is the margin.
    assert allocation.arena_bytes == 22 * in_row + out_row
    assert allocation.optimal
    assert allocation.offsets_bytes == {"in": out_row, "out": 0}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_output_that_grows_faster_hangs_from_the_ceiling_or_stays_apart(algorithm: str) -> None:
    shrinking, growing = diagonal(rows=20, in_row_bytes=4, out_row_bytes=10)
    allocation = allocate(Problem((shrinking, growing)), algorithm)
    # The last input row is read while all 200 bytes of output are there: below it, or above.
    assert allocation.arena_bytes == 204 == 200 + 4
    assert allocation.offsets_bytes["in"] == 204 - shrinking.size_bytes


def test_hanging_from_the_ceiling_an_input_placed_first_has_room_below() -> None:
    problem = Problem(diagonal(rows=20, in_row_bytes=10, out_row_bytes=4))
    fit = FirstFit(problem, build_conflicts(problem))
    assert fit.place_all([0, 1]) == ([0, 200], 280)
    assert fit.place_upside_down([0, 1]) == [1, 0]
    assert fit.place_all([1, 0]) == ([4, 0], 204)


def test_rows_move_by_the_alignment() -> None:
    shrinking, growing = diagonal(rows=12, in_row_bytes=10, out_row_bytes=6)
    problem = Problem(
        (
            dataclasses.replace(shrinking, alignment_bytes=16),
            dataclasses.replace(growing, alignment_bytes=4),
        )
    )
    assert allocate(problem).offsets_bytes == {"in": 16, "out": 0}
    assert allocate(problem, "exact").arena_bytes == 136 == smallest_arena(problem)


def test_a_chain_of_stages_needs_its_widest_step_and_no_more() -> None:
    first, grown = diagonal(20, 12, 8, ahead=2, name="a.")
    shrunk, last = diagonal(20, 8, 4, ahead=1, name="b.", step=20)
    middle = Buffer.from_pieces(
        "middle", grown.size_bytes, (*grown.live_pieces, *shrunk.live_pieces), alignment_bytes=1
    )
    problem = Problem((first, middle, last, Buffer("lines", 50, 0, 39, 1)))
    assert find_peak(problem).live_bytes == 21 * 12 + 8 + 50
    assert allocate(problem).arena_bytes == 21 * 12 + 8 + 50


def test_the_gap_of_a_buffer_in_time_is_free_for_others() -> None:
    sleeper = Buffer("sleeper", 64, 0, 9, pieces=(Piece(0, 2, 0, 64), Piece(6, 9, 0, 64)))
    problem = Problem((sleeper, Buffer("guest", 64, 3, 5)))
    assert allocate(problem).arena_bytes == 64
    assert allocate(Problem((sleeper, Buffer("guest", 64, 3, 6)))).arena_bytes == 128


@pytest.mark.parametrize("algorithm", HEURISTICS)
@given(problem=pieced_problems())
@settings(max_examples=60, deadline=None)
def test_heuristics_never_share_a_live_byte(algorithm: str, problem: Problem) -> None:
    allocation = allocate(problem, algorithm)
    assert not collides(problem, allocation.offsets_bytes)
    assert allocation.arena_bytes >= lower_bound_bytes(problem)
    assert allocation == allocate(problem, algorithm)


@given(problem=pieced_problems(max_buffers=3, max_size=12))
@settings(max_examples=60, deadline=None)
def test_exact_finds_the_smallest_and_the_bound_is_not_above_it(problem: Problem) -> None:
    pytest.importorskip("ortools", reason="the extra tvm-patch[exact] is not installed")
    smallest = smallest_arena(problem)
    assert lower_bound_bytes(problem) <= smallest
    allocation = allocate(problem, "exact")
    assert (allocation.arena_bytes, allocation.optimal) == (smallest, True)
    assert not collides(problem, allocation.offsets_bytes)


@given(problem=pieced_problems(max_buffers=7))
@settings(max_examples=25, deadline=None)
def test_exact_is_not_above_any_heuristic(problem: Problem) -> None:
    pytest.importorskip("ortools", reason="the extra tvm-patch[exact] is not installed")
    exact = allocate(problem, "exact", time_limit_s=0.5)
    assert not collides(problem, exact.offsets_bytes)
    assert exact.arena_bytes <= min(allocate(problem, name).arena_bytes for name in HEURISTICS)


def test_hill_climb_packs_chains_of_stages_to_within_a_few_percent_of_the_smallest() -> None:
    pytest.importorskip("ortools", reason="the extra tvm-patch[exact] is not installed")
    rng = random.Random(5)
    for _ in range(8):
        buffers, step, grown, row = [], 0, (), 12
        for stage in range(4):
            next_row = rng.choice([4, 8, 12])
            shrinking, growing = diagonal(16, row, next_row, name=f"{stage}.", step=step)
            pieces = (*grown, *shrinking.live_pieces)
            buffers.append(Buffer.from_pieces(f"map{stage}", 16 * row, pieces))
            buffers.append(Buffer(f"lines{stage}", rng.randrange(8, 64), step, step + 15))
            step, grown, row = step + 16, growing.live_pieces, next_row
        buffers.append(Buffer.from_pieces("output", 16 * row, grown))
        problem = Problem(tuple(buffers))
        smallest = allocate(problem, "exact", time_limit_s=2).arena_bytes
        assert allocate(problem).arena_bytes <= 1.03 * smallest


@given(problem=pieced_problems(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_validator_judges_moved_pieces_as_painting_every_byte_does(
    problem: Problem, data: st.DataObject
) -> None:
    allocation = allocate(problem, "greedy_by_size")
    victim = data.draw(st.sampled_from(problem.buffers))
    slots = (allocation.arena_bytes - victim.size_bytes) // victim.alignment_bytes
    offset = data.draw(st.integers(0, slots)) * victim.alignment_bytes
    offsets = {**allocation.offsets_bytes, victim.name: offset}
    arena_bytes = max(offsets[b.name] + b.size_bytes for b in problem.buffers)
    moved = Allocation(offsets, arena_bytes, "by_hand", 0, False)
    if collides(problem, offsets):
        with pytest.raises(InvalidAllocationError, match="overlap"):
            validate(problem, moved)
    else:
        validate(problem, moved)


def test_one_row_too_close_is_named_with_its_bytes_and_step() -> None:
    problem = Problem(diagonal(rows=4, in_row_bytes=10, out_row_bytes=10))
    validate(problem, Allocation({"in": 10, "out": 0}, 50, "by_hand", 50, True))
    with pytest.raises(InvalidAllocationError) as caught:
        validate(problem, Allocation({"in": 8, "out": 0}, 48, "by_hand", 0, False))
    assert "'out' at [0, 10)" in str(caught.value)
    assert "'in' at [8, 48)" in str(caught.value)
    assert "step 0" in str(caught.value)


def test_bound_counts_live_bytes_and_no_less_than_one_whole_buffer() -> None:
    window = pieces_by_step(0, [(y * 4, y * 4 + 12) for y in range(10)])
    sliding = Buffer.from_pieces("sliding", 48, window)
    peak = find_peak(Problem((sliding,)))
    assert (peak.live_bytes, peak.buffers) == (48, (sliding,))
    crowded = find_peak(Problem((sliding, Buffer("scratch", 40, 3, 4))))
    assert (crowded.live_bytes, crowded.step) == (52, 3)
    assert [buffer.name for buffer in crowded.buffers] == ["scratch", "sliding"]


def test_alignment_rounds_only_the_part_of_a_piece_from_a_multiple_on() -> None:
    # The odd piece ends where the next begins, below a multiple of 16: no gap is forced.
    low = Buffer("low", 16, 0, 0, 16, (Piece(0, 0, 0, 10),))
    high = Buffer("high", 16, 0, 0, 16, (Piece(0, 0, 10, 16),))
    assert lower_bound_bytes(Problem((low, high))) == 16
    assert allocate(Problem((low, high))).offsets_bytes == {"low": 0, "high": 0}


def test_what_does_not_fit_states_the_live_bytes_of_the_step() -> None:
    shrinking, growing = diagonal(rows=4, in_row_bytes=10, out_row_bytes=10)
    problem = Problem((shrinking, growing), capacity_bytes=49)
    with pytest.raises(DoesNotFitError, match=r"step 0 alone needs 50: in \(40\), out \(10\)"):
        allocate(problem)
    with pytest.raises(DoesNotFitError, match=r"needs 40: in \(40\)$|needs 40: in \(40\)\n"):
        allocate(Problem((shrinking,), capacity_bytes=39))
