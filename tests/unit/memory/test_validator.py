from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.errors import InvalidAllocationError
from tvm_patch.memory import Allocation, Buffer, Problem, allocate, validate

from .strategies import problems

PROBLEM = Problem((Buffer("a", 16, 0, 1), Buffer("b", 8, 1, 2), Buffer("c", 16, 2, 3)))
GOOD = Allocation({"a": 0, "b": 16, "c": 0}, 24, "by_hand", 24, True)


def with_offsets(**offsets: int) -> Allocation:
    """GOOD with other offsets and the arena end that follows from them."""
    merged = {**GOOD.offsets_bytes, **offsets}
    ends = [merged[b.name] + b.size_bytes for b in PROBLEM.buffers]
    return dataclasses.replace(
        GOOD, offsets_bytes=merged, arena_bytes=max(ends), lower_bound_bytes=0
    )


def test_a_good_layout_passes() -> None:
    validate(PROBLEM, GOOD)


@pytest.mark.parametrize("offset", [12, 8, 4, 0])
def test_overlap_names_both_buffers_and_the_step(offset: int) -> None:
    with pytest.raises(InvalidAllocationError, match="both live in step 1") as caught:
        validate(PROBLEM, with_offsets(b=offset, c=64))
    assert "'a' at [0, 16)" in str(caught.value)
    assert f"'b' at [{offset}, {offset + 8})" in str(caught.value)


def test_overlap_is_found_when_the_later_buffer_lies_below() -> None:
    with pytest.raises(InvalidAllocationError, match=r"'b' at \[16, 24\).*'c' at \[20, 36\)"):
        validate(PROBLEM, with_offsets(c=20))
    with pytest.raises(InvalidAllocationError, match=r"'c' at \[8, 24\).*'b' at \[16, 24\)"):
        validate(PROBLEM, with_offsets(c=8))


def test_equal_addresses_are_an_overlap_and_a_reused_address_is_none() -> None:
    twins = Problem((Buffer("x", 4, 0, 0), Buffer("y", 4, 0, 0)))
    with pytest.raises(InvalidAllocationError, match=r"'y' at .*'x' at "):
        validate(twins, Allocation({"x": 0, "y": 0}, 4, "by_hand", 0, False))
    turns = Problem((Buffer("x", 4, 0, 0), Buffer("y", 4, 1, 1)))
    validate(turns, Allocation({"x": 0, "y": 0}, 4, "by_hand", 4, True))


@pytest.mark.parametrize(("offset", "shown"), [(18, "18"), (-4, "-4")])
def test_misplaced_buffer_is_named(offset: int, shown: str) -> None:
    with pytest.raises(
        InvalidAllocationError, match=f"'b' lies at {shown}, not at a multiple of 4"
    ):
        validate(PROBLEM, with_offsets(b=offset))


def test_missing_and_foreign_buffers_are_named() -> None:
    missing = dataclasses.replace(GOOD, offsets_bytes={"a": 0, "c": 0})
    with pytest.raises(InvalidAllocationError, match="'b' has no place"):
        validate(PROBLEM, missing)
    foreign = dataclasses.replace(GOOD, offsets_bytes={**GOOD.offsets_bytes, "ghost": 0})
    with pytest.raises(InvalidAllocationError, match="'ghost' is placed but not part"):
        validate(PROBLEM, foreign)


def test_arena_must_end_with_its_highest_buffer() -> None:
    with pytest.raises(InvalidAllocationError, match="'b' ends at 24, the arena at 20"):
        validate(PROBLEM, dataclasses.replace(GOOD, arena_bytes=20))
    with pytest.raises(InvalidAllocationError, match="said to take 32 bytes, used are 24"):
        validate(PROBLEM, dataclasses.replace(GOOD, arena_bytes=32))


def test_arena_must_be_between_bound_and_capacity() -> None:
    with pytest.raises(InvalidAllocationError, match="below its lower bound 28"):
        validate(PROBLEM, dataclasses.replace(GOOD, lower_bound_bytes=28))
    with pytest.raises(InvalidAllocationError, match="above the capacity 20"):
        validate(dataclasses.replace(PROBLEM, capacity_bytes=20), GOOD)


@given(problem=problems(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_verdict_on_moved_buffers_is_that_of_painting_every_byte(
    problem: Problem, data: st.DataObject
) -> None:
    allocation = allocate(problem, "greedy_by_size")
    victim = data.draw(st.sampled_from(problem.buffers))
    slots = (allocation.arena_bytes - victim.size_bytes) // victim.alignment_bytes
    offset = data.draw(st.integers(0, slots)) * victim.alignment_bytes
    offsets = {**allocation.offsets_bytes, victim.name: offset}
    moved = dataclasses.replace(
        allocation,
        offsets_bytes=offsets,
        arena_bytes=max(offsets[b.name] + b.size_bytes for b in problem.buffers),
        lower_bound_bytes=0,
    )
    collides = False
    for step in range(max(b.last_use for b in problem.buffers) + 1):
        painted: set[int] = set()
        for buffer in problem.buffers:
            if buffer.first_use <= step <= buffer.last_use:
                begin = offsets[buffer.name]
                cells = set(range(begin, begin + buffer.size_bytes))
                collides = collides or not painted.isdisjoint(cells)
                painted |= cells
    if collides:
        with pytest.raises(InvalidAllocationError, match="overlap"):
            validate(problem, moved)
    else:
        validate(problem, moved)
