"""Flashing, with tools that only write down how they were called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tvm_patch.board import load_board
from tvm_patch.errors import BoardError, DoesNotFitError, FlashError, ToolMissingError
from tvm_patch.micro import Firmware, check_board, flash, reset_board
from tvm_patch.micro import tools as tools_module
from tvm_patch.micro.runners import choose_runner

from .conftest import BuildOnce

SERIAL = "001050012345"


class Tools:
    """Programs on a path of their own, each of which writes its arguments to ``calls``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "calls.txt"

    def add(self, name: str, says: str = "", code: int = 0) -> None:
        script = self.folder / name
        script.write_text(
            "#!/bin/sh\n"
            f'printf "%s" {name} >> {self._log}\n'
            f'for word in "$@"; do printf "|%s" "$word" >> {self._log}; done\n'
            f"printf '\\n' >> {self._log}\n"
            f"cat <<'END'\n{says}\nEND\n"
            f"exit {code}\n"
        )
        script.chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line.split("|") for line in lines]


@pytest.fixture
def tools(tmp_path: Path, firmware_of: BuildOnce, monkeypatch: pytest.MonkeyPatch) -> Tools:
    firmware_of("sample", "host")  # while there is a compiler on the path
    folder = tmp_path / "bin"
    folder.mkdir()
    # The shell and cat are all that the tools themselves need.
    for command in ("sh", "cat"):
        (folder / command).symlink_to(f"/bin/{command}")
    monkeypatch.setenv("PATH", str(folder))
    return Tools(folder)


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """One board of each kind."""
    found = [
        SimpleNamespace(
            device="/dev/ttyACM0", vid=0x0483, pid=0x374B, serial_number="066DFF", product="STLink"
        ),
        SimpleNamespace(
            device="/dev/ttyACM1", vid=0x1366, pid=0x1055, serial_number=SERIAL, product="J-Link"
        ),
    ]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: found)


