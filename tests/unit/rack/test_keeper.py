"""What a board fails at is tried again; who is to blame in the end is told apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tvm_patch.board import UsbId, load_board
from tvm_patch.errors import (
    BoardError,
    BoardLostError,
    DeviceError,
    DeviceRestartedError,
    DeviceSilentError,
    ProtocolError,
    RackError,
    ToolMissingError,
)
from tvm_patch.micro import Firmware
from tvm_patch.micro import elf as elf_module
from tvm_patch.micro import ports as ports_module
from tvm_patch.micro.ports import SerialPort
from tvm_patch.rack import bench as bench_module
from tvm_patch.rack.bench import Bench, BoardBench
from tvm_patch.rack.keeper import BoardKeeper, BoardMemory


@pytest.fixture
def firmware(tmp_path: Path) -> Firmware:
    elf_path = tmp_path / "given.elf"
    elf_path.write_bytes(b"good")
    board = load_board("qemu_cortex_m7")
    return Firmware(elf_path, elf_path, elf_path, 1, 2, 3, 4, board, "f00d")


class FakeSession:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class FakeBench(Bench):
    """A board that answers when ``answers`` says so, and notes what is done to it."""

    def __init__(self, answers: Callable[[FakeBench], bool] = lambda bench: True) -> None:
        self.answers = answers
        self.done: list[str] = []
        self.content = b""
        self.sessions: list[FakeSession] = []
        self.hook_works = self.can_reset = True

    def flash(self, firmware: Firmware) -> None:
        self.done.append("flash")
        self.content = firmware.elf_path.read_bytes()

    def open(self, firmware: Firmware) -> Any:
        if not self.answers(self):
            raise DeviceSilentError("it: does not answer")
        self.sessions.append(FakeSession())
        return self.sessions[-1]

    def reset(self, firmware: Firmware) -> bool:
        self.done.append("reset")
        return self.can_reset

    def power_cycle(self) -> bool:
        self.done.append("power")
        if not self.hook_works:
            raise RackError("it: the power-cycle command failed (1)")
        return True


def keeper_of(bench: Bench, folder: Path, said: list[str] | None = None) -> BoardKeeper:
    memory = folder / "memory"
    memory.mkdir(exist_ok=True)
    say = (lambda line: None) if said is None else said.append
    return BoardKeeper(bench, "it", memory=BoardMemory(memory), say=say)


def failing(*errors: Exception) -> Callable[[Any], str]:
    remaining = list(errors)

    def work(session: Any) -> str:
        if remaining:
            raise remaining.pop(0)
        return "done"

    return work


def test_a_board_that_works_is_flashed_once(firmware: Firmware, tmp_path: Path) -> None:
    bench = FakeBench()
    keeper = keeper_of(bench, tmp_path)
    keeper.load(firmware)
    assert [keeper.run(lambda session: 7) for _ in range(3)] == [7, 7, 7]
    assert bench.done == ["flash"]
    assert len(bench.sessions) == 1
    keeper.close()
    assert bench.sessions[0].closed


@pytest.mark.parametrize(
    "error", [DeviceSilentError("x"), ProtocolError("x"), DeviceRestartedError("x")]
)
def test_what_a_board_fails_at_is_done_again_from_the_flash(
    error: DeviceError, firmware: Firmware, tmp_path: Path
) -> None:
    bench, said = FakeBench(), list[str]()
    keeper = keeper_of(bench, tmp_path, said)
    keeper.load(firmware)
    assert keeper.run(failing(error)) == "done"
    assert bench.done == ["flash", "reset", "flash"]
    assert bench.sessions[0].closed
    assert said == ["try 1 of 4: x"]


def test_power_is_cut_when_flashing_does_not_help(firmware: Firmware, tmp_path: Path) -> None:
    bench = FakeBench()
    keeper = keeper_of(bench, tmp_path)
    keeper.load(firmware)
    assert keeper.run(failing(DeviceSilentError("x"), DeviceSilentError("y"))) == "done"
    assert bench.done == ["flash", "reset", "flash", "reset", "power", "flash"]


def test_power_is_cut_where_nothing_resets(firmware: Firmware, tmp_path: Path) -> None:
    bench = FakeBench()
    bench.can_reset = False
    keeper = keeper_of(bench, tmp_path)
    keeper.load(firmware)
    assert keeper.run(failing(DeviceSilentError("x"))) == "done"
    assert bench.done == ["flash", "reset", "power", "flash"]


def test_a_hook_that_fails_is_told_and_gone_on_without(firmware: Firmware, tmp_path: Path) -> None:
    bench, said = FakeBench(), list[str]()
    bench.hook_works = False
    keeper = keeper_of(bench, tmp_path, said)
    keeper.load(firmware)
    assert keeper.run(failing(DeviceSilentError("x"), DeviceSilentError("y"))) == "done"
    assert "it: the power-cycle command failed (1)" in said


def test_a_network_that_fails_is_not_the_boards_fault(firmware: Firmware, tmp_path: Path) -> None:
    bench = FakeBench()
    keeper = keeper_of(bench, tmp_path)
    keeper.load(firmware)
    with pytest.raises(DeviceError, match="returned 5"):
        keeper.run(failing(DeviceError("the network's run function returned 5")))
    assert bench.done == ["flash"]
    # Whoever comes next finds a device that has been opened anew.
    assert bench.sessions[0].closed
    assert keeper.run(failing()) == "done"
    assert len(bench.sessions) == 2


def test_a_network_that_hangs_is_told_from_a_dead_board(firmware: Firmware, tmp_path: Path) -> None:
    bench = FakeBench()
    keeper = keeper_of(bench, tmp_path)
    keeper.load(firmware)
    with pytest.raises(DeviceSilentError, match="does not come to an end") as raised:
        keeper.run(failing(*[DeviceSilentError("it: does not answer (run)")] * 9))
    assert "does the network end on the emulator?" in str(raised.value)
    assert all(session.closed for session in bench.sessions)
    keeper.load(firmware)


def test_a_tool_that_is_missing_is_told_at_once(firmware: Firmware, tmp_path: Path) -> None:
    class Toolless(FakeBench):
        def flash(self, firmware: Firmware) -> None:
            self.done.append("flash")
            raise ToolMissingError("no tool that flashes it is installed")

    bench = Toolless()
    with pytest.raises(ToolMissingError):
        keeper_of(bench, tmp_path).load(firmware)
    assert bench.done == ["flash"]


def test_a_board_that_died_is_lost(firmware: Firmware, tmp_path: Path) -> None:
    bench = FakeBench(lambda bench: len(bench.sessions) == 0)
    keeper = keeper_of(bench, tmp_path)
    keeper.load(firmware)
    # Another one does not help: this one has answered, so it is not its fault.
    with pytest.raises(BoardLostError, match="does not come back after 4 tries"):
        keeper.run(failing(DeviceSilentError("x")))
    assert bench.done.count("power") == 2
    with pytest.raises(RackError, match="nothing is loaded"):
        keeper.run(failing())


def test_a_board_that_cannot_be_flashed_any_more_is_lost(
    firmware: Firmware, tmp_path: Path
) -> None:
    class Unplugged(FakeBench):
        def flash(self, firmware: Firmware) -> None:
            if self.sessions:
                raise BoardError("no probe found")

    keeper = keeper_of(Unplugged(), tmp_path)
    keeper.load(firmware)
    with pytest.raises(BoardLostError, match="cannot be flashed: no probe found"):
        keeper.run(failing(DeviceSilentError("x")))


def test_a_firmware_that_hangs_is_told_from_a_dead_board(
    firmware: Firmware, tmp_path: Path
) -> None:
    bench = FakeBench(lambda bench: bench.content == b"good")
    keeper_of(bench, tmp_path).load(firmware)
    bad = replace(firmware, elf_path=tmp_path / "bad.elf")
    bad.elf_path.write_bytes(b"bad")
    # In a session of its own, as agents do.
    with pytest.raises(DeviceSilentError, match="one that ran here before does"):
        keeper_of(bench, tmp_path).load(bad)
    keeper_of(bench, tmp_path).load(firmware)
    bench.answers = lambda bench: False
    with pytest.raises(BoardLostError):
        keeper_of(bench, tmp_path).load(bad)


def test_where_nothing_ever_answered_doubts_add_up(firmware: Firmware, tmp_path: Path) -> None:
    bench = FakeBench(lambda bench: False)
    for _ in range(2):
        with pytest.raises(DeviceSilentError, match="none has yet here"):
            keeper_of(bench, tmp_path).load(firmware)
    with pytest.raises(BoardLostError):
        keeper_of(bench, tmp_path).load(firmware)


DISCO = load_board("stm32f746g_disco")


def tools(monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> None:
    """Have these on the PATH and nothing else."""
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_hook_finds_the_board_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools(monkeypatch, tmp_path, "pyocd")
    note = tmp_path / "note"
    port = tmp_path / "ttyX"
    port.touch()
    command = f'echo "$TVM_PATCH_BOARD at $TVM_PATCH_PORT, $TVM_PATCH_SERIAL" > {note}'
    bench = BoardBench(DISCO, port=str(port), serial="0042", power_cycle_command=command)
    assert bench.power_cycle()
    assert note.read_text() == f"stm32f746g_disco at {port}, 0042\n"
    assert not BoardBench(DISCO).power_cycle()
    with pytest.raises(RackError, match=r"failed \(3\): no hub"):
        BoardBench(DISCO, power_cycle_command="echo no hub; exit 3").power_cycle()


def test_a_real_board_is_flashed_by_what_needs_no_build_folder(
    firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools(monkeypatch, tmp_path, "west", "pyocd")
    calls: list[object] = []
    monkeypatch.setattr(bench_module, "flash", lambda *a, **options: calls.append(options))
    monkeypatch.setattr(bench_module, "reset_board", lambda *a, **options: calls.append(options))
    bench = BoardBench(DISCO, serial="0042")
    bench.flash(firmware)
    assert bench.reset(firmware)
    assert calls == [
        {"port": None, "serial": "0042", "runner": "pyocd"},
        {"serial": "0042", "runner": "pyocd"},
    ]
    with pytest.raises(BoardError, match="west flashes from the folder of a build"):
        BoardBench(DISCO, runner="west")
    (tmp_path / "pyocd").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match=r"openocd|pyocd"):
        BoardBench(DISCO)


def test_an_emulated_board_needs_no_runner(
    firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bench = BoardBench(firmware.board)
    bench.flash(firmware)
    assert bench.reset(firmware)


class RealBoard:
    """A Discovery board on USB: tools that write down what they do to it, and how it hangs.

    ``cures`` is what gets its core out of a hang: the probe's reset, the power, or nothing.
    """

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, cures: str, off_s: float = 0.4
    ) -> None:
        self.log, self.off_s, self._cures = folder / "done", off_s, cures
        self._hangs, self._gone_until = folder / "hangs", 0.0
        tools = folder / "bin"
        tools.mkdir()
        pyocd = tools / "pyocd"
        cure = 'case "$1" in reset) rm -f "$hangs" ;; esac' if cures == "reset" else ""
        pyocd.write_text(
            f'#!/bin/sh\nhangs="{self._hangs}"\necho "pyocd $1" >> "{self.log}"\n{cure}\n'
            # A probe that lost sight of its core.
            f'if [ "$1" = reset ] && [ -e "$hangs" ]; then echo "Error: no target"; exit 1; fi\n'
        )
        pyocd.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
        monkeypatch.setattr(ports_module, "list_serial_ports", self._ports)
        monkeypatch.setattr(bench_module, "open_session", self._open)
        monkeypatch.setattr(elf_module, "check_fits", lambda *arguments: None)
        self.hook = (
            f'echo "power of $TVM_PATCH_SERIAL" >> "{self.log}"; touch "{folder / "off"}"'
            + (f'; rm -f "{self._hangs}"' if cures == "power" else "")
        )
        self._off = folder / "off"
        self.sessions = 0

    def hang(self) -> None:
        self._hangs.touch()

    @property
    def done(self) -> list[str]:
        return self.log.read_text().splitlines()

    def _ports(self) -> list[SerialPort]:
        # For a while after its power was cut the board is not there.
        if self._off.exists():
            self._off.unlink()
            self._gone_until = time.monotonic() + self.off_s
        if time.monotonic() < self._gone_until:
            return []
        return [SerialPort("/dev/ttyACM7", UsbId(0x0483, 0x374B), "0042", "STM32 STLink")]

    def _open(self, firmware: Firmware, **options: Any) -> Any:
        if self._hangs.exists():
            raise DeviceSilentError("stm32f746g_disco: does not answer")
        self.sessions += 1
        return FakeSession()


def hang_once(board: RealBoard) -> Callable[[Any], str]:
    remaining = [True]

    def work(session: Any) -> str:
        if remaining:
            remaining.pop()
            board.hang()
            raise DeviceSilentError("stm32f746g_disco: does not answer")
        return "done"

    return work


@pytest.mark.parametrize(
    ("cures", "done"),
    [
        ("reset", ["pyocd flash", "pyocd reset", "pyocd flash"]),
        ("power", ["pyocd flash", "pyocd reset", "power of 0042", "pyocd flash"]),
    ],
)
def test_a_real_board_that_hangs_comes_back(
    cures: str,
    done: list[str],
    firmware: Firmware,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its probe if that can reset it, else by its power; flashed when it is on USB again."""
    board = RealBoard(tmp_path, monkeypatch, cures)
    bench = BoardBench(DISCO, serial="0042", power_cycle_command=board.hook)
    keeper = keeper_of(bench, tmp_path)
    keeper.load(replace(firmware, board=DISCO))
    assert keeper.run(hang_once(board)) == "done"
    assert board.done == done
    assert board.sessions == 2


def test_a_real_board_that_nothing_brings_back_is_lost(
    firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    board = RealBoard(tmp_path, monkeypatch, "nothing", off_s=1000.0)
    monkeypatch.setattr(bench_module, "_ON_USB_TIMEOUT_S", 0.3)
    bench = BoardBench(DISCO, serial="0042", power_cycle_command=board.hook)
    keeper = keeper_of(bench, tmp_path, said)
    keeper.load(replace(firmware, board=DISCO))
    with pytest.raises(BoardLostError, match="does not come back after 4 tries"):
        keeper.run(hang_once(board))
    assert "stm32f746g_disco: pyocd did not reset it: Error: no target" in said
    assert any("is not on USB" in line for line in said)
    assert board.done.count("power of 0042") == 3
