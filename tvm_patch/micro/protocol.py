"""Numbers of the serial protocol, as ``micro_project/runtime/include/tvm_patch/protocol.h`` has
them, and its payloads. ``docs/protocol.md`` describes both.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from tvm_patch.errors import ProtocolError

PROTOCOL_VERSION = 3
HEADER_BYTES = 5
CRC_BYTES = 4
PAYLOAD_MAX_BYTES = 1024
TOKEN_BYTES = 8
REPLY_FLAG = 0x80
RUNS_MAX = 100
PROFILE_MAX = 100
SPANS_MAX = 80
UNKNOWN = 0xFFFFFFFF

# Number and offset of a tensor, and something of its data.
_PAYLOAD_LEAST_BYTES = 16


class Command(IntEnum):
    """What a request asks for; an answer carries the same number with ``REPLY_FLAG``."""

    NONE = 0x00
    PING = 0x01
    INFO = 0x02
    DESCRIBE_INPUT = 0x03
    DESCRIBE_OUTPUT = 0x04
    DESCRIBE_OPERATOR = 0x05
    WRITE_INPUT = 0x06
    READ_OUTPUT = 0x07
    RUN = 0x08
    RUN_UNTIL = 0x09
    PROFILE = 0x0A
    MEMORY = 0x0B
    PAINT = 0x0C
    READ_ARENA = 0x0D
    RESET = 0x0E
    FETCH_ROWS = 0x0F
    SPANS = 0x10
    FAULT = 0x7F


class Status(IntEnum):
    """How a request went."""

    OK = 0x00
    WORKING = 0x01
    DAMAGED_FRAME = 0x02
    WRONG_VERSION = 0x03
    UNKNOWN_COMMAND = 0x04
    MALFORMED = 0x05
    OUT_OF_RANGE = 0x06
    MODEL_FAILED = 0x07
    ABORTED = 0x08
    RESTARTED = 0x09


class ClockKind(IntEnum):
    """What a tick of the device's stopwatch counts."""

    INSTRUCTIONS = 0
    CYCLES = 1
    NANOSECONDS = 2


