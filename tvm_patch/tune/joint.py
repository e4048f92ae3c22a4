"""Plans and kernels together: which plans are in the race, and what their kernels are worth.

The planner knows bytes exactly and speed by an estimate of kernels as they are made without a
tuner. Tuned kernels change which plans are fast, and which scratch memory they want changes how
large plans are. So plans are compared again as kernels are measured, and trials go to the kernels
of those that are left.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tvm_patch.board import Board
from tvm_patch.errors import DoesNotFitError
from tvm_patch.kernel_times import KernelTimes
from tvm_patch.lower.kernels import choose_kernels
from tvm_patch.pipeline import Prepared, instructions_of, make_plan, tuned_plan
from tvm_patch.plan import Deadline, Plan, Requirements, execution_of, find_frontier
from tvm_patch.schedules import Instructions, Kernel, space_of
from tvm_patch.tune.estimate import instructions_of as estimated_instructions
from tvm_patch.tune.tasks import Task, tasks_of

#: Plans of the planner's frontier that are looked at, and how long it may search for them.
_MOST_OF_FRONTIER = 4
_FRONTIER_SECONDS = 60.0
#: A plan is out of the race if another one is smaller and faster by more than estimates are off.
_MARGIN = 0.03
#: Plans that are measured whole, tuned, in addition to the planner's choice.
MOST_PLANS = 5


@dataclass(frozen=True)
class Contender:
    """A plan with memory for tuned kernels.

    Parameters
    ----------
    name : str
        Of the plan that it is made from; *lean* where kernels got no memory beyond its arena.
    source : str
        Name of that plan.
    plan : Plan
        With scratch memory.
    units : float
        Of an inference, as estimated from kernels' times.
    """

    name: str
    source: str
    plan: Plan
    units: float

    @property
    def arena_bytes(self) -> int:
        """The plan's."""
        return self.plan.memory.arena_bytes


def candidate_plans(
    prepared: Prepared, requirements: Requirements, *, most: int = MOST_PLANS
) -> dict[str, Plan]:
    """The planner's own choice, first, and other ways to run within the same limit.

    Those are rows alone, layer by layer, and plans of the planner's frontier of arena and
    multiply-accumulates. With ``most`` at zero there is only the first.

    Raises
    ------
    DoesNotFitError
        When nothing fits the limit.
    """
    plans = {"chosen": make_plan(prepared, requirements)}
    limit = requirements.arena_limit_bytes
    if most == 0:
        return plans

    def offer(name: str, plan: Plan) -> None:
        fits = limit is None or plan.memory.arena_bytes <= limit
        if fits and all(plan.stages != known.stages for known in plans.values()):
            plans[name] = plan

    with suppress(DoesNotFitError):
        offer("rows", make_plan(prepared, replace(requirements, buffering="rows")))
    if requirements.input_mode.value != "rows":
        offer("layers", make_plan(prepared, layers=True))
    deadline = Deadline(time_limit_s=_FRONTIER_SECONDS)
    frontier = find_frontier(prepared.network.graph, requirements, deadline=deadline)
    for number, plan in enumerate(_spread(frontier), start=1):
        offer(f"frontier {number}", plan)
    return plans


def _spread(frontier: Sequence[Plan]) -> list[Plan]:
    """Both ends of the frontier, and what lies evenly between."""
    last, wanted = len(frontier) - 1, min(_MOST_OF_FRONTIER, len(frontier))
    if wanted < 2:
        return list(frontier)
    return [frontier[round(at * last / (wanted - 1))] for at in range(wanted)]


def union_of_tasks(
    prepared: Prepared, plans: Mapping[str, Plan], instructions: Instructions
) -> tuple[Task, ...]:
    """Tasks of several plans: those of the first as they are, of the others what is new."""
    union: dict[str, Task] = {}
    for plan in plans.values():
        for task in tasks_of(prepared.network, plan, instructions):
            union.setdefault(task.key, task)
    return tuple(union.values())


