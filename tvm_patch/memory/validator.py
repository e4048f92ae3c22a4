"""The judge of every layout. It shares no code with the solvers.

The solvers reason about pairs of live ranges. This replays a run instead: step by step, buffers
(or the pieces of them that are live) leave the memory and enter it, and each one that enters must
find its bytes free.
"""

from __future__ import annotations

from bisect import bisect_left

from tvm_patch.errors import InvalidAllocationError
from tvm_patch.memory.problem import Allocation, Problem


def validate(problem: Problem, allocation: Allocation) -> None:
    """Check that an allocation solves a problem.

    Every buffer is placed once and no other, at an aligned offset within the arena; no two share a
    byte that is live in both in the same step; the arena ends where the highest buffer ends, is
    not below the stated lower bound and not above the capacity.

    Raises
    ------
    InvalidAllocationError
        Naming the buffer, or both buffers, the step and the addresses.
    """
    _check_completeness(problem, allocation)
    _check_places(problem, allocation)
    _replay(problem, allocation)
    _check_arena(problem, allocation)


def _invalid(allocation: Allocation, message: str) -> InvalidAllocationError:
    return InvalidAllocationError(
        f"memory layout of {allocation.algorithm!r} is wrong: {message}",
        hint="this is a defect of the algorithm; dump the problem as CSV, report it, and choose "
        "another algorithm meanwhile",
    )


def _check_completeness(problem: Problem, allocation: Allocation) -> None:
    offsets = allocation.offsets_bytes
    for buffer in problem.buffers:
        if buffer.name not in offsets:
            raise _invalid(allocation, f"buffer {buffer.name!r} has no place")
    if len(offsets) != len(problem.buffers):
        known = {buffer.name for buffer in problem.buffers}
        stranger = next(name for name in offsets if name not in known)
        raise _invalid(allocation, f"buffer {stranger!r} is placed but not part of the problem")


def _check_places(problem: Problem, allocation: Allocation) -> None:
    for buffer in problem.buffers:
        offset = allocation.offsets_bytes[buffer.name]
        if offset < 0 or offset % buffer.alignment_bytes:
            raise _invalid(
                allocation,
                f"buffer {buffer.name!r} lies at {offset}, "
                f"not at a multiple of {buffer.alignment_bytes}",
            )
        if offset + buffer.size_bytes > allocation.arena_bytes:
            raise _invalid(
                allocation,
                f"buffer {buffer.name!r} ends at {offset + buffer.size_bytes}, "
                f"the arena at {allocation.arena_bytes}",
            )


def _check_arena(problem: Problem, allocation: Allocation) -> None:
    arena = allocation.arena_bytes
    offsets = allocation.offsets_bytes
    top = max((offsets[b.name] + b.size_bytes for b in problem.buffers), default=0)
    if arena != top:
        raise _invalid(allocation, f"the arena is said to take {arena} bytes, used are {top}")
    if arena < allocation.lower_bound_bytes:
        raise _invalid(
            allocation,
            f"an arena of {arena} bytes is below its lower bound {allocation.lower_bound_bytes}",
        )
    if problem.capacity_bytes is not None and arena > problem.capacity_bytes:
        raise _invalid(
            allocation,
            f"an arena of {arena} bytes is above the capacity {problem.capacity_bytes}",
        )


def _replay(problem: Problem, allocation: Allocation) -> None:
    leaves, enters = 0, 1
    events: list[tuple[int, int, int, int, int]] = []
    for index, buffer in enumerate(problem.buffers):
        offset = allocation.offsets_bytes[buffer.name]
        spans = [(p.first_use, p.last_use, p.begin_bytes, p.end_bytes) for p in buffer.pieces]
        if not spans:
            spans = [(buffer.first_use, buffer.last_use, 0, buffer.size_bytes)]
        for first, last, begin, end in spans:
            events.append((first, enters, index, offset + begin, offset + end))
            events.append((last + 1, leaves, index, offset + begin, offset + end))
    events.sort()

    # Bytes in use now, by rising address. They are disjoint, so a newcomer that collides with any
    # of them collides with one of its two neighbours.
    begins: list[int] = []
    owners: list[tuple[int, int, int]] = []
    for step, kind, index, begin, end in events:
        place = bisect_left(begins, begin)
        if kind == leaves:
            del begins[place], owners[place]
            continue
        here = (index, begin, end)
        if place > 0 and owners[place - 1][2] > begin:
            raise _collision(problem, allocation, step, owners[place - 1], here)
        if place < len(begins) and end > begins[place]:
            raise _collision(problem, allocation, step, here, owners[place])
        begins.insert(place, begin)
        owners.insert(place, here)


def _collision(
    problem: Problem,
    allocation: Allocation,
    step: int,
    lower: tuple[int, int, int],
    upper: tuple[int, int, int],
) -> InvalidAllocationError:
    spans = [
        f"{problem.buffers[index].name!r} at [{begin}, {end})"
        for index, begin, end in (lower, upper)
    ]
    return _invalid(
        allocation, f"buffers {spans[0]} and {spans[1]} overlap and are both live in step {step}"
    )
