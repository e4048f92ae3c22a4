from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import pytest

from tvm_patch.memory import Allocation, Buffer, Problem


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"size_bytes": 0}, "size_bytes is 0"),
        ({"first_use": -1}, "live range -1..5"),
        ({"first_use": 6}, "live range 6..5"),
        ({"alignment_bytes": 0}, "not a power of two"),
        ({"alignment_bytes": 12}, "not a power of two"),
    ],
)
def test_buffer_refuses_values_out_of_range(changes: dict[str, Any], complaint: str) -> None:
    good = Buffer("act", 16, 2, 5)
    with pytest.raises(ValueError, match=f"'act'.*{complaint}"):
        dataclasses.replace(good, **changes)


def test_live_ranges_include_both_ends() -> None:
    producer = Buffer("producer", 10, 0, 3)
    assert producer.forbidden_differences(Buffer("reader", 20, 3, 4)) == ((-10, 20),)
    assert producer.forbidden_differences(Buffer("later", 20, 4, 5)) == ()


def test_problem_refuses_two_buffers_of_one_name() -> None:
    with pytest.raises(ValueError, match="two buffers are named 'x'"):
        Problem((Buffer("x", 4, 0, 1), Buffer("y", 4, 0, 1), Buffer("x", 8, 2, 3)))


def test_problem_refuses_a_negative_capacity() -> None:
    with pytest.raises(ValueError, match="capacity_bytes is -1"):
        Problem((), capacity_bytes=-1)


def test_problem_is_hashable_even_when_made_from_a_list() -> None:
    buffers = [Buffer("x", 4, 0, 1, alignment_bytes=8), Buffer("y", 4, 0, 1)]
    problem = Problem(buffers)  # type: ignore[arg-type]
    assert hash(problem) == hash(Problem(tuple(buffers)))
    assert problem.alignment_bytes == 8


def test_allocation_is_read_only_and_does_not_follow_its_source() -> None:
    source = {"x": 0}
    allocation = Allocation(source, 4, "greedy_by_size", 4, True)
    source["x"] = 8
    assert allocation.offsets_bytes == {"x": 0}
    with pytest.raises(TypeError, match="read-only"):
        allocation.offsets_bytes["x"] = 4  # type: ignore[index]
    with pytest.raises(TypeError, match="read-only"):
        allocation.offsets_bytes.update({"y": 4})  # type: ignore[attr-defined]


def test_allocation_survives_pickle_copy_hash_and_json() -> None:
    allocation = Allocation({"x": 0, "y": 4}, 8, "greedy_by_size", 8, True)
    assert pickle.loads(pickle.dumps(allocation)) == allocation
    assert copy.deepcopy(allocation) == allocation
    assert hash(copy.copy(allocation)) == hash(allocation)
    as_json = json.dumps(dataclasses.asdict(allocation))
    assert Allocation(**json.loads(as_json)) == allocation
