"""Choosing a plan: the fastest that fits, or the smallest at an overhead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tvm_patch.deadline import Deadline
from tvm_patch.errors import PlanError
from tvm_patch.plan.evaluate import Candidate, Evaluator
from tvm_patch.plan.graph import Graph
from tvm_patch.plan.record import Plan
from tvm_patch.plan.refusal import does_not_fit
from tvm_patch.plan.requirements import Requirements
from tvm_patch.plan.search.candidates import CandidateSearch, pareto

_BEST_PACKED = 16
# Packings of plans that may turn out the best are tried so often.
_TRIES, _TRIED_AGAIN = 8, 3


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
    search = CandidateSearch(evaluator, requirements, progress, deadline)
    search.run()
    if not search.candidates:
        raise PlanError(
            f"{graph.name} cannot take its input by rows: it does not begin with operators that "
            "go through it from top to bottom",
            hint="keep the input resident (--input resident)",
        )
    allowed = search.allowed
    if not allowed:
        raise PlanError(
            f"no plan that brings the input of {graph.name} by rows keeps to a slowdown of "
            f"{requirements.slowdown_limit:.4g}",
            hint=f"allow --max-slowdown {min(c.slowdown for c in search.candidates) + 0.01:.2f}",
        )
    bound_bytes = search.bound_bytes
    limit = requirements.arena_limit_bytes
    if requirements.goal == "macs":
        for candidate in pareto(allowed):
            if limit is not None and candidate.bound_bytes > limit:
                continue
            plan = evaluator.pack(candidate, algorithm=algorithm, deadline=deadline)
            if limit is None or plan.memory.arena_bytes <= limit:
                return replace(plan, bound_bytes=bound_bytes)
            if deadline.passed():
                break
    best = replace(
        _smallest(evaluator, allowed, algorithm=algorithm, deadline=deadline),
        bound_bytes=bound_bytes,
    )
    if limit is None or best.memory.arena_bytes <= limit:
        return best
    raise does_not_fit(graph, requirements, best, bound_bytes=bound_bytes, deadline=deadline)


def _smallest(
    evaluator: Evaluator, candidates: Sequence[Candidate], *, algorithm: str, deadline: Deadline
) -> Plan:
    """The smallest plan once packed; the bound does not tell which of the best packs best."""
    promising = sorted(candidates, key=lambda c: (c.bound_bytes, *c.cost))[:_BEST_PACKED]
    best: Plan | None = None
    for tries, several in ((1, promising), (_TRIES, promising[:_TRIED_AGAIN])):
        for candidate in several:
            if best is not None and best.memory.arena_bytes <= candidate.bound_bytes:
                break
            plan = evaluator.pack(candidate, algorithm=algorithm, deadline=deadline, tries=tries)
            if best is None or plan.memory.arena_bytes < best.memory.arena_bytes:
                best = plan
            if deadline.passed():
                return best
    assert best is not None
    return best
