"""Plans in the race: compared with what is known of their kernels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.tune.fakes import digits, digits_tasks
from tvm_patch.board import load_board
from tvm_patch.kernel_times import KernelTime, KernelTimes, kernels_digest
from tvm_patch.pipeline import make_plan
from tvm_patch.plan import Evaluator, Plan, Requirements, stage_from_split
from tvm_patch.schedules import Instructions
from tvm_patch.tune.estimate import instructions_of
from tvm_patch.tune.joint import (
    Contender,
    candidate_plans,
    contenders,
    in_the_race,
    most_calls,
    union_of_tasks,
    worth_measuring,
)

BOARD = load_board("qemu_cortex_m7")


@pytest.fixture(scope="module")
def layers() -> Plan:
    return make_plan(digits(), layers=True)


@pytest.fixture(scope="module")
def patched() -> Plan:
    evaluator = Evaluator(digits().network.graph)
    stage = stage_from_split(digits().network.graph, 7, (4, 4))
    return evaluator.pack(evaluator.evaluate((stage,)))


def times(gathered: float) -> KernelTimes:
    """All kernels of layers measured; gathered ones take so much of the default's time."""
    records = []
    for task in digits_tasks():
        for candidate in task.candidates():
            gathers = candidate.choice.get("form") == "gathered"
            records.append(
                KernelTime(
                    task.key,
                    candidate.choice,
                    instructions_of(task.default) * (gathered if gathers else 1.0),
                    scratch_bytes=candidate.scratch_bytes,
                    kernels=kernels_digest(),
                )
            )
    return KernelTimes(tuple(records))


def contender(name: str, plan: Plan, units: float, arena_bytes: int) -> Contender:
    memory = replace(plan.memory, arena_bytes=arena_bytes)
    return Contender(name, name.split(",")[0], replace(plan, memory=memory), units)


def test_what_another_beats_in_both_is_out_of_the_race(layers: Plan) -> None:
    fast = contender("fast", layers, 100.0, 50)
    small = contender("small", layers, 150.0, 20)
    beaten = contender("beaten", layers, 120.0, 60)
    close = contender("close", layers, 102.0, 60)
    found = [beaten, close, small, fast]
    assert in_the_race(found) == [close, small, fast], "estimates are off by more than 2 %"
    assert worth_measuring(found, 2) == [fast, close]


def test_every_plan_is_measured_before_its_other_forms(layers: Plan) -> None:
    found = [
        contender("one", layers, 100.0, 90),
        contender("one, lean", layers, 110.0, 80),
        contender("other", layers, 150.0, 20),
    ]
    assert [each.name for each in worth_measuring(found, 2)] == ["one", "other"]
    assert [each.name for each in worth_measuring(found)] == ["one", "other", "one, lean"]


def test_faster_kernels_make_a_plan_faster(layers: Plan) -> None:
    def units(known: KernelTimes) -> float:
        return contenders(digits(), {"layers": layers}, known, BOARD, None)[0].units

    assert units(times(0.5)) < 0.8 * units(times(1.0))
    assert units(times(1.0)) == pytest.approx(units(KernelTimes()), rel=1e-6)


def test_plans_come_with_the_memory_there_is_and_lean(layers: Plan) -> None:
    limit = layers.memory.arena_bytes + 4096
    roomy, lean = contenders(digits(), {"layers": layers}, times(0.5), BOARD, limit)
    assert (roomy.name, lean.name) == ("layers", "layers, lean")
    assert lean.arena_bytes == layers.memory.arena_bytes < roomy.arena_bytes <= limit
    assert roomy.units <= lean.units


def test_tasks_weigh_as_in_the_plan_that_needs_them_most(layers: Plan, patched: Plan) -> None:
    plans = {"layers": layers, "patched": patched}
    keys = {task.key for task in union_of_tasks(digits(), plans, Instructions.DSP)}
    calls = most_calls(digits(), list(plans.values()), Instructions.DSP)
    assert set(calls) == keys > {task.key for task in digits_tasks()}
    for plan in plans.values():
        for key, one in most_calls(digits(), [plan], Instructions.DSP).items():
            assert one <= calls[key]


def test_without_others_there_is_the_choice_alone() -> None:
    plans = candidate_plans(digits(), Requirements(buffering="patch"), most=0)
    assert list(plans) == ["chosen"]
