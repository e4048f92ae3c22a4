"""Decisions as meta_schedule has them: sampled in a schedule's trace.

All candidates of a task compute the same, and micro-kernels are C: a decision changes no loop that
TVM sees. It is sampled and written on the output's block, so that a record of ours replays as a
trace of ``tvm.s_tir.meta_schedule``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import s_tir, te

from tvm_patch.schedules import MicroKernel, Space
from tvm_patch.tune.tasks import Candidate, Task

_BLOCK = "out"
_PREFIX = "tvm_patch."
_TASK = "tvm_patch_task"


def module_of(task: Task) -> tvm.IRModule:
    """What a task computes, by its description or its TE compute, unscheduled."""
    kernel: Any = task.default
    if isinstance(kernel, MicroKernel):
        function = kernel.description()
    else:
        function = te.create_prim_func(kernel.compute())
    return tvm.IRModule({"main": function})


def schedule_of(module: tvm.IRModule, candidate: Candidate) -> s_tir.Schedule:
    """A schedule of the task's module whose trace has a candidate's decisions."""
    schedule = s_tir.Schedule(module)
    block = schedule.get_sblock(_BLOCK)
    schedule.annotate(block, _TASK, candidate.task.key)
    for name, values in candidate.task.space.decisions.items():
        share, at = 1.0 / len(values), values.index(candidate.choice[name])
        sampled = schedule.sample_categorical(
            list(range(len(values))), [share] * len(values), decision=at
        )
        schedule.annotate(block, _PREFIX + name, sampled)
    return schedule


def choice_of(schedule: s_tir.Schedule, space: Space) -> dict[str, str]:
    """The decisions that a schedule carries."""
    annotations = schedule.get(schedule.get_sblock(_BLOCK)).annotations
    return {
        name: values[int(annotations[_PREFIX + name])] for name, values in space.decisions.items()
    }


def candidate_of(module: tvm.IRModule, tasks: Sequence[Task]) -> Candidate:
    """The candidate that a module of :func:`schedule_of` stands for.

    Raises
    ------
    ValueError
        For modules of something else, of other tasks, and choices that amount to no kernel.
    """
    schedule = s_tir.Schedule(module)
    try:
        annotations = schedule.get(schedule.get_sblock(_BLOCK)).annotations
    except s_tir.ScheduleError as error:
        raise ValueError("the module is no kernel of a tuning task") from error
    key = str(annotations.get(_TASK, ""))
    task = next((task for task in tasks if task.key == key), None)
    if task is None:
        raise ValueError(f"the module is of none of the tasks given ({key or 'no task'})")
    candidate = task.candidate(choice_of(schedule, task.space))
    if candidate is None:
        raise ValueError(f"{key}: this choice amounts to no kernel")
    return candidate


def trace_json(schedule: s_tir.Schedule) -> Any:
    """The trace as meta_schedule's JSON databases have it."""
    return _plain(schedule.trace.as_json())


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "value"):
        return value.value
    return [_plain(item) for item in value]
