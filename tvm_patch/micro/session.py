"""A session with a device: inferences, measurements, and the memory behind them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from tvm_patch.errors import BoardError, DeviceError, ProtocolError
from tvm_patch.micro.channel import Channel
from tvm_patch.micro.protocol import (
    PROFILE_MAX,
    RUNS_MAX,
    SPANS_MAX,
    TOKEN_BYTES,
    ClockKind,
    Command,
    DeviceInfo,
    MemoryStatistics,
    PayloadReader,
    RowsQuestion,
    SpansAnswer,
    SpanTicks,
    TensorInfo,
)
from tvm_patch.micro.transports.base import Transport

if TYPE_CHECKING:
    import numpy as np

Progress = Callable[[str, int, int], None]
"""Told what is going on, how much of it is done, and of how much."""

# Tensor number and offset stand before the data of a chunk.
_CHUNK_HEADER_BYTES = 8
_NONCE_BYTES = 8
_PINGS = 3


@dataclass(frozen=True)
class RunResult:
    """Stopwatch readings of inferences run one after the other.

    Only the first one ran on the inputs as written: they live in the arena, and an inference may
    overwrite them; inputs by rows are sent anew for each. On an emulator it is the first that
    counts.

    Parameters
    ----------
    ticks : tuple of int
        One reading per inference, in the order they ran.
    clock_kind : ClockKind
        What a tick counts.
    units_per_tick : int
        Instructions, cycles or nanoseconds in a tick.
    fetch_ticks : int
        What all of them together spent on rows of their inputs, waiting for the host included;
        it is not in ``ticks``. 0 where all inputs are in the arena.
    """

    ticks: tuple[int, ...]
    clock_kind: ClockKind
    units_per_tick: int
    fetch_ticks: int = 0

    @property
    def instructions(self) -> int | None:
        """Instructions of the first inference; None on anything but an emulator."""
        return self._first(ClockKind.INSTRUCTIONS)

    @property
    def cycles(self) -> int | None:
        """Cycles of the first inference; None on anything but hardware."""
        return self._first(ClockKind.CYCLES)

    @property
    def nanoseconds(self) -> int | None:
        """Time of the first inference; None on anything but the host."""
        return self._first(ClockKind.NANOSECONDS)

    @property
    def minimum(self) -> int:
        """Least of all inferences, in units of the clock."""
        return min(self.ticks) * self.units_per_tick

    @property
    def maximum(self) -> int:
        """Most of all inferences, in units of the clock."""
        return max(self.ticks) * self.units_per_tick

    def _first(self, kind: ClockKind) -> int | None:
        return self.ticks[0] * self.units_per_tick if self.clock_kind == kind else None


@dataclass(frozen=True)
class OperatorTime:
    """What one operator took: ``units`` are instructions, cycles or nanoseconds."""

    name: str
    ticks: int
    units: int


@dataclass(frozen=True)
class SpanTime:
    """What the code behind one mark took in an inference, all visits together.

    Parameters
    ----------
    units : int
        Instructions, cycles or nanoseconds, without what the marks cost. Each visit may be wrong
        by a tick, up or down; the sum over all spans is wrong by one at most.
    visits : int
        How often a mark has ended it.
    """

    units: int
    visits: int


class Session:
    """Speaks to one device. A context manager; leaving it closes the transport.

    Parameters
    ----------
    transport : Transport
        The link; the session owns it.
    timeout_s : float
        How long the device may work without a word before it counts as silent.
    progress : Progress or None
        Told about transfers and runs.
    board : str or None
        Name of the board that must answer.
    fingerprint : str or None
        Of the model that must be on the device.
    find_function : callable or None
        Names the function at an address, for messages about faults.

    Raises
    ------
    DeviceSilentError
        If nothing answers.
    BoardError
        If another board answers.
    DeviceError
        If another model is on the device.
    ProtocolError
        If the firmware speaks another version, or every frame is damaged.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout_s: float = 60.0,
        progress: Progress | None = None,
        board: str | None = None,
        fingerprint: str | None = None,
        find_function: Callable[[int], str | None] | None = None,
    ) -> None:
        self._channel = Channel(transport, timeout_s=timeout_s, find_function=find_function)
        self._ask = self._channel.request
        # By it the device tells this session's requests from those of an earlier one.
        self._token = os.urandom(TOKEN_BYTES)
        self._progress = progress
        # Inputs by rows, by number: they stay here until the device asks for them.
        self._by_rows: dict[int, bytes] = {}
        try:
            self.ping()
            self._info = DeviceInfo.parse(self._ask(Command.INFO))
            if board not in (None, self._info.board):
                raise BoardError(
                    f"{transport.name}: {self._info.board} answers, not {board}",
                    hint=f"name another port, or take --board {self._info.board}",
                )
            if fingerprint not in (None, self._info.fingerprint):
                raise DeviceError(
                    f"{transport.name}: runs another model, {self._info.model_name} "
                    f"({self._info.fingerprint}) instead of {fingerprint}",
                    hint="flash it again",
                )
            self._inputs = self._describe(Command.DESCRIBE_INPUT, self._info.input_count)
            self._outputs = self._describe(Command.DESCRIBE_OUTPUT, self._info.output_count)
        except BaseException:
            transport.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the device; an emulator ends."""
        self._channel.close()

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Inputs of the network, as the device has them."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Outputs of the network, as the device has them."""
        return self._outputs

    def ping(self) -> None:
        """Make sure that the device answers, and with what it has just been sent."""
        # Something never said before: what an earlier session has left on the link, or what the
        # device kept from it, does not match.
        nonce = self._token + os.urandom(_NONCE_BYTES)
        if not any(self._ask(Command.PING, nonce) == nonce for _ in range(_PINGS)):
            raise ProtocolError(f"{self._channel.name}: pings come back changed")

    def info(self) -> DeviceInfo:
        """Return who answers."""
        return self._info

    def operator_names(self) -> list[str]:
        """Return the names of the network's operators, in the order they run."""
        return [
            PayloadReader(self._ask(Command.DESCRIBE_OPERATOR, struct.pack("<H", i))).string()
            for i in range(self._info.operator_count)
        ]

    def paint(self) -> None:
        """Paint arena and guards, so that :meth:`memory` tells what the next run touches."""
        self._ask(Command.PAINT, works=True)

    def write_input(self, index: int, data: bytes | np.ndarray) -> None:
        """Write one whole input.

        One that the network fetches by rows stays on this side; every inference that follows
        gets it from here.

        Parameters
        ----------
        index : int
            Number of the input.
        data : bytes or numpy.ndarray
            Its elements, in C order and in the network's own dtype.

        Raises
        ------
        DeviceError
            If there is no such input, or its size is another.
        """
        data = data if isinstance(data, bytes) else data.tobytes()
        tensor = self._tensor(self._inputs, "input", index)
        if len(data) != tensor.size_bytes:
            raise DeviceError(
                f"input {tensor.name!r} is {tensor.size_bytes} bytes, not {len(data)}"
            )
        if tensor.by_rows:
            self._by_rows[index] = data
            return
        chunk_bytes = self._info.payload_max_bytes - _CHUNK_HEADER_BYTES
        for offset in range(0, len(data), chunk_bytes):
            self._report("write input", offset, len(data))
            chunk = data[offset : offset + chunk_bytes]
            self._ask(Command.WRITE_INPUT, struct.pack("<HI", index, offset) + chunk)
        self._report("write input", len(data), len(data))

    def run(self, runs: int = 1) -> RunResult:
        """Run inferences on what is in the arena and time each.

        Raises
        ------
        DeviceError
            If the network's run function fails, the firmware faults, or an input by rows has
            not been written.
        """
        if runs < 1:
            raise ValueError("there must be at least one run")
        ticks: list[int] = []
        fetch_ticks = 0
        while len(ticks) < runs:
            count = min(runs - len(ticks), RUNS_MAX)
            payload = self._execute(Command.RUN, struct.pack("<I", count), "run", count)
            *readings, fetching = PayloadReader(payload).fields(f"{count}QQ")
            ticks += readings
            fetch_ticks += fetching
        info = self._info
        return RunResult(tuple(ticks), info.clock_kind, info.units_per_tick, fetch_ticks)

    def run_until(self, operator: int) -> None:
        """Run operators 0 to ``operator``, both included, and leave the arena as it then is."""
        payload = struct.pack("<H", operator)
        self._execute(Command.RUN_UNTIL, payload, "run operators", operator + 1)

    def profile(self) -> list[OperatorTime]:
        """Run one inference operator by operator and time each."""
        names = self.operator_names()
        ticks: list[int] = []
        while len(ticks) < len(names):
            count = min(len(names) - len(ticks), PROFILE_MAX)
            request = struct.pack("<HH", len(ticks), count)
            payload = self._execute(Command.PROFILE, request, "profile", count)
            ticks += PayloadReader(payload).fields(f"{count}Q")
        scale = self._info.units_per_tick
        return [OperatorTime(name, t, t * scale) for name, t in zip(names, ticks, strict=True)]

    def spans(self) -> list[SpanTime]:
        """What the code behind each mark took in the latest run of a profiling build.

        Between two readings of the stopwatch lies the cost of just one mark: the rest of the one
        before and the beginning of the next. It is measured on the device before each run, and
        subtracted here.

        Raises
        ------
        DeviceError
            If the firmware is no profiling build.
        """
        count = self._calibrated().span_count
        spans: list[SpanTicks] = []
        while len(spans) < count:
            some = min(count - len(spans), SPANS_MAX)
            spans += self._spans(len(spans), some).spans
        mark_units, scale = self.mark_units(), self._info.units_per_tick
        return [
            SpanTime(round(span.ticks * scale - span.visits * mark_units), span.visits)
            for span in spans
        ]

    def mark_units(self) -> float:
        """What one mark of a profiling build cost before the latest run.

        Raises
        ------
        DeviceError
            If the firmware is no profiling build.
        """
        answer = self._calibrated()
        ticks = answer.calibration_ticks / max(answer.calibration_visits, 1)
        return ticks * self._info.units_per_tick

    def _calibrated(self) -> SpansAnswer:
        answer = self._spans(0, 0)
        if answer.span_count == 0:
            raise DeviceError(
                f"{self._channel.name}: is no profiling build",
                hint="profile it by: tvm-patch measure DIR --profile",
            )
        return answer

    def _spans(self, begin: int, count: int) -> SpansAnswer:
        return SpansAnswer.parse(self._ask(Command.SPANS, struct.pack("<HH", begin, count)), count)

    def read_output(self, index: int) -> bytes:
        """Return one whole output: its elements in C order.

        Raises
        ------
        DeviceError
            If there is no such output.
        """
        tensor = self._tensor(self._outputs, "output", index)
        prefix = struct.pack("<H", index)
        return self._read(Command.READ_OUTPUT, prefix, 0, tensor.size_bytes, "read output")

    def read_arena(self, offset: int, size_bytes: int) -> bytes:
        """Return a piece of the arena.

        Raises
        ------
        DeviceError
            If it does not lie in the arena.
        """
        return self._read(Command.READ_ARENA, b"", offset, size_bytes, "read arena")

    def memory(self) -> MemoryStatistics:
        """Return what has been touched since :meth:`paint`, and the stack of the last run."""
        return MemoryStatistics.parse(self._ask(Command.MEMORY, works=True))

    def infer(self, inputs: Sequence[bytes | np.ndarray]) -> list[bytes]:
        """Paint, write all inputs, run once, and return all outputs.

        Raises
        ------
        DeviceError
            If the number or the size of the inputs is another.
        """
        if len(inputs) != len(self._inputs):
            raise DeviceError(f"the network has {len(self._inputs)} inputs, not {len(inputs)}")
        self.paint()
        for index, data in enumerate(inputs):
            self.write_input(index, data)
        self.run()
        return [self.read_output(index) for index in range(len(self._outputs))]

    def reset(self) -> None:
        """Start the device anew and wait until it answers."""
        self._ask(Command.RESET)
        self._by_rows.clear()
        self.ping()

    def _describe(self, command: Command, count: int) -> tuple[TensorInfo, ...]:
        return tuple(
            TensorInfo.parse(self._ask(command, struct.pack("<H", i))) for i in range(count)
        )

    @staticmethod
    def _tensor(tensors: tuple[TensorInfo, ...], role: str, index: int) -> TensorInfo:
        if not 0 <= index < len(tensors):
            raise DeviceError(f"the network has {len(tensors)} {role}s; there is no {role} {index}")
        return tensors[index]

    def _read(self, command: Command, prefix: bytes, begin: int, size: int, what: str) -> bytes:
        chunk_bytes = self._info.payload_max_bytes - _CHUNK_HEADER_BYTES
        data = bytearray()
        while len(data) < size:
            self._report(what, len(data), size)
            length = min(chunk_bytes, size - len(data))
            chunk = self._ask(command, prefix + struct.pack("<IH", begin + len(data), length))
            if len(chunk) != length:
                raise ProtocolError(
                    f"{self._channel.name}: {length} bytes asked for, {len(chunk)} given"
                )
            data += chunk
        self._report(what, size, size)
        return bytes(data)

    def _execute(self, command: Command, payload: bytes, what: str, steps: int) -> bytes:
        """Have the device run the network, or some of it, and give it rows meanwhile."""
        wanted = [index for index, tensor in enumerate(self._inputs) if tensor.by_rows]
        for index in wanted:
            if index not in self._by_rows:
                raise DeviceError(
                    f"input {self._inputs[index].name!r} is fetched by rows, "
                    "and has not been written",
                    hint="write it before the network runs: write_input or infer",
                )
        return self._ask(
            command,
            payload,
            works=True,
            on_step=lambda done: self._report(what, done, steps),
            serve_rows=self._serve_rows if wanted else None,
        )

    def _serve_rows(self, question: RowsQuestion) -> bytes:
        data = self._by_rows.get(question.input_index, b"")
        end = question.offset + question.size_bytes
        if end > len(data):
            raise ProtocolError(
                f"{self._channel.name}: asks for bytes {question.offset} to {end} of "
                f"input {question.input_index}, which has {len(data)}"
            )
        return data[question.offset : end]

    def _report(self, what: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(what, done, total)
