"""Plans as data: written, read back, and refused when they are not plans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.plan.graphs import small_chain
from tvm_patch.errors import InvalidAllocationError, PlanError
from tvm_patch.plan import BufferMode, Evaluator, Plan, execution_of, stage_from_split


@pytest.fixture
def plan() -> Plan:
    graph = small_chain()
    evaluator = Evaluator(graph)
    return evaluator.pack(evaluator.evaluate((stage_from_split(graph, "third", (2, 4)),)))


def test_json_round_trip(plan: Plan) -> None:
    assert Plan.from_json(plan.to_json()) == plan
    assert Plan.from_json(plan.to_json()).to_json() == plan.to_json()


def test_stage_names_a_mode_for_every_tensor(plan: Plan) -> None:
    (stage,) = plan.stages
    assert stage.mode_of("image") is BufferMode.FULL
    assert stage.mode_of("first") is BufferMode.PATCH
    assert stage.mode_of("third") is BufferMode.FULL


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[1, 2]", "format None"),
        ('{"format_version": 99}', "format 99"),
        ('{"format_version": 2}', "malformed"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        Plan.from_json(text, source="plan.json")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("stages", 0, "tile_h"), 0),
        (("stages", 0, "tile_w"), "four"),
        (("stages", 0, "buffering", 0, "mode"), "cloud"),
        (("memory", "arena_bytes"), -1),
        (("memory",), None),
        (("input_mode",), "telepathy"),
    ],
)
def test_damaged_fields_are_refused(plan: Plan, path: tuple[str | int, ...], value: object) -> None:
    data = json.loads(plan.to_json())
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(PlanError, match="malformed"):
        Plan.from_json(json.dumps(data))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"nowhere\.json"):
        Plan.load(tmp_path / "nowhere.json")


def test_plan_of_another_model_is_refused(plan: Plan) -> None:
    data = json.loads(plan.to_json()) | {"graph_fingerprint": "f" * 64}
    with pytest.raises(PlanError, match="was made for"):
        execution_of(small_chain(), Plan.from_json(json.dumps(data)))


def test_memory_that_overlaps_is_refused(plan: Plan) -> None:
    data = json.loads(plan.to_json())
    data["memory"]["offsets_bytes"] = dict.fromkeys(data["memory"]["offsets_bytes"], 0)
    with pytest.raises(InvalidAllocationError):
        execution_of(small_chain(), Plan.from_json(json.dumps(data)))


def test_memory_of_other_stages_is_refused(plan: Plan) -> None:
    data = json.loads(plan.to_json())
    data["stages"] = []
    with pytest.raises(PlanError, match="does not match"):
        execution_of(small_chain(), Plan.from_json(json.dumps(data)))


def test_unknown_mode_for_this_version_is_refused(plan: Plan) -> None:
    data = json.loads(plan.to_json())
    for item in data["stages"][0]["buffering"]:
        if item["tensor"] == "first":
            item["mode"] = "rows_cols"
    with pytest.raises(PlanError, match="first"):
        execution_of(small_chain(), Plan.from_json(json.dumps(data)))
