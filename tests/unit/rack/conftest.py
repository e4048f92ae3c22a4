"""A built firmware, and racks and agents as a user starts them: processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import DIGITS, need_emulator
from tvm_patch.cli import main
from tvm_patch.cli.app import app
from tvm_patch.rack import agent, fleet  # noqa: F401 - loaded before programs are forked
from tvm_patch.rack.address import Address

START_TIMEOUT_S = 60.0


@pytest.fixture(scope="session")
def digits_m7(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``build`` writes for the emulated Cortex-M7."""
    need_emulator()
    folder = tmp_path_factory.mktemp("digits_m7")
    arguments = ["build", str(DIGITS), "--board", "qemu_cortex_m7", "-o", str(folder)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return folder


class Program:
    """The command line in a process of its own, and what it says.

    It is forked off a process that has imported everything, since importing TVM takes seconds.
    """

    def __init__(
        self,
        arguments: list[str],
        folder: Path,
        environment: dict[str, str] | None = None,
        constants: dict[str, float] | None = None,
    ) -> None:
        self._log = folder / f"{len(list(folder.iterdir()))}.log"
        self._log.touch()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.unit.rack.conftest"])
        self._process = context.Process(
            target=_run, args=(arguments, self._log, environment or {}, constants or {})
        )
        self._process.start()

    @property
    def said(self) -> str:
        """Everything so far."""
        return self._log.read_text(encoding="utf-8")

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process.pid is not None
        return self._process.pid

    def await_words(self, pattern: str, timeout_s: float = START_TIMEOUT_S) -> re.Match[str]:
        """Wait until it has said something."""
        deadline = time.monotonic() + timeout_s
        while (match := re.search(pattern, self.said)) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.said}"
            assert self._process.is_alive(), f"it has ended:\n{self.said}"
            time.sleep(0.02)
        return match

    def await_end(self, timeout_s: float = 120.0) -> int:
        """Wait until it has ended; return its exit code."""
        self._process.join(timeout_s)
        assert self._process.exitcode is not None, f"it does not end:\n{self.said}"
        return self._process.exitcode

    def end(self) -> None:
        """End it in order."""
        if self._process.is_alive():
            os.kill(self.pid, signal.SIGTERM)
        try:
            self.await_end()
        finally:
            self._process.kill()


def _run(
    arguments: list[str], log: Path, environment: dict[str, str], constants: dict[str, float]
) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    for name, value in constants.items():
        setattr(agent, name, value)
    sys.argv = ["tvm-patch", *arguments]
    main()


Start = Callable[..., Program]


@contextmanager
def programs(folder: Path) -> Iterator[Start]:
    """Starts programs, and ends them all."""
    started: list[Program] = []

    def start(
        *arguments: object,
        environment: dict[str, str] | None = None,
        constants: dict[str, float] | None = None,
    ) -> Program:
        words = [str(argument) for argument in arguments]
        started.append(Program(words, folder, environment, constants))
        return started[-1]

    try:
        yield start
    finally:
        for program in reversed(started):
            program.end()


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts the command line in processes of their own, for one test."""
    with programs(tmp_path_factory.mktemp("logs")) as starter:
        yield starter


class RunningRack:
    """``tvm-patch rack``, and where its tracker is."""

    def __init__(self, program: Program) -> None:
        self.program = program
        words = program.await_words(r"tracker at (\S+)\n(?:.*\n)*end it")
        self.tracker = Address.parse(words[1])


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRack]:
    """Two emulated Cortex-M7 and one Cortex-M4."""
    need_emulator()
    with programs(tmp_path_factory.mktemp("logs")) as starter:
        boards = "qemu_cortex_m7:2,qemu_cortex_m4"
        yield RunningRack(starter("rack", "--boards", boards, "--port", "24190", "--virtual-time"))


def children_of(process_id: int) -> list[int]:
    """All processes below one, the nearest first."""
    found: list[int] = []
    for task in Path(f"/proc/{process_id}/task").glob("*/children"):
        try:
            below = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        found += below
        for child in below:
            found += children_of(child)
    return found


def emulators_of(process_id: int) -> list[int]:
    """The emulators below a process."""
    return [child for child in children_of(process_id) if "qemu" in command_of(child)]


def command_of(process_id: int) -> str:
    """The name of a process's program; empty if it has ended."""
    try:
        return Path(f"/proc/{process_id}/comm").read_text().strip()
    except OSError:
        return ""


def runs(process_id: int) -> bool:
    """Whether a process has not ended; one that nobody has asked for its exit code yet has."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
