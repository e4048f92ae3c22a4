"""Puts firmware on a board, and speaks to it there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tvm_patch.board import Board
from tvm_patch.micro import elf
from tvm_patch.micro.build import Firmware
from tvm_patch.micro.emulator import start_emulator
from tvm_patch.micro.lock import lock_of
from tvm_patch.micro.ports import await_own_port, find_connection
from tvm_patch.micro.runners import (
    FlashImage,
    choose_runner,
    flash_command,
    reset_command,
    run_tool,
)
from tvm_patch.micro.session import Progress, Session
from tvm_patch.micro.transports import ProcessTransport, SerialTransport, Transport


def check_board(
    board: Board, *, port: str | None = None, serial: str | None = None, runner: str | None = None
) -> None:
    """Make sure that a real board is plugged in, and that there is a tool to flash it.

    Raises
    ------
    BoardError
        If no board is plugged in, or several and none is chosen.
    ToolMissingError
        If the tool is not installed.
    """
    choose_runner(board, runner)
    find_connection(board, port=port, serial=serial)


def flash(
    firmware: Firmware,
    *,
    port: str | None = None,
    serial: str | None = None,
    runner: str | None = None,
) -> str:
    """Put ``firmware`` where it runs; return in words what was done.

    An emulator and the host take the file as it is when a session opens.

    Parameters
    ----------
    firmware : Firmware
        What was built.
    port : str or None
        Serial port of the board, where several are plugged in.
    serial : str or None
        Serial number of the board's debug probe, likewise.
    runner : {"west", "pyocd", "openocd"} or None
        Tool that flashes; the first that is installed of those that can.

    Raises
    ------
    BoardError
        If no board is plugged in, or several and none is chosen.
    ToolMissingError
        If the tool is not installed.
    DoesNotFitError
        If the firmware is not for memory that the board has.
    BoardBusyError
        If another process works with the board.
    FlashError
        If the tool fails.
    """
    board = firmware.board
    if not board.is_real:
        where = "a process" if board.port == "host" else f"QEMU ({board.name})"
        return f"nothing to flash: {where} loads {firmware.elf_path} itself"
    elf.check_fits(firmware.elf_path, board)
    # What another machine has built comes as an ELF file alone.
    image = FlashImage(
        (firmware.hex_path or firmware.elf_path).resolve(), firmware.zephyr_build_path
    )
    chosen = choose_runner(board, runner, image)
    connection = find_connection(board, port=port, serial=serial)
    command = flash_command(board, chosen, image, connection.probe_serial)
    with lock_of(board, connection):
        run_tool(board, command, firmware.log_path.with_name("flash.log"), "flash it")
    which = f" (probe {connection.probe_serial})" if connection.probe_serial else ""
    return f"flashed {board.name}{which} with {chosen}: {firmware.flash_bytes:,} bytes"


def reset_board(
    firmware: Firmware, *, serial: str | None = None, runner: str | None = None
) -> None:
    """Reset a real board through its debug probe, whatever its firmware does.

    Parameters
    ----------
    firmware : Firmware
        What was flashed.
    serial : str or None
        Serial number of the board's debug probe, where several are plugged in.
    runner : {"west", "pyocd", "openocd"} or None
        Tool to reset with if it can; else the first that is installed of those that can.

    Raises
    ------
    ToolMissingError
        If no tool that can is installed.
    FlashError
        If the tool fails.
    """
    board = firmware.board
    log_path = firmware.log_path.with_name("reset.log")
    run_tool(board, reset_command(board, serial, runner), log_path, "reset it")


def open_session(
    firmware: Firmware,
    *,
    port: str | None = None,
    serial: str | None = None,
    timeout_s: float = 60.0,
    progress: Progress | None = None,
    emulator_options: Sequence[str] = (),
) -> Session:
    """Start what runs ``firmware``, or open the port to it, and make sure that it answers.

    Parameters
    ----------
    firmware : Firmware
        What was built.
    port : str or None
        Serial port of a board which has been flashed already; None finds it, or starts the
        emulator or the host's process.
    serial : str or None
        Serial number of the board's debug probe, where several are plugged in.
    timeout_s : float
        How long one inference may take without a word from the device.
    progress : Progress or None
        Told about transfers and runs.
    emulator_options : sequence of str
        More options for QEMU, where that is what runs the firmware.

    Raises
    ------
    BoardError
        If no board is plugged in, several and none is chosen, or another kind of board answers.
    ToolMissingError
        If there is no emulator.
    DeviceError
        If nothing, or another firmware, answers.
    """
    return Session(
        _open_transport(firmware, port, serial, emulator_options),
        timeout_s=timeout_s,
        progress=progress,
        board=firmware.board.name,
        fingerprint=firmware.fingerprint,
        find_function=partial(elf.find_function, firmware.elf_path),
    )


def _open_transport(
    firmware: Firmware, port: str | None, serial: str | None, emulator_options: Sequence[str]
) -> Transport:
    board = firmware.board
    if board.port == "host" and port is None:
        return ProcessTransport([str(firmware.elf_path.resolve())], f"host ({firmware.elf_path})")
    if board.machine is not None and port is None:
        return start_emulator(board, firmware.elf_path, emulator_options)
    if board.is_real and port is None:
        port = find_connection(board, serial=serial).port or await_own_port(board)
    assert port is not None
    return SerialTransport(port)
