"""Results on stdout, progress on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

# A pipe has no width; tables must not be folded for it.
_PIPE_COLUMNS = 240


def show(*results: RenderableType) -> None:
    """Print results on stdout."""
    console = _console()
    for result in results:
        console.print(result, markup=False)


def _console() -> Console:
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(
        file=sys.stdout, width=None if known else _PIPE_COLUMNS, highlight=False, soft_wrap=False
    )


def narrate(line: str) -> None:
    """Tell on stderr, with the time of day, what a process that goes on and on is doing."""
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


class Activity:
    """A spinner with the current step and, where it is known, how much of it is done.

    Nothing is shown where stderr is no terminal.
    """

    def __init__(self) -> None:
        console = Console(file=sys.stderr)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._step = ""

    def __enter__(self) -> Activity:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def step(self, text: str) -> None:
        """A new step begins; the earlier one is done."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._step = text
        self._task = self._progress.add_task(text, total=None, amount="")

    def report(self, what: str, done: int, total: int) -> None:
        """How far the step, or a part of it, has come."""
        if self._task is None:
            self.step(what)
        assert self._task is not None
        self._progress.update(
            self._task,
            description=f"{self._step}: {what}",
            completed=done,
            total=total or None,
            amount=f"{done:,}/{total:,}" if total else f"{done:,}",
        )

    def note(self, text: str) -> None:
        """Something to know, on stderr, terminal or not."""
        self._progress.console.print(text, markup=False, highlight=False)

    def count(self, what: str, done: int) -> None:
        """How many there are by now, of nobody knows how many."""
        self.report(what, done, 0)


@contextmanager
def activity(first_step: str) -> Iterator[Activity]:
    """An :class:`Activity` that begins with a step."""
    with Activity() as shown:
        shown.step(first_step)
        yield shown
