"""Tunes kernels: proposes candidates, measures them image by image, and remembers all of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from tvm_patch.board import Board
from tvm_patch.errors import TuningError
from tvm_patch.kernel_times import KernelTime, KernelTimes, kernels_digest
from tvm_patch.tune.bench import Bench, Reading
from tvm_patch.tune.choosing import Offer, any_of_them, most_promising
from tvm_patch.tune.cost_model import RatioModel, sample_of, samples_of
from tvm_patch.tune.estimate import instructions_of
from tvm_patch.tune.image import constant_bytes
from tvm_patch.tune.proposals import EvolvedProposals, Proposals, ShuffledProposals
from tvm_patch.tune.tasks import Candidate, Task
from tvm_patch.tune.trace import module_of, schedule_of, trace_json

IMAGE_CANDIDATES = 48
#: One in so many is chosen whatever the model thinks of it.
_EXPLORED_SHARE = 24
#: Code of a candidate, more or less.
_CODE_BYTES = 2048
#: Of a host, which has no flash.
_HOST_FLASH_BYTES = 1 << 26
#: What the runtime takes.
_RUNTIME_BYTES = 64 * 1024


class Strategy(StrEnum):
    """How candidates are looked for."""

    EVOLUTIONARY = "evolutionary"
    """Ranked by the cost model; larger spaces are searched by evolution."""

    RANDOM = "random"
    """Any that has not been measured, for comparison."""


@dataclass(frozen=True)
class Standing:
    """How far tuning is.

    Parameters
    ----------
    measured, trials : int
        Candidates that the database has of these tasks, and how many it is to have.
    failed : int
        Of those measured.
    default_units, best_units : float
        All calls of the tasks in an inference, made as without a tuner and in the fastest ways
        known. What has not been measured counts as estimated.
    seconds : float
        Since it began.
    fresh : int
        Candidates measured since then.
    """

    measured: int
    trials: int
    failed: int
    default_units: float
    best_units: float
    seconds: float
    fresh: int

    @property
    def ratio(self) -> float:
        """Best over default."""
        return self.best_units / self.default_units if self.default_units else 1.0

    @property
    def seconds_left(self) -> float | None:
        """At the present speed."""
        if not self.fresh:
            return None
        return self.seconds / self.fresh * max(self.trials - self.measured, 0)


class Writer(Protocol):
    """Where records go."""

    def add(self, times: Sequence[KernelTime]) -> None:
        """All or none."""


@dataclass
class Tuner:
    """Tunes the kernels of some tasks.

    Parameters
    ----------
    tasks : sequence of Task
        What to tune.
    benches : sequence of Bench
        Boards of the same kind, used side by side.
    writer : Writer
        Takes every image's records as soon as they are measured.
    times : KernelTimes
        What is known already: it is not measured again, and the cost model learns from it.
    strategy : Strategy
        How to search.
    seed : int
        The same one gives the same search, as long as all else is the same.
    image_candidates : int
        In an image at most.
    """

    tasks: Sequence[Task]
    benches: Sequence[Bench]
    writer: Writer
    times: KernelTimes = field(default_factory=KernelTimes)
    strategy: Strategy = Strategy.EVOLUTIONARY
    seed: int = 0
    image_candidates: int = IMAGE_CANDIDATES

    def __post_init__(self) -> None:
        if not self.tasks:
            raise TuningError(
                "there is nothing to tune: no kernel of this network can be made in other ways",
                hint="docs/tuning.md lists those that can",
            )
        self._digest = kernels_digest()
        self._records: dict[tuple[str, tuple[tuple[str, str], ...]], KernelTime] = {
            record.identity[:2]: record
            for record in self.times.records
            if record.kernels == self._digest
        }
        self._random = np.random.default_rng(self.seed)
        self._model: RatioModel | None = None
        if self.strategy is Strategy.EVOLUTIONARY:
            self._model = RatioModel(self.seed)
            self._model.learn(*samples_of(self.times.records))
        self._proposals: dict[str, Proposals] = {}
        self._modules: dict[str, Any] = {}
        self._calls = {task.key: task.calls for task in self.tasks}
        self.history: list[tuple[int, float]] = []

    @property
    def known(self) -> tuple[KernelTime, ...]:
        """Records of the tasks, old and new."""
        keys = {task.key for task in self.tasks}
        return tuple(record for record in self._records.values() if record.task in keys)

    def weigh(self, calls: Mapping[str, float]) -> None:
        """Look for what helps a plan that calls the tasks so often; of others nothing is gained.

        What has been measured is still told of the tasks as they were given.
        """
        self._calls = dict(calls)

    def run(
        self,
        trials: int,
        on_progress: Callable[[Standing], None] = lambda standing: None,
        *,
        of: int | None = None,
    ) -> Standing:
        """Measure until the database has so many candidates of the tasks, or all there are.

        Parameters
        ----------
        trials : int
            Those that it has already count.
        on_progress : callable
            Told after each image.
        of : int or None
            How many there are to be in the end, for progress, if this is not all.

        Raises
        ------
        TuningError
            For no trials at all, and when the database cannot be written.
        DeviceError
            When the board is lost; all images but the one in flight are in the database.
        """
        if trials < 1:
            raise TuningError(f"{trials} trials leave nothing to measure", hint="give --trials 200")
        began, fresh = time.monotonic(), 0
        while len(self.known) < trials:
            batch = self._choose(min(trials - len(self.known), self._round_candidates))
            if not batch:
                break
            readings = self._measure(batch)
            self._remember(readings)
            fresh += len(readings)
            standing = self._standing(of or trials, time.monotonic() - began, fresh)
            self.history.append((standing.measured, standing.best_units))
            on_progress(standing)
        return self._standing(of or trials, time.monotonic() - began, fresh)

    @property
    def _round_candidates(self) -> int:
        return self.image_candidates * len(self.benches)

    def _measure(self, batch: Sequence[Candidate]) -> list[Reading]:
        if len(self.benches) == 1:
            return self.benches[0].measure(batch)
        from concurrent.futures import ThreadPoolExecutor

        count = len(self.benches)
        # Candidates of one task into one image: each image has the task's default in it.
        ordered = sorted(batch, key=lambda candidate: candidate.task.key)
        size = -(-len(ordered) // count)
        parts = [ordered[at : at + size] for at in range(0, len(ordered), size)]
        with ThreadPoolExecutor(count) as pool:
            measured = pool.map(
                lambda pair: pair[0].measure(pair[1]), zip(self.benches, parts, strict=False)
            )
            return [reading for readings in measured for reading in readings]

    def _remember(self, readings: Sequence[Reading]) -> None:
        records = [self._record(reading) for reading in readings]
        self.writer.add(records)
        for record in records:
            self._records[record.identity[:2]] = record
            if record.task in self._proposals:
                self._proposals[record.task].measured(record)
        if self._model is not None:
            self._teach(self._model, records)

    def _teach(self, model: RatioModel, records: Sequence[KernelTime]) -> None:
        features, ratios = [], []
        for record in records:
            base = self._default_units(record.task)
            if record.units is not None and base is not None:
                features.append(record.features)
                ratios.append(record.units / base)
        if features:
            model.learn(features, ratios)

    def _record(self, reading: Reading) -> KernelTime:
        candidate = reading.candidate
        return KernelTime(
            task=candidate.task.key,
            choice=candidate.choice,
            units=reading.units,
            error=reading.error,
            scratch_bytes=candidate.scratch_bytes,
            interval=reading.interval,
            outlier=reading.outlier,
            macs=candidate.kernel.macs,
            features=sample_of(candidate),
            kernels=self._digest,
            model=candidate.task.model,
            trace=trace_json(schedule_of(self._module(candidate.task), candidate)),
        )

    def _module(self, task: Task) -> Any:
        if task.key not in self._modules:
            self._modules[task.key] = module_of(task)
        return self._modules[task.key]

    def _default_units(self, key: str) -> float | None:
        record = self._default_record(self._task_of[key])
        return None if record is None else record.units

    @cached_property
    def _task_of(self) -> Mapping[str, Task]:
        return {task.key: task for task in self.tasks}

    def _choose(self, count: int) -> list[Candidate]:
        """The next image's: what promises most, and some by chance."""
        offers = [offer for task in self.tasks if (offer := self._offer(task)) is not None]
        if self._model is None:
            return self._fitting(any_of_them(offers, self._random, count), count)
        # The model may be wrong about whole families.
        explored = any_of_them(offers, self._random, count // _EXPLORED_SHARE)
        ranked = most_promising(offers, self._model.spread, count - len(explored))
        chosen = {candidate.identity: candidate for candidate in (*ranked, *explored)}
        return self._fitting(list(chosen.values()), count)

    def _offer(self, task: Task) -> Offer | None:
        """What is left of a task; None where its default fails or nothing is left."""
        record = self._default_record(task)
        if record is not None and record.units is None:
            return None
        default = None if record is not None else task.candidate(task.space.default)
        base = self._base_units(task)
        ranked = [
            (candidate, base * ratio)
            for candidate, ratio in self._offers(task)
            if candidate.choice != task.space.default
        ]
        if default is None and not ranked:
            return None
        calls = self._calls.get(task.key, 0.0)
        return Offer(task, calls, default, ranked, self._best_units(task, base))

    def _default_record(self, task: Task) -> KernelTime | None:
        return self._records.get((task.key, tuple(sorted(task.space.default.items()))))

    def _base_units(self, task: Task) -> float:
        """A default's time, measured or as estimated from the others."""
        record = self._default_record(task)
        if record is not None and record.units is not None:
            return record.units
        measured = [
            record.units / instructions_of(other.default)
            for other in self.tasks
            if (record := self._default_record(other)) is not None and record.units is not None
        ]
        scale = statistics.median(measured) if measured else 1.0
        return scale * instructions_of(task.default)

    def _best_units(self, task: Task, base: float) -> float:
        known = [r.units for r in self._records.values() if r.task == task.key and r.units]
        return min([base, *known])

    def _offers(self, task: Task) -> Sequence[tuple[Candidate, float]]:
        """Unmeasured candidates of a task with their predicted times over the default's."""
        if task.key not in self._proposals:
            known = [r for r in self._records.values() if r.task == task.key]
            self._proposals[task.key] = (
                ShuffledProposals(task, known)
                if self._model is None
                else EvolvedProposals(task, self._model, known, seed=self.seed)
            )
        return self._proposals[task.key].offers()

    def _fitting(self, candidates: Sequence[Candidate], count: int) -> list[Candidate]:
        """As many as fit in the flash of the board, one at least for each board."""
        board = self.benches[0].board
        budget = (_flash_bytes(board) - _RUNTIME_BYTES) * len(self.benches)
        chosen: list[Candidate] = []
        tasks: set[str] = set()
        for candidate in candidates[:count]:
            needed = _CODE_BYTES + constant_bytes(candidate)
            if candidate.task.key not in tasks:
                needed *= 2
            if chosen and needed > budget:
                break
            budget -= needed
            tasks.add(candidate.task.key)
            chosen.append(candidate)
        return chosen

    def _standing(self, trials: int, seconds: float, fresh: int) -> Standing:
        default = best = 0.0
        for task in self.tasks:
            base = self._base_units(task)
            default += task.calls * base
            best += task.calls * self._best_units(task, base)
        known = self.known
        failed = sum(record.units is None for record in known)
        return Standing(len(known), trials, failed, default, best, seconds, fresh)


def _flash_bytes(board: Board) -> int:
    sizes = [region.size_bytes for region in board.memory if region.kind == "flash"]
    return sum(sizes) if sizes else _HOST_FLASH_BYTES
