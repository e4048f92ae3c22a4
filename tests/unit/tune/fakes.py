"""Tasks of the project's own network, and a board that makes times up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tests.support import DIGITS
from tvm_patch.board import load_board
from tvm_patch.kernel_times import KernelTime
from tvm_patch.pipeline import Prepared, make_plan, prepare
from tvm_patch.schedules import Instructions
from tvm_patch.tune.bench import Reading
from tvm_patch.tune.tasks import Candidate, Task, tasks_of


@cache
def digits() -> Prepared:
    """The network."""
    return prepare(DIGITS)


@cache
def digits_tasks() -> tuple[Task, ...]:
    """Its tasks, layer by layer."""
    return tasks_of(digits().network, make_plan(digits(), layers=True), Instructions.DSP)


class FakeBench:
    """Gathering pays, and so do long turns; remembers what it was asked for."""

    def __init__(self, *, lost_after: int | None = None) -> None:
        self.board = load_board("qemu_cortex_m7")
        self.asked: list[Candidate] = []
        self._lost_after = lost_after
        self._images = 0

    def measure(self, candidates: Sequence[Candidate]) -> list[Reading]:
        if self._images == self._lost_after:
            raise ConnectionError("the cable is out")
        self._images += 1
        self.asked += candidates
        return [Reading(candidate, made_up(candidate)) for candidate in candidates]


def made_up(candidate: Candidate) -> float:
    """A time that depends on decisions as those of a board do."""
    choice, ratio = candidate.choice, 1.0
    if choice.get("form") == "gathered":
        ratio *= 0.8 - 0.01 * int(choice.get("turn", "2"))
    if choice.get("weights") == "single":
        ratio *= 1.06
    if choice.get("form") == "window":
        ratio *= 1.5
    return candidate.task.default.macs * ratio


class Kept:
    """A database in memory."""

    def __init__(self) -> None:
        self.records: list[KernelTime] = []

    def add(self, times: Sequence[KernelTime]) -> None:
        self.records += times
