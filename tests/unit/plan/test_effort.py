"""What plans of equal MACs are told apart by."""

from __future__ import annotations

import pytest

from tests.unit.plan.graphs import GraphBuilder
from tvm_patch.plan import Evaluator, Graph, row_stage
from tvm_patch.plan.search.patches import stepped_stage


def _graph() -> Graph:
    builder = GraphBuilder(32, 32, 8)
    widened = builder.conv1("widened", "image", 48)
    window = builder.conv3("window", widened, 16)
    return builder.finish(window)


def _slowdown(graph: Graph, width: int, recomputed: tuple[str, ...] = ()) -> float:
    stage = stepped_stage(graph.operators, 1, width, [(0, 1)], recomputed=recomputed)
    return Evaluator(graph).evaluate((stage,)).slowdown


def test_narrower_steps_are_slower() -> None:
    graph = _graph()
    rows = Evaluator(graph).evaluate((row_stage(graph.operators, 1, 32),)).slowdown
    steps = [_slowdown(graph, width) for width in (32, 8, 4, 2, 1)]
    assert rows < steps[0]
    assert steps == sorted(steps)
    assert steps[-1] < 2


def test_rows_that_are_made_again_are_paid_for_again() -> None:
    graph = _graph()
    macs = {operator.name: operator.macs for operator in graph.operators}
    # Of three rows under the window none is kept.
    again = 2 * macs["widened"] / graph.macs
    assert _slowdown(graph, 8, ("widened",)) > _slowdown(graph, 8) + again / 2


def test_an_input_that_is_fetched_costs_next_to_nothing() -> None:
    graph = _graph()
    stages = [row_stage(graph.operators, 1, 32, fetched=each) for each in ((), ("image",))]
    resident, fetched = (Evaluator(graph).evaluate((stage,)).slowdown for stage in stages)
    assert fetched == pytest.approx(resident, abs=0.01)
