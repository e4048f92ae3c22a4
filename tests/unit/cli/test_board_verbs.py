"""What the verbs say of boards: which are there, and what is in the way of them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.cli.conftest import Run
from tvm_patch.board.files import BOARDS_DIR


def test_boards_shows_what_is_plugged_in(
    tvm_patch: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = SimpleNamespace(
        device="/dev/ttyACM0", vid=0x0483, pid=0x374B, serial_number="066DFF", product="STLink"
    )
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port])
    record_file = tmp_path / "out.json"
    result = tvm_patch("boards", "--json", record_file)
    assert result.exit_code == 0, result.output
    lines = {line.split("│")[1].strip(): line for line in result.stdout.splitlines() if "│" in line}
    assert "/dev/ttyACM0 (066DFF)" in lines["stm32f746g_disco"]
    assert "ttyACM0" not in lines["nrf52840dk"]
    boards = {board["name"]: board for board in json.loads(record_file.read_text())["boards"]}
    assert [p["device"] for p in boards["nucleo_f746zg"]["plugged_in"]] == ["/dev/ttyACM0"]
    assert boards["nucleo_f746zg"]["plugged_in"][0]["usb_id"] == "0483:374b"
    assert boards["host"]["plugged_in"] == []


def test_build_only_stops_at_the_firmware(tvm_patch: Run, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = tvm_patch("deploy", digits, "--board", "host", "--layers", "--build-only", "-o", out)
    assert result.exit_code == 0, result.output
    # Long paths are folded at the width of the terminal.
    printed = result.stdout.replace("\n", "")
    assert str(out / "firmware" / "firmware.elf").replace("/", "") in printed.replace("/", "")
    assert "bit-exact" not in result.stdout
    assert tvm_patch("measure", out).exit_code == 0


def test_a_real_board_must_be_there_before_any_work(
    tvm_patch: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "zephyr"
    tree.mkdir()
    (tree / "VERSION").write_text("VERSION_MAJOR = 3\nVERSION_MINOR = 2\nPATCHLEVEL = 0\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("cmake", "ninja", "dtc"):
        (tools / name).symlink_to("/bin/true")
    monkeypatch.setenv("ZEPHYR_BASE", str(tree))
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    command = ("deploy", digits, "--board", "nrf52840dk/nrf52840", "-o", tmp_path / "out")
    result = tvm_patch(*command)
    assert result.exit_code == 30
    assert "no tool that flashes nrf52840dk is installed" in result.stderr
    (tools / "pyocd").symlink_to("/bin/true")
    result = tvm_patch(*command)
    assert result.exit_code == 32
    assert "nrf52840dk is not plugged in" in result.stderr
    monkeypatch.delenv("ZEPHYR_BASE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = tvm_patch(*command)
    assert result.exit_code == 30
    assert "there is no Zephyr to build with" in result.stderr
    assert not (tmp_path / "out").exists()


def test_firmware_too_large_names_a_plan_that_fits(
    tvm_patch: Run, digits: Path, tmp_path: Path
) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed: sh scripts/install_toolchain.sh")
    board = tmp_path / "small.toml"
    text = (BOARDS_DIR / "qemu_cortex_m7.toml").read_text()
    flash, sram = text.split('name = "sram"')
    board.write_text(flash + 'name = "sram"' + sram.replace("4_194_304", str(64 * 1024)))
    command = ("deploy", digits, "--board", board, "--build-only", "-o", tmp_path / "out")
    result = tvm_patch(*command, "--layers")
    assert result.exit_code == 21
    assert "does not fit the sram of small" in result.stderr
    option = re.search(r"this fits: --ram (\d+) \(an arena of ([\d,]+) bytes", result.stderr)
    assert option is not None, result.stderr
    # What it says does fit.
    result = tvm_patch(*command, "--ram", option[1])
    assert result.exit_code == 0, result.output
    assert f"arena {option[2]} bytes" in result.stdout


def test_a_network_too_large_for_flash_names_boards(
    tvm_patch: Run, digits: Path, tmp_path: Path
) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed: sh scripts/install_toolchain.sh")
    board = tmp_path / "small.toml"
    text = (BOARDS_DIR / "qemu_cortex_m7.toml").read_text()
    board.write_text(text.replace("4_194_304", str(32 * 1024), 1))
    result = tvm_patch("build", digits, "--board", board, "-o", tmp_path / "out")
    assert result.exit_code == 21
    assert "does not fit the flash of small" in result.stderr
    assert "nrf52840dk" in result.stderr and "stm32f746g_disco" in result.stderr
