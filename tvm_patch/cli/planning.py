"""From options to a plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tvm_patch.cli.options import Buffers, Goal, InputForm, make_requirements, parse_grid
from tvm_patch.cli.ways_out import with_ways_out
from tvm_patch.errors import DoesNotFitError, InvalidAllocationError, PlanError

if TYPE_CHECKING:
    from tvm_patch.cli.terminal import Activity
    from tvm_patch.plan import Graph, Plan, Requirements

_MAKE_AGAIN = "make the plan again with: tvm-patch plan MODEL --output plan.json"


@dataclass(frozen=True)
class Wishes:
    """What the options say about the plan; see :mod:`tvm_patch.cli.options`."""

    ram: str | None = None
    optimize: Goal | None = None
    max_overhead: float | None = None
    max_slowdown: float | None = None
    split: str | None = None
    grid: str | None = None
    layers: bool = False
    plan_file: Path | None = None
    algorithm: str = "hill_climb"
    buffering: Buffers = Buffers.ANY
    input_form: InputForm = InputForm.RESIDENT
    time_limit_s: float | None = None

    def check(self) -> None:
        """Refuse options that contradict each other, before any work.

        Raises
        ------
        PlanError
            Naming them.
        """
        given = [
            name
            for name, value in (
                ("--plan", self.plan_file is not None),
                ("--layers", self.layers),
                ("--split", self.split is not None),
            )
            if value
        ]
        if len(given) > 1:
            raise PlanError(f"{' and '.join(given)} contradict each other", hint="give one of them")
        if (self.split is None) != (self.grid is None):
            raise PlanError(
                "--split and --grid go together", hint="for example: --split 7 --grid 4x4"
            )
        objective = None if self.optimize == Goal.SIZE else self.optimize
        limits = (objective, self.max_overhead, self.max_slowdown)
        if given and any(limit is not None for limit in limits):
            raise PlanError(
                f"{given[0]} leaves nothing to choose for --optimize, --max-overhead and "
                "--max-slowdown",
                hint="leave them away",
            )
        if given and given[0] != "--plan" and self.input_form is InputForm.ROWS:
            raise PlanError(f"{given[0]} keeps the input resident", hint="leave --input rows away")
        from tvm_patch.deadline import Deadline
        from tvm_patch.memory.algorithms import find_algorithm

        find_algorithm(self.algorithm)
        Deadline(self.time_limit_s)

    @property
    def small_code(self) -> bool:
        """Whether kernels are to be small rather than fast."""
        return self.optimize == Goal.SIZE

    @property
    def ram_bytes(self) -> int | None:
        """The RAM limit."""
        return self.requirements().ram_bytes

    @property
    def leaves_a_choice(self) -> bool:
        """Whether the planner is to search."""
        return self.plan_file is None and self.split is None and not self.layers

    def requirements(self) -> Requirements:
        """What the search has to keep to."""
        return make_requirements(
            self.ram,
            self.optimize,
            self.max_overhead,
            self.max_slowdown,
            self.buffering,
            self.input_form,
        )


@dataclass(frozen=True)
class Decision:
    """The plan that the options amount to.

    Parameters
    ----------
    plan : Plan
        Chosen, made or loaded.
    cut_short : str or None
        What ended the search before it was done, if something did.
    """

    plan: Plan
    cut_short: str | None = None


def decide(graph: Graph, wishes: Wishes, shown: Activity) -> Decision:
    """Load, make or choose the plan that the options ask for.

    The first Ctrl-C ends the search, not the program: the best plan so far is taken.

    Raises
    ------
    PlanError
        When options contradict each other or the plan does not suit the model.
    DoesNotFitError
        When the plan needs more than ``--ram``.
    """
    wishes.check()
    if wishes.plan_file is not None:
        decision = Decision(load_plan(graph, wishes.plan_file))
    elif wishes.split is not None and wishes.grid is not None:
        grid = parse_grid(wishes.grid)
        decision = Decision(_split_plan(graph, wishes.split, grid, wishes.algorithm))
    else:
        try:
            decision = search(graph, wishes, shown)
        except DoesNotFitError as error:
            raise with_ways_out(error, graph, wishes, shown) from error
    _check_arena(decision.plan, wishes.ram_bytes)
    return decision


def search(
    graph: Graph,
    wishes: Wishes,
    shown: Activity,
    requirements: Requirements | None = None,
) -> Decision:
    """Search under the wishes' time limit, or until Ctrl-C.

    ``requirements`` may be others than the wishes'.
    """
    from tvm_patch.plan import Deadline, choose_plan, interruptible, layer_by_layer

    if wishes.layers:
        return Decision(layer_by_layer(graph, algorithm=wishes.algorithm))
    deadline = Deadline(wishes.time_limit_s)
    with interruptible(deadline):
        plan = choose_plan(
            graph,
            requirements or wishes.requirements(),
            algorithm=wishes.algorithm,
            progress=lambda done: shown.count("candidates", done),
            deadline=deadline,
        )
    if deadline.cut_short is not None:
        shown.note(f"planning was cut short by {deadline.cut_short}: the best plan found by then")
    return Decision(plan, deadline.cut_short)


def load_plan(graph: Graph, path: Path) -> Plan:
    """A plan file, checked against the network.

    Raises
    ------
    PlanError
        Naming the file and what is wrong with it.
    """
    from tvm_patch.plan import Plan, execution_of

    plan = Plan.load(path)
    try:
        execution_of(graph, plan)
    except InvalidAllocationError as error:
        # Here it is no solver that has gone wrong.
        raise PlanError(f"{path}: {error.message}", hint=_MAKE_AGAIN) from error
    except PlanError as error:
        raise PlanError(f"{path}: {error.message}", hint=error.hint or _MAKE_AGAIN) from error
    return plan


def check_peak(model: str, plan: Plan, peak_bytes: int | None, limit_bytes: int | None) -> None:
    """Compare the measured peak with the RAM limit.

    Raises
    ------
    DoesNotFitError
        When arena and stack together took more.
    """
    if peak_bytes is None or limit_bytes is None or peak_bytes <= limit_bytes:
        return
    stack = peak_bytes - plan.memory.arena_bytes
    raise DoesNotFitError(
        f"{model}: the measured peak of {peak_bytes:,} bytes (arena and stack) is over the "
        f"{limit_bytes:,} bytes of --ram",
        required_bytes=peak_bytes,
        available_bytes=limit_bytes,
        hint=f"the inference's stack takes about {stack:,} bytes: plan with a smaller --ram",
    )


def _split_plan(graph: Graph, split: str, grid: tuple[int, int], algorithm: str) -> Plan:
    from tvm_patch.plan import Evaluator, stage_from_split

    where = int(split) if split.isdecimal() else split
    evaluator = Evaluator(graph)
    candidate = evaluator.evaluate((stage_from_split(graph, where, grid),))
    return evaluator.pack(candidate, algorithm=algorithm)


def _check_arena(plan: Plan, limit_bytes: int | None) -> None:
    arena = plan.memory.arena_bytes
    if limit_bytes is not None and arena > limit_bytes:
        raise DoesNotFitError(
            f"{plan.model}: this plan's arena of {arena:,} bytes is over the "
            f"{limit_bytes:,} bytes of --ram",
            required_bytes=arena,
            available_bytes=limit_bytes,
            hint="let the planner choose: leave out --layers, --split and --plan",
        )
