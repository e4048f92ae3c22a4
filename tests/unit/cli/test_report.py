"""Reports of folders, plans and models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.cli.test_failures import assert_refused
from tvm_patch.plan import Plan


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_that_was_built_and_measured(tvm_patch: Run, built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    # Other tests may have measured it.
    shutil.copytree(built, folder, ignore=shutil.ignore_patterns("measured.json"))
    assert tvm_patch("report", folder, "--no-frontier").exit_code == 0
    assert written(folder / "report") == {"report.html", "report.md", "report.json", "memory.png"}
    assert "## Measured" not in (folder / "report/report.md").read_text()
    assert tvm_patch("measure", folder, "--profile").exit_code == 0
    assert tvm_patch("measure", folder / "firmware").exit_code == 0
    result = tvm_patch("report", folder, "-o", tmp_path / "page", "--max-overhead", "1")
    assert result.exit_code == 0, result.output
    assert written(tmp_path / "page") == {
        *("report.html", "report.md", "report.json"),
        *("memory.png", "frontier.png", "profile.png"),
    }
    plan = Plan.load(folder / "plan.json")
    text = (tmp_path / "page/report.md").read_text()
    for heading in ("Peak", "Memory over time", "Stages", "Frontier", "Measured", "Profile"):
        assert f"## {heading}\n" in text
    assert f"| arena, measured, B | {plan.memory.arena_bytes:,} |" in text
    record = json.loads((tmp_path / "page/report.json").read_text())
    assert record["measured"]["measured"]["arena_bytes"] == plan.memory.arena_bytes
    assert record["planned"]["arena_bytes"] == plan.memory.arena_bytes
    assert record["measured"]["operators"], "the profile outlives a measurement without one"


def test_a_plan_needs_its_graph(tvm_patch: Run, built: Path, digits: Path, tmp_path: Path) -> None:
    page = tmp_path / "page"
    beside = tvm_patch("report", built / "plan.json", "--no-frontier", "-o", page)
    assert beside.exit_code == 0, beside.output
    alone = tmp_path / "alone.json"
    alone.write_text((built / "plan.json").read_text())
    assert_refused(tvm_patch("report", alone), 10, "alone.json", "--model")
    shutil.rmtree(page)
    arguments = ("report", alone, "--model", digits, "--no-frontier", "-o", page)
    assert tvm_patch(*arguments).exit_code == 0
    assert "report.html" in written(page)


def test_a_model_is_planned(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    result = tvm_patch(
        *("report", digits, "--ram", "24K", "--buffering", "rows", "--max-overhead", "1"),
        *("-o", tmp_path / "page"),
    )
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "page/report.json").read_text())
    assert record["planned"]["arena_bytes"] <= 23 * 1024
    assert record["frontier"]["resident"]
    assert record["measured"] is None
    arguments = ("report", digits, "--ram", "4K", "--input", "rows", "--max-overhead", "1")
    assert_refused(tvm_patch(*arguments), 21, "4,096", "--ram")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"board": "b", "measured": {}}', '{"measured": {"unit": "x"}}']
)
def test_a_damaged_measurement_is_refused_by_name(
    tvm_patch: Run, built: Path, tmp_path: Path, content: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("plan.json", "graph.json"):
        shutil.copy(built / name, folder)
    (folder / "measured.json").write_text(content)
    assert_refused(tvm_patch("report", folder), 10, "measured.json", "tvm-patch measure")


def test_what_is_nothing_to_report_of(tvm_patch: Run, built: Path, tmp_path: Path) -> None:
    assert_refused(tvm_patch("report", tmp_path), 10, "tvm-patch build")
    assert_refused(tvm_patch("report", tmp_path / "nosuch"), 10, "nosuch")
    assert_refused(tvm_patch("report", built, "--model", "x.tflite"), 20, "--model")
    (tmp_path / "plan.json").write_text((built / "plan.json").read_text())
    (tmp_path / "graph.json").write_text("{}")
    assert_refused(tvm_patch("report", tmp_path), 20, "graph.json")
