"""Graphs as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import DIGITS
from tests.unit.plan.graphs import residual_block, small_chain, with_scratch
from tvm_patch.errors import PlanError
from tvm_patch.pipeline import prepare
from tvm_patch.plan import Graph, graph_from_json, graph_to_json, load_graph


@pytest.mark.parametrize(
    "graph",
    [small_chain(), residual_block(), with_scratch(small_chain(), "second")],
    ids=["chain", "residual", "scratch"],
)
def test_a_graph_comes_back_as_it_was(graph: Graph, tmp_path: Path) -> None:
    text = graph_to_json(graph)
    assert graph_from_json(text) == graph
    assert graph_to_json(graph_from_json(text)) == text
    path = tmp_path / "graph.json"
    path.write_text(text)
    assert load_graph(path) == graph


FIRST = json.loads(graph_to_json(small_chain()))["operators"][0]


def damaged(**changes: object) -> str:
    return json.dumps({**json.loads(graph_to_json(small_chain())), **changes})


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "null", "{}", "{"),
        damaged(format_version=99),
        damaged(tensors=[{"name": "x"}]),
        damaged(tensors=7),
        damaged(operators=[{"name": "x"}]),
        damaged(operators=[{**FIRST, "access": 1}]),
    ],
)
def test_what_is_no_graph_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(PlanError, match=r"odd\.json"):
        load_graph(path)


def test_a_graph_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="nosuch"):
        load_graph(tmp_path / "nosuch.json")


def test_a_network_with_all_that_its_kernels_need_comes_back() -> None:
    network = prepare(DIGITS).network.graph
    graph = with_scratch(network, network.operators[0].name)
    assert graph_from_json(graph_to_json(graph)) == graph
