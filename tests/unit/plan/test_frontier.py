"""The plans worth having: none beaten, none missing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plan.graphs import GraphBuilder, residual_block, small_chain
from tvm_patch.deadline import Deadline
from tvm_patch.plan import (
    Graph,
    InputMode,
    MemoryPlan,
    Plan,
    Requirements,
    choose_plan,
    execution_of,
    find_frontier,
    undominated,
)


def made_up(macs: int, arena_bytes: int) -> Plan:
    memory = MemoryPlan("greedy_by_size", arena_bytes, arena_bytes, {})
    return Plan("m", "f", (), memory, macs, macs / 10)


@given(st.lists(st.tuples(st.integers(10, 20), st.integers(1, 9))))
def test_undominated_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    kept = [(p.macs, p.memory.arena_bytes) for p in undominated(made_up(*p) for p in points)]
    beaten = [
        (m, a) for m, a in points if any(n <= m and b <= a and (n, b) != (m, a) for n, b in points)
    ]
    assert kept == sorted(set(points) - set(beaten))


@pytest.mark.parametrize("graph", [small_chain(), residual_block()], ids=["chain", "residual"])
@pytest.mark.parametrize("mode", list(InputMode))
@pytest.mark.parametrize("buffering", ["any", "patch", "rows"])
def test_a_frontier_falls_and_holds_the_plans_that_are_chosen(
    graph: Graph, mode: InputMode, buffering: str
) -> None:
    requirements = Requirements(
        objective="memory",
        max_overhead=4.0,
        buffering=buffering,  # type: ignore[arg-type]
        input_mode=mode,
    )
    plans = find_frontier(graph, requirements)
    for plan in plans:
        assert execution_of(graph, plan).macs == plan.macs
        assert plan.input_mode is mode
    for faster, smaller in pairwise(plans):
        assert faster.macs < smaller.macs
        assert faster.memory.arena_bytes > smaller.memory.arena_bytes
    for overhead in (1.0, 1.2, 2.0, 4.0):
        chosen = choose_plan(graph, replace(requirements, max_overhead=overhead))
        as_good = [p for p in plans if p.mac_overhead <= overhead]
        assert as_good[-1].memory.arena_bytes <= chosen.memory.arena_bytes


def test_a_frontier_keeps_to_the_overhead_and_is_empty_where_there_is_no_plan() -> None:
    plans = find_frontier(small_chain(), Requirements(max_overhead=1.1, buffering="patch"))
    assert plans
    assert max(plan.mac_overhead for plan in plans) <= 1.1
    builder = GraphBuilder(4, 4, 2)
    graph = builder.finish(builder.whole("head", "image", (1, 3)))
    assert find_frontier(graph, Requirements(input_mode=InputMode.ROWS)) == ()


def test_a_frontier_cut_short_is_one_of_what_was_found() -> None:
    deadline = Deadline()
    deadline.interrupt()
    (plan,) = find_frontier(small_chain(), Requirements(), deadline=deadline)
    assert execution_of(small_chain(), plan).macs == plan.macs
