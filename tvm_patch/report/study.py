"""A network and its plan, with everything that there is to say about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from tvm_patch.plan import (
    Access,
    Graph,
    InputMode,
    Moment,
    Plan,
    execution_of,
    worst_moment,
)
from tvm_patch.report.export import plan_record
from tvm_patch.report.planned import Peak, peaks_record
from tvm_patch.report.stages import Part, StageSummary, fallbacks, summarise_stages


@dataclass(frozen=True)
class Study:
    """What is known of a plan before anything has run.

    Parameters
    ----------
    graph : Graph
        The network.
    plan : Plan
        Made for it.
    peaks : tuple of Peak
        Of this plan, and of the one with the input given the other way; may be empty.
    frontiers : mapping of InputMode to tuple of Plan
        Plans that no other one beats, if they were asked for.
    layers : Plan or None
        Layer by layer, to compare with.
    limit_bytes : int or None
        A RAM limit that was given.
    cut_short : str or None
        What ended the search before it was done, if something did.

    Raises
    ------
    PlanError
        From what is derived, when the plan belongs to another network.
    """

    graph: Graph
    plan: Plan
    peaks: tuple[Peak, ...] = ()
    frontiers: Mapping[InputMode, tuple[Plan, ...]] = field(default_factory=dict)
    layers: Plan | None = None
    limit_bytes: int | None = None
    cut_short: str | None = None

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Stages, and what runs between them."""
        return summarise_stages(self.graph, self.plan)

    @cached_property
    def moment(self) -> Moment | None:
        """When most bytes are live."""
        return worst_moment(execution_of(self.graph, self.plan))

    @property
    def stages(self) -> tuple[StageSummary, ...]:
        """The stages alone."""
        return tuple(part for part in self.parts if isinstance(part, StageSummary))


def study_record(study: Study) -> dict[str, Any]:
    """A study for programs."""
    graph, plan = study.graph, study.plan
    operators = sum(operator.access is not Access.VIEW for operator in graph.operators)
    record: dict[str, Any] = {
        "model": {"name": graph.name, "macs": graph.macs, "operators": operators},
        "plan": plan_record(plan),
        "planned": {
            "arena_bytes": plan.memory.arena_bytes,
            "lower_bound_bytes": plan.memory.lower_bound_bytes,
            "layer_by_layer_arena_bytes": study.layers.memory.arena_bytes if study.layers else None,
        },
        "peaks": peaks_record(study.peaks),
        "worst_moment": None if study.moment is None else asdict(study.moment),
        "stages": [asdict(stage) for stage in study.stages],
        "in_no_stage": {why: list(names) for why, names in fallbacks(graph, study.parts).items()},
        "cut_short": study.cut_short,
    }
    if study.frontiers:
        record["frontier"] = {
            mode.value: [
                {"arena_bytes": each.memory.arena_bytes, **plan_record(each)} for each in plans
            ]
            for mode, plans in study.frontiers.items()
        }
    return record
