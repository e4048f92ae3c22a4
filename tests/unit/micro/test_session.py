"""Sessions with the host's firmware over good links and bad ones, and with odd devices."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from tvm_patch.errors import DeviceError, DeviceSilentError, ProtocolError
from tvm_patch.micro import Firmware, Session, framing, open_session
from tvm_patch.micro.protocol import PROTOCOL_VERSION, ClockKind, Command, DeviceInfo, Status
from tvm_patch.micro.transports import ProcessTransport, Transport

from .conftest import BuildOnce
from .links import LossyTransport, WrappedTransport

NOTHING, COPY, FAIL = 0, 1, 7


@pytest.fixture(scope="module")
def sample(firmware_of: BuildOnce) -> Firmware:
    return firmware_of("sample", "host")


@pytest.fixture(scope="module")
def probe(firmware_of: BuildOnce) -> Firmware:
    return firmware_of("probe", "host")


def order(what: int, argument: int = 0) -> bytes:
    """The probe network's second input."""
    return struct.pack("<II", what, argument)


def start(firmware: Firmware) -> ProcessTransport:
    return ProcessTransport([str(firmware.elf_path)], "host")


class ScriptedTransport(Transport):
    """A device in a few lines: answers every whole request by calling ``reply``."""

    name = "scripted"

    def __init__(self) -> None:
        self.decoder = framing.FrameDecoder()
        self.outbox = b""
        self.requests = 0
        self.closed = False

    def reply(self, request: framing.Frame) -> bytes:
        return b""

    def write(self, data: bytes, timeout_s: float) -> None:
        for request in self.decoder.feed(data):
            assert isinstance(request, framing.Frame)
            self.requests += 1
            self.outbox += self.reply(request)

    def read(self, timeout_s: float) -> bytes:
        if not self.outbox:
            time.sleep(min(timeout_s, 0.01))
        data, self.outbox = self.outbox, b""
        return data

    def close(self) -> None:
        self.closed = True


def answer(request: framing.Frame, payload: bytes = b"", status: int = 0) -> bytes:
    return framing.encode(
        framing.Frame(request.command | 0x80, request.sequence, payload, status=status)
    )


def test_info_and_tensors(sample: Firmware) -> None:
    with open_session(sample) as session:
        assert session.info() == DeviceInfo(
            clock_kind=ClockKind.NANOSECONDS,
            units_per_tick=1,
            clock_hz=0,
            payload_max_bytes=1024,
            input_count=2,
            output_count=2,
            operator_count=3,
            arena_size_bytes=576,
            model_name="sample",
            fingerprint="5a3b1e0c",
            board="host",
        )
        described = [(t.name, t.size_bytes, t.arena_offset) for t in session.inputs]
        assert described == [("image", 256, 0), ("bias:0", 64, 512)]
        described = [(t.name, t.size_bytes, t.arena_offset) for t in session.outputs]
        assert described == [("result", 64, 64), ("total", 4, 128)]
        assert session.operator_names() == ["scale", "pool", "add_and_total"]


def test_an_inference_gives_the_reference(
    sample: Firmware, sample_inputs: list[np.ndarray], sample_outputs: list[bytes]
) -> None:
    with open_session(sample) as session:
        assert session.infer(sample_inputs) == sample_outputs
        memory = session.memory()
        assert memory.arena_bytes == memory.arena_high_water_bytes == 576
        assert memory.stack_bytes is None
        assert memory.guard_intact


def test_intermediate_tensors_can_be_read(
    sample: Firmware, sample_inputs: list[np.ndarray]
) -> None:
    scaled = np.clip(3 * sample_inputs[0].astype(np.int32) - 7, -128, 127).astype(np.int8)
    with open_session(sample) as session:
        session.write_input(0, sample_inputs[0])
        session.run_until(0)
        assert session.read_arena(256, 256) == scaled.tobytes()
        assert session.read_arena(0, 256) == sample_inputs[0].tobytes()
        session.run_until(1)
        pooled = scaled.reshape(8, 2, 8, 2).max(axis=(1, 3))
        assert session.read_arena(0, 64) == pooled.tobytes()


def test_a_profile_names_every_operator(
    sample: Firmware, sample_inputs: list[np.ndarray], sample_outputs: list[bytes]
) -> None:
    with open_session(sample) as session:
        for index, data in enumerate(sample_inputs):
            session.write_input(index, data)
        times = session.profile()
        assert [time.name for time in times] == ["scale", "pool", "add_and_total"]
        assert all(time.units > 0 for time in times)
        assert [session.read_output(0), session.read_output(1)] == sample_outputs


def test_long_tensors_go_in_chunks_and_progress_is_told(probe: Firmware) -> None:
    data = bytes(i * 31 % 256 for i in range(3000))
    told: list[tuple[str, int, int]] = []
    with open_session(probe, progress=lambda *report: told.append(report)) as session:
        copy, _ = session.infer([data, order(COPY)])
    assert copy == data
    writes = [(done, total) for what, done, total in told if what == "write input"]
    assert writes[:4] == [(0, 3000), (1016, 3000), (2032, 3000), (3000, 3000)]
    assert {what for what, _, _ in told} == {"write input", "run", "read output"}


def test_many_runs_are_split_into_requests(probe: Firmware) -> None:
    with open_session(probe) as session:
        session.write_input(1, order(NOTHING))
        result = session.run(230)
        assert len(result.ticks) == 230
        assert result.nanoseconds == result.ticks[0]
        assert result.instructions is None
        assert result.cycles is None
        assert result.minimum <= result.nanoseconds <= result.maximum
        assert struct.unpack("<I", session.read_output(1)) == (230,)


