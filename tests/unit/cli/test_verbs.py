"""Every verb does its work on the project's own network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support import DIGITS, need_emulator
from tests.unit.cli.conftest import Run
from tvm_patch.memory import read_csv
from tvm_patch.plan import STACK_RESERVE_BYTES, InputMode, Plan


def test_inspect_lists_operators_and_totals(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    record_file = tmp_path / "out.json"
    result = tvm_patch("inspect", digits, "--json", record_file)
    assert result.exit_code == 0
    assert "block3_depthwise" in result.stdout
    assert "3,675,264" in result.stdout
    record = json.loads(record_file.read_text())
    assert record["macs"] == sum(operator["macs"] for operator in record["operators"]) == 3675264
    assert record["naive_peak_bytes"] == 102400
    assert record["naive_peak_operator"] == "block3_depthwise"
    assert record["layer_by_layer_arena_bytes"] <= record["naive_peak_bytes"]
    assert {"kind", "live_macs", "weight_bytes", "output_bytes", "output_shape"} <= set(
        record["operators"][0]
    )


def test_inspect_says_which_kernels_run_and_why(
    tvm_patch: Run, digits: Path, tmp_path: Path
) -> None:
    record_file = tmp_path / "out.json"
    result = tvm_patch("inspect", digits, "--kernels", "--json", record_file)
    assert result.exit_code == 0, result.output
    choices = {row["operator"]: row for row in json.loads(record_file.read_text())["kernels"]}
    expand = choices["block2_expand"]
    assert expand["instructions"] == "dsp" and "joint weights" in expand["why"]
    # The model of the kernel's instructions, requantisation included.
    assert 1.0 < expand["estimate"] / expand["macs"] < 3.0
    assert "tabulated exponentials" in choices["probabilities"]["why"]
    result = tvm_patch(
        *("inspect", digits, "--kernels", "--board", "qemu_cortex_m3", "--json", record_file)
    )
    assert result.exit_code == 0, result.output
    choices = {row["operator"]: row for row in json.loads(record_file.read_text())["kernels"]}
    assert {row["instructions"] for row in choices.values()} == {"plain"}
    assert choices["block2_expand"]["why"] == "the core has no DSP extension"


def test_optimizing_for_size_shares_kernels(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    names = {}
    for options in ((), ("--optimize", "size")):
        folder = tmp_path / ("size" if options else "speed")
        result = tvm_patch("build", digits, "--layers", "--c-only", *options, "--output", folder)
        assert result.exit_code == 0, result.output
        text = (folder / "model/src/tvmgen_digits_kernels.c").read_text()
        names[bool(options)] = text.count("tvmp_conv_row("), text.count("tvmp_conv_shared(")
    assert names[True][1] > 0
    assert sum(names[True]) <= sum(names[False]) and names[True][0] < names[False][0]


def test_plan_marks_the_chosen_one_and_writes_all_files(
    tvm_patch: Run, digits: Path, tmp_path: Path
) -> None:
    plan_file, picture, csv, record_file = (
        tmp_path / name for name in ("plan.json", "plan.png", "plan.csv", "out.json")
    )
    result = tvm_patch(
        *("plan", digits, "--ram", "48K", "--output", plan_file, "--plot", picture),
        *("--csv", csv, "--json", record_file),
    )
    assert result.exit_code == 0
    plan = Plan.load(plan_file)
    assert f"arena {plan.memory.arena_bytes:,} bytes" in result.stdout
    assert "23 mean" in result.stdout, "what falls back is named"
    assert plan.stages
    assert plan.memory.arena_bytes <= 48 * 1024
    assert picture.read_bytes().startswith(b"\x89PNG")
    problem, offsets = read_csv(csv)
    assert {buffer.name for buffer in problem.buffers} == set(plan.memory.offsets_bytes)
    assert offsets == plan.memory.offsets_bytes
    record = json.loads(record_file.read_text())
    assert record["planned"]["arena_bytes"] == plan.memory.arena_bytes
    assert record["peaks"]["resident"]["arena_bytes"] == plan.memory.arena_bytes
    assert record["peaks"]["rows"]["arena_bytes"] <= 48 * 1024
    assert record["stages"][0]["mac_overhead"] >= 1
    assert record["worst_moment"]["live_bytes"] <= plan.memory.arena_bytes
    assert record["in_no_stage"] == {"needs its input whole": ["mean", "logits", "probabilities"]}
    assert record["cut_short"] is None
    assert "frontier" not in record


def test_the_frontier_as_table_json_and_picture(
    tvm_patch: Run, digits: Path, tmp_path: Path
) -> None:
    picture, record_file = tmp_path / "frontier.png", tmp_path / "out.json"
    result = tvm_patch(
        *("plan", digits, "--frontier", "--buffering", "patch", "--max-overhead", "1.2"),
        *("--frontier-plot", picture, "--json", record_file),
    )
    assert result.exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    record = json.loads(record_file.read_text())
    points = [(p["mac_overhead"], p["arena_bytes"]) for p in record["frontier"]["resident"]]
    assert len(points) > 3
    assert points == sorted(points)
    arenas = [arena for _, arena in points]
    assert arenas == sorted(set(arenas), reverse=True)
    assert points[-1][0] <= 1.2
    assert arenas[-1] == record["planned"]["arena_bytes"], "the chosen one is the smallest"
    for arena in arenas:
        assert f"{arena:,}" in result.stdout


@pytest.mark.parametrize("verb", ["plan", "build", "deploy"])
def test_options_of_the_plan_work_alike(
    tvm_patch: Run, digits: Path, tmp_path: Path, verb: str
) -> None:
    options = ("--ram", "32K", "--max-overhead", "1.0", "--input", "rows", "--io", "model")
    file, folder = tmp_path / "plan.json", tmp_path / "out"
    written = {
        "plan": ("-o", file),
        "build": ("--c-only", "-o", folder),
        "deploy": ("--board", "host", "-o", folder),
    }
    result = tvm_patch(verb, digits, *options, *written[verb])
    assert result.exit_code == 0, result.output
    if verb != "plan":
        manifest = json.loads((folder / "model/model.json").read_text())
        file.write_text(json.dumps(manifest["plan"]))
    plan = Plan.load(file)
    assert plan.input_mode is InputMode.ROWS
    assert plan.mac_overhead == 1.0
    assert plan.memory.arena_bytes + STACK_RESERVE_BYTES <= 32 * 1024


def test_planning_under_a_time_limit_says_so(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    plan_file, record_file = tmp_path / "plan.json", tmp_path / "out.json"
    result = tvm_patch(
        *("plan", digits, "--time-limit", "1e-6", "-o", plan_file, "--json", record_file)
    )
    assert result.exit_code == 0, result.output
    assert "cut short by the time limit of 1e-06 s" in result.stderr
    assert json.loads(record_file.read_text())["cut_short"] == "the time limit of 1e-06 s"
    assert (
        tvm_patch("build", digits, "--c-only", "--plan", plan_file, "-o", tmp_path).exit_code == 0
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("boards",),
        ("inspect", DIGITS),
        ("plan", DIGITS, "--buffering", "rows", "--frontier", "--tensors"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_tables_fit_a_narrow_terminal(
    tvm_patch: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = tvm_patch(*arguments).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split("│")[1:-1] for line in lines if line.startswith("│")]
    assert rows
    # A cell that goes on in the next line leaves its neighbours empty there.
    assert all(sum(bool(cell.strip()) for cell in row) > 1 for row in rows)


def test_plan_by_split_and_grid(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    plan_file = tmp_path / "plan.json"
    result = tvm_patch("plan", digits, "--split", "7", "--grid", "4x2", "--output", plan_file)
    assert result.exit_code == 0
    (stage,) = Plan.load(plan_file).stages
    assert (len(stage.operators), stage.tile_h, stage.tile_w) == (7, 8, 16)


def test_build_c_only_needs_no_compiler(
    tvm_patch: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = tvm_patch("build", digits, "--c-only", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert (tmp_path / "out/model/model.json").is_file()
    assert not (tmp_path / "out/firmware").exists()


def test_a_plan_file_is_carried_out(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    plan_file = tmp_path / "plan.json"
    tvm_patch("plan", digits, "--split", "7", "--grid", "4x4", "--output", plan_file)
    result = tvm_patch("build", digits, "--c-only", "--plan", plan_file, "-o", tmp_path / "out")
    assert result.exit_code == 0
    manifest = json.loads((tmp_path / "out/model/model.json").read_text())
    assert manifest["plan"] == json.loads(plan_file.read_text())


def test_a_built_folder_is_flashed_and_measured_alone(
    tvm_patch: Run, built: Path, tmp_path: Path
) -> None:
    assert tvm_patch("flash", built).exit_code == 0
    record_file, picture = tmp_path / "out.json", tmp_path / "profile.png"
    result = tvm_patch(
        *("measure", built, "--runs", "3", "--profile", "--plot", picture, "--json", record_file)
    )
    assert result.exit_code == 0, result.output
    assert "block3_depthwise" in result.stdout
    assert "readings of the stopwatch" in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    record = json.loads(record_file.read_text())
    assert record["measured"]["runs"] == 3
    assert record["measured"]["arena_bytes"] == record["planned"]["arena_bytes"]
    assert record["measured"]["latency_us"] > 0
    assert "stage" in {entry["kind"] for entry in record["profile"]}
    inside = {entry["name"]: entry["stage"] for entry in record["operators"]["operators"]}
    assert {"stage0", None} <= set(inside.values())
    assert record["operators"]["unit"] == "nanoseconds"


def test_a_profile_needs_the_generated_c(tvm_patch: Run, built: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(built, tmp_path / "moved")
    shutil.rmtree(moved / "model")
    result = tvm_patch("measure", moved, "--profile")
    assert result.exit_code == 10
    assert "model.json" in result.stderr


def test_a_built_folder_can_be_moved(tvm_patch: Run, built: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(built, moved)
    assert tvm_patch("measure", moved).exit_code == 0


def test_deploy_on_the_host(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    record_file = tmp_path / "out.json"
    result = tvm_patch(
        *("deploy", digits, "--board", "host", "--ram", "48K"),
        *("-o", tmp_path / "out", "--json", record_file),
    )
    assert result.exit_code == 0, result.output
    assert "bit-exact" in result.stdout
    record = json.loads(record_file.read_text())
    assert record["measured"]["stack_bytes"] is None
    assert record["measured"]["instructions"] is None
    assert record["validation"]["bit_exact"] is True


@pytest.mark.emulator
def test_deploy_writes_the_promised_keys(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    need_emulator()
    record_file = tmp_path / "out.json"
    result = tvm_patch(
        *("deploy", digits, "--board", "stm32f746g_disco", "--emulate", "--ram", "48K"),
        *("-o", tmp_path / "out", "--json", record_file),
    )
    assert result.exit_code == 0, result.output
    record = json.loads(record_file.read_text())
    assert record["model"]["name"] == "digits"
    assert record["model"]["macs"] == 3675264
    assert record["board"] == "stm32f746g_disco"
    assert record["emulated_by"] == "qemu_cortex_m7"
    assert record["plan"]["mac_overhead"] >= 1
    assert record["plan"]["stages"]
    measured = record["measured"]
    assert measured["arena_bytes"] == record["planned"]["arena_bytes"]
    assert measured["peak_sram_bytes"] == measured["arena_bytes"] + measured["stack_bytes"]
    assert measured["peak_sram_bytes"] <= 48 * 1024
    assert measured["flash_bytes"] > record["model"]["weight_bytes"]
    assert measured["instructions"] > record["model"]["macs"]
    assert measured["latency_us"] is None
    assert measured["runs"] == 1
    assert record["validation"] == {
        "bit_exact": True,
        "max_abs_diff": 0.0,
        "source": "LiteRT reference kernels",
        "first_mismatch": None,
    }
    assert record["versions"]["tvm-patch"]
    assert record["versions"]["arm-none-eabi-gcc"]


@pytest.mark.emulator
def test_validate_compares_dialect_host_and_device(
    tvm_patch: Run, digits: Path, tmp_path: Path
) -> None:
    need_emulator()
    record_file = tmp_path / "out.json"
    result = tvm_patch(
        *("validate", digits, "--ram", "48K", "--seeds", "2"),
        *("-o", tmp_path / "out", "--json", record_file),
    )
    assert result.exit_code == 0, result.output
    record = json.loads(record_file.read_text())
    assert record["bit_exact"] is True
    assert [(f["who"], f["seed"]) for f in record["findings"]] == [
        (who, seed) for who in ("dialect", "host", "device") for seed in (0, 1)
    ]


def test_boards_names_all(tvm_patch: Run) -> None:
    result = tvm_patch("boards")
    assert result.exit_code == 0
    assert "qemu_cortex_m7" in result.stdout
    assert "stm32f746g_disco" in result.stdout


def test_doctor_lists_packages_and_tools(tvm_patch: Run, tmp_path: Path) -> None:
    record_file = tmp_path / "out.json"
    tvm_patch("doctor", "--json", record_file)
    checks = {check["what"]: check for check in json.loads(record_file.read_text())["checks"]}
    assert checks["Python"]["version"]
    assert checks["apache-tvm"]["version"].startswith("0.27")
    assert checks["qemu-system-arm"]["remedy"].startswith("sudo apt-get install")


def test_doctor_tells_of_the_zephyr_tree(
    tvm_patch: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def zephyr() -> dict[str, str]:
        tvm_patch("doctor", "--json", tmp_path / "out.json")
        checks = json.loads((tmp_path / "out.json").read_text())["checks"]
        return {check["what"]: check for check in checks}["Zephyr"]

    monkeypatch.setenv("ZEPHYR_BASE", str(tmp_path))
    assert f"ZEPHYR_BASE={tmp_path}: there is no Zephyr tree" in zephyr()["remedy"]
    version = "VERSION_MAJOR = 3\nVERSION_MINOR = {}\nPATCHLEVEL = 9\n"
    (tmp_path / "VERSION").write_text(version.format(1))
    assert "3.1.9 is too old" in zephyr()["remedy"]
    (tmp_path / "VERSION").write_text(version.format(4))
    assert zephyr()["version"] == "3.4.9"


def test_doctor_fails_without_tools(
    tvm_patch: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = tvm_patch("doctor")
    assert result.exit_code == 30
    assert "arm-none-eabi-gcc" in result.stderr
    assert "apt-get install" in result.stderr


def test_version(tvm_patch: Run) -> None:
    result = tvm_patch("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("tvm-patch 0.")
