"""What is said of stages is what the stages do."""

from __future__ import annotations

import pytest

from tests.support import DIGITS
from tvm_patch.pipeline import make_plan, prepare
from tvm_patch.plan import Access, Graph, InputMode, Plan, Requirements, execution_of
from tvm_patch.report.cells import markdown
from tvm_patch.report.stages import (
    OnTheirOwn,
    StageSummary,
    fallbacks,
    fallbacks_text,
    held_tensors_table,
    stages_table,
    summarise_stages,
)

PLANS = {
    "patch": Requirements(objective="memory", buffering="patch"),
    "rows": Requirements(objective="memory", buffering="rows"),
    "input by rows": Requirements(objective="memory", buffering="rows", input_mode=InputMode.ROWS),
}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return prepare(DIGITS).network.graph


@pytest.fixture(scope="module", params=list(PLANS))
def plan(request: pytest.FixtureRequest) -> Plan:
    return make_plan(prepare(DIGITS), PLANS[request.param])


def test_the_parts_are_the_whole_network(graph: Graph, plan: Plan) -> None:
    names: list[str] = []
    for part in summarise_stages(graph, plan):
        if isinstance(part, OnTheirOwn):
            names += part.operators
            continue
        assert plan.stages[part.index].operators[0] == part.first
        assert plan.stages[part.index].operators[-1] == part.last
        names += plan.stages[part.index].operators
        assert graph.operators[part.first_index].name == part.first
        assert graph.operators[part.last_index].name == part.last
    assert names == [op.name for op in graph.operators if op.access is not Access.VIEW]


def test_macs_and_buffers_add_up(graph: Graph, plan: Plan) -> None:
    execution = execution_of(graph, plan)
    stages = [p for p in summarise_stages(graph, plan) if isinstance(p, StageSummary)]
    own = sum(
        op.macs for op in graph.operators if all(op.name not in s.operators for s in plan.stages)
    )
    assert own + sum(stage.macs for stage in stages) == plan.macs
    weighted = sum(stage.macs / stage.mac_overhead for stage in stages)
    assert round(own + weighted) == graph.macs
    whole = {t.name for t in graph.tensors if t.size_bytes} - {
        tensor.tensor for stage in stages for tensor in stage.tensors
    }
    inside = {name for name in plan.memory.offsets_bytes if name not in whole}
    windows_of_layers = {
        window.buffer
        for group in execution.groups
        if group.stage is None
        for layout in group.operators
        for window in layout.windows
        if window is not None
    }
    sizes = {storage.name: storage.size_bytes for storage in execution.storages}
    assert sum(stage.buffer_bytes for stage in stages) == sum(
        sizes[name] for name in inside - windows_of_layers
    )
    for stage in stages:
        for tensor in stage.tensors:
            assert tensor.held_bytes == tensor.rows * tensor.columns * tensor.channels
            assert tensor.whole_bytes == graph.tensor[tensor.tensor].size_bytes
        assert sum(stage.modes.values()) == len(stage.tensors)


def test_the_lag_is_what_the_windows_behind_have_to_wait_for(graph: Graph) -> None:
    plan = make_plan(prepare(DIGITS), PLANS["rows"])
    first = summarise_stages(graph, plan)[0]
    assert isinstance(first, StageSummary)
    # stem, then two 3x3 windows with a row of padding: one row each that is not there yet.
    assert [(t.tensor, t.lag_rows) for t in first.tensors][:4] == [
        ("stem", 2),
        ("block1_depthwise", 1),
        ("block1_project", 1),
        ("block2_expand", 1),
    ]
    assert first.lag_rows == 2
    assert first.turns == 34


def test_what_falls_back_is_named_with_its_reason(graph: Graph, plan: Plan) -> None:
    parts = summarise_stages(graph, plan)
    (reason,) = fallbacks(graph, parts)
    assert fallbacks(graph, parts)[reason] == ("mean", "logits", "probabilities")
    assert fallbacks_text(graph, parts) == [
        "in no stage, since it needs its input whole: 22 mean, 23 dense, 24 softmax"
    ]


def test_tables_have_a_line_for_each_part_and_tensor(graph: Graph, plan: Plan) -> None:
    parts = summarise_stages(graph, plan)
    assert len(stages_table(graph, parts).rows) == len(parts)
    tensors = [t for part in parts if isinstance(part, StageSummary) for t in part.tensors]
    table = held_tensors_table(graph, parts)
    assert [row[2] for row in table.rows] == [tensor.tensor for tensor in tensors]
    assert "block2_add" in markdown(stages_table(graph, parts)) or plan.stages[0].operators[-1]
