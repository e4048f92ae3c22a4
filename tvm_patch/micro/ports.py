"""Boards on USB: which serial ports there are, and which one is a board's."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tvm_patch.board import Board, UsbId
from tvm_patch.errors import BoardError, ToolMissingError

_POLL_S = 0.2
# How the firmware's own USB device calls itself: micro_project/zephyr/Kconfig.
_OWN_PRODUCT = "tvm-patch"


@dataclass(frozen=True)
class SerialPort:
    """A serial port on USB.

    Parameters
    ----------
    device : str
        Path to open.
    usb_id : UsbId
        Vendor and product of the USB device behind it.
    serial_number : str
        That device's own number; empty where it has none.
    product : str
        What the device calls itself; empty where it says nothing.
    """

    device: str
    usb_id: UsbId
    serial_number: str
    product: str


@dataclass(frozen=True)
class Connection:
    """A board that is plugged in.

    Parameters
    ----------
    port : str
        The serial port that its firmware speaks on; empty where that is USB and no firmware of
        ours runs yet.
    probe_serial : str or None
        Serial number of its debug probe; None where nobody has told.
    """

    port: str
    probe_serial: str | None


def list_serial_ports() -> list[SerialPort]:
    """Return the serial ports on USB, sorted by device.

    Raises
    ------
    ToolMissingError
        If pyserial is not installed.
    """
    try:
        from serial.tools.list_ports import comports
    except ImportError as error:
        raise ToolMissingError(
            "pyserial is not installed; boards on a serial port need it",
            hint="pip install 'tvm-patch[full]'",
        ) from error
    return sorted(
        (
            SerialPort(
                device=str(port.device),
                usb_id=UsbId(int(port.vid), int(port.pid)),
                serial_number=str(port.serial_number or ""),
                product=str(port.product or ""),
            )
            for port in comports()
            if port.vid is not None and port.pid is not None
        ),
        key=lambda port: (len(port.device), port.device),
    )


def ports_of(board: Board, ports: list[SerialPort]) -> list[SerialPort]:
    """Return the ports that may be those of a board: its debug probe's, and its own over USB.

    The same probe sits on many boards: who answers is known when a session is open.
    """
    probes = board.probe.ids if board.probe is not None else ()
    return [port for port in ports if port.usb_id in probes or _is_own(board, port)]


def find_connection(
    board: Board, *, port: str | None = None, serial: str | None = None
) -> Connection:
    """Find a board among what is plugged in.

    Parameters
    ----------
    board : Board
        A real one.
    port : str or None
        Its serial port, where that is known.
    serial : str or None
        Serial number of its debug probe, where several are plugged in.

    Raises
    ------
    BoardError
        If none is there, or several and no serial number chooses one.
    ToolMissingError
        If pyserial is not installed.
    """
    ports = list_serial_ports()
    if port is not None:
        behind = next((known for known in ports if known.device == port), None)
        probes = board.probe.ids if board.probe is not None else ()
        if behind is not None and behind.usb_id in probes:
            return Connection(port, serial or behind.serial_number or None)
        return Connection(port, serial)
    probe_ports = _choose_probe(board, ports, serial)
    probe_serial = probe_ports[0].serial_number or None if probe_ports else serial
    if board.link == "usb":
        return Connection(_own_port(board, ports), probe_serial)
    assert board.probe is not None
    index = board.probe.serial_port_index
    try:
        chosen = probe_ports[index]
    except IndexError as error:
        raise BoardError(
            f"{board.name}: its debug probe shows {len(probe_ports)} serial ports, not the "
            f"{index + 1} that it should",
            hint="update the probe's firmware, or name the port: --port",
        ) from error
    return Connection(chosen.device, probe_serial)


def await_own_port(board: Board, timeout_s: float = 10.0) -> str:
    """Wait until the firmware's own USB device is there; return its port.

    Raises
    ------
    BoardError
        If it does not come, or several are there.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = _own_port(board, list_serial_ports())
        if found:
            return found
        if time.monotonic() >= deadline:
            raise BoardError(
                f"{board.name}: its USB device {board.usb_id} did not appear within "
                f"{timeout_s:g} s of flashing",
                hint="plug a cable into the board's own USB connector too, not the probe's alone",
            )
        time.sleep(_POLL_S)


def _is_own(board: Board, port: SerialPort) -> bool:
    return str(port.usb_id) == board.usb_id and port.product.startswith(_OWN_PRODUCT)


def _own_port(board: Board, ports: list[SerialPort]) -> str:
    own = [port for port in ports if _is_own(board, port)]
    if len(own) > 1:
        raise BoardError(
            f"{board.name}: {len(own)} boards speak over USB: "
            + ", ".join(f"{port.device} ({port.serial_number})" for port in own),
            hint="name the port: --port " + own[0].device,
        )
    return own[0].device if own else ""


def _choose_probe(board: Board, ports: list[SerialPort], serial: str | None) -> list[SerialPort]:
    """The serial ports of one debug probe."""
    if board.probe is None:
        raise BoardError(
            f"{board.name}: its file names no debug probe to look for",
            hint="name the port: --port, or add a table [probe] to the board's file",
        )
    found: dict[str, list[SerialPort]] = {}
    for port in ports:
        if port.usb_id in board.probe.ids:
            found.setdefault(port.serial_number, []).append(port)
    if serial is not None:
        if serial not in found:
            raise BoardError(
                f"{board.name}: no debug probe with serial number {serial} is plugged in",
                hint="there are: " + _listed(found) if found else _HOW_TO_PLUG_IN,
            )
        return found[serial]
    if not found:
        ids = ", ".join(map(str, board.probe.ids))
        raise BoardError(
            f"{board.name} is not plugged in: no serial port with USB id {ids}",
            hint=_HOW_TO_PLUG_IN,
        )
    if len(found) > 1:
        raise BoardError(
            f"{len(found)} boards that may be {board.name} are plugged in: {_listed(found)}",
            hint=f"choose one: --serial {min(found)}",
        )
    return next(iter(found.values()))


def _listed(found: dict[str, list[SerialPort]]) -> str:
    return ", ".join(f"{serial} ({found[serial][0].device})" for serial in sorted(found))


_HOW_TO_PLUG_IN = (
    "connect the debug probe's USB connector with a cable that carries data, or name the port: "
    "--port; `tvm-patch boards` shows what is plugged in"
)
