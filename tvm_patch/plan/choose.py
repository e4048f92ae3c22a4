"""Choosing a plan: the fastest that fits, or the smallest at an overhead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tvm_patch.deadline import Deadline
from tvm_patch.errors import PlanError
from tvm_patch.plan.enumerate import first_stages
from tvm_patch.plan.evaluate import Candidate, Evaluator
from tvm_patch.plan.graph import Graph
from tvm_patch.plan.record import InputMode, Plan, StagePlan
from tvm_patch.plan.refusal import does_not_fit
from tvm_patch.plan.segments import StreamSpace, segment_sequences

Objective = Literal["memory", "macs"]
Buffering = Literal["any", "patch", "rows"]

STACK_RESERVE_BYTES = 1024
"""What a RAM limit leaves for the stack of the inference call; the device measures it."""

_DEFAULT_MAX_OVERHEAD = 1.5
_MOST_SEQUENCES = 48
_BEST_PACKED = 32


@dataclass(frozen=True)
class Requirements:
    """What a plan has to keep to, and what it is to be best at.

    Parameters
    ----------
    ram_bytes : int or None
        Limit of inference peak SRAM: arena plus stack.
    objective : {"memory", "macs"}
        Least arena, or fewest MACs. With a limit the default is fewest MACs that fit.
    max_overhead : float or None
        Greatest MAC overhead F allowed, at least 1.
    buffering : {"any", "patch", "rows"}
        ``patch``: one first stage that recomputes halos. ``rows``: any number of stages that keep
        whole rows in line buffers, so that no MAC is done twice and little is moved. ``any``: both,
        and stages that go through rows in steps of columns, which need less memory and take more
        instructions, or make rows again.
    input_mode : InputMode
        ``ROWS``: the input is never resident; a callback brings its rows.
    stack_reserve_bytes : int
        Part of the limit that the arena must leave free.

    Raises
    ------
    PlanError
        For limits that nothing can keep to.
    """

    ram_bytes: int | None = None
    objective: Objective | None = None
    max_overhead: float | None = None
    buffering: Buffering = "any"
    input_mode: InputMode = InputMode.RESIDENT
    stack_reserve_bytes: int = STACK_RESERVE_BYTES

    def __post_init__(self) -> None:
        if self.max_overhead is not None and self.max_overhead < 1.0:
            raise PlanError(
                f"a MAC overhead of {self.max_overhead} cannot be: layer by layer is 1.0",
                hint="allow 1.0 or more",
            )
        if self.ram_bytes is not None and self.ram_bytes <= 0:
            raise PlanError(f"a RAM limit of {self.ram_bytes} bytes leaves nothing to plan with")

    @property
    def arena_limit_bytes(self) -> int | None:
        """The limit of the arena alone."""
        return None if self.ram_bytes is None else self.ram_bytes - self.stack_reserve_bytes

    @property
    def overhead_limit(self) -> float:
        """The overhead allowed; wide open under a RAM limit, which is the harder wish."""
        if self.max_overhead is not None:
            return self.max_overhead
        return float("inf") if self.ram_bytes is not None else _DEFAULT_MAX_OVERHEAD

    @property
    def goal(self) -> Objective:
        """The objective in force."""
        return self.objective or ("macs" if self.ram_bytes is not None else "memory")


def enumerate_candidates(
    evaluator: Evaluator,
    progress: Callable[[int], None] | None = None,
    *,
    buffering: Buffering = "any",
    input_mode: InputMode = InputMode.RESIDENT,
    max_overhead: float = _DEFAULT_MAX_OVERHEAD,
    deadline: Deadline | None = None,
) -> list[Candidate]:
    """Layer by layer, first stages in patches, and sequences of streamed stages.

    When the deadline has passed, those found by then; at least one, if there is one.

    With an input by rows only streams that fetch it; none where the network cannot be streamed
    from its first operator on.
    """
    deadline = deadline or Deadline()
    resident = input_mode is InputMode.RESIDENT
    candidates = [evaluator.evaluate(())] if resident else []

    def add(stages: tuple[StagePlan, ...]) -> None:
        candidates.append(evaluator.evaluate(stages))
        if progress is not None:
            progress(len(candidates))

    if buffering != "rows" and resident and max_overhead > 1.0:
        for stage in first_stages(evaluator.graph):
            if deadline.passed():
                return candidates
            add((stage,))
    if buffering != "patch" or not resident:
        steps = buffering == "any"
        space = StreamSpace(
            evaluator.graph,
            input_mode,
            recompute=steps and max_overhead > 1.0,
            steps=steps,
            deadline=deadline,
        )
        for stages in segment_sequences(space, _MOST_SEQUENCES, max_overhead=max_overhead):
            if stages:
                add(stages)
            if candidates and deadline.passed():
                break
    return candidates


def pareto(candidates: list[Candidate]) -> list[Candidate]:
    """Those that no other beats in both cost and memory bound, cheapest first."""
    frontier: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (*c.cost, c.bound_bytes)):
        if not frontier or candidate.bound_bytes < frontier[-1].bound_bytes:
            frontier.append(candidate)
    return frontier


def layer_by_layer(graph: Graph, *, algorithm: str = "hill_climb") -> Plan:
    """The plan without stages."""
    evaluator = Evaluator(graph)
    return evaluator.pack(evaluator.evaluate(()), algorithm=algorithm)


def choose_plan(
    graph: Graph,
    requirements: Requirements,
    *,
    algorithm: str = "hill_climb",
    progress: Callable[[int], None] | None = None,
    deadline: Deadline | None = None,
) -> Plan:
    """The best plan that keeps to the requirements.

    Parameters
    ----------
    graph : Graph
        The network.
    requirements : Requirements
        Limits, and what to be best at.
    algorithm : str
        Packing algorithm.
    progress : callable or None
        Told how many candidates there are by now.
    deadline : Deadline or None
        When it passes, the best plan found by then is returned; its ``cut_short`` says so.

    Raises
    ------
    DoesNotFitError
        When nothing fits, with the best peak found.
    """
    deadline = deadline or Deadline()
    evaluator = Evaluator(graph)
    candidates = enumerate_candidates(
        evaluator,
        progress,
        buffering=requirements.buffering,
        input_mode=requirements.input_mode,
        max_overhead=requirements.overhead_limit,
        deadline=deadline,
    )
    if not candidates:
        raise PlanError(
            f"{graph.name} cannot take its input by rows: it does not begin with operators that "
            "go through it from top to bottom",
            hint="keep the input resident (--input resident)",
        )
    allowed = [c for c in candidates if c.mac_overhead <= requirements.overhead_limit]
    frontier = pareto(allowed)
    limit = requirements.arena_limit_bytes
    if requirements.goal == "macs":
        for candidate in frontier:
            if limit is not None and candidate.bound_bytes > limit:
                continue
            plan = evaluator.pack(candidate, algorithm=algorithm, deadline=deadline)
            if limit is None or plan.memory.arena_bytes <= limit:
                return plan
            if deadline.passed():
                break
    # The bound does not tell which of the best packs best.
    promising = sorted(allowed, key=lambda c: (c.bound_bytes, *c.cost))[:_BEST_PACKED]
    plans: list[Plan] = []
    for candidate in promising:
        if plans and min(p.memory.arena_bytes for p in plans) <= candidate.bound_bytes:
            break
        plans.append(evaluator.pack(candidate, algorithm=algorithm, deadline=deadline))
        if deadline.passed():
            break
    best = min(plans, key=lambda plan: (plan.memory.arena_bytes, plan.macs))
    if limit is None or best.memory.arena_bytes <= limit:
        return best
    raise does_not_fit(graph, requirements, best, deadline=deadline)
