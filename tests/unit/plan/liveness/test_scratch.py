"""Scratch memory of kernels: how much, when it is there, and that the search counts it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.plan.graphs import SCRATCH, GraphBuilder, small_chain, with_scratch
from tvm_patch.memory import Piece
from tvm_patch.plan import (
    Evaluator,
    Requirements,
    Scratch,
    choose_plan,
    row_stage,
    stepped_stage,
)
from tvm_patch.plan.layout.stage import groups_of, layer_group
from tvm_patch.plan.liveness.storage import build_execution
from tvm_patch.plan.search.streams import StreamSpace


@pytest.mark.parametrize(
    ("columns", "size_bytes"), [(1, 110), (4, 110), (5, 210), (12, 310), (100, 310), (0, 110)]
)
def test_blocks_are_as_many_as_the_row_has_but_not_more_than_allowed(
    columns: int, size_bytes: int
) -> None:
    assert SCRATCH.size_bytes(columns) == size_bytes


def test_narrow_rows_may_need_none() -> None:
    scratch = replace(SCRATCH, least_columns=5)
    assert [scratch.size_bytes(columns) for columns in (1, 4, 5)] == [0, 0, 210]
    assert not scratch.is_for(4)
    assert scratch.is_for(5)


def test_scratch_is_there_while_its_operator_runs_and_no_longer() -> None:
    graph = with_scratch(small_chain(), "second")
    stage = row_stage(graph.operators[:3], 1, 8)
    execution = build_execution(graph, groups_of(graph, [stage]))
    (group,) = (group for group in execution.groups if group.stage is not None)
    scratch = next(b for b in execution.storages if b.name == "second.scratch")
    assert scratch.size_bytes == 210
    first, last = execution.ticks[group.name]
    index = [layout.operator.name for layout in group.operators].index("second")
    ticks = {
        tick for tick in range(first, last + 1) if group.order[tick % len(group.order)] == index
    }
    live = {tick for piece in scratch.pieces for tick in range(piece.first_use, piece.last_use + 1)}
    assert live <= ticks
    assert len(live) == graph.tensor["second"].height


def test_an_operator_that_needs_everything_has_all_of_its_scratch() -> None:
    graph = with_scratch(small_chain(), "head")
    execution = build_execution(graph, groups_of(graph, []))
    scratch = next(b for b in execution.storages if b.name == "head.scratch")
    assert scratch.size_bytes == 310
    assert (scratch.first_use, scratch.last_use) == execution.ticks["head"]


def test_without_scratch_there_is_none() -> None:
    graph = with_scratch(small_chain(), "second").without_scratch()
    assert graph == small_chain()
    assert layer_group(graph, graph.operators[1]).operators[0].scratch_bytes == 0


@pytest.mark.parametrize("name", ["first", "second", "third"])
def test_the_search_counts_scratch(name: str) -> None:
    """At the peak it costs what it is; a search that forgot it would promise too little."""
    plain = small_chain()
    large = Scratch(0, 1, 1 << 20, 1)
    graph = with_scratch(plain, name, large)
    least = StreamSpace(graph).least_peak_bytes
    assert least >= StreamSpace(plain).least_peak_bytes
    assert least >= 1 << 20
    plan = choose_plan(graph, Requirements(objective="memory", max_overhead=1.0, buffering="rows"))
    assert plan.memory.arena_bytes >= least
    candidate = Evaluator(graph).evaluate(plan.stages)
    assert candidate.bound_bytes >= 1 << 20


def test_scratch_of_operators_that_run_one_after_the_other_shares_its_place() -> None:
    builder = GraphBuilder(8, 8, 4)
    one = builder.conv3("one", "image", 4)
    graph = builder.finish(builder.conv3("two", one, 4))
    for name in ("one", "two"):
        graph = with_scratch(graph, name, Scratch(0, 1, 5000, 1))
    plan = Evaluator(graph).pack(Evaluator(graph).evaluate([row_stage(graph.operators, 1, 8)]))
    assert 5000 < plan.memory.arena_bytes < 10000


@pytest.mark.parametrize("largest", ["one", "two"])
def test_scratch_of_a_column_run_lives_while_any_of_its_operators_makes_rows(largest: str) -> None:
    builder = GraphBuilder(8, 8, 4)
    stem = builder.conv1("stem", "image", 4)
    one = builder.conv3("one", stem, 4)
    graph = builder.finish(builder.conv3("two", one, 4))
    for name in ("one", "two"):
        size_bytes = 5000 if name == largest else 3000
        graph = with_scratch(graph, name, Scratch(size_bytes, 1, 0, 1))
    stage = stepped_stage(graph.operators, 1, 2, [(0, 2)])
    execution = build_execution(graph, groups_of(graph, [stage]))
    (group,) = execution.groups
    made = [position for name in ("one", "two") for position in group.made[name]]
    # The first operator is ahead of the second one, whose window looks a row down.
    assert group.made["one"] != group.made["two"]
    (scratch,) = (b for b in execution.storages if b.name.endswith(".scratch"))
    assert scratch.size_bytes == 5000
    before, _ = execution.ticks[group.name]
    positions = group.operators[0].positions(group.tiling)
    pieces = scratch.pieces or (Piece(scratch.first_use, scratch.last_use, 0, scratch.size_bytes),)
    live = {tick for each in pieces for tick in range(each.first_use, each.last_use + 1)}
    turns = range(min(made) - positions.start, max(made) + 1 - positions.start)
    assert live == {before + turn * len(group.order) for turn in turns}
