"""Devices and links at their worst: nothing wrong is ever taken for right."""

from __future__ import annotations

import os
import random
import struct
import threading
import tty

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.errors import DeviceError, DeviceRestartedError, DeviceSilentError
from tvm_patch.micro import Firmware, Session, framing, open_session
from tvm_patch.micro.protocol import Command, Status
from tvm_patch.micro.transports import ProcessTransport, SerialTransport, Transport

from .conftest import BuildOnce
from .links import LossyTransport, WrappedTransport

COPY = 1
BULK_BYTES = 70_000


@pytest.fixture(scope="module")
def probe(firmware_of: BuildOnce) -> Firmware:
    return firmware_of("probe", "host")


def start(firmware: Firmware) -> ProcessTransport:
    return ProcessTransport([str(firmware.elf_path)], "host")


def order(what: int, argument: int = 0) -> bytes:
    """The probe network's second input."""
    return struct.pack("<II", what, argument)


class Babbler(Transport):
    """Answers each request with the next thing on a list, and then not at all."""

    name = "babbler"

    def __init__(self, sayings: list[bytes | tuple[int | None, int, bytes]]) -> None:
        self.decoder = framing.FrameDecoder()
        self.sayings = iter(sayings)
        self.outbox = b""

    def write(self, data: bytes, timeout_s: float) -> None:
        for request in self.decoder.feed(data):
            assert isinstance(request, framing.Frame)
            saying = next(self.sayings, b"")
            if isinstance(saying, bytes):
                self.outbox += saying
                continue
            command, status, payload = saying
            # None: what is asked for, with the ping's own payload where it is one.
            if command is None:
                command = request.command | 0x80
            if request.command == Command.PING and status == Status.OK:
                payload = request.payload
            frame = framing.Frame(command, request.sequence, payload, status=status)
            self.outbox += framing.encode(frame)

    def read(self, timeout_s: float) -> bytes:
        data, self.outbox = self.outbox, b""
        return data

    def close(self) -> None:
        pass


_INFO = struct.pack("<BIIHHHHI", 1, 1, 0, 1024, 1, 1, 1, 64) + b"\x01m\x01f\x01b"
_TENSOR = struct.pack("<III", 32, 0, 0) + b"\x01t"
_frames = st.tuples(
    st.one_of(st.none(), st.none(), st.integers(0x80, 0xFF)),
    st.one_of(st.just(int(Status.OK)), st.integers(0, 255)),
    st.one_of(
        st.sampled_from([_INFO, _TENSOR, b"", bytes(4), bytes(21), bytes(24)]),
        st.binary(max_size=40),
        st.binary(max_size=2).map(lambda some: (_INFO + some)[: 8 + len(some)]),
    ),
)
_honest_start = [(None, 0, b""), (None, 0, _INFO), (None, 0, _TENSOR), (None, 0, _TENSOR)]


@given(
    honest=st.integers(0, len(_honest_start)),
    sayings=st.lists(st.one_of(_frames, _frames, st.binary(max_size=60)), max_size=12),
)
@settings(max_examples=150)
def test_whatever_a_device_says_the_host_fails_in_words(
    honest: int, sayings: list[bytes | tuple[int | None, int, bytes]]
) -> None:
    transport = Babbler([*_honest_start[:honest], *sayings])
    try:
        session = Session(transport, timeout_s=0.0005)
        session.write_input(0, bytes(session.inputs[0].size_bytes) if session.inputs else b"")
        session.run()
        session.read_output(0)
        session.memory()
        session.profile()
    except DeviceError as error:
        assert "babbler" in str(error) or "device" in str(error) or "network" in str(error)


@pytest.mark.parametrize("size", [0, 3, 8, 1025, 0xFFFF])
def test_a_device_with_impossible_payloads_is_refused(size: int) -> None:
    info = _INFO[:9] + struct.pack("<H", size) + _INFO[11:]
    with pytest.raises(DeviceError, match=f"payloads of {size} bytes"):
        Session(Babbler([(None, 0, b""), (None, 0, info)]), timeout_s=0.01)


