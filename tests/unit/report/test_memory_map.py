"""The picture of the arena shows every buffer as what it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import DIGITS, plans
from tvm_patch.errors import PlanError
from tvm_patch.pipeline import make_plan, prepare
from tvm_patch.plan import Graph, Plan, Requirements, execution_of, worst_moment
from tvm_patch.report.memory_map import (
    KINDS,
    Clock,
    kind_of,
    live_steps,
    memory_map_png,
    outlines,
    roomiest_place,
    short_names,
)


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


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_shapes_cover_what_is_live_and_nothing_else(graph: Graph, data: st.DataObject) -> None:
    plan = data.draw(plans(graph))
    execution = execution_of(graph, plan)
    clock = Clock(graph, execution)
    for storage in execution.storages:
        shapes = outlines(storage, clock)
        live = sum(
            (clock(piece.last_use + 1) - clock(piece.first_use)) * piece.size_bytes
            for piece in storage.live_pieces
        )
        assert sum(map(area, shapes)) == pytest.approx(live)
        highest = max(y for shape in shapes for _, y in shape)
        assert highest == max(piece.end_bytes for piece in storage.live_pieces)
        assert kind_of(graph, execution, storage) in KINDS


def area(corners: list[tuple[float, float]]) -> float:
    """Of a polygon, by the shoelace formula."""
    following = [*corners[1:], corners[0]]
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(corners, following, strict=True))) / 2


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_labels_lie_within_their_shapes(graph: Graph, data: st.DataObject) -> None:
    plan = data.draw(plans(graph))
    execution = execution_of(graph, plan)
    clock = Clock(graph, execution)
    storage = data.draw(st.sampled_from(execution.storages))
    width = data.draw(st.floats(0.01, 5))
    height = data.draw(st.floats(1, storage.size_bytes))
    place = roomiest_place(storage, clock, width, height)
    if place is None:
        whole = storage.live_pieces[0]
        if len(storage.live_pieces) == 1:
            assert clock(whole.last_use + 1) - clock(whole.first_use) < width
        return
    left, right = place[0] - width / 2, place[0] + width / 2
    for piece in storage.live_pieces:
        if clock(piece.first_use) < right and clock(piece.last_use + 1) > left:
            assert piece.begin_bytes <= place[1] - height / 2 + 1e-6
            assert place[1] + height / 2 <= piece.end_bytes + 1e-6


def test_live_bytes_are_those_of_the_worst_moment(graph: Graph, patched: Plan) -> None:
    execution = execution_of(graph, patched)
    ticks, live_bytes = live_steps(execution)
    moment = worst_moment(execution)
    assert moment is not None
    assert max(live_bytes) == sum(size for _, size in moment.holders)
    assert len(ticks) == len(live_bytes) + 1
    assert min(live_bytes) > 0
