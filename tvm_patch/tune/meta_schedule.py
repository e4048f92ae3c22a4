"""Measuring on a board behind the interfaces of ``tvm.s_tir.meta_schedule``.

For those who bring a search of their own: schedules of :func:`tvm_patch.tune.trace.schedule_of` go
in, times come out, and records are written as TVM's own tools read them.

>>> builder = FirmwareBuilder(tasks, bench)          # doctest: +SKIP
>>> runner = DeviceRunner(builder)                   # doctest: +SKIP
>>> built = builder.build([BuilderInput(schedule.mod, Target("c"))])     # doctest: +SKIP
>>> runner.run([RunnerInput(built[0].artifact_path, "cpu", [])])[0].result()     # doctest: +SKIP
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tvm.ir.utils import derived_object
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.builder import BuilderInput, BuilderResult, PyBuilder
from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord
from tvm.s_tir.meta_schedule.runner import (
    PyRunner,
    PyRunnerFuture,
    RunnerInput,
    RunnerResult,
)
from tvm.target import Target

from tvm_patch.errors import TvmPatchError
from tvm_patch.kernel_times import KernelTime
from tvm_patch.tune.bench import Bench, BuiltImage, Reading
from tvm_patch.tune.tasks import Candidate, Task
from tvm_patch.tune.trace import candidate_of, module_of, schedule_of

_NUMBER = "#"


@derived_object
class FirmwareBuilder(PyBuilder):  # type: ignore[misc]
    """Builds firmware of all modules that it is given at once, as many to an image as fit.

    The path of an artifact is that of the image's ELF file, and behind a ``#`` the candidate's
    number in it.

    Parameters
    ----------
    tasks : sequence of Task
        Of whose kernels the modules are.
    bench : Bench
        What is built for. Images go to numbered folders in its own.
    """

    def __init__(self, tasks: Sequence[Task], bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.images: dict[str, BuiltImage] = {}
        self._tasks = tuple(tasks)
        self._count = 0

    def build(self, build_inputs: Sequence[BuilderInput]) -> list[BuilderResult]:
        """Build modules; what does not build has the reason in its result."""
        results: dict[int, BuilderResult] = {}
        waiting: list[tuple[int, Candidate]] = []
        for place, each in enumerate(build_inputs):
            try:
                waiting.append((place, candidate_of(each.mod, self._tasks)))
            except ValueError as error:
                results[place] = BuilderResult(None, str(error))
        while waiting:
            paths = self._build_some([candidate for _, candidate in waiting])
            for (place, _), result in zip(waiting, paths, strict=False):
                results[place] = result
            waiting = waiting[len(paths) :]
        return [results[place] for place in range(len(build_inputs))]

    def _build_some(self, candidates: Sequence[Candidate]) -> list[BuilderResult]:
        """Build the first of some candidates: as many as fit, or one that does not build."""
        # All images are run later, so each has a folder of its own.
        self._count += 1
        bench = replace(self.bench, folder=self.bench.folder / f"image{self._count}")
        built = next(bench.build(candidates))
        if isinstance(built, Reading):
            return [BuilderResult(None, built.error)]
        elf = str(built.firmware.elf_path)
        self.images[elf] = built
        numbers = range(len(built.image.candidates))
        return [BuilderResult(f"{elf}{_NUMBER}{number}", None) for number in numbers]


@derived_object
class _Done(PyRunnerFuture):  # type: ignore[misc]
    """A result that is there already."""

    def __init__(self, outcome: RunnerResult) -> None:
        super().__init__()
        self._outcome = outcome

    def done(self) -> bool:
        return True

    def result(self) -> RunnerResult:
        return self._outcome


@derived_object
class DeviceRunner(PyRunner):  # type: ignore[misc]
    """Measures what a :class:`FirmwareBuilder` has built, on its board, emulator or tracker.

    Results are in seconds, as TVM has it; on an emulator they are instructions over the clock's
    hertz and say nothing of time.

    Parameters
    ----------
    builder : FirmwareBuilder
        Whose artifacts it runs.
    """

    def __init__(self, builder: Any) -> None:
        super().__init__()
        self._builder = builder

    def run(self, runner_inputs: Sequence[RunnerInput]) -> list[Any]:
        """Run artifacts; each image once, whatever number of its candidates is asked for."""
        wanted: dict[str, list[tuple[int, int]]] = defaultdict(list)
        outcomes: dict[int, RunnerResult] = {}
        for place, each in enumerate(runner_inputs):
            elf, _, number = str(each.artifact_path).rpartition(_NUMBER)
            if elf in self._builder.images and number.isdigit():
                wanted[elf].append((place, int(number)))
            else:
                outcomes[place] = RunnerResult(None, f"{each.artifact_path}: not built here")
        for elf, places in wanted.items():
            outcomes.update(self._run_image(self._builder.images[elf], places))
        return [_Done(outcomes[place]) for place in range(len(runner_inputs))]

    def _run_image(
        self, built: BuiltImage, places: Iterable[tuple[int, int]]
    ) -> dict[int, RunnerResult]:
        bench: Bench = self._builder.bench
        try:
            readings = bench.run(built)
        except TvmPatchError as error:
            return {place: RunnerResult(None, str(error)) for place, _ in places}
        return {place: _result(readings[number], bench) for place, number in places}


def _result(reading: Reading, bench: Bench) -> RunnerResult:
    if reading.units is None:
        return RunnerResult(None, reading.error)
    return RunnerResult([reading.units / bench.board.clock_hz], None)


def export_database(
    tasks: Sequence[Task], records: Iterable[KernelTime], folder: str | Path, *, clock_hz: int
) -> JSONDatabase:
    """Write records as a database of ``tvm.s_tir.meta_schedule``.

    Parameters
    ----------
    tasks : sequence of Task
        Records of other tasks are left out, and so are those that failed.
    records : iterable of KernelTime
        What was measured.
    folder : path
        For ``database_workload.json`` and ``database_tuning_record.json``.
    clock_hz : int
        Of the board.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    database = JSONDatabase(work_dir=str(folder))
    by_key = {task.key: task for task in tasks}
    modules = {task.key: module_of(task) for task in tasks}
    target = Target("c")
    for record in records:
        task = by_key.get(record.task)
        candidate = task.candidate(dict(record.choice)) if task is not None else None
        if candidate is None or record.units is None:
            continue
        module = modules[record.task]
        database.commit_tuning_record(
            TuningRecord(
                schedule_of(module, candidate).trace,
                database.commit_workload(module),
                [record.units / clock_hz],
                target,
                ArgInfo.from_entry_func(module),
            )
        )
    return database
