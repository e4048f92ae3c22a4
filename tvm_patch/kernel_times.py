"""Measured times of kernels: what a tuner has found out, for everybody who builds.

A *database* is a folder with a file of JSON lines for each board. The first line says what was
measured on: board, core, compiler, versions. Each other line is a *session*, which has the
provenance of the records behind it, or a record. Lines are only ever added, all of an image at
once, so that whatever kills a tuner costs the image in flight at most. Nothing here needs TVM.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tvm_patch.errors import TuningError

FORMAT = "tvm-patch kernel times"
FORMAT_VERSION = 1
_KERNELS_DIR = Path(__file__).parent / "micro_project" / "kernels"


@dataclass(frozen=True)
class MeasuredOn:
    """What times depend on.

    Parameters
    ----------
    board, core : str
        Name of the board and its ``cpu``.
    unit : str
        ``instructions``, ``cycles`` or ``nanoseconds``: what the board counts.
    compiler, tvm : str
        Versions.
    flags : str
        Of the core and of optimisation.
    """

    board: str
    core: str
    unit: str
    compiler: str
    flags: str
    tvm: str


@dataclass(frozen=True)
class KernelTime:
    """One way of making a kernel, measured or tried.

    Parameters
    ----------
    task : str
        Key of the kernel's space.
    choice : mapping of str to str
        A value for each decision.
    units : float or None
        Median of one call in units of the board's clock; None where it failed.
    error : str or None
        How it failed.
    scratch_bytes : int
        Memory that it needs besides inputs and output.
    interval : (float, float) or None
        Confidence interval of the median, 95 %, on hardware.
    outlier : bool
        Its repeats differ by more than they should.
    macs : int
        Multiply-accumulates of one call.
    features : tuple of float
        What the cost model knows of it.
    kernels : str
        Digest of the C that it was made of.
    model : str
        The network that it was measured for.
    trace : object
        meta_schedule's, as JSON.
    """

    task: str
    choice: Mapping[str, str]
    units: float | None
    error: str | None = None
    scratch_bytes: int = 0
    interval: tuple[float, float] | None = None
    outlier: bool = False
    macs: int = 0
    features: tuple[float, ...] = ()
    kernels: str = ""
    model: str = ""
    trace: Any = None

    @property
    def identity(self) -> tuple[str, tuple[tuple[str, str], ...], str]:
        """Equal for measurements of the same thing."""
        return (self.task, tuple(sorted(self.choice.items())), self.kernels)


@dataclass(frozen=True)
class KernelTimes:
    """All that is known of one board.

    Parameters
    ----------
    records : tuple of KernelTime
        In the order they were measured.
    measured_on : MeasuredOn or None
        None where there are none.
    source : str
        For messages.
    """

    records: tuple[KernelTime, ...] = ()
    measured_on: MeasuredOn | None = None
    source: str = "no database"

    @cached_property
    def _by_task(self) -> Mapping[str, tuple[KernelTime, ...]]:
        """What counts now, fastest first; of several measurements of one thing the last."""
        current = kernels_digest()
        last = {time.identity: time for time in self.records if time.kernels == current}
        by_task: dict[str, list[KernelTime]] = {}
        for time in last.values():
            if time.units is not None and time.error is None:
                by_task.setdefault(time.task, []).append(time)
        # Of equally fast ones the one that needs least memory.
        key = _speed_and_memory
        return {task: tuple(sorted(times, key=key)) for task, times in by_task.items()}

    def times(self, task: str) -> tuple[KernelTime, ...]:
        """Measured ways of making a kernel, the fastest first."""
        return self._by_task.get(task, ())

    def best(self, task: str, scratch_bytes: int) -> KernelTime | None:
        """The fastest that needs no more than so much scratch memory."""
        return next((t for t in self.times(task) if t.scratch_bytes <= scratch_bytes), None)

    def time_of(self, task: str, choice: Mapping[str, str]) -> KernelTime | None:
        """What is known of one way."""
        wanted = dict(choice)
        return next((t for t in self.times(task) if dict(t.choice) == wanted), None)

    def __bool__(self) -> bool:
        return bool(self._by_task)


def _speed_and_memory(time: KernelTime) -> tuple[float, int]:
    return (time.units if time.units is not None else float("inf"), time.scratch_bytes)


NO_TIMES = KernelTimes()


def kernels_digest() -> str:
    """Of the C that micro-kernels are made of: other C, other times."""
    digest = hashlib.sha256()
    for path in sorted(_KERNELS_DIR.glob("*.h")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def file_of(folder: Path, board: str) -> Path:
    """Where a database has the times of a board."""
    return folder / f"{board}.jsonl"


def load_times(folder: Path, wanted: MeasuredOn) -> KernelTimes:
    """What a database knows of a board; nothing where it does not know it.

    Raises
    ------
    TuningError
        When it was made on another core, by another compiler or TVM, or is no database.
    """
    path = file_of(folder, wanted.board)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return KernelTimes(source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise TuningError(f"{path}: cannot be read ({error})") from error
    if not text.strip():
        return KernelTimes(source=str(path))
    measured_on = _read_header(path, text.split("\n", 1)[0])
    _check(path, measured_on, wanted)
    return KernelTimes(tuple(_read_records(path, text)), measured_on, str(path))


def _read_header(path: Path, line: str) -> MeasuredOn:
    try:
        header = json.loads(line)
        version = header["version"]
        if header["format"] != FORMAT or version != FORMAT_VERSION:
            raise ValueError(f"format {header['format']!r} version {version!r}")
        return MeasuredOn(**header["measured_on"])
    except (ValueError, KeyError, TypeError) as error:
        raise TuningError(
            f"{path}: is no database of kernel times that this version reads ({error})",
            hint="give another --database, or move this file away and tune again",
        ) from error


def _check(path: Path, found: MeasuredOn, wanted: MeasuredOn) -> None:
    words = {
        "board": "board",
        "core": "core",
        "unit": "clock",
        "compiler": "compiler",
        "flags": "flags of the compiler",
        "tvm": "TVM",
    }
    for name, word in words.items():
        there, here = getattr(found, name), getattr(wanted, name)
        if there != here:
            raise TuningError(
                f"{path}: was measured with another {word}: {there}, this is {here}",
                hint="give another --database, or move this file away and tune again",
            )


def _read_records(path: Path, text: str) -> Iterator[KernelTime]:
    lines = text.split("\n")
    names = KernelTime.__dataclass_fields__
    # What follows the last end of a line was being written when something ended the tuner.
    for number, line in enumerate(lines[1:-1], start=2):
        try:
            data = json.loads(line)
            if "session" in data:
                continue
            interval = data.get("interval")
            yield KernelTime(
                **{
                    "units": None,
                    **{name: value for name, value in data.items() if name in names},
                    "interval": None if interval is None else (interval[0], interval[1]),
                    "features": tuple(data.get("features", ())),
                }
            )
        except (ValueError, TypeError, KeyError) as error:
            raise TuningError(
                f"{path}: line {number} is damaged ({error})",
                hint="delete that line; each one stands for itself",
            ) from error


@dataclass
class TimesWriter:
    """Adds to the file of one board.

    Parameters
    ----------
    folder : Path
        The database; made if need be.
    measured_on : MeasuredOn
        What is going to be measured on.
    session : mapping
        Provenance of what will be added: clock, versions, commit.

    Raises
    ------
    TuningError
        As :func:`load_times`, and when the folder cannot be written.
    """

    folder: Path
    measured_on: MeasuredOn
    session: Mapping[str, Any]
    _began: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        load_times(self.folder, self.measured_on)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab"):
                pass
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    @property
    def _path(self) -> Path:
        return file_of(self.folder, self.measured_on.board)

    def add(self, times: Sequence[KernelTime]) -> None:
        """Add records, all or none, and see them on the disk.

        Raises
        ------
        TuningError
            When the disk is full or the file cannot be written; it is then as it was.
        """
        lines: list[Any] = []
        if not self._began:
            lines.append({"session": dict(self.session)})
        lines += [
            {k: v for k, v in asdict(time).items() if v not in (None, (), False)} for time in times
        ]
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _cannot_write(self._path, error) from error
        try:
            # Several tuners may share a database.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            end = _whole_lines_bytes(descriptor)
            if end == 0:
                header = {
                    "format": FORMAT,
                    "version": FORMAT_VERSION,
                    "measured_on": asdict(self.measured_on),
                }
                lines.insert(0, header)
            data = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()
            try:
                os.ftruncate(descriptor, end)
                _write_all(descriptor, data, end)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
        except OSError as error:
            raise _cannot_write(self._path, error) from error
        finally:
            os.close(descriptor)
        self._began = True


def _whole_lines_bytes(descriptor: int) -> int:
    """Where the last whole line ends."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).rfind(b"\n") + 1 if size else 0


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data, offset = data[written:], offset + written


def _cannot_write(path: Path, error: OSError) -> TuningError:
    hint = "make room and start again: it goes on where it was"
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        hint = "give another --database folder"
    return TuningError(f"{path}: cannot be written ({error.strerror})", hint=hint)
