"""The search: what it measures, and when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.tune.fakes import FakeBench, Kept, digits_tasks, made_up
from tvm_patch.errors import TuningError
from tvm_patch.kernel_times import KernelTimes, kernels_digest
from tvm_patch.tune.features import NAMES
from tvm_patch.tune.tasks import total_choices
from tvm_patch.tune.trace import choice_of, module_of, schedule_of, trace_json
from tvm_patch.tune.tuner import Standing, Strategy, Tuner


def make_tuner(bench: Any, kept: Kept, **options: Any) -> Tuner:
    times = KernelTimes(tuple(kept.records))
    return Tuner(digits_tasks(), [bench], kept, times, image_candidates=16, **options)


@pytest.mark.parametrize("strategy", Strategy)
def test_no_candidate_is_measured_without_its_default_and_none_twice(strategy: Strategy) -> None:
    tasks, bench, kept = digits_tasks(), FakeBench(), Kept()
    make_tuner(bench, kept, strategy=strategy).run(len(tasks) + 20)
    seen: set[str] = set()
    for each in bench.asked:
        assert each.choice == each.task.space.default or each.task.key in seen
        seen.add(each.task.key)
    assert len({each.identity for each in bench.asked}) == len(bench.asked) == len(tasks) + 20


@pytest.mark.parametrize("strategy", Strategy)
def test_all_there_is_gets_measured_and_then_it_ends(strategy: Strategy) -> None:
    bench, tasks = FakeBench(), digits_tasks()[:4]
    standing = Tuner(tasks, [bench], Kept(), strategy=strategy).run(10_000)
    assert standing.measured == total_choices(tasks) == len(bench.asked)
    best = 0.0
    for task in tasks:
        best += task.calls * min(map(made_up, task.candidates()))
    assert standing.best_units == pytest.approx(best)


def test_evolution_finds_more_than_chance_in_as_many_trials() -> None:
    def units(strategy: Strategy, trials: int) -> float:
        """Of an inference, after so many."""
        kept = Kept()
        make_tuner(FakeBench(), kept, strategy=strategy).run(trials)
        best = {task.key: made_up(task.candidates()[0]) for task in digits_tasks()}
        for record in kept.records:
            best[record.task] = min(best[record.task], record.units or 0.0)
        return sum(task.calls * best[task.key] for task in digits_tasks())

    for trials in (12, len(digits_tasks()) + 48):  # before and after trees are trained
        assert units(Strategy.EVOLUTIONARY, trials) < units(Strategy.RANDOM, trials)


def test_the_same_seed_searches_the_same() -> None:
    def asked(seed: int) -> list[Any]:
        bench = FakeBench()
        make_tuner(bench, Kept(), seed=seed).run(len(digits_tasks()) + 32)
        return [each.identity for each in bench.asked]

    assert asked(1) == asked(1) != asked(2)


def test_a_board_lost_costs_the_image_in_flight_and_the_rest_goes_on() -> None:
    kept = Kept()
    with pytest.raises(ConnectionError):
        make_tuner(FakeBench(lost_after=2), kept).run(60)
    before = len(kept.records)
    assert before == 32, "two images"
    bench = FakeBench()
    standing = make_tuner(bench, kept).run(60)
    assert standing.measured == 60 and len(bench.asked) == 60 - before == standing.fresh


def test_progress_has_best_so_far_and_time_left() -> None:
    seen: list[Standing] = []
    make_tuner(FakeBench(), Kept()).run(50, seen.append)
    assert [standing.measured for standing in seen][-1] == 50
    ratios = [standing.ratio for standing in seen]
    assert ratios[-1] < 1.0
    assert seen[0].seconds_left is not None and seen[-1].seconds_left == 0


def test_no_trials_and_nothing_to_tune_are_said() -> None:
    with pytest.raises(TuningError, match="0 trials"):
        make_tuner(FakeBench(), Kept()).run(0)
    with pytest.raises(TuningError, match="nothing to tune"):
        Tuner([], [FakeBench()], Kept())  # type: ignore[list-item]


def test_records_say_what_was_measured() -> None:
    kept = Kept()
    make_tuner(FakeBench(), kept).run(5)
    for record in kept.records:
        assert record.kernels == kernels_digest() and record.model == "digits"
        assert len(record.features) == 2 * len(NAMES) and record.macs > 0
        assert record.trace


def test_a_trace_of_meta_schedule_has_the_decisions() -> None:
    from tvm import s_tir
    from tvm.s_tir.schedule import Trace

    task = digits_tasks()[0]
    module = module_of(task)
    for candidate in task.candidates()[::5]:
        schedule = schedule_of(module, candidate)
        assert choice_of(schedule, task.space) == candidate.choice
        again = s_tir.Schedule(module)
        Trace.apply_json_to_schedule(trace_json(schedule), again)
        assert choice_of(again, task.space) == candidate.choice
