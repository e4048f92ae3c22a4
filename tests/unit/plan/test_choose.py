"""The search: what it may choose from, and what it promises."""

from __future__ import annotations

import itertools
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plan.graphs import GraphBuilder, pooled_chain, residual_block, small_chain
from tvm_patch.deadline import Deadline
from tvm_patch.errors import DoesNotFitError, PlanError
from tvm_patch.memory import lower_bound_bytes
from tvm_patch.plan import (
    STACK_RESERVE_BYTES,
    Access,
    Buffering,
    BufferMode,
    Candidate,
    CandidateSearch,
    Evaluator,
    Graph,
    InputMode,
    Operator,
    Requirements,
    Tensor,
    choose_plan,
    execution_of,
    first_stage_ends,
    layer_by_layer,
    pareto,
    stage_from_split,
)
from tvm_patch.plan.search.patches import tile_sizes
from tvm_patch.plan.search.streams import StreamSpace, segment_sequences


def test_a_stage_ends_only_where_one_tensor_is_handed_on() -> None:
    graph = residual_block()
    assert [graph.operators[i].name for i in first_stage_ends(graph)] == ["joined", "last"]


def candidates_of(graph: Graph, requirements: Requirements) -> list[Candidate]:
    search = CandidateSearch(Evaluator(graph), requirements)
    search.run()
    return search.candidates


def test_the_least_memory_is_no_more_than_layer_by_layer() -> None:
    graph = small_chain()
    plan = choose_plan(graph, Requirements(objective="memory"))
    assert plan.stages
    assert plan.memory.arena_bytes < layer_by_layer(graph).memory.arena_bytes


def test_a_stage_may_end_with_a_sum_in_tiles_of_full_width() -> None:
    graph = pooled_chain()
    assert [graph.operators[i].name for i in first_stage_ends(graph)] == ["second", "total"]
    plan = choose_plan(graph, Requirements(objective="memory"))
    assert plan.stages[-1].operators[-1] == "total"
    for buffering in ("patch", "rows"):
        stages = [
            c.stages[-1]
            for c in candidates_of(graph, Requirements(buffering=buffering))
            if c.stages
        ]
        summed = [stage for stage in stages if stage.operators[-1] == "total"]
        assert summed
        assert all(stage.tile_w == 5 for stage in summed)


def test_the_least_peak_of_live_bytes_is_that_of_the_storages() -> None:
    graph = pooled_chain()
    space = StreamSpace(graph)
    bounds = [
        lower_bound_bytes(Evaluator(graph).evaluate(stages).execution.problem())
        for stages in segment_sequences(space, [space.least_peak_bytes], 1)
    ]
    assert bounds[0] <= space.least_peak_bytes


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3000))
def test_a_plan_keeps_to_its_limit_with_the_fewest_macs(spare_bytes: int) -> None:
    graph = small_chain()
    least = choose_plan(graph, Requirements(objective="memory", max_overhead=100.0))
    ram_bytes = least.memory.arena_bytes + STACK_RESERVE_BYTES + spare_bytes
    plan = choose_plan(graph, Requirements(ram_bytes=ram_bytes))
    limit = ram_bytes - STACK_RESERVE_BYTES
    assert plan.memory.arena_bytes <= limit
    evaluator = Evaluator(graph)
    for candidate in candidates_of(graph, Requirements()):
        if candidate.macs < plan.macs:
            assert evaluator.pack(candidate).memory.arena_bytes > limit


def test_nothing_fits_is_said_with_the_best_found() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        choose_plan(small_chain(), Requirements(ram_bytes=1200))
    assert caught.value.available_bytes == 1200
    assert caught.value.required_bytes > 1200
    assert f"{caught.value.required_bytes:,}" in str(caught.value)


def test_an_overhead_limit_is_kept() -> None:
    plan = choose_plan(small_chain(), Requirements(objective="memory", max_overhead=1.1))
    assert plan.mac_overhead <= 1.1


def test_a_slowdown_limit_is_kept_and_costs_memory() -> None:
    for graph in (small_chain(), residual_block()):
        arenas = []
        for limit in (3.0, 1.1, 1.02):
            wish = Requirements(
                objective="memory",
                max_overhead=1.0,
                max_slowdown=limit,
                input_mode=InputMode.ROWS,
            )
            plan = choose_plan(graph, wish)
            assert plan.slowdown <= limit
            arenas.append(plan.memory.arena_bytes)
        assert arenas == sorted(arenas)
        assert arenas[0] < arenas[-1], "the limit decided"


