from __future__ import annotations

import random

import pytest
from hypothesis import given, settings

from tvm_patch.errors import PlanError
from tvm_patch.memory import ALGORITHMS, Buffer, Problem, allocate, lower_bound_bytes, validate
from tvm_patch.memory.algorithms.first_fit import FirstFit
from tvm_patch.memory.conflicts import build_conflicts

from .strategies import GREEDY_TRAP, brute_force_arena, network_problem, problems

GREEDY = [name for name in ALGORITHMS if name.startswith("greedy")]
HEURISTICS = [*GREEDY, "hill_climb"]


@pytest.mark.parametrize("algorithm", HEURISTICS)
@given(problem=problems())
@settings(max_examples=60, deadline=None)
def test_heuristics_are_valid_repeatable_and_not_below_the_bound(
    algorithm: str, problem: Problem
) -> None:
    allocation = allocate(problem, algorithm)
    validate(problem, allocation)
    assert allocation.arena_bytes >= lower_bound_bytes(problem)
    assert allocation == allocate(problem, algorithm)
    assert allocation.algorithm == algorithm


@given(problem=problems())
@settings(max_examples=60, deadline=None)
def test_hill_climb_is_not_above_any_greedy(problem: Problem) -> None:
    climbed = allocate(problem, "hill_climb").arena_bytes
    assert climbed <= min(allocate(problem, name).arena_bytes for name in GREEDY)


@pytest.mark.parametrize("algorithm", HEURISTICS)
def test_what_is_claimed_optimal_meets_the_bound(algorithm: str) -> None:
    for seed in range(20):
        allocation = allocate(network_problem(25, seed), algorithm)
        assert allocation.optimal == (allocation.arena_bytes == allocation.lower_bound_bytes)


def test_hill_climb_packs_networks_to_within_a_percent_of_the_bound() -> None:
    for seed in range(10):
        allocation = allocate(network_problem(60, seed), "hill_climb")
        assert allocation.arena_bytes <= 1.01 * allocation.lower_bound_bytes


def test_hill_climb_gets_out_of_a_greedy_trap() -> None:
    greedy = [allocate(GREEDY_TRAP, name).arena_bytes for name in GREEDY]
    assert min(greedy) == 92
    assert allocate(GREEDY_TRAP, "hill_climb").arena_bytes == 80 == brute_force_arena(GREEDY_TRAP)


def test_first_fit_uses_a_gap_that_fits_to_the_byte() -> None:
    problem = Problem(
        (
            Buffer("floor", 16, 0, 0),
            Buffer("ceiling", 12, 0, 1),
            Buffer("early", 40, 1, 1),
            Buffer("filler", 16, 1, 1),
        )
    )
    offsets, arena_bytes = FirstFit(problem, build_conflicts(problem)).place_all([0, 1, 3, 2])
    assert offsets == [0, 16, 28, 0]
    assert arena_bytes == 68


def test_hill_climb_gives_the_best_it_saw_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(2)
    for trials in range(1, 16):
        monkeypatch.setattr("tvm_patch.memory.algorithms.hill_climb._MAX_TRIALS", trials)
        buffers = []
        for index in range(30):
            first = rng.randrange(12)
            buffers.append(Buffer(f"b{index}", rng.randrange(1, 2000), first, first + 5))
        problem = Problem(tuple(buffers))
        climbed = allocate(problem, "hill_climb").arena_bytes
        assert climbed <= min(allocate(problem, name).arena_bytes for name in GREEDY)


def test_hill_climb_finds_the_best_of_all_orders_of_few_buffers() -> None:
    rng = random.Random(11)
    for _ in range(100):
        buffers = []
        for index in range(5):
            first, last = sorted((rng.randrange(5), rng.randrange(5)))
            buffers.append(Buffer(f"b{index}", rng.randrange(1, 40), first, last))
        problem = Problem(tuple(buffers))
        assert allocate(problem, "hill_climb").arena_bytes == brute_force_arena(problem)


def test_seed_changes_the_search_but_not_the_validity() -> None:
    problem = network_problem(40, seed=3)
    for seed in range(5):
        validate(problem, allocate(problem, "hill_climb", seed=seed))


def test_unknown_algorithm_names_the_known_ones() -> None:
    with pytest.raises(PlanError, match="'simplex'") as caught:
        allocate(Problem((Buffer("a", 4, 0, 0),)), "simplex")
    assert all(name in str(caught.value) for name in ALGORITHMS)
