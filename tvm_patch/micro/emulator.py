"""Emulated boards: QEMU with a virtual clock that advances one nanosecond per instruction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tvm_patch.board import Board
from tvm_patch.errors import BoardError
from tvm_patch.micro.tools import EMULATOR, find_tool
from tvm_patch.micro.transports.process import ProcessTransport


def emulator_command(board: Board, elf_path: Path) -> list[str]:
    """Return the command that runs ``elf_path`` on the board's machine.

    With ``-icount shift=0`` time is the number of instructions executed, so that the stopwatch
    counts the same in every run and on every computer.

    Raises
    ------
    BoardError
        If the board is not an emulated one.
    ToolMissingError
        If QEMU is not installed.
    """
    machine = board.machine
    if machine is None:
        raise BoardError(f"{board.name} is not an emulated board")
    link = {
        "semihosting": ["-serial", "none", "-semihosting-config", "enable=on,target=native"],
        "uart": ["-serial", "stdio"],
    }[machine.link]
    return [
        str(find_tool(EMULATOR)),
        *("-machine", machine.name),
        *("-icount", "shift=0"),
        *("-display", "none", "-monitor", "none", "-nodefaults"),
        *link,
        *("-kernel", str(elf_path)),
    ]


def start_emulator(board: Board, elf_path: Path, options: Sequence[str] = ()) -> ProcessTransport:
    """Boot ``elf_path`` on the board's machine; closing the transport ends it.

    Parameters
    ----------
    board : Board
        An emulated one.
    elf_path : Path
        A firmware for it.
    options : sequence of str
        More options for QEMU.

    Raises
    ------
    BoardError
        If the board is not an emulated one.
    ToolMissingError
        If QEMU is not installed.
    """
    name = f"{board.name} (emulated, {elf_path.name})"
    return ProcessTransport([*emulator_command(board, elf_path), *options], name)
