"""Packing a problem: find, validate, and refuse what does not fit."""

from __future__ import annotations

from tvm_patch.compat import zip_strict
from tvm_patch.deadline import Deadline
from tvm_patch.errors import DoesNotFitError
from tvm_patch.memory.algorithms import SearchLimits, find_algorithm
from tvm_patch.memory.bounds import Peak, find_peak
from tvm_patch.memory.conflicts import build_conflicts
from tvm_patch.memory.problem import Allocation, Problem
from tvm_patch.memory.validator import validate

_NAMED_BUFFERS = 8


def allocate(
    problem: Problem,
    algorithm: str = "hill_climb",
    *,
    seed: int = 0,
    time_limit_s: float = 10.0,
    deadline: Deadline | None = None,
) -> Allocation:
    """Give every buffer of a problem its place in one arena.

    Parameters
    ----------
    problem : Problem
        What to pack; without buffers the arena takes 0 bytes.
    algorithm : str
        One of :data:`tvm_patch.memory.ALGORITHMS`.
    seed : int
        For hill climbing and the exact solver. The same arguments give the same allocation.
    time_limit_s : float
        For the exact solver, in seconds of its own deterministic clock.
    deadline : Deadline or None
        Ends the exact solver before that.

    Returns
    -------
    Allocation
        Checked by the independent validator.

    Raises
    ------
    PlanError
        If there is no such algorithm.
    DoesNotFitError
        If the best packing found is above ``problem.capacity_bytes``, or none can be below it.
    ToolMissingError
        If the exact algorithm needs OR-tools and it is not installed.
    InvalidAllocationError
        If the algorithm's answer is wrong; a defect.
    """
    solve = find_algorithm(algorithm)
    peak = find_peak(problem)
    if not problem.buffers:
        return Allocation({}, 0, algorithm, lower_bound_bytes=0, optimal=True)
    capacity_bytes = problem.capacity_bytes
    if capacity_bytes is not None and peak.live_bytes > capacity_bytes:
        raise _does_not_fit(problem, peak, peak.live_bytes, capacity_bytes, algorithm)

    limits = SearchLimits(peak.live_bytes, seed, time_limit_s, deadline)
    packing = solve(problem, build_conflicts(problem), limits)
    ends = [b.size_bytes + o for b, o in zip_strict(problem.buffers, packing.offsets)]
    allocation = Allocation(
        offsets_bytes={b.name: o for b, o in zip_strict(problem.buffers, packing.offsets)},
        arena_bytes=max(ends),
        algorithm=algorithm,
        lower_bound_bytes=peak.live_bytes,
        optimal=packing.optimal or max(ends) == peak.live_bytes,
    )
    validate(Problem(problem.buffers), allocation)
    if capacity_bytes is not None and allocation.arena_bytes > capacity_bytes:
        raise _does_not_fit(problem, peak, allocation.arena_bytes, capacity_bytes, algorithm)
    return allocation


def _does_not_fit(
    problem: Problem, peak: Peak, required_bytes: int, available_bytes: int, algorithm: str
) -> DoesNotFitError:
    named = [
        f"{buffer.name} ({buffer.live_bytes_at(peak.step)})"
        for buffer in peak.buffers[:_NAMED_BUFFERS]
    ]
    if len(peak.buffers) == 1:
        # Alone it needs room for all of it, however little of it is live.
        named = [f"{peak.buffers[0].name} ({peak.buffers[0].size_bytes})"]
    if len(peak.buffers) > _NAMED_BUFFERS:
        named.append(f"{len(peak.buffers) - _NAMED_BUFFERS} more")
    hint = "split more layers into patches, use smaller tiles, or give it more RAM"
    if peak.live_bytes <= available_bytes and algorithm != "exact":
        hint = f"the live bytes alone would fit: try the exact packing algorithm, or {hint}"
    return DoesNotFitError(
        f"{len(problem.buffers)} buffers need {required_bytes} bytes, there are {available_bytes}; "
        f"step {peak.step} alone needs {peak.live_bytes}: {', '.join(named)}",
        required_bytes=required_bytes,
        available_bytes=available_bytes,
        hint=hint,
    )
