"""Frames: a header and a payload under a CRC-32, byte-stuffed (COBS), a zero byte behind each."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from cobs import cobs

from tvm_patch.micro.protocol import CRC_BYTES, HEADER_BYTES, PAYLOAD_MAX_BYTES, PROTOCOL_VERSION

DELIMITER = b"\0"

_HEADER = struct.Struct("<BBHB")
_CRC = struct.Struct("<I")
_MESSAGE_MAX_BYTES = HEADER_BYTES + PAYLOAD_MAX_BYTES + CRC_BYTES
# One code byte per 254 bytes begun.
_STUFFED_MAX_BYTES = _MESSAGE_MAX_BYTES + _MESSAGE_MAX_BYTES // 254 + 1


@dataclass(frozen=True)
class Frame:
    """One message of the protocol.

    Parameters
    ----------
    command : int
        0 to 255; frames from the device have bit 7 set.
    sequence : int
        0 to 65535.
    payload : bytes
        At most ``PAYLOAD_MAX_BYTES``.
    status : int
        0 in requests.
    version : int
        Of the protocol.
    """

    command: int
    sequence: int
    payload: bytes = b""
    status: int = 0
    version: int = PROTOCOL_VERSION


class DamagedFrameError(ValueError):
    """A frame that is cut short, badly stuffed, too long or has a wrong CRC."""


def encode(frame: Frame) -> bytes:
    """Return the bytes that go over the link, delimiter included.

    Raises
    ------
    ValueError
        If the payload is too long or a number out of range.
    """
    if len(frame.payload) > PAYLOAD_MAX_BYTES:
        raise ValueError(f"a payload of {len(frame.payload)} bytes does not fit a frame")
    try:
        header = _HEADER.pack(frame.version, frame.command, frame.sequence, frame.status)
    except struct.error as error:
        raise ValueError(f"the frame's header does not fit its fields: {error}") from error
    message = header + frame.payload
    stuffed: bytes = cobs.encode(message + _CRC.pack(zlib.crc32(message)))
    return stuffed + DELIMITER


def decode(stuffed: bytes) -> Frame:
    """Read one frame, given without its delimiter.

    Raises
    ------
    DamagedFrameError
        If it is not a whole frame.
    """
    try:
        message: bytes = cobs.decode(stuffed)
    except cobs.DecodeError as error:
        raise DamagedFrameError(str(error)) from error
    if not HEADER_BYTES + CRC_BYTES <= len(message) <= _MESSAGE_MAX_BYTES:
        raise DamagedFrameError(f"a message of {len(message)} bytes")
    covered, crc = message[:-CRC_BYTES], message[-CRC_BYTES:]
    if _CRC.pack(zlib.crc32(covered)) != crc:
        raise DamagedFrameError("wrong CRC")
    version, command, sequence, status = _HEADER.unpack_from(covered)
    return Frame(command, sequence, covered[HEADER_BYTES:], status, version)


class FrameDecoder:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame | DamagedFrameError]:
        """Take bytes and give each frame that they complete, or why it is none."""
        self._pending += data
        while (end := self._pending.find(DELIMITER)) >= 0:
            stuffed = bytes(self._pending[:end])
            del self._pending[: end + 1]
            if stuffed:
                try:
                    yield decode(stuffed)
                except DamagedFrameError as error:
                    yield error
        # Nothing that long can become a frame: keep enough of it to be called damaged.
        if len(self._pending) > _STUFFED_MAX_BYTES:
            del self._pending[_STUFFED_MAX_BYTES + 1 :]
