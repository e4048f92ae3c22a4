"""What a run on a device amounts to: memory and time, as the device itself reports them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tvm_patch.errors import DeviceError
from tvm_patch.micro import Firmware, OperatorTime, RunResult, Session

_ARENA_TOLERANCE_BYTES = 64


@dataclass(frozen=True)
class Measurement:
    """One firmware measured.

    Parameters
    ----------
    arena_bytes : int
        Painted high-water mark of the arena.
    linked_arena_bytes : int
        Size of the arena's symbol in the firmware.
    stack_bytes : int or None
        High-water mark of the stack during the inference call; None on the host.
    flash_bytes : int
        Code, weights and constants of the whole firmware.
    static_sram_bytes : int
        All static memory of the firmware, the arena and RPC buffers included.
    instructions, cycles, nanoseconds : int or None
        Of the first inference; just one of them is known: instructions on an emulator, cycles on
        hardware, nanoseconds on the host.
    runs : int
        Inferences timed.
    minimum, maximum : int
        Least and most of all runs, in the same unit.
    median : float
        Of all runs, in the same unit.
    interval : tuple of int, or None
        95 % confidence interval of the median; None for fewer than six runs.
    clock_hz : int
        Of the core, as the device tells it; 0 where it is unknown.
    profile : tuple of OperatorTime
        Time of each operator.
    """

    arena_bytes: int
    linked_arena_bytes: int
    stack_bytes: int | None
    flash_bytes: int
    static_sram_bytes: int
    instructions: int | None
    cycles: int | None
    nanoseconds: int | None
    runs: int
    minimum: int
    maximum: int
    median: float
    interval: tuple[int, int] | None
    clock_hz: int
    profile: tuple[OperatorTime, ...]

    @property
    def peak_sram_bytes(self) -> int | None:
        """Inference peak SRAM: arena and stack."""
        return None if self.stack_bytes is None else self.arena_bytes + self.stack_bytes

    @property
    def latency_ms(self) -> float | None:
        """Median time of an inference; None on an emulator, which has instructions only."""
        return self.milliseconds(self.median)

    def milliseconds(self, units: float) -> float | None:
        """Turn cycles or nanoseconds into milliseconds; None for an emulator's instructions."""
        if self.nanoseconds is not None:
            return units / 1e6
        if self.cycles is None or not self.clock_hz:
            return None
        return units * 1e3 / self.clock_hz


def median_interval(readings: Sequence[int]) -> tuple[int, int] | None:
    """Return a 95 % confidence interval of the median of ``readings``.

    From order statistics: that the median lies between the k-th least and the k-th greatest of n
    readings is as likely as that of n tosses of a coin at least k, and at most n - k, show heads,
    whatever the readings' distribution. So the interval covers it in 95 % or more of all cases.

    Parameters
    ----------
    readings : sequence of int
        Independent readings.

    Returns
    -------
    tuple of int, or None
        None for fewer than six readings, of which no two cover so much.
    """
    ordered, n = sorted(readings), len(readings)
    outside = 0
    below = 0
    for k in range(n // 2):
        outside += math.comb(n, k)
        if 2 * outside > 0.05 * 2**n:
            break
        below = k + 1
    return (ordered[below - 1], ordered[n - below]) if below else None


@dataclass(frozen=True)
class DeviceRun:
    """A measurement together with what the inference computed."""

    measurement: Measurement
    outputs: tuple[bytes, ...]


def measure(
    session: Session,
    firmware: Firmware,
    inputs: Sequence[npt.NDArray[np.generic]],
    *,
    runs: int = 1,
) -> DeviceRun:
    """Run an inference on a device and read what it needed.

    Parameters
    ----------
    session : Session
        Open to the device.
    firmware : Firmware
        What runs there.
    inputs : sequence of ndarray
        In the order of the model's inputs, in its own dtypes.
    runs : int
        Inferences to time. Outputs and memory are those of the first.

    Raises
    ------
    DeviceError
        When the inference wrote outside its arena, or the linked arena is not the planned one.
    """
    outputs = tuple(session.infer(inputs))
    memory = session.memory()
    if not memory.guard_intact:
        raise DeviceError("the inference wrote outside its arena: the guard bytes are gone")
    if memory.arena_bytes != firmware.arena_symbol_bytes:
        raise DeviceError(
            f"the device has an arena of {memory.arena_bytes} bytes, "
            f"the firmware was linked with {firmware.arena_symbol_bytes}",
            hint="flash the firmware again",
        )
    for index, value in enumerate(inputs):
        session.write_input(index, value.tobytes())
    timing = session.run(runs)
    for index, value in enumerate(inputs):
        session.write_input(index, value.tobytes())
    profile = tuple(session.profile())
    return DeviceRun(
        _summary(
            firmware,
            memory.arena_high_water_bytes,
            memory.stack_bytes,
            timing,
            profile,
            session.info().clock_hz or firmware.board.clock_hz,
        ),
        outputs,
    )


def _summary(
    firmware: Firmware,
    arena_bytes: int,
    stack_bytes: int | None,
    timing: RunResult,
    profile: tuple[OperatorTime, ...],
    clock_hz: int,
) -> Measurement:
    units = [ticks * timing.units_per_tick for ticks in timing.ticks]
    return Measurement(
        arena_bytes=arena_bytes,
        linked_arena_bytes=firmware.arena_symbol_bytes,
        stack_bytes=stack_bytes,
        flash_bytes=firmware.flash_bytes,
        static_sram_bytes=firmware.static_sram_bytes,
        instructions=timing.instructions,
        cycles=timing.cycles,
        nanoseconds=timing.nanoseconds,
        runs=len(timing.ticks),
        minimum=timing.minimum,
        maximum=timing.maximum,
        median=statistics.median(units),
        interval=median_interval(units),
        clock_hz=clock_hz,
        profile=profile,
    )


def check_planned_is_used(measurement: Measurement, planned_arena_bytes: int) -> None:
    """Compare the planned arena with the linked one and with what was touched.

    Raises
    ------
    DeviceError
        When the linked arena differs, or more than 64 bytes at its end were never touched.
    """
    if measurement.linked_arena_bytes != planned_arena_bytes:
        raise DeviceError(
            f"planned an arena of {planned_arena_bytes} bytes, "
            f"linked {measurement.linked_arena_bytes}"
        )
    untouched = planned_arena_bytes - measurement.arena_bytes
    if not 0 <= untouched <= _ARENA_TOLERANCE_BYTES:
        raise DeviceError(
            f"planned an arena of {planned_arena_bytes} bytes, "
            f"the device touched {measurement.arena_bytes}"
        )
