"""Measures candidates on a board: an image of many, one after another."""

from __future__ import annotations

import statistics
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from tvm_patch.board import Board
from tvm_patch.errors import (
    BuildError,
    DeviceError,
    DoesNotFitError,
    TuningError,
    TvmPatchError,
)
from tvm_patch.measurement import Measurement, median_interval
from tvm_patch.micro import Firmware, Session, build_firmware, flash, open_session
from tvm_patch.pipeline import Generated
from tvm_patch.tune.image import Image, write_image
from tvm_patch.tune.tasks import Candidate
from tvm_patch.validation import Golden, Validation

#: Readings that differ by more than this part of their median are no measurement to rely on.
_SPREAD = 0.05
#: How often a board may be lost under an image before that counts as the board's end.
_MOST_LOSSES = 3


class Verdict(IntEnum):
    """``enum tvmp_tune_verdict``."""

    NOT_RUN = 0
    RIGHT = 1
    WRONG = 2
    SPILLS = 3
    UNKNOWN = 4


@dataclass(frozen=True)
class Reading:
    """What came of one candidate.

    Parameters
    ----------
    candidate : Candidate
        Which.
    units : float or None
        Median of one call; None where it failed.
    error : str or None
        How.
    interval : (float, float) or None
        Of the median, 95 %; None on an emulator, which counts the same each time.
    outlier : bool
        Its readings differ a lot.
    """

    candidate: Candidate
    units: float | None
    error: str | None = None
    interval: tuple[float, float] | None = None
    outlier: bool = False


@dataclass(frozen=True)
class BuiltImage:
    """An image and its firmware."""

    image: Image
    firmware: Firmware


class ImageRunner(Protocol):
    """Runs candidates of a built image."""

    def __enter__(self) -> ImageRunner: ...

    def __exit__(self, *error: object) -> None: ...

    def run(self, number: int) -> tuple[int, Verdict]:
        """Units of a reading, and whether the outputs are right.

        Raises
        ------
        DeviceError
            When the candidate faults or hangs; the runner can then be used for others.
        """


class SessionRunner:
    """On a board that is plugged in, or emulated.

    Parameters
    ----------
    firmware : Firmware
        The image's.
    timeout_s : float
        After which a candidate counts as hung.
    port, serial : str or None
        As for ``open_session``.
    """

    def __init__(
        self,
        firmware: Firmware,
        *,
        timeout_s: float,
        port: str | None = None,
        serial: str | None = None,
    ) -> None:
        self._firmware = firmware
        self._timeout_s = timeout_s
        self._port, self._serial = port, serial
        self._session: Session | None = None

    def __enter__(self) -> SessionRunner:
        flash(self._firmware, port=self._port, serial=self._serial)
        return self

    def __exit__(self, *_error: object) -> None:
        self._leave()

    def run(self, number: int) -> tuple[int, Verdict]:
        """Start anew what an earlier candidate has brought down, and run one."""
        if self._session is None:
            self._session = open_session(
                self._firmware, port=self._port, serial=self._serial, timeout_s=self._timeout_s
            )
        try:
            self._session.write_input(0, struct.pack("<I", number))
            times = self._session.profile()
            (verdict,) = struct.unpack("<I", self._session.read_output(0))
        except TvmPatchError:
            self._leave()
            raise
        return times[1].units, Verdict(verdict)

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


MakeRunner = Callable[[Firmware, int], ImageRunner]
"""Takes an image's firmware and how many candidates it has."""
MeasureWhole = Callable[[Generated, Firmware, Golden, int], tuple[Measurement, Validation]]
"""Takes a network, its firmware, its reference and how often to run it."""