def most_calls(
    prepared: Prepared, plans: Sequence[Plan], instructions: Instructions
) -> dict[str, float]:
    """How often each task's kernel runs in an inference, in the plan that needs it most."""
    calls: dict[str, float] = {}
    for plan in plans:
        for task in tasks_of(prepared.network, plan, instructions):
            calls[task.key] = max(calls.get(task.key, 0.0), task.calls)
    return calls


def contenders(
    prepared: Prepared,
    plans: Mapping[str, Plan],
    times: KernelTimes,
    board: Board,
    arena_limit_bytes: int | None,
) -> list[Contender]:
    """Plans with memory for their kernels: as much as the limit allows, and none beyond the arena.

    Parameters
    ----------
    plans : mapping of str to Plan
        By name.
    times : KernelTimes
        What is known of the board.
    arena_limit_bytes : int or None
        None leaves arenas as they are.
    """
    race = _Race(prepared, times, instructions_of(board))
    found: list[Contender] = []
    for name, plan in plans.items():
        for suffix, limit in (("", arena_limit_bytes), (", lean", None)):
            better = tuned_plan(prepared, plan, times, board, arena_limit_bytes=limit)
            if all(better != known.plan for known in found):
                found.append(Contender(name + suffix, name, better, race.units(better)))
    return found


def in_the_race(found: Sequence[Contender]) -> list[Contender]:
    """Those that no other one beats in arena and, by more than estimates are off, in time."""
    return [
        each
        for each in found
        if not any(
            other.arena_bytes <= each.arena_bytes and other.units < each.units * (1 - _MARGIN)
            for other in found
        )
    ]


def worth_measuring(found: Sequence[Contender], most: int = MOST_PLANS) -> list[Contender]:
    """The fastest in the race, one of each plan before the rest; so many at most."""
    left = sorted(in_the_race(found), key=lambda each: each.units)
    firsts = {each.source: each for each in reversed(left)}
    rest = [each for each in left if each is not firsts[each.source]]
    ranked = sorted(firsts.values(), key=lambda each: each.units)
    return [*ranked, *rest][:most]


class _Race:
    """Estimates whole plans in units of the board's clock.

    The planner says how much longer a plan takes than layers one after the other; measured times
    say what tuned kernels take off that.
    """

    def __init__(self, prepared: Prepared, times: KernelTimes, instructions: Instructions) -> None:
        self._prepared, self._times, self._instructions = prepared, times, instructions
        layers = make_plan(prepared, layers=True)
        measured: list[float] = []
        total = 0.0
        for calls, kernel, _ in self._kernels(layers):
            total += calls * estimated_instructions(kernel)
            default, _ = self._known(kernel, 0)
            if default is not None:
                measured.append(default / estimated_instructions(kernel))
        self._layers = total * (statistics.median(measured) if measured else 1.0)

    def units(self, plan: Plan) -> float:
        """Of an inference."""
        total = plan.slowdown * self._layers
        for calls, kernel, scratch_bytes in self._kernels(plan):
            default, best = self._known(kernel, scratch_bytes)
            if default is not None and best is not None:
                total += calls * (best - default)
        return total

    def _known(self, kernel: Kernel, scratch_bytes: int) -> tuple[float | None, float | None]:
        space = space_of(kernel)
        if space is None:
            return None, None
        default = self._times.time_of(space.key, space.default)
        best = self._times.best(space.key, scratch_bytes)
        return (
            None if default is None else default.units,
            None if best is None else best.units,
        )

    def _kernels(self, plan: Plan) -> list[tuple[float, Kernel, int]]:
        """Calls of an inference, kernel as without a tuner, memory that the plan gives it."""
        network = self._prepared.network
        found: list[tuple[float, Kernel, int]] = []
        for group in execution_of(network.graph, plan).groups:
            for layout in group.operators:
                kernels = choose_kernels(network, group, layout, self._instructions)
                macs = sum(kernel.macs for kernel in kernels)
                for kernel in kernels if macs else ():
                    found.append((group.macs_of(layout) / macs, kernel, layout.scratch_bytes))
        return found
