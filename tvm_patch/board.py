"""Boards: what a firmware is built for, and the memory that it may fill.

A board is a TOML file in ``tvm_patch/boards``. Boards of kind ``bare_metal`` name a machine of
QEMU; a real board names, as its ``emulator``, the emulated board with the same core. Building for
a real board with its emulator keeps the real board's memory sizes and takes everything else from
the emulated one.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tvm_patch.errors import BoardError

BOARDS_DIR = Path(__file__).parent / "boards"


@dataclass(frozen=True)
class MemoryRegion:
    """One block of a board's memory.

    Parameters
    ----------
    name : str
        Name in the linker script, in lower case.
    kind : {"flash", "sram"}
        Flash holds code and weights, SRAM everything that is written.
    origin : int
        First address.
    size_bytes : int
        Greater than zero.
    """

    name: str
    kind: Literal["flash", "sram"]
    origin: int
    size_bytes: int

    def contains(self, address: int) -> bool:
        """Say whether ``address`` lies in the region."""
        return self.origin <= address < self.origin + self.size_bytes


@dataclass(frozen=True)
class Machine:
    """A machine of QEMU, with the addresses that the firmware needs.

    Parameters
    ----------
    name : str
        As ``qemu-system-arm -machine`` takes it.
    link : {"semihosting", "uart"}
        What carries the protocol. The UART is what real boards have; semihosting moves a buffer
        per call where an emulated UART moves a byte.
    uart_base, timer_base : int
        Addresses of a CMSDK UART and a CMSDK timer.
    uart_irq : int
        Interrupt line of the UART's receiver.
    instructions_per_tick : int
        With ``-icount shift=0``: 10^9 divided by the timer's frequency in Hz.
    """

    name: str
    link: Literal["semihosting", "uart"]
    uart_base: int
    uart_irq: int
    timer_base: int
    instructions_per_tick: int


@dataclass(frozen=True)
class Board:
    """A board, real or emulated, or the host itself.

    Parameters
    ----------
    name : str
        Name on the command line.
    description : str
        One line.
    port : {"bare_metal", "host"}
        Folder of ``micro_project`` that the firmware's port comes from.
    cpu : str
        ``cortex-m7`` and so on; ``native`` on the host.
    core_flags : tuple of str
        What the compiler must be told of the core.
    dsp, fpu : bool
        Whether the core has the DSP extension, and a floating point unit.
    clock_hz : int
        Of the core; 0 on the host.
    memory : tuple of MemoryRegion
        One region of flash and one of SRAM; none on the host.
    stack_reserve_bytes : int
        SRAM kept for the stack; 0 on the host.
    machine : Machine or None
        The emulated machine; None for real boards and the host.
    emulator : str or None
        For a real board, the emulated board with the same core.
    emulated_by : str or None
        Set by :meth:`emulate`: the emulated board that stands in for this one.
    """

    name: str
    description: str
    port: Literal["bare_metal", "host"]
    cpu: str
    core_flags: tuple[str, ...]
    dsp: bool
    fpu: bool
    clock_hz: int
    memory: tuple[MemoryRegion, ...]
    stack_reserve_bytes: int = 0
    machine: Machine | None = None
    emulator: str | None = None
    emulated_by: str | None = None

    @property
    def is_real(self) -> bool:
        """Whether the board is hardware, and is meant as such here."""
        return self.port == "bare_metal" and self.machine is None

    def region(self, kind: Literal["flash", "sram"]) -> MemoryRegion | None:
        """Return the region of that kind; None on the host, whose memory has no bounds."""
        return next((region for region in self.memory if region.kind == kind), None)

    def emulate(self) -> Board:
        """Return this board as its emulator can stand in for it.

        The memory keeps its sizes and moves to the emulator's addresses. Boards that are
        emulated anyway, and the host, return themselves.

        Raises
        ------
        BoardError
            If no emulated board stands in for this one, or its memory is smaller.
        """
        if not self.is_real:
            return self
        if self.emulator is None:
            raise BoardError(
                f"{self.name}: no emulated board has its core, {self.cpu}",
                hint="build without emulation, or choose one of: " + ", ".join(list_boards()),
            )
        stand_in = load_board(self.emulator)
        moved = []
        for region in self.memory:
            place = stand_in.region(region.kind)
            if place is None or place.size_bytes < region.size_bytes:
                raise BoardError(f"{self.name}: {region.name} is larger than {stand_in.name}'s")
            moved.append(replace(place, size_bytes=region.size_bytes))
        return replace(
            stand_in,
            name=self.name,
            description=f"{self.description}, on {stand_in.name}",
            memory=tuple(moved),
            stack_reserve_bytes=self.stack_reserve_bytes,
            emulated_by=stand_in.name,
        )


def list_boards() -> list[str]:
    """Return the names of all boards, sorted."""
    return sorted(path.stem for path in BOARDS_DIR.glob("*.toml"))


def load_board(name: str) -> Board:
    """Read a board by its name.

    Raises
    ------
    BoardError
        If there is no such board (the message names those there are), or its file is malformed.
    """
    if name not in list_boards():
        raise BoardError(
            f"there is no board called {name!r}", hint="boards: " + ", ".join(list_boards())
        )
    return read_board(BOARDS_DIR / f"{name}.toml")


def read_board(path: Path) -> Board:
    """Read a board from a TOML file of one's own.

    Raises
    ------
    BoardError
        If the file cannot be read, or does not describe a board.
    """
    try:
        return _parse_board(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BoardError(f"{path}: cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BoardError(f"{path}: is not a board: {error}") from error


def _parse_board(name: str, entries: dict[str, Any]) -> Board:
    entries = dict(entries)
    machine = entries.pop("machine", None)
    memory = tuple(MemoryRegion(**region) for region in entries.pop("memory", []))
    board = Board(
        name=name,
        core_flags=tuple(entries.pop("core_flags")),
        memory=memory,
        machine=None if machine is None else Machine(**machine),
        **entries,
    )
    if board.port not in ("bare_metal", "host"):
        raise ValueError(f"there is no port called {board.port!r}")
    if board.port == "bare_metal":
        for kind in ("flash", "sram"):
            if sum(region.kind == kind for region in memory) != 1:
                raise ValueError(f"it needs exactly one region of {kind}")
    if any(region.size_bytes <= 0 for region in memory):
        raise ValueError("a region's size_bytes must be greater than zero")
    return board
