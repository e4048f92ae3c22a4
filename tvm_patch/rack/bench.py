"""What an agent does to its board: flash it, open it, reset it, cut its power."""

from __future__ import annotations

import os
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

from tvm_patch.board import Board
from tvm_patch.errors import BoardError, RackError, ToolMissingError
from tvm_patch.micro import Firmware, Session, flash, open_session
from tvm_patch.micro.flashing import reset_board
from tvm_patch.micro.ports import find_connection
from tvm_patch.micro.runners import choose_runner

_HOOK_TIMEOUT_S = 120.0
# From the power to the probe's serial port; a hub and an ST-LINK take two or three seconds.
_ON_USB_TIMEOUT_S = 20.0
_POLL_S = 0.2


class Bench(ABC):
    """One board and all that is done to it."""

    @abstractmethod
    def flash(self, firmware: Firmware) -> None:
        """Put a firmware on the board, which starts it.

        Raises
        ------
        TvmPatchError
            If that fails.
        """

    @abstractmethod
    def open(self, firmware: Firmware) -> Session:
        """Open a session with the firmware that was flashed.

        Raises
        ------
        DeviceError
            If it does not answer.
        """

    @abstractmethod
    def reset(self, firmware: Firmware) -> bool:
        """Start the core anew, whatever it does; False if nothing can do that here.

        Raises
        ------
        TvmPatchError
            If that fails.
        """

    @abstractmethod
    def power_cycle(self) -> bool:
        """Cut the board's power, give it back, and wait until the board is on USB again.

        False if nothing can do that here.

        Raises
        ------
        RackError
            If what does it fails, or the board does not appear.
        """


class BoardBench(Bench):
    """A board as this package knows it, real or emulated.

    Parameters
    ----------
    board : Board
        The board.
    port : str or None
        Serial port of a real board; None finds it each time, since it may change.
    serial : str or None
        Serial number of its debug probe, where several are plugged in.
    runner : str or None
        Tool that flashes a real board; None takes the first installed one that can.
    timeout_s : float
        How long the device may work without a word.
    power_cycle_command : str or None
        Shell command that cuts the board's power and gives it back. It finds the board in
        ``TVM_PATCH_BOARD``, its port in ``TVM_PATCH_PORT`` and its probe's serial number in
        ``TVM_PATCH_SERIAL``.

    Raises
    ------
    BoardError
        If the runner cannot flash the board from a single file.
    ToolMissingError
        If no runner is installed.
    """

    def __init__(
        self,
        board: Board,
        *,
        port: str | None = None,
        serial: str | None = None,
        runner: str | None = None,
        timeout_s: float = 60.0,
        power_cycle_command: str | None = None,
    ) -> None:
        self._board = board
        self._port = port
        self._serial = serial
        self._runner = _choose_runner(board, runner) if board.is_real else None
        self._timeout_s = timeout_s
        self._power_cycle_command = power_cycle_command

    def flash(self, firmware: Firmware) -> None:
        flash(firmware, port=self._port, serial=self._serial, runner=self._runner)

    def open(self, firmware: Firmware) -> Session:
        return open_session(
            firmware, port=self._port, serial=self._serial, timeout_s=self._timeout_s
        )

    def reset(self, firmware: Firmware) -> bool:
        if not self._board.is_real:
            return True  # a new session is a new emulator
        reset_board(firmware, serial=self._serial, runner=self._runner)
        return True

    def power_cycle(self) -> bool:
        if self._power_cycle_command is None:
            return False
        try:
            done = subprocess.run(
                self._power_cycle_command,
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_HOOK_TIMEOUT_S,
                check=False,
                env={
                    **os.environ,
                    "TVM_PATCH_BOARD": self._board.name,
                    "TVM_PATCH_PORT": self._port or "",
                    "TVM_PATCH_SERIAL": self._serial or "",
                },
            )
        except subprocess.TimeoutExpired as error:
            raise RackError(
                f"{self._board.name}: the power-cycle command did not end in "
                f"{_HOOK_TIMEOUT_S:.0f} s"
            ) from error
        if done.returncode != 0:
            said = done.stdout.decode(errors="replace").strip().splitlines()
            raise RackError(
                f"{self._board.name}: the power-cycle command failed ({done.returncode})"
                + (f": {said[-1]}" if said else "")
            )
        if self._board.is_real:
            self._await_on_usb()
        return True

    def _await_on_usb(self) -> None:
        deadline = time.monotonic() + _ON_USB_TIMEOUT_S
        while not self._is_on_usb():
            if time.monotonic() >= deadline:
                raise RackError(
                    f"{self._board.name}: is not on USB {_ON_USB_TIMEOUT_S:.0f} s after its power "
                    "was cut and given back"
                )
            time.sleep(_POLL_S)

    def _is_on_usb(self) -> bool:
        if self._port is not None:
            return Path(self._port).exists()
        try:
            find_connection(self._board, serial=self._serial)
        except BoardError:
            return False
        return True


def _choose_runner(board: Board, wanted: str | None) -> str:
    """The runner to flash an uploaded file with: west wants the folder that it was built in."""
    if wanted == "west":
        raise BoardError(
            f"{board.name}: west flashes from the folder of a build, which an agent does not have",
            hint="choose --runner pyocd or --runner openocd",
        )
    if wanted is not None:
        return choose_runner(board, wanted)
    missing: ToolMissingError | None = None
    for runner in board.probe.runners if board.probe is not None else ():
        if runner != "west":
            try:
                return choose_runner(board, runner)
            except ToolMissingError as error:
                missing = missing or error
            except BoardError:
                continue
    if missing is not None:
        raise missing
    raise BoardError(
        f"{board.name}: only west flashes it, from the folder of a build, which an agent does not "
        "have",
        hint="measure on it from the machine that it is plugged into: tvm-patch deploy",
    )
