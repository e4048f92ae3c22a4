"""Puts firmware on a board, and speaks to it there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tvm_patch.errors import BoardError
from tvm_patch.micro import elf
from tvm_patch.micro.build import Firmware
from tvm_patch.micro.emulator import start_emulator
from tvm_patch.micro.session import Progress, Session
from tvm_patch.micro.transports import ProcessTransport, SerialTransport, Transport


def flash(firmware: Firmware) -> str:
    """Put ``firmware`` where it runs; return in words what was done.

    An emulator and the host take the file as it is when a session opens.

    Raises
    ------
    BoardError
        If the board is real.
    """
    board = firmware.board
    if board.is_real:
        raise BoardError(
            f"{board.name}: this version flashes emulated boards only",
            hint=f"emulate it: --board {board.name} --emulate",
        )
    where = "a process" if board.port == "host" else f"QEMU ({board.name})"
    return f"nothing to flash: {where} loads {firmware.elf_path} itself"


def open_session(
    firmware: Firmware,
    *,
    port: str | None = None,
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
        Serial port of a board which has been flashed already; None starts the emulator or the
        host's process.
    timeout_s : float
        How long one inference may take without a word from the device.
    progress : Progress or None
        Told about transfers and runs.
    emulator_options : sequence of str
        More options for QEMU, where that is what runs the firmware.

    Raises
    ------
    BoardError
        If the board is real and no port is given.
    ToolMissingError
        If there is no emulator.
    DeviceError
        If nothing, or another firmware, answers.
    """
    return Session(
        _open_transport(firmware, port, emulator_options),
        timeout_s=timeout_s,
        progress=progress,
        fingerprint=firmware.fingerprint,
        find_function=partial(elf.find_function, firmware.elf_path),
    )


def _open_transport(
    firmware: Firmware, port: str | None, emulator_options: Sequence[str]
) -> Transport:
    board = firmware.board
    if port is not None:
        return SerialTransport(port)
    if board.port == "host":
        return ProcessTransport([str(firmware.elf_path.resolve())], f"host ({firmware.elf_path})")
    if board.machine is not None:
        return start_emulator(board, firmware.elf_path, emulator_options)
    raise BoardError(f"{board.name}: a real board needs a port", hint="name its serial port")
