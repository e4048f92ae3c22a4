"""The picture of the arena shows every buffer as what it is."""

from __future__ import annotations

import pytest

from tests.support import DIGITS
from tvm_patch.errors import PlanError
from tvm_patch.pipeline import make_plan, prepare
from tvm_patch.plan import Graph, Plan, Requirements, execution_of
from tvm_patch.report.memory_map import kind_of, memory_map_png, short_names


@pytest.fixture(scope="module")
def graph() -> Graph:
    return prepare(DIGITS).network.graph


@pytest.fixture(scope="module")
def patched(graph: Graph) -> Plan:
    return make_plan(prepare(DIGITS), Requirements(ram_bytes=48 * 1024, buffering="patch"))


def test_every_storage_has_a_kind_and_a_name(graph: Graph, patched: Plan) -> None:
    execution = execution_of(graph, patched)
    kinds = {storage.name: kind_of(graph, execution, storage) for storage in execution.storages}
    assert kinds["image"] == "input"
    assert set(kinds.values()) >= {"input", "activation", "patch buffer", "row window", "output"}
    inside = patched.stages[0].operators[0]
    assert kinds[execution.storage_of[inside]] == "patch buffer"
    names = short_names(graph, execution)
    assert {storage.name for storage in execution.storages} <= set(names)
    assert names[inside] == "0 conv"


def test_the_same_plan_gives_the_same_picture(graph: Graph, patched: Plan) -> None:
    first = memory_map_png(graph, patched, limit_bytes=48 * 1024)
    assert first.startswith(b"\x89PNG")
    assert first == memory_map_png(graph, patched, limit_bytes=48 * 1024)
    assert first != memory_map_png(graph, patched)
    assert memory_map_png(graph, patched) != memory_map_png(graph, patched, scale_bytes=96 * 1024)


def test_a_plan_of_another_network_is_refused(graph: Graph, patched: Plan) -> None:
    other = Graph("other", graph.tensors, graph.operators, graph.inputs, graph.outputs, "f")
    with pytest.raises(PlanError, match="other"):
        memory_map_png(other, patched)


def test_line_buffers_have_a_kind_of_their_own(graph: Graph) -> None:
    plan = make_plan(prepare(DIGITS), Requirements(objective="memory", buffering="rows"))
    execution = execution_of(graph, plan)
    kinds = {kind_of(graph, execution, storage) for storage in execution.storages}
    assert "line buffer" in kinds
    assert "patch buffer" not in kinds
    assert memory_map_png(graph, plan).startswith(b"\x89PNG")
