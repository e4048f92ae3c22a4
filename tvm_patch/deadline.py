"""When a search has to come to an end before it is done: a time limit, or an interrupt."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tvm_patch.errors import PlanError


class Deadline:
    """Handed down to a search, which asks between candidates whether to stop.

    A search that stops returns the best it has found; :attr:`cut_short` then says why it stopped.
    It must have something to return, so it asks for the first time when it has a first answer.
    Nothing else of a search may depend on time: without a limit the same question gives the same
    answer.

    Parameters
    ----------
    time_limit_s : float or None
        Seconds from now on; None for as long as it takes.
    clock : callable
        Seconds of a clock that never goes back.

    Raises
    ------
    PlanError
        For a limit that is not above zero.
    """

    def __init__(
        self, time_limit_s: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if time_limit_s is not None and not time_limit_s > 0:
            raise PlanError(
                f"a time limit of {time_limit_s:g} s leaves no time", hint="give more than 0"
            )
        self._clock = clock
        self._limit_s = time_limit_s
        self._end_s = math.inf if time_limit_s is None else clock() + time_limit_s
        self._interrupted = threading.Event()
        self._cut_short: str | None = None

    def interrupt(self) -> None:
        """End the search as soon as it asks; may be called from a signal handler or a thread."""
        self._interrupted.set()

    @property
    def remaining_s(self) -> float:
        """Seconds left: infinity without a limit, never less than 0."""
        return 0.0 if self._interrupted.is_set() else max(0.0, self._end_s - self._clock())

    def passed(self) -> bool:
        """Whether to stop. A search that asks and hears yes has been cut short."""
        if self.remaining_s > 0:
            return False
        if self._cut_short is None:
            interrupted = self._interrupted.is_set() or self._limit_s is None
            reason = "an interrupt" if interrupted else f"the time limit of {self._limit_s:g} s"
            self._cut_short = reason
        return True

    @property
    def cut_short(self) -> str | None:
        """What ended a search before it was done (``the time limit of 5 s``); None if nothing."""
        return self._cut_short


@contextmanager
def interruptible(deadline: Deadline) -> Iterator[Deadline]:
    """Let the first Ctrl-C end the search, and only a second one the program.

    In another thread than the main one, where Python delivers no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield deadline
        return
    earlier = signal.getsignal(signal.SIGINT)

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        deadline.interrupt()
        signal.signal(signal.SIGINT, earlier)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield deadline
    finally:
        signal.signal(signal.SIGINT, earlier)
