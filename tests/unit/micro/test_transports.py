"""Pipes and serial ports by themselves."""

from __future__ import annotations

import gc
import os
import threading
import time
import tty
from pathlib import Path

import pytest

from tvm_patch.errors import DeviceSilentError, PortError
from tvm_patch.micro import Firmware, Session
from tvm_patch.micro.transports import ProcessTransport, SerialTransport

from .conftest import BuildOnce


@pytest.fixture
def firmware(firmware_of: BuildOnce) -> Firmware:
    return firmware_of("sample", "host")


def test_bytes_go_both_ways() -> None:
    with ProcessTransport(["cat"], "cat") as transport:
        data = bytes(range(256)) * 8
        transport.write(data, 5)
        back = b""
        while len(back) < len(data):
            back += transport.read(5)
        assert back == data


def test_reading_waits_no_longer_than_told() -> None:
    with ProcessTransport(["cat"], "cat") as transport:
        started = time.monotonic()
        assert transport.read(0.05) == b""
        assert 0.04 < time.monotonic() - started < 2


def test_a_process_that_takes_no_data_is_silent() -> None:
    with (
        ProcessTransport(["sleep", "100"], "sleeper") as transport,
        pytest.raises(DeviceSilentError, match="sleeper: takes no more data"),
    ):
        transport.write(bytes(1 << 20), 0.1)


def test_a_process_that_has_ended_is_noticed() -> None:
    with ProcessTransport(["sh", "-c", "echo why >&2"], "short") as transport:
        with pytest.raises(DeviceSilentError, match="short: the process has ended") as raised:
            transport.read(5)
        assert raised.value.hint == "it said: why"
        with pytest.raises(DeviceSilentError):
            for _ in range(100):
                transport.write(b"x", 1)
                time.sleep(0.01)


def test_a_program_that_is_not_there_is_noticed(tmp_path: Path) -> None:
    with (
        ProcessTransport([str(tmp_path / "missing")], "missing") as transport,
        pytest.raises(DeviceSilentError, match="ended"),
    ):
        transport.read(5)


@pytest.mark.parametrize("way", ["close", "forget"])
def test_the_process_ends_with_the_transport(way: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    transport = ProcessTransport(
        ["sh", "-c", f"echo $$ > {pid_file}; echo; exec sleep 100"], "sleeper"
    )
    assert transport.read(5) == b"\n"
    process = Path(f"/proc/{pid_file.read_text().strip()}")
    assert process.exists()
    if way == "close":
        transport.close()
        transport.close()
    else:
        del transport
        gc.collect()
    assert not process.exists()


def test_many_transports_leave_no_descriptors_behind() -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(5):
        with ProcessTransport(["cat"], "cat") as transport:
            transport.write(b"x", 1)
    assert count() == before


def test_a_session_over_a_serial_port(firmware: Firmware) -> None:
    """A pseudo-terminal stands in for the cable, the host's firmware for the board."""
    master, slave = os.openpty()
    tty.setraw(slave)
    with ProcessTransport([str(firmware.elf_path)], "host") as device:
        stop = threading.Event()

        def carry_to_device() -> None:
            while not stop.is_set():
                try:
                    device.write(os.read(master, 4096), 5)
                except OSError:
                    return

        def carry_from_device() -> None:
            while not stop.is_set():
                os.write(master, device.read(0.05))

        carriers = [
            threading.Thread(target=carry_to_device, daemon=True),
            threading.Thread(target=carry_from_device, daemon=True),
        ]
        for carrier in carriers:
            carrier.start()
        with Session(SerialTransport(os.ttyname(slave))) as session:
            assert session.info().model_name == "sample"
            assert len(session.read_arena(0, 576)) == 576
        stop.set()
        carriers[1].join(5)
        os.close(slave)
        carriers[0].join(5)
        os.close(master)


def test_a_port_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="ttyNone: there is no such port"):
        SerialTransport(str(tmp_path / "ttyNone"))


def test_a_serial_port_waits_no_longer_than_told() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    with SerialTransport(os.ttyname(slave)) as port:
        assert port.read(0.02) == b""
        os.write(master, b"abc")
        assert port.read(5)[:1] == b"a"
    os.close(master)
    os.close(slave)