class RestartingTransport(WrappedTransport):
    """The device starts anew when it has been sent a certain command, before or after it runs."""

    def __init__(self, firmware: Firmware, command: Command, *, after: bool) -> None:
        super().__init__(start(firmware))
        self.firmware = firmware
        self.command = command
        self.after = after
        self.decoder = framing.FrameDecoder()
        self.restarts = 0

    def write(self, data: bytes, timeout_s: float) -> None:
        hit = any(
            isinstance(frame, framing.Frame) and frame.command == self.command
            for frame in self.decoder.feed(data)
        )
        if hit and self.after and not self.restarts:
            super().write(data, timeout_s)
            assert super().read(timeout_s)  # it has begun, and said so
        if hit and not self.restarts:
            self.restarts += 1
            self.inner.close()
            self.inner = start(self.firmware)
            if self.after:
                return
        super().write(data, timeout_s)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "command", [Command.WRITE_INPUT, Command.RUN, Command.MEMORY, Command.READ_OUTPUT]
)
def test_a_device_that_starts_anew_gives_no_wrong_result(
    command: Command, after: bool, probe: Firmware
) -> None:
    """It would answer all the same, from an arena that holds nothing of what was written."""
    data = random.Random(3).randbytes(3000)
    transport = RestartingTransport(probe, command, after=after)
    with Session(transport, timeout_s=0.3) as session:
        with pytest.raises(DeviceRestartedError, match="started anew") as raised:
            session.infer([data, order(COPY)])
            session.memory()
        assert raised.value.hint
        assert transport.restarts == 1
        session.ping()
        assert session.infer([data, order(COPY)])[0] == data


@pytest.mark.parametrize(
    "board", ["host", pytest.param("qemu_cortex_m7", marks=pytest.mark.emulator)]
)
def test_more_than_64_kilobytes_go_both_ways(board: str, firmware_of: BuildOnce) -> None:
    data = random.Random(5).randbytes(BULK_BYTES)
    with open_session(firmware_of("bulk", board)) as session:
        assert session.infer([data]) == [data[::-1]]
        assert session.read_arena(65_530, 1000) == (data + data[::-1])[65_530:66_530]


def test_more_than_64_kilobytes_survive_a_bad_link(firmware_of: BuildOnce) -> None:
    data = random.Random(6).randbytes(BULK_BYTES)
    transport = LossyTransport(start(firmware_of("bulk", "host")), 1, bytes_between=20_000)
    with Session(transport, timeout_s=0.2) as session:
        assert session.infer([data]) == [data[::-1]]
    assert transport.spoilt > 2


@pytest.mark.parametrize("seed", range(3))
def test_garbage_before_and_between_is_got_over(seed: int, probe: Firmware) -> None:
    """A boot loader's banner, a terminal that was open, half a frame of an earlier session."""
    rng = random.Random(seed)

    class Noisy(WrappedTransport):
        def write(self, data: bytes, timeout_s: float) -> None:
            garbage = rng.randbytes(rng.randrange(2000)) if rng.random() < 0.2 else b""
            super().write(garbage + data, timeout_s)

        def read(self, timeout_s: float) -> bytes:
            data = super().read(timeout_s)
            return rng.randbytes(50) + data if data and rng.random() < 0.05 else data

    noisy = Noisy(start(probe))
    noisy.inner.write(rng.randbytes(5000) + framing.encode(framing.Frame(2, 7))[:-3], 1)
    data = rng.randbytes(3000)
    with Session(noisy, timeout_s=0.5) as session:
        assert session.infer([data, order(COPY)]) == [data, struct.pack("<I", 1)]


def test_answers_left_by_an_earlier_session_are_not_taken(probe: Firmware) -> None:
    transport = start(probe)
    token = bytes(8)
    for sequence in range(1, 40):
        transport.write(framing.encode(framing.Frame(Command.PING, sequence, token + b"x")), 1)
    with Session(transport, timeout_s=1) as session:
        assert session.infer([bytes(3000), order(COPY)])[1] == struct.pack("<I", 1)


def test_a_cable_pulled_out_is_noticed_at_once(probe: Firmware) -> None:
    """A pseudo-terminal stands in for the cable; it is pulled in the middle of a transfer."""
    master, slave = os.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    pulled = threading.Event()
    with start(probe) as device:

        def carry() -> None:
            carried = 0
            while carried < 2500:
                data = os.read(master, 4096)
                carried += len(data)
                device.write(data, 5)
                while answer := device.read(0.02):
                    os.write(master, answer)
            os.close(master)
            pulled.set()

        carrier = threading.Thread(target=carry, daemon=True)
        carrier.start()
        session = Session(SerialTransport(name), timeout_s=2)
        os.close(slave)
        with pytest.raises(DeviceSilentError, match="the port is gone") as raised:
            for _ in range(50):
                session.write_input(0, bytes(3000))
        assert "plug the board in again" in str(raised.value)
        session.close()
        carrier.join(5)
        assert pulled.is_set()
