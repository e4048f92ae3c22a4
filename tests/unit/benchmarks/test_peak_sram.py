"""The benchmark of memory keeps what was measured, and judges it by the goals."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import REPOSITORY


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import peak_sram

    yield peak_sram
    sys.modules.pop("peak_sram")


@pytest.fixture
def result(benchmark: ModuleType) -> Any:
    return benchmark.Result(
        *("mlperf-vww", "resident", 1.0, 30_000, 30_000, None, 1.0, 2, "plan", "source"),
        *(30_000, 720, 30_720, 100_000, 9_000_000, True),
    )


def test_goals_are_those_of_the_kind_of_plan(benchmark: ModuleType, result: Any) -> None:
    assert result.goal_bytes == 30_720
    assert result.verdict == "met"
    assert replace(result, peak_sram_bytes=30_821).verdict == "missed by 101"
    by_rows = [replace(result, plan=plan).goal_bytes for plan in ("by rows", "by rows 1.25")]
    assert by_rows == [12 * 1024, 10 * 1024]
    assert replace(result, plan="layers").verdict == ""
    assert replace(result, peak_sram_bytes=None).verdict == ""


def test_others_count_up_to_the_overhead_only(benchmark: ModuleType) -> None:
    assert benchmark.least_of_others("mcunet-vww1") == 44_000, "not msf-CNN at F 1.96"
    assert benchmark.least_of_others("mlperf-vww") == 52_580
    assert benchmark.least_of_others("digits") is None


def test_a_run_goes_on_where_an_earlier_one_ended(
    benchmark: ModuleType, result: Any, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    store = benchmark.Store(path)
    measured = replace(result, source_digest=store.source_digest)
    store.keep(measured)
    again = benchmark.Store(path)
    planned = replace(measured, plan="by rows", instructions=None, peak_sram_bytes=None)
    assert again.known(planned) == replace(measured, plan="by rows")
    assert again.known(replace(planned, plan_digest="another")) is None
    assert again.known(replace(planned, model="digits")) is None
    assert benchmark.Store(path, fresh=True).known(planned) is None
    record = json.loads(path.read_text())
    record["results"][0]["source_digest"] = "older"
    path.write_text(json.dumps(record))
    assert benchmark.Store(path).known(planned) is None, "measured by other sources"
    path.write_text("[]")
    with pytest.raises(benchmark.TvmPatchError, match="--fresh"):
        benchmark.Store(path)


def test_a_network_is_planned_in_every_way(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    arguments = ["--model", "digits", "--planned-only", "--plans", "layers,rows,by rows"]
    assert benchmark.main([*arguments, "--json", str(path)]) == 0
    results = json.loads(path.read_text())["results"]
    arenas = {r["plan"]: r["planned_arena_bytes"] for r in results}
    assert list(arenas) == ["layers", "rows", "by rows"]
    assert arenas["rows"] < arenas["layers"]
    out = capsys.readouterr().out
    for size in arenas.values():
        assert f"{size:,}" in out
