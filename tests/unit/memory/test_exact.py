from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given, settings

from tvm_patch.deadline import Deadline
from tvm_patch.errors import ToolMissingError
from tvm_patch.memory import Buffer, Problem, allocate, validate
from tvm_patch.memory.algorithms.interface import Packing, SearchLimits

from .strategies import GAPPED, GREEDY_TRAP, brute_force_arena, problems


@pytest.fixture(autouse=True)
def _ortools(request: pytest.FixtureRequest) -> None:
    if "without_ortools" not in request.node.name:
        pytest.importorskip("ortools", reason="the extra tvm-patch[exact] is not installed")


@given(problem=problems(max_buffers=5, max_size=60, horizon=5))
@settings(max_examples=40, deadline=None)
def test_exact_equals_brute_force(problem: Problem) -> None:
    allocation = allocate(problem, "exact")
    assert allocation.optimal
    assert allocation.arena_bytes == brute_force_arena(problem)


@given(problem=problems(max_buffers=9))
@settings(max_examples=25, deadline=None)
def test_exact_is_not_above_hill_climb(problem: Problem) -> None:
    allocation = allocate(problem, "exact", time_limit_s=0.5)
    validate(problem, allocation)
    assert allocation.arena_bytes <= allocate(problem, "hill_climb").arena_bytes


def test_solver_needs_no_warm_start(monkeypatch: pytest.MonkeyPatch) -> None:
    # With the buffers piled up one above the other as the start, the result is the solver's own.
    def piled_up(problem: Problem, graph: object, limits: SearchLimits) -> Packing:
        offsets, top = [], 0
        for buffer in problem.buffers:
            top += -top % buffer.alignment_bytes
            offsets.append(top)
            top += buffer.size_bytes
        return Packing(offsets)

    monkeypatch.setattr("tvm_patch.memory.algorithms.exact.pack_hill_climb", piled_up)
    assert allocate(GAPPED, "exact").arena_bytes == brute_force_arena(GAPPED) == 97
    assert allocate(GREEDY_TRAP, "exact").arena_bytes == 80
    mixed = Problem(
        (
            Buffer("a", 33, 0, 2, 16),
            Buffer("b", 7, 1, 3, 1),
            Buffer("c", 21, 2, 4, 4),
            Buffer("d", 50, 3, 5, 8),
            Buffer("e", 9, 0, 5, 4),
        )
    )
    assert allocate(mixed, "exact").arena_bytes == brute_force_arena(mixed)


def test_exact_repeats_itself_and_proves_what_the_bound_cannot() -> None:
    allocation = allocate(GAPPED, "exact")
    assert allocation == allocate(GAPPED, "exact")
    assert allocation.optimal
    assert allocation.lower_bound_bytes == 87


def _tangled(count: int) -> Problem:
    """Sizes and alignments so mixed that a proof takes long."""
    rng = random.Random(4)
    buffers = []
    for index in range(count):
        first = rng.randrange(20)
        size, alignment = rng.randrange(1, 2000), rng.choice([1, 4, 16])
        buffers.append(Buffer(f"b{index}", size, first, first + rng.randrange(8), alignment))
    return Problem(tuple(buffers))


def test_out_of_time_the_best_so_far_is_kept_without_a_claim() -> None:
    problem = _tangled(40)
    climbed = allocate(problem, "hill_climb")
    assert not climbed.optimal
    allocation = allocate(problem, "exact", time_limit_s=1e-6)
    assert allocation.arena_bytes <= climbed.arena_bytes
    assert not allocation.optimal


def test_without_ortools_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(ToolMissingError, match=r"tvm-patch\[exact\]"):
        allocate(GAPPED, "exact")


def test_without_ortools_what_the_bound_proves_is_still_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    problem = Problem((Buffer("a", 8, 0, 1), Buffer("b", 8, 1, 2)))
    assert allocate(problem, "exact").optimal


def test_a_deadline_ends_the_solver_long_before_its_own_limit() -> None:
    problem = _tangled(60)
    deadline = Deadline(0.5)
    allocation = allocate(problem, "exact", time_limit_s=1e6, deadline=deadline)
    assert deadline.cut_short == "the time limit of 0.5 s"
    assert not allocation.optimal
    assert allocation.arena_bytes <= allocate(problem, "hill_climb").arena_bytes