@pytest.fixture
def firmware_for(tmp_path: Path, firmware_of: BuildOnce, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A firmware as if it were built for a real board: what is in it does not matter here."""
    built = firmware_of("sample", "host")
    monkeypatch.setattr("tvm_patch.micro.elf.check_fits", lambda _path, _board: None)

    def make(name: str) -> Firmware:
        return replace(
            built,
            board=load_board(name),
            hex_path=tmp_path / "firmware.hex",
            zephyr_build_path=tmp_path / "zephyr",
            log_path=tmp_path / "build.log",
        )

    return make


def test_openocd_gets_the_board_the_probe_and_the_file(  # type: ignore[no-untyped-def]
    tools: Tools, plugged_in: None, firmware_for, tmp_path: Path
) -> None:
    tools.add("openocd")
    said = flash(firmware_for("stm32f746g_disco"))
    assert "flashed stm32f746g_disco (probe 066DFF) with openocd" in said
    (call,) = tools.calls
    assert call == [
        *("openocd", "-f", "board/stm32f746g-disco.cfg", "-c", "adapter serial 066DFF"),
        *("-c", f"program {{{tmp_path / 'firmware.hex'}}} verify reset exit"),
    ]


def test_pyocd_gets_target_probe_and_file(  # type: ignore[no-untyped-def]
    tools: Tools, plugged_in: None, firmware_for, tmp_path: Path
) -> None:
    tools.add("pyocd")
    tools.add("openocd")
    flash(firmware_for("nrf52840dk"))
    # A J-Link's number without the zeros in front, as its own tools want it.
    assert tools.calls == [
        [
            *("pyocd", "flash", "--no-wait", "-t", "nrf52840", "-u", "1050012345"),
            str(tmp_path / "firmware.hex"),
        ]
    ]


@pytest.mark.parametrize(
    ("board", "option", "number"),
    [("stm32f746g_disco", "--serial", "066DFF"), ("nrf5340dk", "--dev-id", "1050012345")],
)
def test_west_flashes_the_build_as_it_is(  # type: ignore[no-untyped-def]
    board: str,
    option: str,
    number: str,
    tools: Tools,
    plugged_in: None,
    firmware_for,
    tmp_path: Path,
) -> None:
    tools.add("west")
    flash(firmware_for(board))
    build = str(tmp_path / "zephyr")
    assert tools.calls == [["west", "flash", "--skip-rebuild", "-d", build, option, number]]


def test_the_runner_can_be_chosen(  # type: ignore[no-untyped-def]
    tools: Tools, plugged_in: None, firmware_for
) -> None:
    for name in ("west", "pyocd", "openocd"):
        tools.add(name)
    flash(firmware_for("nrf52840dk"), runner="openocd")
    assert tools.calls[0][:3] == ["openocd", "-f", "interface/jlink.cfg"]
    with pytest.raises(BoardError, match="nrf5340dk: cannot be flashed by openocd") as raised:
        flash(firmware_for("nrf5340dk"), runner="openocd")
    assert "pyocd, west" in str(raised.value)


def test_what_another_machine_has_built_is_flashed_from_its_elf_file(  # type: ignore[no-untyped-def]
    tools: Tools, plugged_in: None, firmware_for
) -> None:
    tools.add("west")
    tools.add("pyocd")
    firmware = replace(firmware_for("nrf52840dk"), hex_path=None, zephyr_build_path=None)
    flash(firmware)
    assert tools.calls[0][0] == "pyocd"
    assert tools.calls[0][-1] == str(firmware.elf_path.resolve())
    # West flashes a build folder, and there is none.
    with pytest.raises(BoardError, match="cannot be flashed by west"):
        flash(firmware, runner="west")


def test_a_missing_tool_is_named_with_the_way_to_get_it(tools: Tools) -> None:
    board = load_board("stm32f746g_disco")
    with pytest.raises(ToolMissingError, match="no tool that flashes stm32f746g_disco") as raised:
        choose_runner(board)
    assert "pip install 'tvm-patch[boards]'" in str(raised.value)
    assert "apt-get install openocd" in str(raised.value)
    with pytest.raises(ToolMissingError, match="pyocd is not installed"):
        check_board(board, runner="pyocd")


def test_what_pip_installed_is_found_beside_this_python(  # type: ignore[no-untyped-def]
    tools: Tools, firmware_for, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the virtual environment is not on the path, as under systemd."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    monkeypatch.setattr(tools_module, "_scripts_folder", lambda: str(scripts))
    with pytest.raises(ToolMissingError):
        reset_board(firmware_for("nrf52840dk"))
    beside = Tools(scripts)
    beside.add("pyocd")
    assert choose_runner(load_board("nrf52840dk")) == "pyocd"
    reset_board(firmware_for("nrf52840dk"), serial=SERIAL)
    assert beside.calls[-1][:2] == ["pyocd", "reset"]
    # West calls pyocd by its name.
    (scripts / "pyocd").rename(scripts / "pyocd_it_calls")
    (scripts / "pyocd").write_text("#!/bin/sh\nexec pyocd_it_calls again\n")
    (scripts / "pyocd").chmod(0o755)
    reset_board(firmware_for("nrf52840dk"))
    assert beside.calls[-1][1] == "again"
    # What is on the path comes first.
    tools.add("pyocd")
    reset_board(firmware_for("nrf52840dk"))
    assert tools.calls[-1][:2] == ["pyocd", "reset"]


def test_reset_goes_through_the_probe(  # type: ignore[no-untyped-def]
    tools: Tools, firmware_for
) -> None:
    with pytest.raises(ToolMissingError, match="no tool that resets nrf52840dk"):
        reset_board(firmware_for("nrf52840dk"))
    tools.add("west")
    tools.add("openocd")
    reset_board(firmware_for("stm32f746g_disco"), serial="066DFF")
    assert tools.calls[-1][-3:] == ["adapter serial 066DFF", "-c", "init; reset run; shutdown"]
    tools.add("pyocd")
    reset_board(firmware_for("nrf52840dk"), serial=SERIAL)
    assert tools.calls[-1] == [
        *("pyocd", "reset", "--no-wait", "-t", "nrf52840", "-u", "1050012345")
    ]
    reset_board(firmware_for("nrf52840dk"), runner="openocd")
    assert tools.calls[-1][0] == "openocd"


@pytest.mark.parametrize(
    ("says", "code", "match", "way_out"),
    [
        ("Error: libusb_open() failed with LIBUSB_ERROR_ACCESS", 1, "no permission", "udev"),
        ("Error: open failed", 1, "finds no debug probe", "tvm-patch boards"),
        ("** Programming Failed **", 0, "did not flash it: .*Programming Failed", "flash.log"),
        ("** Verify Failed **", 0, "did not flash it", "flash.log"),
        ("Error: flash write failed", 1, "did not flash it: Error: flash write failed", "log"),
        ("", 3, "did not flash it: it said nothing", "flash.log"),
    ],
)
def test_what_a_tool_says_is_explained(  # type: ignore[no-untyped-def]
    says: str, code: int, match: str, way_out: str, tools: Tools, plugged_in: None, firmware_for
) -> None:
    tools.add("openocd", says, code)
    firmware = firmware_for("stm32f746g_disco")
    with pytest.raises(FlashError, match=f"stm32f746g_disco: .*{match}") as raised:
        flash(firmware)
    assert way_out in str(raised.value)
    assert says in (firmware.log_path.with_name("flash.log")).read_text()


def test_a_chip_that_pyocd_does_not_know_yet(  # type: ignore[no-untyped-def]
    tools: Tools, plugged_in: None, firmware_for
) -> None:
    tools.add("pyocd", "Target type stm32f746nghx not recognized. Use 'pyocd list'", 1)
    with pytest.raises(FlashError, match="does not know its chip") as raised:
        flash(firmware_for("stm32f746g_disco"))
    assert "pyocd pack install stm32f746nghx" in str(raised.value)


@pytest.fixture
def emulated(firmware_of: BuildOnce) -> Firmware:
    return firmware_of("sample", "stm32f746g_disco")


def test_firmware_for_other_memory_is_not_flashed(
    emulated: Firmware, tools: Tools, plugged_in: None, tmp_path: Path
) -> None:
    tools.add("openocd")
    firmware = replace(
        emulated, board=load_board("stm32f746g_disco"), hex_path=tmp_path / "firmware.hex"
    )
    with pytest.raises(DoesNotFitError, match="no memory at 0x00000000"):
        flash(firmware)
    assert tools.calls == []