def test_a_slowdown_that_nothing_keeps_to_is_refused_only_if_it_was_asked_for() -> None:
    wish = Requirements(
        objective="memory", max_overhead=1.0, max_slowdown=1.0, input_mode=InputMode.ROWS
    )
    builder = GraphBuilder(16, 16, 8)
    # A map is made in one go, rows of it are not.
    wider = builder.conv1("wider", "image", 24)
    graph = builder.finish(builder.conv1("narrower", wider, 8))
    with pytest.raises(PlanError, match=r"keeps to a slowdown of 1\n.*--max-slowdown 1\.0"):
        choose_plan(graph, wish)
    assert choose_plan(graph, replace(wish, max_slowdown=None)).stages


def test_without_a_limit_of_ram_plans_are_about_as_fast_as_layers() -> None:
    assert Requirements(max_overhead=1.0).slowdown_limit <= 1.05
    assert Requirements(max_overhead=1.5).slowdown_limit > 1.5
    assert Requirements(ram_bytes=20_000).slowdown_limit == float("inf")
    assert Requirements(ram_bytes=20_000, max_slowdown=1.2).slowdown_limit == 1.2
    with pytest.raises(PlanError, match=r"slowdown of 0\.9"):
        Requirements(max_slowdown=0.9)


@pytest.mark.parametrize("buffering", ["any", "patch", "rows"])
def test_nothing_that_was_looked_for_is_below_the_bound(buffering: Buffering) -> None:
    graph = pooled_chain()
    wish = Requirements(objective="memory", max_overhead=1.2, buffering=buffering)
    search = CandidateSearch(Evaluator(graph), wish)
    search.run()
    assert search.allowed
    assert all(candidate.bound_bytes >= search.bound_bytes > 0 for candidate in search.allowed)
    plan = choose_plan(graph, wish)
    assert plan.bound_bytes == search.bound_bytes <= plan.memory.arena_bytes


def test_overhead_limit_and_ram_together_may_not_fit() -> None:
    graph = small_chain()
    # Patches need more MACs for less memory; line buffers would need no more of them.
    wish = Requirements(objective="memory", max_overhead=100.0, buffering="patch")
    least = choose_plan(graph, wish)
    ram_bytes = least.memory.arena_bytes + STACK_RESERVE_BYTES
    wish = Requirements(ram_bytes=ram_bytes, max_overhead=1.0, buffering="patch")
    with pytest.raises(DoesNotFitError):
        choose_plan(graph, wish)


def test_the_frontier_trades_memory_for_macs() -> None:
    for buffering in ("any", "patch", "rows"):
        candidates = candidates_of(
            small_chain(), Requirements(objective="macs", buffering=buffering)
        )
        frontier = pareto(candidates)
        assert len(frontier) > 1
        for slower, faster in pairwise(reversed(frontier)):
            assert slower.cost > faster.cost
            assert slower.bound_bytes < faster.bound_bytes


def test_line_buffers_save_memory_at_no_mac() -> None:
    graph = small_chain()
    plan = choose_plan(graph, Requirements(objective="memory", max_overhead=1.0))
    assert plan.mac_overhead == 1.0
    assert plan.memory.arena_bytes < 0.8 * layer_by_layer(graph).memory.arena_bytes


def test_patches_alone_can_be_asked_for() -> None:
    plan = choose_plan(small_chain(), Requirements(objective="memory", buffering="patch"))
    assert len(plan.stages) == 1
    assert all(b.mode is not BufferMode.ROWS for b in plan.stages[0].buffering)


