from __future__ import annotations

from importlib.util import find_spec

import pytest

from tvm_patch.errors import DoesNotFitError, InvalidAllocationError
from tvm_patch.memory import ALGORITHMS, Buffer, Problem, allocate
from tvm_patch.memory import allocator as allocator_module
from tvm_patch.memory.algorithms import Packing

from .strategies import GAPPED

CHAIN = (Buffer("input", 96, 0, 1), Buffer("conv1", 160, 1, 2), Buffer("conv2", 40, 2, 3))


def test_offsets_are_in_the_order_of_the_problem() -> None:
    allocation = allocate(Problem(CHAIN))
    assert list(allocation.offsets_bytes) == ["input", "conv1", "conv2"]
    assert (allocation.arena_bytes, allocation.optimal) == (256, True)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_buffers_and_one_buffer(algorithm: str) -> None:
    assert allocate(Problem((), capacity_bytes=0), algorithm).arena_bytes == 0
    assert allocate(Problem((Buffer("only", 5, 3, 9),)), algorithm).offsets_bytes == {"only": 0}


def test_capacity_that_is_just_enough_is_enough() -> None:
    assert allocate(Problem(CHAIN, capacity_bytes=256)).arena_bytes == 256


def test_what_cannot_fit_names_the_bytes_and_the_buffers_at_the_peak() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        allocate(Problem(CHAIN, capacity_bytes=255))
    error = caught.value
    assert (error.required_bytes, error.available_bytes) == (256, 255)
    assert "step 1 alone needs 256: conv1 (160), input (96)" in error.message
    assert "conv2" not in error.message


def test_many_buffers_at_the_peak_are_counted_not_listed() -> None:
    problem = Problem(tuple(Buffer(f"b{i}", 8, 0, 1) for i in range(20)), capacity_bytes=8)
    with pytest.raises(DoesNotFitError, match="12 more"):
        allocate(problem)


@pytest.mark.skipif(
    find_spec("ortools") is None, reason="the extra tvm-patch[exact] is not installed"
)
def test_what_only_fits_without_gaps_suggests_the_exact_algorithm() -> None:
    problem = Problem(GAPPED.buffers, capacity_bytes=87)
    with pytest.raises(DoesNotFitError, match="exact") as caught:
        allocate(problem, "hill_climb")
    assert caught.value.required_bytes == 97
    with pytest.raises(DoesNotFitError) as caught:
        allocate(problem, "exact")
    assert "exact" not in str(caught.value)


def test_a_broken_algorithm_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def everything_at_zero(problem: Problem, graph: object, limits: object) -> Packing:
        return Packing([0] * len(problem.buffers))

    monkeypatch.setattr(allocator_module, "find_algorithm", lambda name: everything_at_zero)
    with pytest.raises(InvalidAllocationError, match=r"'conv1' at .*'input' at "):
        allocate(Problem(CHAIN))
