"""All plans worth having: the Pareto frontier of peak memory against MAC overhead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, islice

from tvm_patch.deadline import Deadline
from tvm_patch.plan.effort import UNLIMITED, Work
from tvm_patch.plan.evaluate import Candidate, Evaluator
from tvm_patch.plan.graph import Graph
from tvm_patch.plan.record import InputMode, Plan, StagePlan
from tvm_patch.plan.requirements import Requirements
from tvm_patch.plan.search.patches import first_stages
from tvm_patch.plan.search.streams import StreamSpace, segment_sequences

_PACKED_OF_SAME_MACS = 8
_SEQUENCES = 24
_OVERHEADS = (1.01, 1.02, 1.03, 1.05, 1.075, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.75, 2.0, 3.0)
"""MAC overheads at which streams are looked for; in between the frontier has what they find."""


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
    most = requirements.overhead_limit
    candidates: list[Candidate] = []
    for stages in _choices(graph, requirements, deadline):
        candidates.append(evaluator.evaluate(stages))
        if progress is not None:
            progress(len(candidates))
    allowed = [c for c in candidates if c.mac_overhead <= most]
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


def _choices(
    graph: Graph, requirements: Requirements, deadline: Deadline
) -> Iterator[tuple[StagePlan, ...]]:
    """Choices of stages, for every overhead that is allowed; at least one, if there is one."""
    resident = requirements.input_mode is InputMode.RESIDENT
    most = requirements.overhead_limit
    if resident:
        yield ()
    if not resident or requirements.buffering != "patch":
        yield from _streams(graph, requirements, deadline)
    if resident and requirements.buffering != "rows" and most > 1.0:
        for stage in first_stages(graph):
            if deadline.passed():
                return
            yield (stage,)


def _streams(
    graph: Graph, requirements: Requirements, deadline: Deadline
) -> Iterator[tuple[StagePlan, ...]]:
    """Sequences of streamed stages: those that keep all rows first, then for every overhead."""
    steps = requirements.buffering == "any"
    found = False
    for recompute in (False, True) if steps and requirements.overhead_limit > 1.0 else (False,):
        space = StreamSpace(
            graph, requirements.input_mode, recompute=recompute, steps=steps, deadline=deadline
        )
        limits = chain(
            _limits(space, requirements.overhead_limit), space.limits(space.least_peak_bytes)
        )
        for stages in segment_sequences(space, limits, _SEQUENCES, thrifty=recompute):
            if stages:
                found = True
                yield stages
            if found and deadline.passed():
                return


def _limits(space: StreamSpace, most: float) -> Iterator[int]:
    """Least live bytes for every overhead looked at, the smallest overhead first."""
    if space.recompute:
        for overhead in (*(each for each in _OVERHEADS if each < most), min(most, _OVERHEADS[-1])):
            work = Work(int(space.graph.macs * overhead), UNLIMITED)
            yield space.least_within(work, thrifty=True)[0]


def _by_macs(candidate: Candidate) -> tuple[int, int, tuple[float, int]]:
    return candidate.macs, candidate.bound_bytes, candidate.cost


def undominated(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    """Those that no other beats in both arena and MACs, fewest MACs first."""
    frontier: list[Plan] = []
    for plan in sorted(plans, key=lambda plan: (plan.macs, plan.memory.arena_bytes)):
        if not frontier or plan.memory.arena_bytes < frontier[-1].memory.arena_bytes:
            frontier.append(plan)
    return tuple(frontier)
