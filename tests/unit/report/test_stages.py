"""What is said of stages is what the stages do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import DIGITS, plans
from tvm_patch.pipeline import make_plan, prepare
from tvm_patch.plan import (
    Access,
    Evaluator,
    Graph,
    InputMode,
    Plan,
    Requirements,
    execution_of,
    row_stage,
)
from tvm_patch.plan.layout.group import scratch_of
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


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_parts_are_the_whole_network_and_add_up(graph: Graph, data: st.DataObject) -> None:
    plan = data.draw(plans(graph))
    names: list[str] = []
    parts = summarise_stages(graph, plan)
    for part in parts:
        if isinstance(part, OnTheirOwn):
            names += part.operators
            continue
        assert plan.stages[part.index].operators[0] == part.first
        assert plan.stages[part.index].operators[-1] == part.last
        names += plan.stages[part.index].operators
        assert graph.operators[part.first_index].name == part.first
        assert graph.operators[part.last_index].name == part.last
    assert names == [op.name for op in graph.operators if op.access is not Access.VIEW]
    stages = [part for part in parts if isinstance(part, StageSummary)]
    staged = {name for stage in plan.stages for name in stage.operators}
    own = sum(op.macs for op in graph.operators if op.name not in staged)
    assert own + sum(stage.macs for stage in stages) == plan.macs
    assert round(own + sum(stage.macs / stage.mac_overhead for stage in stages)) == graph.macs
    assert sum(stage.buffer_bytes for stage in stages) == buffers_of_stages(graph, plan)
    for stage in stages:
        assert sum(stage.modes.values()) == len(stage.tensors)
        for tensor in stage.tensors:
            pixels = tensor.rows * tensor.columns + tensor.stored_rows * tensor.stored_columns
            assert tensor.held_bytes == max(1, pixels * tensor.channels)
            assert tensor.whole_bytes == graph.tensor[tensor.tensor].size_bytes


def buffers_of_stages(graph: Graph, plan: Plan) -> int:
    """Bytes of all storages but those of whole tensors and of operators on their own."""
    execution = execution_of(graph, plan)
    inside = {
        layout.operator.output
        for group in execution.groups
        for layout in group.operators
        if group.blocks[layout.operator.output].region is not None
    }
    whole = {execution.storage_of[t.name] for t in graph.tensors if t.name not in inside}
    alone = {
        window.buffer
        for group in execution.groups
        if group.stage is None
        for layout in group.operators
        for window in layout.windows
        if window is not None
    }
    alone |= {
        scratch_of(layout.operator.name)
        for group in execution.groups
        if group.stage is None
        for layout in group.operators
    }
    return sum(s.size_bytes for s in execution.storages if s.name not in whole | alone)


def test_the_lag_is_what_the_windows_behind_have_to_wait_for(graph: Graph) -> None:
    operators = graph.operators[:7]
    width = graph.tensor[operators[-1].output].width
    evaluator = Evaluator(graph)
    plan = evaluator.pack(evaluator.evaluate((row_stage(operators, 1, width),)))
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
        "in no stage, since it needs its input whole: 23 mean, 24 dense, 25 softmax"
    ]


def test_tables_have_a_line_for_each_part_and_tensor(graph: Graph, plan: Plan) -> None:
    parts = summarise_stages(graph, plan)
    assert len(stages_table(graph, parts).rows) == len(parts)
    tensors = [t for part in parts if isinstance(part, StageSummary) for t in part.tensors]
    table = held_tensors_table(graph, parts)
    assert [row[2] for row in table.rows] == [tensor.tensor for tensor in tensors]
    assert "block2_add" in markdown(stages_table(graph, parts)) or plan.stages[0].operators[-1]
