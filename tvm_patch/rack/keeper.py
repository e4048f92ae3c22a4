"""Keeps a board at work: what it fails at is tried again, from flashing or from the power on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tvm_patch.errors import (
    BoardError,
    BoardLostError,
    DeviceError,
    DeviceRestartedError,
    DeviceSilentError,
    ProtocolError,
    RackError,
    TvmPatchError,
)
from tvm_patch.micro import Firmware, Session
from tvm_patch.rack.bench import Bench
from tvm_patch.report.built import Built, read_built, write_built

_Result = TypeVar("_Result")

Say = Callable[[str], None]
"""Told, a line at a time, what becomes of the board."""

# What may be the board's fault, or the cable's. A network that fails or a firmware that faults does
# so on every board.
_BOARD_FAILS = (DeviceSilentError, ProtocolError, DeviceRestartedError)

_TRIES = 4
# So many firmwares in a row have not answered on a board where none ever has: then it is the board.
_DOUBTS = 3


@dataclass
class _Loaded:
    firmware: Firmware
    session: Session | None = None
    is_flashed: bool = False
    has_answered: bool = False


class BoardMemory:
    """What is known of a board, kept on disk from session to session.

    Parameters
    ----------
    folder : Path
        Where.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, firmware: Firmware) -> None:
        """Remember a firmware that has answered, in place of the one before."""
        elf_path = self._folder / "firmware.elf"
        elf_path.write_bytes(firmware.elf_path.read_bytes())
        write_built(
            Built(
                firmware=replace(firmware, elf_path=elf_path),
                model="known good",
                planned_arena_bytes=firmware.arena_symbol_bytes,
                planned_macs=0,
                operators=(),
                input_dtypes=(),
            )
        )

    def known_good(self) -> Firmware | None:
        """Return the firmware that has answered last; None if none ever has.

        It tells a firmware that hangs from a board that is dead.
        """
        try:
            return read_built(self._folder).firmware
        except TvmPatchError:
            return None

    def doubt(self) -> int:
        """Return how many firmwares have not answered on a board where none ever has."""
        with (self._folder / "doubts").open("a+", encoding="ascii") as file:
            file.write("?")
            return file.tell()


class BoardKeeper:
    """One board with the firmware that it is to run.

    Parameters
    ----------
    bench : Bench
        The board.
    name : str
        What it is called in messages.
    memory : BoardMemory
        What is known of the board from earlier sessions.
    say : Say
        Told of failures and what is done about them.
    """

    def __init__(
        self,
        bench: Bench,
        name: str,
        *,
        memory: BoardMemory,
        say: Say = lambda line: None,
    ) -> None:
        self._bench = bench
        self._name = name
        self._memory = memory
        self._say = say
        self._loaded: _Loaded | None = None

    def load(self, firmware: Firmware) -> None:
        """Flash a firmware and make sure that it answers.

        Raises
        ------
        DeviceSilentError
            If it does not, and the board is all right.
        BoardLostError
            If the board is not.
        """
        self.close()
        self._loaded = _Loaded(firmware)
        self.run(lambda session: None)

    def run(self, work: Callable[[Session], _Result]) -> _Result:
        """Do something with the board, from the beginning as often as it takes.

        Parameters
        ----------
        work : callable
            Takes a session whose device may hold anything: it writes all that it needs.

        Raises
        ------
        DeviceError
            If the network or its firmware fails.
        DeviceSilentError
            If this firmware never answers on a board where others do, or the network does not
            come to an end.
        BoardLostError
            If the board does not come back.
        """
        loaded = self._loaded
        if loaded is None:
            raise RackError(f"{self._name}: nothing is loaded", hint="load_module comes first")
        failure: TvmPatchError | None = None
        for attempt in range(_TRIES):
            try:
                if failure is not None:
                    self._bring_back(loaded, power=attempt >= _TRIES // 2)
                if not loaded.is_flashed:
                    self._flash(loaded)
                return work(self._open(loaded))
            except _BOARD_FAILS as error:
                failure = error
                self._close(loaded)
                loaded.is_flashed = False
                self._say(f"try {attempt + 1} of {_TRIES}: {error.message}")
            except TvmPatchError:
                # The firmware may have died of it; whoever comes next starts it anew.
                self._close(loaded)
                raise
        assert failure is not None
        self._loaded = None
        raise self._verdict(loaded, failure)

    def close(self) -> None:
        """Let go of the board."""
        if self._loaded is not None:
            self._close(self._loaded)
            self._loaded = None

    def _open(self, loaded: _Loaded) -> Session:
        if loaded.session is None:
            loaded.session = self._bench.open(loaded.firmware)
            if not loaded.has_answered:
                loaded.has_answered = True
                self._memory.keep(loaded.firmware)
        return loaded.session

    @staticmethod
    def _close(loaded: _Loaded) -> None:
        if loaded.session is not None:
            loaded.session.close()
            loaded.session = None

    def _bring_back(self, loaded: _Loaded, *, power: bool) -> None:
        """Reset the board; cut its power where that cannot be done, or has not helped."""
        try:
            was_reset = self._bench.reset(loaded.firmware)
        except TvmPatchError as error:
            self._say(error.message)
            was_reset = False
        if power or not was_reset:
            try:
                if self._bench.power_cycle():
                    self._say("power cycled")
            except RackError as error:
                self._say(error.message)

    def _flash(self, loaded: _Loaded) -> None:
        try:
            self._bench.flash(loaded.firmware)
        except (BoardError, DeviceError) as error:
            raise DeviceSilentError(f"{self._name}: cannot be flashed: {error.message}") from error
        loaded.is_flashed = True

    def _verdict(self, loaded: _Loaded, failure: TvmPatchError) -> TvmPatchError:
        """Whose fault it is, once nothing has helped."""
        if self._answers(loaded.firmware):
            return DeviceSilentError(
                f"{self._name}: answers, but what it was to do does not come to an end "
                f"({failure.message})",
                hint="does the network end on the emulator? Its agent may allow it more time",
            )
        if loaded.has_answered:
            return self._lost(failure)
        probe = self._memory.known_good()
        if probe is None and self._memory.doubt() < _DOUBTS:
            return DeviceSilentError(
                f"{self._name}: this firmware does not answer, and none has yet here "
                f"({failure.message})",
                hint="look at the board, and whether the firmware runs on the emulator",
            )
        if probe is not None and self._answers(probe):
            return DeviceSilentError(
                f"{self._name}: this firmware does not answer, while one that ran here before "
                f"does ({failure.message})",
                hint="look for a fault in the firmware: does it run on the emulator?",
            )
        return self._lost(failure)

    def _lost(self, failure: TvmPatchError) -> BoardLostError:
        return BoardLostError(
            f"{self._name}: does not come back after {_TRIES} tries: {failure.message}",
            hint="the agent takes it out of the pool; look at its cable and supply",
        )

    def _answers(self, firmware: Firmware) -> bool:
        try:
            self._bench.flash(firmware)
            self._bench.open(firmware).close()
        except TvmPatchError as error:
            self._say(f"flashed once more: {error.message}")
            return False
        return True
