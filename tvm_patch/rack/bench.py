"""What an agent does to its board: flash it, open it, reset it, cut its power."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod

from tvm_patch.errors import RackError
from tvm_patch.micro import Firmware, Session, flash, open_session

_HOOK_TIMEOUT_S = 120.0


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
    def power_cycle(self) -> bool:
        """Cut the board's power and give it back; False if nothing can do that here.

        Raises
        ------
        RackError
            If what does it fails.
        """


class BoardBench(Bench):
    """A board as this package knows it, real or emulated.

    Parameters
    ----------
    name : str
        The board's name.
    port : str or None
        Serial port of a real board.
    timeout_s : float
        How long the device may work without a word.
    power_cycle_command : str or None
        Shell command that cuts the board's power and gives it back. It finds the board in
        ``TVM_PATCH_BOARD`` and its port in ``TVM_PATCH_PORT``.
    """

    def __init__(
        self,
        name: str,
        *,
        port: str | None = None,
        timeout_s: float = 60.0,
        power_cycle_command: str | None = None,
    ) -> None:
        self._name = name
        self._port = port
        self._timeout_s = timeout_s
        self._power_cycle_command = power_cycle_command

    def flash(self, firmware: Firmware) -> None:
        flash(firmware, port=self._port)

    def open(self, firmware: Firmware) -> Session:
        return open_session(firmware, port=self._port, timeout_s=self._timeout_s)

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
                    "TVM_PATCH_BOARD": self._name,
                    "TVM_PATCH_PORT": self._port or "",
                },
            )
        except subprocess.TimeoutExpired as error:
            raise RackError(
                f"{self._name}: the power-cycle command did not end in {_HOOK_TIMEOUT_S:.0f} s"
            ) from error
        if done.returncode != 0:
            said = done.stdout.decode(errors="replace").strip().splitlines()
            raise RackError(
                f"{self._name}: the power-cycle command failed ({done.returncode})"
                + (f": {said[-1]}" if said else "")
            )
        return True