@dataclass(frozen=True)
class Bench:
    """A board to measure on.

    Parameters
    ----------
    board : Board
        What is built for.
    folder : Path
        For images.
    emulate : bool
        As of ``build_firmware``.
    make_runner : callable or None
        How an image is run; a session with the board if None.
    measure_whole : callable or None
        How a network is; likewise.
    timeout_s : float
        After which a candidate counts as hung.
    repeats : int
        Readings of each candidate; 1 on an emulator, which counts the same each time.
    """

    board: Board
    folder: Path
    emulate: bool = False
    make_runner: MakeRunner | None = None
    measure_whole: MeasureWhole | None = None
    timeout_s: float = 20.0
    repeats: int = 1

    def measure(
        self,
        candidates: Sequence[Candidate],
        done: Callable[[Reading], None] = lambda reading: None,
    ) -> list[Reading]:
        """Measure candidates, in one image if they fit.

        What does not build, faults, hangs or computes other integers is marked; the others survive
        it.

        Parameters
        ----------
        candidates : sequence of Candidate
            At least one.
        done : callable
            Told each reading as it comes.
        """
        readings: list[Reading] = []
        for built in self.build(candidates):
            if isinstance(built, BuiltImage):
                readings += self.run(built, done)
            else:
                done(built)
                readings.append(built)
        return readings

    def build(self, candidates: Sequence[Candidate]) -> Iterator[BuiltImage | Reading]:
        """Build candidates, in one image if they fit.

        Images share a folder: each is to be run before the next one is asked for.

        Yields
        ------
        BuiltImage or Reading
            Images in the order of their candidates; a reading for one that does not build.

        Raises
        ------
        TuningError
            When the folder cannot be written.
        """
        try:
            image = write_image(candidates, self.folder / "model")
            firmware = build_firmware(
                image.folder, self.board, self.folder / "firmware", emulate=self.emulate
            )
        except (BuildError, DoesNotFitError, ValueError) as error:
            if len(candidates) == 1:
                yield Reading(candidates[0], None, f"does not build: {error}")
                return
            # One of them does not compile, or they are too many for the flash.
            half = len(candidates) // 2
            yield from self.build(candidates[:half])
            yield from self.build(candidates[half:])
        except OSError as error:
            raise TuningError(
                f"{self.folder}: cannot be written ({error.strerror})",
                hint="make room and start again: it goes on where it was",
            ) from error
        else:
            yield BuiltImage(image, firmware)

    def run(
        self, built: BuiltImage, done: Callable[[Reading], None] = lambda reading: None
    ) -> list[Reading]:
        """Run every candidate of an image; see :meth:`measure`."""
        image, firmware = built.image, built.firmware
        readings: list[Reading] = []
        losses = 0
        with ExitStack() as stack:
            make = self.make_runner or self._session_runner
            runner = stack.enter_context(make(firmware, len(image.candidates)))
            for number, candidate in enumerate(image.candidates):
                reading = self._read(runner, image, number, candidate)
                # Several in a row, the tasks' own kernels among them: it is the board.
                losses = losses + 1 if reading.error and "fault" not in reading.error else 0
                if losses > _MOST_LOSSES and not any(each.units for each in readings):
                    raise DeviceError(
                        f"{firmware.board.name}: answers to no candidate ({reading.error})",
                        hint="reset the board and start again: it goes on where it was",
                    )
                readings.append(reading)
                done(reading)
        return readings

    def _session_runner(self, firmware: Firmware, _count: int) -> ImageRunner:
        return SessionRunner(firmware, timeout_s=self.timeout_s)

    def _read(
        self, runner: ImageRunner, image: Image, number: int, candidate: Candidate
    ) -> Reading:
        totals: list[int] = []
        repeats = image.repeats[number]
        try:
            for _ in range(self.repeats):
                total, verdict = runner.run(number)
                if verdict is not Verdict.RIGHT:
                    words = {
                        Verdict.WRONG: "computes other integers",
                        Verdict.SPILLS: "writes beyond its output",
                    }
                    return Reading(candidate, None, words.get(verdict, "did not run"))
                totals.append(total)
        except DeviceError as error:
            return Reading(candidate, None, f"{type(error).__name__}: {error}")
        median = statistics.median(totals)
        found = median_interval(totals) if len(totals) > 1 else None
        interval = None if found is None else (found[0] / repeats, found[1] / repeats)
        outlier = max(totals) - min(totals) > _SPREAD * median
        return Reading(candidate, median / repeats, None, interval, outlier)