class PayloadReader:
    """Takes little-endian fields off a payload.

    Raises
    ------
    ProtocolError
        From every method, if the payload is shorter than it must be.
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def fields(self, layout: str) -> tuple[int, ...]:
        """Take integers laid out as ``struct`` names them (without byte order)."""
        layout = "<" + layout
        size = struct.calcsize(layout)
        return struct.unpack(layout, self._take(size))

    def string(self) -> str:
        """Take a string: a length byte, then that many bytes of UTF-8."""
        (length,) = self.fields("B")
        return self._take(length).decode("utf-8", errors="replace")

    def finish(self) -> None:
        """Make sure that nothing is left over."""
        if self._at != len(self._payload):
            raise ProtocolError(
                f"the device's answer is {len(self._payload)} bytes, {self._at} were expected"
            )

    def _take(self, size: int) -> bytes:
        if self._at + size > len(self._payload):
            raise ProtocolError(
                f"the device's answer is cut short after {len(self._payload)} bytes"
            )
        taken = self._payload[self._at : self._at + size]
        self._at += size
        return taken


@dataclass(frozen=True)
class DeviceInfo:
    """Who answers: the board, the network, and what a tick is.

    Parameters
    ----------
    clock_kind : ClockKind
        What the stopwatch counts.
    units_per_tick : int
        Instructions, cycles or nanoseconds in one tick.
    clock_hz : int
        Of the core; 0 where it is unknown.
    payload_max_bytes : int
        The largest payload that the device takes and gives.
    input_count, output_count, operator_count : int
        Of the network.
    arena_size_bytes : int
        As linked.
    model_name, fingerprint, board : str
        Names, and the fingerprint of the generated model.
    """

    clock_kind: ClockKind
    units_per_tick: int
    clock_hz: int
    payload_max_bytes: int
    input_count: int
    output_count: int
    operator_count: int
    arena_size_bytes: int
    model_name: str
    fingerprint: str
    board: str

    @classmethod
    def parse(cls, payload: bytes) -> DeviceInfo:
        """Read the answer to ``INFO``."""
        reader = PayloadReader(payload)
        kind, units, hz, payload_max, inputs, outputs, operators, arena = reader.fields("BIIHHHHI")
        if kind not in ClockKind.__members__.values():
            raise ProtocolError(f"the device counts in units that nobody knows: kind {kind}")
        if not _PAYLOAD_LEAST_BYTES <= payload_max <= PAYLOAD_MAX_BYTES:
            raise ProtocolError(f"the device cannot take payloads of {payload_max} bytes")
        info = cls(
            clock_kind=ClockKind(kind),
            units_per_tick=units,
            clock_hz=hz,
            payload_max_bytes=payload_max,
            input_count=inputs,
            output_count=outputs,
            operator_count=operators,
            arena_size_bytes=arena,
            model_name=reader.string(),
            fingerprint=reader.string(),
            board=reader.string(),
        )
        reader.finish()
        return info


@dataclass(frozen=True)
class TensorInfo:
    """An input or output as the device has it.

    Parameters
    ----------
    name : str
        As the network calls it.
    size_bytes : int
        The whole tensor.
    arena_offset : int or None
        None outside the arena.
    row_bytes : int
        Of an input that the network fetches by rows while it runs; 0 for all others.
    """

    name: str
    size_bytes: int
    arena_offset: int | None
    row_bytes: int = 0

    @property
    def by_rows(self) -> bool:
        """Whether the network fetches it by rows, so that it is never whole on the device."""
        return self.row_bytes != 0

    @classmethod
    def parse(cls, payload: bytes) -> TensorInfo:
        """Read the answer to ``DESCRIBE_INPUT`` or ``DESCRIBE_OUTPUT``."""
        reader = PayloadReader(payload)
        size, offset, row_bytes = reader.fields("III")
        name = reader.string()
        reader.finish()
        return cls(name, size, None if offset == UNKNOWN else offset, row_bytes)


@dataclass(frozen=True)
class RowsQuestion:
    """What the device asks for while the network runs: a piece of an input.

    Parameters
    ----------
    number : int
        Of the question; the same when it is asked again.
    input_index : int
        Which input.
    offset : int
        In the input, in bytes.
    size_bytes : int
        How much of it.
    """

    number: int
    input_index: int
    offset: int
    size_bytes: int

    @classmethod
    def parse(cls, payload: bytes) -> RowsQuestion:
        """Read the payload of a ``FETCH_ROWS`` frame."""
        reader = PayloadReader(payload)
        question = cls(*reader.fields("IHIH"))
        reader.finish()
        return question

    def answer(self, data: bytes) -> bytes:
        """Return the payload that answers it."""
        return struct.pack("<I", self.number) + data


@dataclass(frozen=True)
class MemoryStatistics:
    """What the last run touched.

    Parameters
    ----------
    arena_bytes : int
        The arena as linked.
    arena_high_water_bytes : int
        From the arena's start to the last byte that is no longer paint.
    stack_bytes : int or None
        High-water mark of the inference call alone; None before a run and on the host.
    stack_reserve_bytes : int
        What the linker keeps for the stack; 0 on the host.
    guard_bytes : int
        Painted bytes before and behind the arena, together; 0 on the host.
    guard_intact : bool
        Whether all of them are still paint.
    """

    arena_bytes: int
    arena_high_water_bytes: int
    stack_bytes: int | None
    stack_reserve_bytes: int
    guard_bytes: int
    guard_intact: bool

    @classmethod
    def parse(cls, payload: bytes) -> MemoryStatistics:
        """Read the answer to ``MEMORY``."""
        reader = PayloadReader(payload)
        arena, high_water, stack, reserve, guards, intact = reader.fields("IIIIIB")
        reader.finish()
        return cls(
            arena, high_water, None if stack == UNKNOWN else stack, reserve, guards, bool(intact)
        )


@dataclass(frozen=True)
class SpanTicks:
    """What the code between marks took in the last run, the marks' own cost included.

    Parameters
    ----------
    ticks : int
        Of the stopwatch.
    visits : int
        How often it was left by a mark; each time cost one mark.
    """

    ticks: int
    visits: int


@dataclass(frozen=True)
class SpansAnswer:
    """Some spans of a profiling build.

    Parameters
    ----------
    span_count : int
        All there are; 0 in any other build.
    calibration_ticks, calibration_visits : int
        What so many marks in a row took.
    spans : tuple of SpanTicks
        Those asked for.
    """

    span_count: int
    calibration_ticks: int
    calibration_visits: int
    spans: tuple[SpanTicks, ...]

    @classmethod
    def parse(cls, payload: bytes, count: int) -> SpansAnswer:
        """Read the answer to ``SPANS`` for ``count`` of them."""
        reader = PayloadReader(payload)
        span_count, ticks, visits = reader.fields("HQI")
        spans = tuple(SpanTicks(*reader.fields("QI")) for _ in range(count))
        reader.finish()
        return cls(span_count, ticks, visits, spans)


@dataclass(frozen=True)
class FaultReport:
    """What a firmware says when it has died, in the words of the Armv7-M reference manual."""

    cfsr: int
    hfsr: int
    mmfar: int
    bfar: int
    pc: int
    lr: int
    sp: int

    @classmethod
    def parse(cls, payload: bytes) -> FaultReport:
        """Read the payload of a ``FAULT`` frame."""
        reader = PayloadReader(payload)
        report = cls(*reader.fields("7I"))
        reader.finish()
        return report

    @property
    def cause(self) -> str:
        """The fault status registers in words."""
        causes = [text for bit, text in _CFSR_BITS if self.cfsr >> bit & 1]
        if self.cfsr >> 7 & 1:
            causes.append(f"at address 0x{self.mmfar:08x}")
        if self.cfsr >> 15 & 1:
            causes.append(f"at address 0x{self.bfar:08x}")
        if not self.cfsr and not self.hfsr:
            return "no fault but the watchdog: it ran too long"
        return ", ".join(causes) or f"CFSR 0x{self.cfsr:08x}, HFSR 0x{self.hfsr:08x}"


_CFSR_BITS = (
    (0, "instruction fetch forbidden"),
    (1, "data access forbidden (below the stack?)"),
    (4, "stack overflow"),
    (8, "instruction fetch from nowhere"),
    (9, "data access to nowhere"),
    (10, "data access to nowhere"),
    (12, "stack overflow"),
    (16, "undefined instruction"),
    (17, "invalid state"),
    (18, "invalid return"),
    (19, "no coprocessor or FPU"),
    (20, "stack overflow"),
    (24, "unaligned access"),
    (25, "division by zero"),
)
