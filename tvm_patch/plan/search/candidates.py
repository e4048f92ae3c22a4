"""Looking for candidates: layer by layer, first stages in patches, sequences of streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tvm_patch.deadline import Deadline
from tvm_patch.plan.effort import UNLIMITED, Work
from tvm_patch.plan.evaluate import Candidate, Evaluator
from tvm_patch.plan.record import InputMode, StagePlan
from tvm_patch.plan.requirements import Requirements
from tvm_patch.plan.search.patches import first_stages
from tvm_patch.plan.search.streams import StreamSpace, segment_sequences

_MOST_SEQUENCES = 24
# Under a RAM limit: parts of it that live bytes are limited to, since packing takes its share.
_SHARES = (1.0, 0.99, 0.98, 0.96, 0.94, 0.92, 0.9, 0.87, 0.84, 0.8)


class CandidateSearch:
    """All candidates for what is required of a plan.

    Parameters
    ----------
    evaluator : Evaluator
        Of the network.
    requirements : Requirements
        What they have to keep to.
    progress : callable or None
        Told how many candidates there are by now.
    deadline : Deadline or None
        When it has passed, those found by then; at least one, if there is one.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        requirements: Requirements,
        progress: Callable[[int], None] | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self._evaluator = evaluator
        self._requirements = requirements
        self._progress = progress
        self._deadline = deadline or Deadline()
        overhead, slowdown = requirements.overhead_limit, requirements.slowdown_limit
        work = evaluator.layers_work
        self._most = Work(_times(work.macs, overhead), _times(work.instructions, slowdown))
        self._stream_bound_bytes: int | None = None
        self.candidates: list[Candidate] = []

    def run(self) -> None:
        """Layer by layer, first stages in patches, and sequences of streamed stages.

        With an input by rows only streams that fetch it; none where the network cannot be streamed
        from its first operator on.
        """
        wanted = self._requirements
        resident = wanted.input_mode is InputMode.RESIDENT
        if resident:
            self.candidates.append(self._evaluator.evaluate(()))
        if wanted.buffering != "rows" and resident and wanted.overhead_limit > 1.0:
            for stage in first_stages(self._evaluator.graph):
                if self._deadline.passed():
                    return
                self._add((stage,))
        if wanted.buffering != "patch" or not resident:
            self._add_streams()

    @property
    def bound_bytes(self) -> int:
        """Nothing that was looked for has a smaller arena; 0 where the search was cut short.

        Proved where no MAC is done twice, since narrower steps never need more memory. What making
        more rows again saves is not always more, and only some of it is looked at.
        """
        if self._deadline.cut_short is not None:
            return 0
        bounds = [candidate.bound_bytes for candidate in self.allowed]
        if self._stream_bound_bytes is not None:
            bounds.append(self._stream_bound_bytes)
        return min(bounds, default=0)

    @property
    def allowed(self) -> list[Candidate]:
        """Those within the limits of overhead and slowdown.

        Where none is within a limit of slowdown that nobody asked for, the fastest.
        """
        wanted = self._requirements
        within = [c for c in self.candidates if c.mac_overhead <= wanted.overhead_limit]
        fast = [c for c in within if c.slowdown <= wanted.slowdown_limit]
        if fast or not within or wanted.max_slowdown is not None:
            return fast
        return [min(within, key=lambda candidate: candidate.cost)]

    def _add(self, stages: tuple[StagePlan, ...]) -> None:
        self.candidates.append(self._evaluator.evaluate(stages))
        if self._progress is not None:
            self._progress(len(self.candidates))

    def _add_streams(self) -> None:
        wanted = self._requirements
        steps = wanted.buffering == "any"
        recompute = steps and wanted.overhead_limit > 1.0
        space = StreamSpace(
            self._evaluator.graph,
            wanted.input_mode,
            recompute=recompute,
            steps=steps,
            deadline=self._deadline,
        )
        for thrifty in (False, True) if recompute else (False,):
            limits = self._limits(space, thrifty)
            for stages in segment_sequences(space, limits, _MOST_SEQUENCES, thrifty=thrifty):
                if stages:
                    self._add(stages)
                if self.candidates and self._deadline.passed():
                    return

    def _limits(self, space: StreamSpace, thrifty: bool) -> Iterator[int]:
        """Limits of live bytes: around the least for the smallest plan, or around the RAM limit."""
        arena_bytes = self._requirements.arena_limit_bytes
        self._stream_bound_bytes = space.least_peak_bytes
        if self._requirements.goal == "macs" and arena_bytes is not None:
            if arena_bytes >= space.least_peak_bytes:
                shares = (round(arena_bytes * share) for share in _SHARES)
                yield from (share for share in shares if share > space.least_peak_bytes)
            yield from space.limits(space.least_peak_bytes, all_above=False)
            return
        least, below = space.least_within(self._most, thrifty=thrifty)
        if not space.recompute:
            # With two kinds of work the cheapest by one of them proves nothing about both.
            self._stream_bound_bytes = below
        yield from space.limits(least, all_above=self._requirements.goal == "macs")


def _times(work: int, factor: float) -> int:
    return UNLIMITED if factor == float("inf") else int(work * factor)


def pareto(candidates: list[Candidate]) -> list[Candidate]:
    """Those that no other beats in both cost and memory bound, cheapest first."""
    frontier: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (*c.cost, c.bound_bytes)):
        if not frontier or candidate.bound_bytes < frontier[-1].bound_bytes:
            frontier.append(candidate)
    return frontier
