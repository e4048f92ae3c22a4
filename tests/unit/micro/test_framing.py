"""Frames: Python's encoder and decoder against the firmware's."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from enum import IntEnum
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.micro import framing, protocol

REPOSITORY = Path(__file__).parents[3]
RUNTIME = REPOSITORY / "micro_project/runtime"
FRAME_COMPLETE, FRAME_DAMAGED = 1, 2

frames = st.builds(
    framing.Frame,
    command=st.integers(0, 255),
    sequence=st.integers(0, 65535),
    payload=st.one_of(
        st.binary(max_size=protocol.PAYLOAD_MAX_BYTES),
        st.integers(0, protocol.PAYLOAD_MAX_BYTES).map(bytes),
        st.integers(245, 260).map(lambda size: b"\x01" * size),
    ),
    status=st.integers(0, 255),
    version=st.integers(0, 255),
)


class FirmwareFraming:
    """The C parser, by way of tests/c/framing_shim.c."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.framing_shim_decode.restype = ctypes.c_size_t
        self._library.framing_shim_encode.restype = ctypes.c_size_t

    def decode(self, stream: bytes) -> list[bytes | None]:
        """The message of every frame in ``stream``; None for damaged ones."""
        capacity = 4 * len(stream) + 16
        out = ctypes.create_string_buffer(capacity)
        size = self._library.framing_shim_decode(
            stream, ctypes.c_size_t(len(stream)), out, ctypes.c_size_t(capacity)
        )
        events, at = [], 0
        while at < size:
            event, length = out.raw[at], int.from_bytes(out.raw[at + 1 : at + 3], "little")
            assert event in (FRAME_COMPLETE, FRAME_DAMAGED)
            message = out.raw[at + 3 : at + 3 + length]
            events.append(message if event == FRAME_COMPLETE else None)
            at += 3 + length
        return events

    def encode(self, message: bytes) -> bytes:
        out = ctypes.create_string_buffer(len(message) + len(message) // 254 + 2)
        size = self._library.framing_shim_encode(message, ctypes.c_size_t(len(message)), out)
        return out.raw[:size]


@pytest.fixture(scope="module")
def firmware_framing(tmp_path_factory: pytest.TempPathFactory) -> FirmwareFraming:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for this machine")
    library = tmp_path_factory.mktemp("framing") / "framing.so"
    sources = [REPOSITORY / "tests/c/framing_shim.c"]
    sources += [RUNTIME / "src" / name for name in ("framing.c", "crc32.c", "wire.c")]
    subprocess.run(
        [
            *(compiler, "-std=c11", "-O2", "-shared", "-fPIC", f"-I{RUNTIME / 'include'}"),
            *(*map(str, sources), "-o", str(library)),
        ],
        check=True,
    )
    return FirmwareFraming(library)


def message_of(frame: framing.Frame) -> bytes:
    (message,) = (framing.cobs.decode(framing.encode(frame)[:-1]),)
    return bytes(message)


@given(frame=frames)
def test_frames_come_back(frame: framing.Frame) -> None:
    stuffed = framing.encode(frame)
    assert stuffed.count(b"\0") == 1
    assert stuffed.endswith(b"\0")
    assert framing.decode(stuffed[:-1]) == frame


@given(sent=st.lists(frames, max_size=4), data=st.data())
def test_a_stream_is_cut_into_its_frames(sent: list[framing.Frame], data: st.DataObject) -> None:
    stream = b"".join(map(framing.encode, sent))
    cut = data.draw(st.integers(0, len(stream)))
    decoder = framing.FrameDecoder()
    assert [*decoder.feed(stream[:cut]), *decoder.feed(stream[cut:])] == sent


@given(frame=frames)
def test_the_firmware_reads_and_writes_the_same_frames(
    frame: framing.Frame, firmware_framing: FirmwareFraming
) -> None:
    stuffed, message = framing.encode(frame), message_of(frame)
    assert firmware_framing.encode(message) == stuffed
    assert firmware_framing.decode(stuffed) == [message]


@settings(max_examples=300)
@given(sent=st.lists(frames, min_size=1, max_size=3), data=st.data())
def test_both_sides_agree_on_damaged_streams(
    sent: list[framing.Frame], data: st.DataObject, firmware_framing: FirmwareFraming
) -> None:
    stream = bytearray(b"".join(map(framing.encode, sent)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(stream) - 1))
        if data.draw(st.booleans()):
            stream[at] = data.draw(st.integers(0, 255))
        elif len(stream) > 1:
            del stream[at]
    stream += framing.DELIMITER
    seen_here = [
        message_of(item) if isinstance(item, framing.Frame) else None
        for item in framing.FrameDecoder().feed(bytes(stream))
    ]
    assert firmware_framing.decode(bytes(stream)) == seen_here


@given(noise=st.binary(max_size=3000))
def test_noise_is_no_frame_and_does_no_harm(noise: bytes) -> None:
    frame = framing.Frame(protocol.Command.PING, 3, b"alive")
    items = list(framing.FrameDecoder().feed(noise + framing.DELIMITER + framing.encode(frame)))
    assert items[-1] == frame
    assert all(isinstance(item, framing.DamagedFrameError) for item in items[:-1])


def test_the_decoder_holds_on_to_no_more_than_a_frame() -> None:
    decoder = framing.FrameDecoder()
    for _ in range(100):
        assert list(decoder.feed(b"\x55" * 1000)) == []
    assert len(decoder._pending) < 1100
    (item,) = decoder.feed(framing.DELIMITER)
    assert isinstance(item, framing.DamagedFrameError)


def test_what_does_not_fit_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="1025 bytes"):
        framing.encode(framing.Frame(1, 1, bytes(1025)))
    with pytest.raises(ValueError, match="header"):
        framing.encode(framing.Frame(1, 65536))


def c_constants() -> dict[str, int]:
    text = (RUNTIME / "include/tvm_patch/protocol.h").read_text()
    pairs = re.findall(r"TVM_PATCH_(\w+)\s*=\s*(0x[0-9a-f]+|\d+),", text)
    return {name: int(value, 0) for name, value in pairs}


@pytest.mark.parametrize(
    ("prefix", "members"),
    [
        ("COMMAND_", protocol.Command),
        ("STATUS_", protocol.Status),
        ("CLOCK_", protocol.ClockKind),
    ],
)
def test_numbers_are_those_of_the_firmware(prefix: str, members: type[IntEnum]) -> None:
    in_c = {
        name.removeprefix(prefix): value
        for name, value in c_constants().items()
        if name.startswith(prefix)
    }
    assert in_c == {member.name: member.value for member in members}


def test_sizes_are_those_of_the_firmware() -> None:
    in_c = c_constants()
    for name in ("PROTOCOL_VERSION", "HEADER_BYTES", "CRC_BYTES", "PAYLOAD_MAX_BYTES"):
        assert in_c[name] == getattr(protocol, name)
    for name in ("REPLY_FLAG", "RUNS_MAX", "PROFILE_MAX"):
        assert in_c[name] == getattr(protocol, name)
