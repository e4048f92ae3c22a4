"""The board behind meta_schedule's builder, runner and database."""

from __future__ import annotations

from pathlib import Path

import pytest
import tvm
from tvm.s_tir.meta_schedule.builder import BuilderInput
from tvm.s_tir.meta_schedule.database import JSONDatabase
from tvm.s_tir.meta_schedule.runner import RunnerInput
from tvm.target import Target

from tests.support import need_emulator
from tests.unit.tune.fakes import FakeBench, Kept, digits_tasks
from tests.unit.tune.test_bench import Broken
from tvm_patch.board import load_board
from tvm_patch.schedules import DspConvRow
from tvm_patch.tune.bench import Bench
from tvm_patch.tune.meta_schedule import DeviceRunner, FirmwareBuilder, export_database
from tvm_patch.tune.tasks import Task
from tvm_patch.tune.trace import candidate_of, choice_of, module_of, schedule_of
from tvm_patch.tune.tuner import Tuner


def convolution() -> Task:
    return next(task for task in digits_tasks() if isinstance(task.default, DspConvRow))


def scheduled(task: Task, number: int) -> tvm.IRModule:
    return schedule_of(module_of(task), task.candidates()[number]).mod


def test_a_scheduled_module_says_which_candidate_it_is() -> None:
    for task in digits_tasks():
        for number, candidate in enumerate(task.candidates()[:4]):
            found = candidate_of(scheduled(task, number), digits_tasks())
            assert found.identity == candidate.identity


def test_modules_of_something_else_are_refused() -> None:
    first, second = digits_tasks()[:2]
    with pytest.raises(ValueError, match="none of the tasks"):
        candidate_of(scheduled(first, 0), [second])
    with pytest.raises(ValueError, match="no task"):
        candidate_of(module_of(first), [first])


@pytest.mark.emulator
def test_modules_go_in_and_times_come_out(tmp_path: Path) -> None:
    need_emulator()
    tasks, target = digits_tasks(), Target("c")
    task = convolution()
    bench = Bench(load_board("qemu_cortex_m7"), tmp_path)
    builder = FirmwareBuilder(tasks, bench)
    modules = [scheduled(task, 0), module_of(task), scheduled(task, 1)]
    built = builder.build([BuilderInput(module, target) for module in modules])
    assert [result.error_msg is None for result in built] == [True, False, True]
    assert len(builder.images) == 1
    paths = [result.artifact_path for result in (built[2], built[0])]
    inputs = [RunnerInput(path, "cpu", []) for path in (*paths, "elsewhere.elf#0")]
    futures = DeviceRunner(builder).run(inputs)
    assert all(future.done() for future in futures)
    second, first, unknown = (future.result() for future in futures)
    assert "not built here" in unknown.error_msg
    expected = bench.measure(task.candidates()[:2])
    seconds = [reading.units / bench.board.clock_hz for reading in expected if reading.units]
    assert [float(each.run_secs[0]) for each in (first, second)] == pytest.approx(seconds)


@pytest.mark.emulator
def test_what_does_not_build_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_emulator()
    task = convolution()
    broken, good = task.candidates()[1], task.candidates()[2]
    make = Task.candidate

    def candidate(self: Task, choice: dict[str, str]) -> object:
        made = make(self, choice)
        if made is not None and made.identity == broken.identity:
            return type(made)(self, made.choice, Broken(self.default, "does not build"))
        return made

    monkeypatch.setattr(Task, "candidate", candidate)
    builder = FirmwareBuilder([task], Bench(load_board("qemu_cortex_m7"), tmp_path))
    modules = [schedule_of(module_of(task), each).mod for each in (broken, good)]
    results = builder.build([BuilderInput(module, Target("c")) for module in modules])
    assert "does not build" in results[0].error_msg
    futures = DeviceRunner(builder).run([RunnerInput(results[1].artifact_path, "cpu", [])])
    assert futures[0].result().run_secs


def test_records_become_a_database_of_tvm(tmp_path: Path) -> None:
    kept, task = Kept(), convolution()
    Tuner(digits_tasks(), [FakeBench()], kept, image_candidates=16).run(60)  # type: ignore[list-item]
    export_database([task], kept.records, tmp_path, clock_hz=1_000)
    database = JSONDatabase(work_dir=str(tmp_path))
    module = module_of(task)
    assert database.has_workload(module)
    of_task = [record for record in kept.records if record.task == task.key]
    assert len(database.get_all_tuning_records()) == len(of_task)
    best = min(of_task, key=lambda record: record.units or 0)
    (found,) = database.get_top_k(database.commit_workload(module), 1)
    assert float(found.run_secs[0]) == pytest.approx((best.units or 0) / 1_000)
    replayed = schedule_of(module, task.candidates()[0])
    replayed = type(replayed)(module)
    found.trace.apply_to_schedule(replayed, remove_postproc=False)
    assert choice_of(replayed, task.space) == dict(best.choice)
