"""One board, and how an emulated one stands in for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from tvm_patch.board.parts import (
    EmulatedLink,
    LinkKind,
    Machine,
    MemoryKind,
    MemoryRegion,
    Probe,
    UsbId,
    ZephyrBoard,
)
from tvm_patch.errors import BoardError

_STACK_RESERVE_BYTES = 8192

# What follows from the core: its DSP extension, and the floating point unit that it usually has.
_CORES: dict[str, tuple[bool, str | None]] = {
    "cortex-m0plus": (False, None),
    "cortex-m3": (False, None),
    "cortex-m4": (True, "fpv4-sp-d16"),
    "cortex-m7": (True, "fpv5-sp-d16"),
    "cortex-m33": (True, "fpv5-sp-d16"),
    "cortex-m55": (True, "fpv5-d16"),
}


@dataclass(frozen=True)
class Board:
    """A board, real or emulated, or the host itself.

    Parameters
    ----------
    name : str
        Name on the command line.
    description : str
        One line.
    port : {"bare_metal", "zephyr", "host"}
        Folder of ``micro_project`` that the firmware's port comes from.
    cpu : str
        ``cortex-m7`` and so on; ``native`` on the host.
    core_flags : tuple of str
        What the compiler must be told of the core.
    dsp, fpu : bool
        Whether the core has the DSP extension, and a floating point unit.
    clock_hz : int
        Of the core, as the firmware sets it; 0 on the host.
    memory : tuple of MemoryRegion
        One region of flash, one of SRAM, at most one of DTCM, any number of others; none on
        the host.
    stack_reserve_bytes : int
        SRAM kept for the stack; 0 on the host.
    link : {"uart", "usb"}
        What carries the protocol: the debug probe's UART, or USB. An emulated board has its
        machine's link.
    links : tuple of str
        What could carry it instead.
    usb_id : str or None
        ``vendor:product`` of the firmware's own USB device, where the board has one.
    probe : Probe or None
        Of a real board.
    zephyr : ZephyrBoard or None
        For boards of Zephyr's.
    machine : Machine or None
        The emulated machine; None for real boards and the host.
    emulator : str or None
        For a real board, the emulated board with the same core.
    emulated_by : str or None
        Set by :meth:`emulate`: the emulated board that stands in for this one.
    """

    name: str
    description: str
    port: Literal["bare_metal", "zephyr", "host"]
    cpu: str
    core_flags: tuple[str, ...]
    dsp: bool
    fpu: bool
    clock_hz: int
    memory: tuple[MemoryRegion, ...]
    stack_reserve_bytes: int = 0
    link: LinkKind = "uart"
    links: tuple[LinkKind, ...] = ("uart",)
    usb_id: str | None = None
    probe: Probe | None = None
    zephyr: ZephyrBoard | None = None
    machine: Machine | None = None
    emulator: str | None = None
    emulated_by: str | None = None

    @property
    def is_real(self) -> bool:
        """Whether the board is hardware, and is meant as such here."""
        return self.port != "host" and self.machine is None

    @property
    def writable_bytes(self) -> int:
        """All memory that a firmware can write to."""
        return sum(region.size_bytes for region in self.memory if region.kind in ("sram", "dtcm"))

    def region(self, kind: MemoryKind) -> MemoryRegion | None:
        """Return the region of that kind; None where the board has none."""
        return next((region for region in self.memory if region.kind == kind), None)

    def with_link(self, link: str) -> Board:
        """Return this board with another link.

        Raises
        ------
        BoardError
            If the board has no such link.
        """
        if self.port == "bare_metal" and self.machine is not None:
            for emulated in get_args(EmulatedLink):
                if emulated == link:
                    return replace(self, machine=replace(self.machine, link=emulated))
        for known in self.links:
            if known == link:
                return replace(self, link=known)
        raise BoardError(
            f"{self.name}: has no link over {link}", hint="links: " + ", ".join(self.links)
        )

    def emulate(self) -> Board:
        """Return this board as its emulator can stand in for it.

        The memory keeps its sizes and moves to the emulator's addresses; what is written becomes
        one region. Boards that are emulated anyway, and the host, return themselves.

        Raises
        ------
        BoardError
            If no emulated board stands in for this one, or its memory is smaller.
        """
        from tvm_patch.board.files import list_boards, load_board

        if not self.is_real:
            return self
        if self.emulator is None:
            raise BoardError(
                f"{self.name}: no emulated board has its core, {self.cpu}",
                hint="build without emulation, or choose one of: " + ", ".join(list_boards()),
            )
        stand_in = load_board(self.emulator)
        flash = self.region("flash")
        sizes = {"flash": flash.size_bytes if flash else 0, "sram": self.writable_bytes}
        moved = []
        for place in stand_in.memory:
            if place.size_bytes < sizes[place.kind]:
                raise BoardError(f"{self.name}: {place.name} is larger than {stand_in.name}'s")
            moved.append(replace(place, size_bytes=sizes[place.kind]))
        return replace(
            stand_in,
            name=self.name,
            description=f"{self.description}, on {stand_in.name}",
            memory=tuple(moved),
            stack_reserve_bytes=self.stack_reserve_bytes,
            emulated_by=stand_in.name,
        )


def board_from_record(name: str, entries: dict[str, Any]) -> Board:
    """Make a board of the entries of its file.

    Raises
    ------
    KeyError, TypeError, ValueError
        When they do not describe a board.
    """
    entries = {"name": name, **entries}
    dsp, fpu_name = _CORES.get(str(entries["cpu"]), (False, None))
    fpu = bool(entries.setdefault("fpu", fpu_name is not None))
    entries.setdefault("dsp", dsp)
    if entries.get("port") != "host":
        entries.setdefault("stack_reserve_bytes", _STACK_RESERVE_BYTES)
    entries.setdefault("core_flags", _core_flags(str(entries["cpu"]), fpu_name if fpu else None))
    for field in ("core_flags", "links"):
        if field in entries:
            entries[field] = tuple(entries[field])
    if "links" in entries:
        entries.setdefault("link", entries["links"][0])
    entries["memory"] = tuple(MemoryRegion(**region) for region in entries.get("memory", ()))
    for field, part in (("machine", Machine), ("zephyr", ZephyrBoard), ("probe", Probe)):
        if entries.get(field) is not None:
            entries[field] = part(**{key: _frozen(value) for key, value in entries[field].items()})
    board = Board(**entries)
    _check(board)
    return board


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _core_flags(cpu: str, fpu: str | None) -> tuple[str, ...]:
    core = (f"-mcpu={cpu}", "-mthumb")
    return (*core, "-mfloat-abi=hard", f"-mfpu={fpu}") if fpu else (*core, "-mfloat-abi=soft")


def _check(board: Board) -> None:
    if board.port not in ("bare_metal", "zephyr", "host"):
        raise ValueError(f"there is no port called {board.port!r}")
    if (board.port == "zephyr") != (board.zephyr is not None):
        raise ValueError("a board of port zephyr, and no other, has a table called zephyr")
    if board.port != "host":
        for kind in ("flash", "sram"):
            if sum(region.kind == kind for region in board.memory) != 1:
                raise ValueError(f"it needs exactly one region of {kind}")
    if board.link not in board.links:
        raise ValueError(f"its link {board.link!r} is not one of its links")
    if board.usb_id is not None:
        UsbId.parse(board.usb_id)
    elif "usb" in board.links:
        raise ValueError("a link over usb needs a usb_id")
