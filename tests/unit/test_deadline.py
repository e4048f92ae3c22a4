"""When a search has to end."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tvm_patch.deadline import Deadline, interruptible
from tvm_patch.errors import PlanError


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_time_limit_passes_once_and_for_all() -> None:
    clock = Clock()
    deadline = Deadline(5, clock=clock)
    clock.now_s += 4.9
    assert not deadline.passed()
    assert deadline.cut_short is None
    clock.now_s += 0.1
    assert deadline.remaining_s == 0
    assert deadline.cut_short is None, "nobody has asked, so nobody has stopped"
    assert deadline.passed()
    assert deadline.cut_short == "the time limit of 5 s"


def test_without_a_limit_only_an_interrupt_ends_a_search() -> None:
    clock = Clock()
    deadline = Deadline(clock=clock)
    clock.now_s = 1e9
    assert not deadline.passed()
    deadline.interrupt()
    assert deadline.passed()
    assert deadline.cut_short == "an interrupt"


@pytest.mark.parametrize("limit_s", [0, -1, float("nan")])
def test_limits_that_leave_no_time_are_refused(limit_s: float) -> None:
    with pytest.raises(PlanError, match="time limit"):
        Deadline(limit_s)


def test_the_first_interrupt_ends_the_search_the_second_the_program() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible(Deadline()) as deadline:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
        assert deadline.passed()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(signal.SIGINT) is before


def test_in_other_threads_signals_stay_as_they_are() -> None:
    seen: list[bool] = []

    def search() -> None:
        with interruptible(Deadline()) as deadline:
            seen.append(deadline.passed())

    worker = threading.Thread(target=search)
    worker.start()
    worker.join()
    assert seen == [False]
