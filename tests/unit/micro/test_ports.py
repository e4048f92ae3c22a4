"""Finding boards among the serial ports that a computer has."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tvm_patch.board import load_board
from tvm_patch.errors import BoardError, DeviceSilentError, PortError
from tvm_patch.micro import ports
from tvm_patch.micro.ports import await_own_port, find_connection, list_serial_ports, ports_of
from tvm_patch.micro.transports import SerialTransport

DISCO = load_board("stm32f746g_disco")
NRF53 = load_board("nrf5340dk")

STLINK_A = SimpleNamespace(
    device="/dev/ttyACM0", vid=0x0483, pid=0x374B, serial_number="066DFF48", product="STM32 STLink"
)
STLINK_B = SimpleNamespace(
    device="/dev/ttyACM1", vid=0x0483, pid=0x374B, serial_number="0670FF55", product="STM32 STLink"
)
JLINK = [
    SimpleNamespace(
        device=device, vid=0x1366, pid=0x1055, serial_number="001050012345", product="J-Link"
    )
    for device in ("/dev/ttyACM10", "/dev/ttyACM9")
]
OWN = SimpleNamespace(
    device="/dev/ttyACM2", vid=0x2FE3, pid=0x0100, serial_number="3500", product="tvm-patch"
)
OTHER_ZEPHYR = SimpleNamespace(
    device="/dev/ttyACM3", vid=0x2FE3, pid=0x0100, serial_number="1", product="Zephyr USB console"
)
UART_CHIP = SimpleNamespace(
    device="/dev/ttyS0", vid=None, pid=None, serial_number=None, product=None
)


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What pyserial finds; tests fill it."""
    found: list[SimpleNamespace] = []
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: found)
    return found


def test_ports_that_are_not_on_usb_are_left_out(plugged_in: list[SimpleNamespace]) -> None:
    plugged_in += [UART_CHIP, *JLINK, STLINK_A]
    devices = [port.device for port in list_serial_ports()]
    # By number, not by letters.
    assert devices == ["/dev/ttyACM0", "/dev/ttyACM9", "/dev/ttyACM10"]


def test_a_probe_is_listed_with_every_board_that_has_its_kind(
    plugged_in: list[SimpleNamespace],
) -> None:
    plugged_in += [STLINK_A, OWN, OTHER_ZEPHYR]
    found = list_serial_ports()
    for name in ("stm32f746g_disco", "nucleo_f746zg"):
        listed = [port.device for port in ports_of(load_board(name), found)]
        assert listed == ["/dev/ttyACM0", "/dev/ttyACM2"]
    assert ports_of(load_board("host"), found) == []
    assert [port.device for port in ports_of(NRF53, found)] == ["/dev/ttyACM2"]


def test_the_only_board_is_found_by_its_usb_id(plugged_in: list[SimpleNamespace]) -> None:
    plugged_in += [STLINK_A, *JLINK]
    connection = find_connection(DISCO)
    assert (connection.port, connection.probe_serial) == ("/dev/ttyACM0", "066DFF48")


def test_the_port_of_the_core_is_taken_where_a_probe_has_several(
    plugged_in: list[SimpleNamespace],
) -> None:
    plugged_in += JLINK
    assert find_connection(NRF53).port == "/dev/ttyACM10"  # the last one
    assert NRF53.probe is not None
    third = replace(NRF53, probe=replace(NRF53.probe, serial_port_index=2))
    with pytest.raises(BoardError, match="shows 2 serial ports, not the 3"):
        find_connection(third)


def test_a_board_that_is_not_plugged_in(plugged_in: list[SimpleNamespace]) -> None:
    plugged_in += JLINK
    with pytest.raises(
        BoardError, match=r"stm32f746g_disco is not plugged in.*0483:374b"
    ) as raised:
        find_connection(DISCO)
    assert "--port" in str(raised.value)
    with pytest.raises(BoardError, match="no debug probe with serial number 7"):
        find_connection(NRF53, serial="7")


def test_two_boards_of_one_kind_need_a_serial_number(plugged_in: list[SimpleNamespace]) -> None:
    plugged_in += [STLINK_B, STLINK_A]
    with pytest.raises(BoardError, match="2 boards that may be stm32f746g_disco") as raised:
        find_connection(DISCO)
    message = str(raised.value)
    for word in ("066DFF48", "0670FF55", "/dev/ttyACM1", "--serial 066DFF48"):
        assert word in message
    assert find_connection(DISCO, serial="0670FF55").port == "/dev/ttyACM1"


def test_a_named_port_tells_the_probe_behind_it(plugged_in: list[SimpleNamespace]) -> None:
    plugged_in += [STLINK_B, STLINK_A]
    assert find_connection(DISCO, port="/dev/ttyACM1").probe_serial == "0670FF55"
    assert find_connection(DISCO, port="/dev/ttyUSB7").probe_serial is None
    assert find_connection(DISCO, port="/dev/ttyUSB7", serial="A").probe_serial == "A"


def test_firmware_on_usb_has_a_port_of_its_own(
    plugged_in: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = DISCO.with_link("usb")
    plugged_in += [STLINK_A, OTHER_ZEPHYR]
    # Nothing of ours runs yet: the probe is there, to flash it.
    assert find_connection(board).port == ""
    with pytest.raises(BoardError, match=r"USB device 2fe3:0100 did not appear within 0\.1 s"):
        await_own_port(board, timeout_s=0.1)
    looks = 0

    def appear(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            plugged_in.append(OWN)

    monkeypatch.setattr(ports.time, "sleep", appear)
    assert await_own_port(board, timeout_s=60.0) == "/dev/ttyACM2"
    plugged_in.append(SimpleNamespace(**{**vars(OWN), "device": "/dev/ttyACM5"}))
    with pytest.raises(BoardError, match="2 boards speak over USB"):
        find_connection(board)


def test_a_board_without_a_probe_needs_its_port(plugged_in: list[SimpleNamespace]) -> None:
    board = replace(DISCO, probe=None)
    with pytest.raises(BoardError, match="names no debug probe"):
        find_connection(board)
    assert find_connection(board, port="/dev/ttyUSB0").port == "/dev/ttyUSB0"


@pytest.mark.parametrize(
    ("number", "error", "match"),
    [
        (13, PortError, "no permission to open the port"),
        (1, PortError, "no permission to open the port"),
        (2, PortError, "there is no such port"),
        (5, DeviceSilentError, "cannot be opened"),
    ],
)
def test_what_keeps_a_port_shut(
    number: int, error: type[Exception], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import serial

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise serial.SerialException(number, f"could not open port: {os.strerror(number)}")

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(error, match=f"/dev/ttyACM0: {match}") as raised:
        SerialTransport("/dev/ttyACM0")
    if number == 13:
        assert "dialout" in str(raised.value) and "udev" in str(raised.value)
