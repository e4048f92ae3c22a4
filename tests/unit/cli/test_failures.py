"""What goes wrong is said in one or two lines, with the exit code of its class."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from tvm_patch.cli.failures import guarded
from tvm_patch.cli.planning import check_peak
from tvm_patch.errors import DoesNotFitError
from tvm_patch.plan import MemoryPlan, Plan
from tvm_patch.validation import Validation


def assert_refused(result: object, exit_code: int, *words: str) -> None:
    assert result.exit_code == exit_code, result.output  # type: ignore[attr-defined]
    lines = result.stderr.strip().splitlines()  # type: ignore[attr-defined]
    # What happened, what would do, and the way out.
    assert 1 <= len(lines) <= 4, lines
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in " ".join(lines)
    assert result.stdout == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [0, 100, 20000])
def test_damaged_file(tvm_patch: Run, digits: Path, tmp_path: Path, size: int) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(digits.read_bytes()[:size])
    assert_refused(tvm_patch("inspect", damaged), 10, "damaged.tflite")


def test_foreign_and_missing_files(tvm_patch: Run, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.bin"
    foreign.write_bytes(b"PNG\x00" * 100)
    assert_refused(tvm_patch("deploy", foreign), 10, "foreign.bin")
    assert_refused(tvm_patch("plan", tmp_path / "nosuch.tflite"), 10, "no such file")


def test_too_little_ram_names_the_best_found(tvm_patch: Run, digits: Path) -> None:
    assert_refused(tvm_patch("deploy", digits, "--ram", "4K"), 21, "4,096", "digits", "--ram")


def test_layers_over_the_limit(tvm_patch: Run, digits: Path) -> None:
    result = tvm_patch("build", digits, "--layers", "--ram", "20K")
    assert_refused(result, 21, "20,480", "--layers")


@pytest.mark.parametrize(
    ("text", "words"),
    [("not json", "JSON"), ("{}", "plan"), ("[]", "plan"), ('{"format_version": 1}', "plan")],
)
def test_garbage_plan(tvm_patch: Run, digits: Path, tmp_path: Path, text: str, words: str) -> None:
    plan_file = tmp_path / "garbage.json"
    plan_file.write_text(text)
    result = tvm_patch("build", digits, "--c-only", "--plan", plan_file, "-o", tmp_path / "out")
    assert_refused(result, 20, "garbage.json", words)
    assert not (tmp_path / "out").exists()


def test_plan_of_another_model(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    plan_file = tmp_path / "plan.json"
    tvm_patch("plan", digits, "--layers", "--output", plan_file)
    record = json.loads(plan_file.read_text())
    record["graph_fingerprint"] = "0" * 64
    record["model"] = "another"
    plan_file.write_text(json.dumps(record))
    result = tvm_patch("build", digits, "--c-only", "--plan", plan_file)
    assert_refused(result, 20, "another", "digits")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--split", "3"),
        ("--split", "3", "--grid", "4y4"),
        ("--split", "nosuch", "--grid", "2x2"),
        ("--layers", "--split", "3", "--grid", "2x2"),
        ("--layers", "--max-overhead", "1.2"),
        ("--ram", "64Q"),
        ("--algorithm", "nosuch"),
    ],
)
def test_options_that_cannot_be(tvm_patch: Run, digits: Path, arguments: tuple[str, ...]) -> None:
    assert_refused(tvm_patch("plan", digits, *arguments), 20)


def test_unknown_board_names_those_there_are(tvm_patch: Run, digits: Path) -> None:
    result = tvm_patch("deploy", digits, "--board", "nosuch")
    assert_refused(result, 32, "nosuch", "qemu_cortex_m7")


def test_missing_tools_are_found_before_anything_is_written(
    tvm_patch: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    output = tmp_path / "out"
    result = tvm_patch("deploy", digits, "-o", output)
    assert_refused(result, 30, "arm-none-eabi-gcc", "apt-get install")
    compiler = empty / "arm-none-eabi-gcc"
    compiler.write_text("")
    compiler.chmod(0o755)
    result = tvm_patch("deploy", digits, "-o", output)
    assert_refused(result, 30, "qemu-system-arm", "apt-get install")
    assert not output.exists()


def test_output_that_cannot_be_written(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("kept")
    assert_refused(tvm_patch("build", digits, "--c-only", "-o", in_the_way), 1, "file", "--output")
    assert_refused(tvm_patch("inspect", digits, "--json", tmp_path / "no" / "x.json"), 1, "x.json")
    assert in_the_way.read_text() == "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser writes anywhere")
def test_read_only_folder(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert_refused(tvm_patch("build", digits, "--c-only", "-o", tmp_path), 1, "--output")


def test_folder_without_firmware(tvm_patch: Run, tmp_path: Path) -> None:
    assert_refused(tvm_patch("measure", tmp_path), 10, "no built firmware")
    assert_refused(tvm_patch("flash", tmp_path / "nosuch"), 10, "nosuch")
    (tmp_path / "firmware.json").write_text('{"format_version": 1}')
    assert_refused(tvm_patch("measure", tmp_path), 10, "firmware.json")


def test_earlier_results_stay_when_a_verb_fails(
    tvm_patch: Run, digits: Path, tmp_path: Path
) -> None:
    record_file = tmp_path / "out.json"
    record_file.write_text("earlier")
    assert tvm_patch("plan", digits, "--ram", "4K", "--json", record_file).exit_code == 21
    assert record_file.read_text() == "earlier"


def test_outputs_that_differ_fail_after_the_record_is_written(
    tvm_patch: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tvm_patch import pipeline

    def differ(*_arguments: object) -> Validation:
        return Validation(False, 3.0, "the reference", None)

    monkeypatch.setattr(pipeline, "compare", differ)
    monkeypatch.setattr(pipeline, "first_mismatch", lambda *_arguments: "block2_add")
    record_file = tmp_path / "out.json"
    result = tvm_patch(
        *("deploy", digits, "--board", "host", "-o", tmp_path / "out", "--json", record_file)
    )
    assert result.exit_code == 50
    assert "block2_add" in result.stderr
    assert json.loads(record_file.read_text())["validation"]["first_mismatch"] == "block2_add"


def test_a_measured_peak_over_the_limit_is_refused() -> None:
    plan = Plan("m", "f", (), MemoryPlan("greedy_by_size", 1000, 1000, {}), 1, 1.0)
    check_peak("m", plan, 1200, 1200)
    check_peak("m", plan, None, 100)
    with pytest.raises(DoesNotFitError, match="1,201 bytes") as caught:
        check_peak("m", plan, 1201, 1200)
    assert caught.value.required_bytes == 1201


def test_tracebacks_only_when_asked_for(tvm_patch: Run, tmp_path: Path) -> None:
    result = tvm_patch("inspect", tmp_path / "nosuch.tflite", "-v")
    assert result.exit_code == 10
    assert "Traceback" in result.stderr


def test_interrupts_and_defects(capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    def interrupted(**_options: object) -> None:
        raise KeyboardInterrupt

    def defective(**_options: object) -> None:
        raise RuntimeError("first line\nlast line")

    with pytest.raises(typer.Exit) as stopped:
        guarded(interrupted)()
    assert stopped.value.exit_code == 130
    assert capsys.readouterr().err == "interrupted\n"
    with pytest.raises(typer.Exit) as stopped:
        guarded(defective)()
    assert stopped.value.exit_code == 70
    assert "last line" in capsys.readouterr().err
