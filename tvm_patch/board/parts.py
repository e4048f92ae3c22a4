"""What boards are made of: memory, an emulated machine, Zephyr's view of it, a debug probe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

MemoryKind = Literal["flash", "sram", "dtcm", "other"]
"""Flash holds code and weights, SRAM everything that is written; DTCM is SRAM next to the core,
which holds the arena where it fits. The firmware puts nothing of its own into other memory, but
drivers of the operating system may have their place there."""

LinkKind = Literal["uart", "usb"]
EmulatedLink = Literal["semihosting", "uart"]


@dataclass(frozen=True)
class MemoryRegion:
    """One block of a board's memory.

    Parameters
    ----------
    name : str
        Name in the linker script, in lower case.
    kind : {"flash", "sram", "dtcm", "other"}
        What it is for.
    origin : int
        First address.
    size_bytes : int
        Greater than zero.
    """

    name: str
    kind: MemoryKind
    origin: int
    size_bytes: int

    def __post_init__(self) -> None:
        if self.kind not in get_args(MemoryKind):
            raise ValueError(f"there is no memory of kind {self.kind!r}")
        if self.size_bytes <= 0:
            raise ValueError("a region's size_bytes must be greater than zero")

    def contains(self, address: int) -> bool:
        """Say whether ``address`` lies in the region."""
        return self.origin <= address < self.origin + self.size_bytes


@dataclass(frozen=True)
class Machine:
    """A machine of QEMU, with the addresses that bare-metal firmware needs.

    Parameters
    ----------
    name : str
        As ``qemu-system-arm -machine`` takes it.
    link : {"semihosting", "uart"}
        What carries the protocol. The UART is what real boards have; semihosting moves a buffer
        per call where an emulated UART moves a byte.
    instructions_per_tick : int
        With ``-icount shift=0``: 10^9 divided by the timer's frequency in Hz.
    uart_base, timer_base : int
        Addresses of a CMSDK UART and a CMSDK timer. Zephyr knows its own.
    uart_irq : int
        Interrupt line of the UART's receiver.
    watchdog_base : int
        Address of a CMSDK watchdog whose interrupt is the NMI; 0 without one.
    """

    name: str
    link: EmulatedLink
    instructions_per_tick: int
    uart_base: int = 0
    uart_irq: int = 0
    timer_base: int = 0
    watchdog_base: int = 0


@dataclass(frozen=True)
class ZephyrBoard:
    """What Zephyr calls a board.

    Parameters
    ----------
    board : str
        Name up to Zephyr 3.6: ``nrf52840dk_nrf52840``.
    target : str
        Name from Zephyr 3.7 on: ``nrf52840dk/nrf52840``. The same where it is empty.
    """

    board: str
    target: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Both names, the newer one first."""
        return tuple(dict.fromkeys((self.target or self.board, self.board)))


@dataclass(frozen=True)
class UsbId:
    """Vendor and product of a USB device: ``0483:374b``."""

    vendor: int
    product: int

    @staticmethod
    def parse(text: str) -> UsbId:
        """Read ``vendor:product``, both of four hexadecimal digits.

        Raises
        ------
        ValueError
            When it is something else.
        """
        found = re.fullmatch(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4})", text)
        if found is None:
            raise ValueError(f"{text!r} is no USB id: write vendor:product, as in 0483:374b")
        return UsbId(int(found[1], 16), int(found[2], 16))

    def __str__(self) -> str:
        return f"{self.vendor:04x}:{self.product:04x}"


# USB ids of probes soldered onto boards, by family. The same probe sits on many boards, so an id
# alone never tells which board it is.
PROBE_USB_IDS = {
    # ST-LINK/V2, V2-1 and V3 with a virtual COM port (ST, TN1235 and UM2448).
    "stlink": ("0483:374b", "0483:3752", "0483:374e", "0483:374f", "0483:3753", "0483:3754"),
    # SEGGER J-Link on board, with one to three virtual COM ports (SEGGER, UM08001).
    "jlink": ("1366:0105", "1366:1015", "1366:1051", "1366:1055", "1366:1059", "1366:1061"),
    # Arm's DAPLink.
    "daplink": ("0d28:0204",),
}


@dataclass(frozen=True)
class Probe:
    """The debug probe of a board: its serial port, and how firmware gets through it.

    Parameters
    ----------
    kind : {"stlink", "jlink", "daplink"}
        Family; gives the USB ids that the probe may have.
    usb_ids : tuple of str
        Others instead: ``vendor:product``.
    serial_port_index : int
        Which of the probe's serial ports is the core's, in the order of their names; -1 is the
        last one.
    runners : tuple of str
        What can flash, the preferred one first.
    pyocd_target : str
        ``--target`` of pyocd; it cannot flash the board where this is empty.
    openocd : tuple of str
        Arguments that choose interface and target; likewise.
    """

    kind: str
    usb_ids: tuple[str, ...] = ()
    serial_port_index: int = 0
    runners: tuple[str, ...] = ("west", "pyocd", "openocd")
    pyocd_target: str = ""
    openocd: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in PROBE_USB_IDS and not self.usb_ids:
            raise ValueError(f"there is no kind of probe called {self.kind!r}; give its usb_ids")
        unknown = set(self.runners) - {"west", "pyocd", "openocd"}
        if unknown:
            raise ValueError(f"there is no flash runner called {min(unknown)!r}")
        _ = self.ids

    @property
    def ids(self) -> tuple[UsbId, ...]:
        """USB ids that the probe may have."""
        return tuple(map(UsbId.parse, self.usb_ids or PROBE_USB_IDS[self.kind]))