def test_a_reset_forgets_everything(probe: Firmware) -> None:
    with open_session(probe) as session:
        session.write_input(1, order(NOTHING))
        session.run(3)
        session.reset()
        session.run(1)
        assert struct.unpack("<I", session.read_output(1)) == (1,)


@pytest.mark.parametrize("seed", range(4))
def test_a_bad_link_costs_time_and_nothing_else(probe: Firmware, seed: int) -> None:
    data = random.Random(seed).randbytes(3000)
    transport = LossyTransport(start(probe), seed, bytes_between=5000)
    with Session(transport, timeout_s=0.2) as session:
        for runs in range(1, 11):
            copy, counted = session.infer([data, order(COPY)])
            assert copy == data
            # Requests that were repeated have not been carried out again.
            assert struct.unpack("<I", counted) == (runs,)
    assert transport.spoilt > 2


def test_a_link_that_spoils_everything_is_reported(probe: Firmware) -> None:
    class Spoiler(WrappedTransport):
        def write(self, data: bytes, timeout_s: float) -> None:
            super().write(data[:-3] + b"\x55" + data[-2:], timeout_s)

    with pytest.raises(ProtocolError, match="damaged in 8 tries"):
        Session(Spoiler(start(probe)), timeout_s=1.0)


def test_a_silent_device_is_reported_and_let_go() -> None:
    transport = ScriptedTransport()
    started = time.monotonic()
    with pytest.raises(DeviceSilentError, match="scripted: does not answer"):
        Session(transport, timeout_s=0.05)
    assert time.monotonic() - started < 2
    assert transport.requests == 5
    assert transport.closed


def test_an_echo_is_not_an_answer() -> None:
    class Echo(ScriptedTransport):
        def reply(self, request: framing.Frame) -> bytes:
            return framing.encode(request)

    with pytest.raises(DeviceSilentError):
        Session(Echo(), timeout_s=0.05)


def test_a_process_that_ends_is_reported_with_its_last_words() -> None:
    transport = ProcessTransport(["sh", "-c", "echo out of paper >&2"], "printer")
    with pytest.raises(DeviceSilentError, match="ended") as raised:
        Session(transport, timeout_s=5)
    assert "out of paper" in str(raised.value)


def test_a_firmware_of_another_version_is_reported() -> None:
    class OtherVersion(ScriptedTransport):
        def reply(self, request: framing.Frame) -> bytes:
            return framing.encode(
                framing.Frame(
                    request.command | 0x80,
                    request.sequence,
                    status=Status.WRONG_VERSION,
                    version=9,
                )
            )

    with pytest.raises(ProtocolError, match=f"version 9, not {PROTOCOL_VERSION}"):
        Session(OtherVersion(), timeout_s=1)


def test_another_model_on_the_device_is_reported(sample: Firmware) -> None:
    with pytest.raises(DeviceError, match="another model, sample"):
        Session(start(sample), fingerprint="00ff")


def test_a_device_at_work_is_waited_for() -> None:
    class Slow(ScriptedTransport):
        """Answers the first request for memory only after it has been asked again, late."""

        memory_requests = 0

        def reply(self, request: framing.Frame) -> bytes:
            if request.command == Command.PING:
                return answer(request, request.payload)
            if request.command == Command.INFO:
                names = b"\x01m\x01f\x01b"
                return answer(request, struct.pack("<BIIHHHHI", 1, 1, 0, 1024, 0, 0, 0, 8) + names)
            self.memory_requests += 1
            working = answer(request, struct.pack("<I", 0), Status.WORKING)
            if self.memory_requests == 1:
                return working + working[:-4] + b"\x07\0"  # its answer is damaged
            return answer(request, struct.pack("<IIIIIB", 8, 4, 5, 6, 7, 1))

    transport = Slow()
    with Session(transport, timeout_s=1) as session:
        memory = session.memory()
    assert transport.memory_requests == 2
    assert (memory.arena_high_water_bytes, memory.stack_bytes) == (4, 5)


def test_a_failing_network_is_reported(probe: Firmware) -> None:
    with open_session(probe) as session:
        session.write_input(1, order(FAIL, 42))
        with pytest.raises(DeviceError, match="returned 42"):
            session.run()
        session.ping()


def test_wrong_sizes_and_numbers_are_refused(sample: Firmware) -> None:
    with open_session(sample) as session:
        with pytest.raises(DeviceError, match="'image' is 256 bytes, not 255"):
            session.write_input(0, bytes(255))
        with pytest.raises(DeviceError, match="no input 2"):
            session.write_input(2, b"")
        with pytest.raises(DeviceError, match="no output -1"):
            session.read_output(-1)
        with pytest.raises(DeviceError, match="out of range"):
            session.read_arena(570, 7)
        with pytest.raises(DeviceError, match="2 inputs, not 1"):
            session.infer([b""])
        with pytest.raises(DeviceError, match="out of range"):
            session.run_until(3)
        with pytest.raises(ValueError, match="at least one"):
            session.run(0)


def test_the_process_ends_with_the_session(sample: Firmware, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f'echo $$ > {pid_file}; exec "{sample.elf_path}"'
    with Session(ProcessTransport(["sh", "-c", script], "host")) as session:
        session.ping()
        pid = int(pid_file.read_text())
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()
