"""All plans worth having: the Pareto frontier of peak memory against MAC overhead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby, islice

from tvm_patch.deadline import Deadline
from tvm_patch.plan.choose import Requirements, enumerate_candidates
from tvm_patch.plan.evaluate import Candidate, Evaluator
from tvm_patch.plan.graph import Graph
from tvm_patch.plan.record import Plan

_PACKED_OF_SAME_MACS = 8


def find_frontier(
    graph: Graph,
    requirements: Requirements,
    *,
    algorithm: str = "hill_climb",
    progress: Callable[[int], None] | None = None,
    deadline: Deadline | None = None,
) -> tuple[Plan, ...]:
    """The plans that no other one beats in both arena and overhead.

    Parameters
    ----------
    graph : Graph
        The network.
    requirements : Requirements
        How stages may be buffered, where the input lives, and the greatest overhead, if there is
        one. A RAM limit is not looked at.
    algorithm : str
        Packing algorithm.
    progress : callable or None
        Told how many candidates there are by now.
    deadline : Deadline or None
        When it passes, the frontier of what has been found by then.

    Returns
    -------
    tuple of Plan
        Fewest MACs and largest arena first; each next one has more MACs and a smaller arena.
        Empty where the input cannot come by rows.
    """
    deadline = deadline or Deadline()
    evaluator = Evaluator(graph)
    candidates = enumerate_candidates(
        evaluator,
        progress,
        buffering=requirements.buffering,
        input_mode=requirements.input_mode,
        deadline=deadline,
    )
    most = requirements.max_overhead
    allowed = [c for c in candidates if most is None or c.mac_overhead <= most]
    packed: list[Plan] = []
    smallest: int | None = None
    for _, same in groupby(sorted(allowed, key=_by_macs), key=lambda c: c.macs):
        # The bound does not tell which of the best packs best.
        for candidate in islice(same, _PACKED_OF_SAME_MACS):
            if smallest is not None and candidate.bound_bytes >= smallest:
                break
            plan = evaluator.pack(candidate, algorithm=algorithm, deadline=deadline)
            packed.append(plan)
            arena_bytes = plan.memory.arena_bytes
            smallest = arena_bytes if smallest is None else min(smallest, arena_bytes)
            if deadline.passed():
                return undominated(packed)
    return undominated(packed)


def _by_macs(candidate: Candidate) -> tuple[int, int, tuple[int, int]]:
    return candidate.macs, candidate.bound_bytes, candidate.cost


def undominated(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    """Those that no other beats in both arena and MACs, fewest MACs first."""
    frontier: list[Plan] = []
    for plan in sorted(plans, key=lambda plan: (plan.macs, plan.memory.arena_bytes)):
        if not frontier or plan.memory.arena_bytes < frontier[-1].memory.arena_bytes:
            frontier.append(plan)
    return tuple(frontier)
