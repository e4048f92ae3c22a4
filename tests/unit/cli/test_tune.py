"""``tune``, and the verbs that use what it has found out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import need_emulator
from tests.unit.cli.conftest import Run
from tvm_patch.board import load_board
from tvm_patch.errors import DoesNotFitError, TuningError
from tvm_patch.kernel_times import KernelTime, TimesWriter, file_of, kernels_digest
from tvm_patch.micro.measured_on import measured_on
from tvm_patch.pipeline import make_plan, prepare
from tvm_patch.plan import Plan, Requirements
from tvm_patch.schedules import Instructions
from tvm_patch.tune.tasks import tasks_of

BOARD = "qemu_cortex_m7"


def made_up_database(digits: Path, folder: Path, ram_bytes: int) -> int:
    """Times that say that gathering is fastest, wherever it can be done; returns how many."""
    prepared = prepare(digits)
    plan = make_plan(prepared, Requirements(ram_bytes=ram_bytes))
    records = []
    for task in tasks_of(prepared.network, plan, Instructions.DSP):
        for candidate in task.candidates():
            gathers = candidate.choice.get("form") == "gathered"
            if gathers or candidate.choice == task.space.default:
                records.append(
                    KernelTime(
                        task.key,
                        candidate.choice,
                        1.0 if gathers else 2.0,
                        scratch_bytes=candidate.scratch_bytes,
                        kernels=kernels_digest(),
                    )
                )
    TimesWriter(folder, measured_on(load_board(BOARD)), {}).add(records)
    return sum(record.units == 1.0 for record in records)


@pytest.mark.emulator
def test_a_few_trials_make_a_database_that_builds_use(
    tvm_patch: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_emulator()
    monkeypatch.chdir(tmp_path)
    arguments = ("tune", digits, "--board", BOARD, "--ram", "96K", "--buffering", "rows")
    arguments = (*arguments, "--plans", "0")
    result = tvm_patch(*arguments, "--trials", "3", "--json", "out.json", "--plot", "out.png")
    assert result.exit_code == 0, result.output
    assert "3/3 measured" in result.stderr
    record = json.loads(Path("out.json").read_text())
    assert record["kernels"]["measured"] == 3 and record["ratio"] <= 1.0
    assert all(whole["bit_exact"] for whole in record["wholes"])
    assert record["frontier"] and Path("out.png").stat().st_size > 1000
    assert file_of(Path("tuning"), BOARD).is_file()
    Plan.load(Path("out/digits/tuned-plan.json"))


@pytest.mark.emulator
def test_tuned_kernels_are_exact_and_keep_to_the_plan(
    tvm_patch: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_emulator()
    monkeypatch.chdir(tmp_path)
    assert made_up_database(digits, Path("tuning"), 48 * 1024) > 0
    result = tvm_patch("deploy", digits, "--ram", "48K", "-o", "tuned")
    assert result.exit_code == 0, result.output
    assert "bit-exact" in result.stdout
    kernels = Path("tuned/model/src/tvmgen_digits_kernels.c").read_text()
    assert "tvmp_conv_gathered(" in kernels
    plan = json.loads(Path("tuned/model/model.json").read_text())["plan"]
    assert plan["scratch_bytes"] and plan["memory"]["arena_bytes"] <= 47 * 1024
    again = Plan.from_json(json.dumps(plan))
    assert again.scratch_bytes == plan["scratch_bytes"]
    result = tvm_patch(
        *("build", digits, "--ram", "48K", "--c-only", "--database", "none", "-o", "plain")
    )
    assert result.exit_code == 0, result.output
    plain = Path("plain/model/src/tvmgen_digits_kernels.c").read_text()
    assert "tvmp_conv_gathered(" not in plain


def test_a_plan_with_scratch_is_carried_out_without_the_database(
    tvm_patch: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made_up_database(digits, Path("tuning"), 48 * 1024)
    result = tvm_patch("build", digits, "--ram", "48K", "--c-only", "-o", "tuned")
    assert result.exit_code == 0, result.output
    plan = json.loads(Path("tuned/model/model.json").read_text())["plan"]
    Path("plan.json").write_text(json.dumps(plan))
    options = ("--plan", "plan.json", "--database", "none", "--c-only", "-o", "again")
    result = tvm_patch("build", digits, *options)
    assert result.exit_code == 0, result.output
    again = json.loads(Path("again/model/model.json").read_text())["plan"]
    assert again == plan


def test_what_was_measured_by_another_tvm_is_refused_where_it_was_named(
    tvm_patch: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_emulator()
    monkeypatch.chdir(tmp_path)
    made_up_database(digits, Path("tuning"), 48 * 1024)
    path = file_of(Path("tuning"), BOARD)
    path.write_text(path.read_text().replace('"tvm": "0.', '"tvm": "9.'))
    arguments = ("build", digits, "--ram", "48K", "--c-only", "-o", "c")
    result = tvm_patch(*arguments, "--database", "tuning")
    assert result.exit_code == TuningError.exit_code
    assert "another TVM: 9." in result.output and "--database" in result.output
    result = tvm_patch(*arguments)
    assert result.exit_code == 0 and "not tuned" in result.output
    result = tvm_patch("tune", digits, "--ram", "48K")
    assert result.exit_code == TuningError.exit_code


def test_bad_wishes_are_refused_before_any_work(
    tvm_patch: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_emulator()
    monkeypatch.chdir(tmp_path)
    result = tvm_patch("tune", digits, "--trials", "0")
    assert result.exit_code == TuningError.exit_code and "nothing to measure" in result.output
    result = tvm_patch("tune", digits, "--database", "none")
    assert result.exit_code == TuningError.exit_code and "--database DIR" in result.output
    result = tvm_patch("tune", digits, "--ram", "2K")
    assert result.exit_code == DoesNotFitError.exit_code
    assert not Path("tuning").exists()
