"""Inputs by rows: the session serves them while the network runs, over good links and bad ones."""

from __future__ import annotations

import json
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from tvm_patch.board import load_board
from tvm_patch.errors import DeviceError, DeviceRestartedError, ModelFileError, ProtocolError
from tvm_patch.micro import Firmware, Session, framing, open_session
from tvm_patch.micro.project import create_project
from tvm_patch.micro.protocol import Command, Status, TensorInfo
from tvm_patch.micro.transports import ProcessTransport, Transport

from .conftest import HERE, BuildOnce
from .links import LossyTransport, WrappedTransport

ROWS, ROW_BYTES = 12, 1492
HOST_AND_M7 = [
    "host",
    pytest.param("qemu_cortex_m7", marks=pytest.mark.emulator),
    pytest.param("qemu_cortex_m7:uart", marks=pytest.mark.emulator),
    pytest.param("mps2_an385", marks=pytest.mark.emulator),
]

Inputs = list[np.ndarray]


@pytest.fixture(scope="module")
def host(firmware_of: BuildOnce) -> Firmware:
    return firmware_of("rows", "host")


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    rng = np.random.default_rng(11)
    return [
        rng.integers(-128, 128, (1, ROWS, ROW_BYTES // 4, 4), dtype=np.int8),
        rng.integers(-128, 128, 16, dtype=np.int8),
    ]


@pytest.fixture(scope="module")
def outputs(inputs: Inputs) -> list[bytes]:
    """What the network makes of them, computed with numpy."""
    image, bias = (data.astype(np.int32) for data in inputs)
    greatest = image.reshape(ROWS, ROW_BYTES).max(axis=0)
    result = np.clip(greatest + np.resize(bias, ROW_BYTES), -128, 127)
    return [result.astype(np.int8).tobytes(), struct.pack("<i", result.sum())]


def read_outputs(session: Session) -> list[bytes]:
    return [session.read_output(index) for index in range(len(session.outputs))]


def start(firmware: Firmware) -> ProcessTransport:
    return ProcessTransport([str(firmware.elf_path)], "host")


def test_the_device_says_which_input_is_by_rows(host: Firmware) -> None:
    with open_session(host) as session:
        image, bias = session.inputs
        assert image == TensorInfo("image", ROWS * ROW_BYTES, None, ROW_BYTES)
        assert image.by_rows
        assert (bias.arena_offset, bias.by_rows) == (2984, False)
        assert not any(tensor.by_rows for tensor in session.outputs)


@pytest.mark.parametrize("board", HOST_AND_M7)
def test_an_inference_gives_the_reference(
    board: str, firmware_of: BuildOnce, inputs: Inputs, outputs: list[bytes]
) -> None:
    firmware = firmware_of("rows", board)
    with open_session(firmware) as session:
        assert session.infer(inputs) == outputs
        memory = session.memory()
        # The image, four times as large, is nowhere in it.
        assert memory.arena_high_water_bytes == memory.arena_bytes == 4500
        assert memory.guard_intact


@pytest.mark.parametrize("board", HOST_AND_M7)
def test_every_way_to_run_gets_its_rows(
    board: str, firmware_of: BuildOnce, inputs: Inputs, outputs: list[bytes]
) -> None:
    with open_session(firmware_of("rows", board)) as session:
        session.infer(inputs)
        runs = 105 if board == "host" else 3  # more than one request carries
        result = session.run(runs)
        assert len(result.ticks) == runs
        assert result.fetch_ticks > 0
        assert read_outputs(session) == outputs
        session.paint()
        session.write_input(1, inputs[1])
        session.run_until(0)
        greatest = inputs[0].reshape(ROWS, ROW_BYTES).max(axis=0)
        assert session.read_arena(3008, ROW_BYTES) == greatest.tobytes()
        assert [t.name for t in session.profile()] == ["stream", "add_and_total"]
        assert read_outputs(session) == outputs


def test_the_latest_array_written_is_the_one_served(host: Firmware, inputs: Inputs) -> None:
    dark = np.full_like(inputs[0], -128)
    with open_session(host) as session:
        session.infer(inputs)
        session.write_input(0, dark)
        session.write_input(1, np.zeros(16, np.int8))
        session.run()
        assert session.read_output(0) == bytes([128]) * ROW_BYTES


class SlowTransport(WrappedTransport):
    """Takes its time, and gives what is sent in two pieces."""

    def write(self, data: bytes, timeout_s: float) -> None:
        time.sleep(0.003)
        super().write(data[: len(data) // 3], timeout_s)
        time.sleep(0.003)
        super().write(data[len(data) // 3 :], timeout_s)


@pytest.mark.emulator
def test_waiting_for_rows_is_not_timed(firmware_of: BuildOnce, inputs: Inputs) -> None:
    """The figures are the same on a slow link, and on another one."""
    readings = set()
    for board in ("qemu_cortex_m7", "qemu_cortex_m7:uart"):
        for slow in (False, True):
            with open_session(firmware_of("rows", board)) as session:
                if slow:
                    channel = session._channel
                    channel._transport = SlowTransport(channel._transport)
                session.infer(inputs)
                session.write_input(1, inputs[1])
                readings.add((session.run(3).ticks, tuple(session.profile())))
    assert len(readings) == 1
    ((ticks, profile),) = readings
    # 12 rows of 1,492 columns and about 8 instructions each, and the one operator's second half.
    assert 100_000 < ticks[0] * 40 < 250_000
    # Half a tick is made up for at each of seven pauses.
    assert abs(ticks[0] - sum(operator.ticks for operator in profile)) <= 8


@pytest.mark.emulator
@pytest.mark.parametrize("board", ["qemu_cortex_m7", "qemu_cortex_m33:uart"])
def test_the_stack_of_the_transfer_is_not_counted(board: str, firmware_of: BuildOnce) -> None:
    """This network takes hardly any; the transfer takes hundreds of bytes."""
    image = np.arange(320, dtype=np.int32).astype(np.int8)
    with open_session(firmware_of("camera", board)) as session:
        (brightest,) = session.infer([image])
        assert brightest == image.reshape(16, 20).max(axis=1).tobytes()
        memory = session.memory()
        assert memory.arena_high_water_bytes == memory.arena_bytes == 48
        assert memory.stack_bytes is not None
        assert memory.stack_bytes <= 120


def test_an_input_that_was_not_written_is_missed(host: Firmware, inputs: Inputs) -> None:
    with open_session(host) as session:
        session.write_input(1, inputs[1])
        for run in (session.run, session.profile, lambda: session.run_until(0)):
            with pytest.raises(DeviceError, match="'image' is fetched by rows, and has not been"):
                run()
        session.infer(inputs)
        session.reset()
        with pytest.raises(DeviceError, match="has not been written"):
            session.run()
        with pytest.raises(DeviceError, match="'image' is 17904 bytes, not 3"):
            session.write_input(0, b"abc")


@pytest.mark.parametrize("seed", range(4))
def test_a_bad_link_costs_time_and_nothing_else(
    host: Firmware, inputs: Inputs, outputs: list[bytes], seed: int
) -> None:
    # More frames are spoilt in one request than would be borne without progress.
    transport = LossyTransport(start(host), seed, bytes_between=4000)
    with Session(transport, timeout_s=0.3) as session:
        for _ in range(3):
            assert session.infer(inputs) == outputs
        session.write_input(1, inputs[1])
        assert [time.name for time in session.profile()] == ["stream", "add_and_total"]
        assert read_outputs(session) == outputs
    assert transport.spoilt > 8


class LosingQuestions(WrappedTransport):
    """Swallows every third question for rows whole, so that nobody notices at once."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self.decoder = framing.FrameDecoder()
        self.questions = 0

    def read(self, timeout_s: float) -> bytes:
        passed = b""
        for frame in self.decoder.feed(super().read(timeout_s)):
            assert isinstance(frame, framing.Frame)
            if frame.command == Command.FETCH_ROWS | 0x80:
                self.questions += 1
                if self.questions % 3 == 1:
                    continue
            passed += framing.encode(frame)
        return passed


def test_a_question_that_is_lost_is_asked_again(
    host: Firmware, inputs: Inputs, outputs: list[bytes]
) -> None:
    transport = LosingQuestions(start(host))
    with Session(transport, timeout_s=0.1) as session:
        assert session.infer(inputs) == outputs
    # An inference asks 19 times, and a third of all questions is swallowed.
    assert transport.questions >= 28


class Wire:
    """Frames to and from a device, without a session."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.decoder = framing.FrameDecoder()
        self.frames: list[framing.Frame] = []

    def send(self, command: int, sequence: int, payload: bytes = b"") -> None:
        self.transport.write(framing.encode(framing.Frame(command, sequence, payload)), 5)

    def take(self) -> framing.Frame:
        while not self.frames:
            for frame in self.decoder.feed(self.transport.read(5)):
                assert isinstance(frame, framing.Frame)
                self.frames.append(frame)
        return self.frames.pop(0)


@pytest.mark.parametrize("board", HOST_AND_M7)
@pytest.mark.parametrize("command", [Command.PING, Command.RESET, Command.RUN])
def test_a_new_request_ends_the_wait_for_rows(
    board: str, command: Command, firmware_of: BuildOnce, inputs: Inputs, outputs: list[bytes]
) -> None:
    """The host fell silent in the middle of an inference, and another one comes."""
    with open_session(firmware_of("rows", board)) as session:
        wire = Wire(session._channel._transport)
        run, next_one = ((session._channel._sequence + step) & 0xFFFF for step in (1, 2))
        wire.send(Command.RUN, run, struct.pack("<I", 1))
        assert wire.take().status == Status.WORKING
        assert wire.take().command == Command.FETCH_ROWS | 0x80
        wire.send(command, next_one, struct.pack("<I", 1) if command == Command.RUN else b"")
        aborted = wire.take()
        assert (aborted.command, aborted.sequence) == (Command.RUN | 0x80, run)
        assert aborted.status == Status.ABORTED
        taken_up = wire.take()
        assert (taken_up.command, taken_up.sequence) == (command | 0x80, next_one)
        # The session goes on where it was, but for what a reset takes away.
        session._channel._sequence = next_one
        if command == Command.RESET:
            with pytest.raises(DeviceRestartedError):
                session.infer(inputs)
            session.ping()
        assert session.infer(inputs) == outputs


def test_an_interrupted_run_leaves_a_session_that_works(
    host: Firmware, inputs: Inputs, outputs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_session(host) as session:

        def interrupt(question: object) -> bytes:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(session, "_serve_rows", interrupt)
            with pytest.raises(KeyboardInterrupt):
                session.infer(inputs)
        assert session.infer(inputs) == outputs


def test_a_device_that_asks_for_what_is_not_there_is_reported(
    host: Firmware, inputs: Inputs
) -> None:
    with open_session(host) as session:
        session.write_input(0, inputs[0])
        session._by_rows[0] = bytes(ROW_BYTES)
        with pytest.raises(ProtocolError, match=r"asks for bytes 1492 to 2512 of input 0"):
            session.run()


@pytest.mark.parametrize(
    "spoilt", [{"rows": 11}, {"row_bytes": 0}, {"row_bytes": None}, {"rows": "12"}]
)
def test_rows_that_do_not_give_the_input_are_refused(
    spoilt: dict[str, object], tmp_path: Path
) -> None:
    model_dir = Path(shutil.copytree(HERE / "rows_model", tmp_path / "model"))
    manifest = json.loads((model_dir / "model.json").read_text())
    manifest["inputs"][0].update(spoilt)
    (model_dir / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelFileError, match=r"model\.json"):
        create_project(model_dir, load_board("host"), tmp_path / "project")


def test_only_a_model_by_rows_gets_a_function_that_fetches_them(tmp_path: Path) -> None:
    for model, expected in (("rows", True), ("sample", False)):
        create_project(HERE / f"{model}_model", load_board("host"), tmp_path / model)
        binding = (tmp_path / model / "model_binding.c").read_text()
        assert ("fetch_rows" in binding) == expected
