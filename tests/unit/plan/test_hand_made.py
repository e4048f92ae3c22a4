"""Plans that a hand has made or changed: refused with place and reason, never carried out."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plan.graphs import small_chain
from tvm_patch.errors import InvalidAllocationError, PlanError, TvmPatchError
from tvm_patch.plan import Plan, Requirements, choose_plan, execution_of

GRAPH = small_chain()
GOOD: dict[str, Any] = json.loads(
    choose_plan(GRAPH, Requirements(objective="memory", buffering="rows")).to_json()
)
Change = Callable[[dict[str, Any]], None]


def put(*path_and_value: Any) -> Change:
    """A change of one entry."""
    *path, last, value = path_and_value

    def change(data: Any) -> None:
        for key in path:
            data = data[key]
        data[last] = value

    return change


def drop(*path: Any) -> Change:
    """A change that takes one entry away."""

    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def on(*path: Any, do: str, with_: tuple[Any, ...] = ()) -> Change:
    """A change by a method of one entry."""

    def change(data: Any) -> None:
        for key in path:
            data = data[key]
        getattr(data, do)(*with_)

    return change


def carried_out(change: Change) -> None:
    data = copy.deepcopy(GOOD)
    change(data)
    execution_of(GRAPH, Plan.from_json(json.dumps(data), source="hand.json"))


STAGE = ("stages", 0)
OFFSETS = ("memory", "offsets_bytes")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("format_version", 0), r"hand\.json: plan format 0, this version reads 2"),
        (put("format_version", 3), "plan format 3"),
        (put("format_version", "1"), "plan format '1'"),
        (drop("stages"), "stages is missing"),
        (put("stages", None), "stages must be a list"),
        (put(*STAGE, "x"), r"stages\[0\] must be an object, not 'x'"),
        (put(*STAGE, "buffering", 0, "mode", "lines"), r"buffering\[0\]\.mode must be one of full"),
        (put(*STAGE, "tile_h", 0), r"stages\[0\]\.tile_h must be a positive whole number, not 0"),
        (put(*STAGE, "tile_w", 1.5), r"tile_w must be .*, not 1\.5"),
        (put(*STAGE, "tile_w", True), "tile_w must be"),
        (put(*STAGE, "operators", "first"), "operators must be a list"),
        (put(*STAGE, "operators", [1]), r"operators\[0\] must be a text"),
        (put(*STAGE, "operators", []), "stage 0 of the plan has no operators"),
        (put(*STAGE, "operators", 0, "nosuch"), "names operator nosuch"),
        (on(*STAGE, "operators", do="reverse"), "in execution order"),
        (on("stages", do="append", with_=(GOOD["stages"][0],)), "shares an operator"),
        (put(*STAGE, "buffering", 0, "tensor", "nosuch"), "names tensor nosuch"),
        (
            on(*STAGE, "buffering", do="append", with_=(GOOD["stages"][0]["buffering"][0],)),
            "twice",
        ),
        (put(*STAGE, "buffering", []), "buffer mode full"),
        (put(*STAGE, "colour", "red"), r"stages\[0\] has an unknown entry 'colour'"),
        (put("colour", "red"), "the file has an unknown entry 'colour'"),
        (put(*OFFSETS, "image", -4), r"memory\.offsets_bytes\.image must be a whole number from 0"),
        (put(*OFFSETS, "image", "4"), "offsets_bytes.image must be"),
        (put(*OFFSETS, "extra", 0), "first difference: extra"),
        (drop(*OFFSETS, "image"), "first difference: image"),
        (put("memory", None), "memory must be an object"),
        (put("memory", "lower_bound_bytes", -1), "lower_bound_bytes"),
        (put("macs", GOOD["macs"] + 1), "MACs and F"),
        (put("mac_overhead", 0.5), "MACs and F 0.5"),
        (put("mac_overhead", float("nan")), "mac_overhead must be a number"),
        (put("input_mode", "rows"), "says input rows"),
        (put("input_mode", "wire"), "input_mode must be one of resident, rows"),
        (put("graph_fingerprint", "f" * 64), "was made for"),
    ],
)
def test_the_reason_is_given(change: Change, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        carried_out(change)


@pytest.mark.parametrize(
    "change",
    [
        put(*OFFSETS, "image", 3),
        put(*OFFSETS, "image", 10**7),
        put("memory", "arena_bytes", 16),
        put("memory", "arena_bytes", 10**6),
        put("memory", "lower_bound_bytes", 10**7),
        put(*OFFSETS, dict.fromkeys(GOOD["memory"]["offsets_bytes"], 0)),
    ],
)
def test_memory_that_is_wrong_never_passes(change: Change) -> None:
    with pytest.raises(InvalidAllocationError):
        carried_out(change)


def test_the_plan_itself_passes() -> None:
    carried_out(lambda _data: None)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all entries of a JSON value."""
    entries = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in entries:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(places(GOOD)),
    st.one_of(
        *(st.none(), st.booleans(), st.integers(-5, 9999), st.floats(), st.text(max_size=5)),
        *(st.just([]), st.just({})),
    ),
)
def test_any_entry_may_be_anything(path: tuple[Any, ...], value: object) -> None:
    try:
        carried_out(put(*path, value))
    except TvmPatchError as error:
        assert error.exit_code in (PlanError.exit_code, InvalidAllocationError.exit_code)


def test_a_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(GOOD | {"macs": "many"}))
    with pytest.raises(PlanError, match=r"mine\.json: malformed plan: macs must be") as caught:
        Plan.load(path)
    assert "tvm-patch plan" in str(caught.value)