@pytest.mark.parametrize("algorithm", ["greedy_by_size", "hill_climb", "exact"])
def test_every_packing_algorithm_makes_a_plan_that_checks(algorithm: str) -> None:
    graph = small_chain()
    plan = choose_plan(graph, Requirements(objective="memory"), algorithm=algorithm)
    assert plan.memory.algorithm == algorithm
    assert execution_of(graph, plan).macs == plan.macs


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0, 1),
    st.sampled_from(["any", "patch", "rows"]),
    st.sampled_from([InputMode.RESIDENT, InputMode.ROWS]),
)
def test_a_search_cut_short_anywhere_gives_a_valid_plan(
    share: float, buffering: Buffering, input_mode: InputMode
) -> None:
    graph = small_chain()
    requirements = Requirements(objective="memory", buffering=buffering, input_mode=input_mode)
    # A clock that advances whenever the search looks at it.
    looks = itertools.count()
    never = Deadline(1e9, clock=lambda: float(next(looks)))
    choose_plan(graph, requirements, algorithm="greedy_by_size", deadline=never)
    limit_s = max(1.0, share * (next(looks) - 1))
    looks = itertools.count()
    deadline = Deadline(limit_s, clock=lambda: float(next(looks)))
    plan = choose_plan(graph, requirements, algorithm="greedy_by_size", deadline=deadline)
    assert deadline.cut_short == f"the time limit of {limit_s:g} s"
    assert plan.mac_overhead <= requirements.overhead_limit
    assert plan.input_mode is input_mode
    assert execution_of(graph, plan).macs == plan.macs


def test_a_search_that_is_never_cut_short_says_so() -> None:
    deadline = Deadline(1e6)
    plan = choose_plan(small_chain(), Requirements(objective="memory"), deadline=deadline)
    assert deadline.cut_short is None
    assert plan == choose_plan(small_chain(), Requirements(objective="memory"))


def test_a_search_cut_short_before_anything_fits_says_so() -> None:
    deadline = Deadline()
    deadline.interrupt()
    with pytest.raises(DoesNotFitError, match="cut short by an interrupt"):
        choose_plan(small_chain(), Requirements(ram_bytes=1500), deadline=deadline)


def test_the_same_question_gives_the_same_plan() -> None:
    requirements = Requirements(objective="memory")
    assert choose_plan(small_chain(), requirements) == choose_plan(small_chain(), requirements)


@pytest.mark.parametrize(
    ("split", "grid"), [("nowhere", (2, 2)), (0, (2, 2)), (99, (2, 2)), (2, (0, 1)), (2, (99, 1))]
)
def test_splits_that_cannot_be_are_refused(split: int | str, grid: tuple[int, int]) -> None:
    with pytest.raises(PlanError):
        stage_from_split(small_chain(), split, grid)


@given(st.integers(1, 300))
def test_tile_sizes_fall_and_each_gives_another_count(size: int) -> None:
    sizes = tile_sizes(size)
    counts = [-(-size // tile) for tile in sizes]
    assert sizes[0] == size
    assert list(sizes) == sorted(set(sizes), reverse=True)
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("limits", [{"max_overhead": 0.9}, {"ram_bytes": 0}])
def test_limits_that_nothing_can_keep_to_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(PlanError):
        Requirements(**limits)  # type: ignore[arg-type]


def test_an_input_by_rows_is_never_whole() -> None:
    graph = small_chain()
    requirements = Requirements(objective="memory", input_mode=InputMode.ROWS)
    plan = choose_plan(graph, requirements)
    assert plan.input_mode is InputMode.ROWS
    assert plan.mac_overhead == 1.0
    buffers = {b.name: b.size_bytes for b in execution_of(graph, plan).storages}
    assert buffers["image"] < graph.tensor["image"].size_bytes
    resident = choose_plan(graph, Requirements(objective="memory", buffering="rows"))
    assert plan.memory.arena_bytes <= resident.memory.arena_bytes


def test_an_input_that_something_needs_whole_cannot_come_by_rows() -> None:
    builder = GraphBuilder(4, 4, 2)
    graph = builder.finish(builder.whole("head", "image", (1, 3)))
    with pytest.raises(PlanError, match="resident"):
        choose_plan(graph, Requirements(input_mode=InputMode.ROWS))


def test_a_network_of_views_takes_nothing() -> None:
    shape = (1, 2, 3, 4)
    flat = Operator("flat", "reshape", ("image",), "flat", Access.VIEW, streamable=False)
    tensors = (Tensor("image", shape), Tensor("flat", (1, 24)))
    graph = Graph("views", tensors, (flat,), ("image",), ("flat",), "0" * 64)
    plan = choose_plan(graph, Requirements(objective="memory"))
    assert (plan.slowdown, plan.mac_overhead, plan.stages) == (1.0, 1.0, ())
