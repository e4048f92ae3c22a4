"""The benchmark of planning times what it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import REPOSITORY
from tvm_patch.plan import Requirements, choose_plan, execution_of


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import planning_time

    yield planning_time
    sys.modules.pop("planning_time")


@pytest.mark.parametrize("residual", [False, True])
def test_chains_have_their_depth_and_can_be_planned(benchmark: ModuleType, residual: bool) -> None:
    for depth in (1, 2, 7, 20):
        graph = benchmark.chain(depth, residual=residual)
        assert len(graph.operators) == depth
        plan = choose_plan(graph, Requirements(objective="memory", buffering="rows"))
        assert execution_of(graph, plan).macs == graph.macs
    kinds = {operator.kind for operator in benchmark.chain(20, residual=residual).operators}
    assert kinds == {"conv2d", "depthwise_conv2d", *(["add"] if residual else [])}
    sizes = {t.size_bytes for t in benchmark.chain(400).tensors[100:]}
    assert len(sizes) == 2, "only the depth differs"


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_growth_exponent_is_that_of_a_power(benchmark: ModuleType, exponent: float) -> None:
    timings = [
        benchmark.Timing("chain", "resident", depth, 0.01 * depth**exponent, 1.0, 1, 1)
        for depth in (20, 50, 100, 400)
    ]
    assert benchmark.growth_exponent(timings) == pytest.approx(exponent)
    assert benchmark.growth_exponent(timings[:2]) is None


def test_results_are_written(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "times.json"
    arguments = ["--depths", "4,6", "--model", "none", "--kinds", "by rows", "--json", str(path)]
    assert benchmark.main(arguments) == 0
    record = json.loads(path.read_text())
    found = [(t["family"], t["layers"], t["kind"]) for t in record["timings"]]
    assert found == [(f, n, "by rows") for n in (4, 6) for f in ("chain", "residual")]
    assert all(t["cpu_s"] > 0 and t["arena_bytes"] > 0 for t in record["timings"])
    assert "CPU ms per layer" in capsys.readouterr().out
