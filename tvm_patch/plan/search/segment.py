"""A part of the network in execution order: an operator on its own, or a run that is streamed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tvm_patch.errors import PlanError
from tvm_patch.plan.effort import Work, group_instructions
from tvm_patch.plan.graph import Access, Graph
from tvm_patch.plan.layout.stage import layer_group, stage_group
from tvm_patch.plan.record import StagePlan
from tvm_patch.plan.search.live_bytes import LiveBytes
from tvm_patch.plan.search.variants import Variant


@dataclass(frozen=True)
class Segment:
    """A part of the network in execution order.

    Parameters
    ----------
    begin, end : int
        Operators ``begin`` to ``end - 1``.
    stage : StagePlan or None
        How it is streamed; None for an operator on its own.
    peak_bytes : int
        Live bytes at its worst tick, tensors that only pass by included.
    work : Work
        What it costs.
    """

    begin: int
    end: int
    stage: StagePlan | None
    peak_bytes: int
    work: Work


class Segments:
    """Makes the segments of a graph.

    Parameters
    ----------
    graph : Graph
        The network.
    fetched : collection of str
        Inputs that are brought row by row.
    """

    def __init__(self, graph: Graph, fetched: Collection[str]) -> None:
        self.graph = graph
        self.fetched = fetched
        self.live = LiveBytes(graph, fetched)

    def between(self, begin: int, end: int, variant: Variant | None) -> Segment | None:
        """One segment, an operator on its own without a variant; None where it cannot be."""
        operator = self.graph.operators[begin]
        if operator.access is Access.VIEW:
            alive = self.live.floor_bytes(begin, end)
            return Segment(begin, end, None, alive, Work(0, 0)) if variant is None else None
        stage = None
        if variant is not None:
            stage = variant.stage(self.graph.operators[begin:end], self.fetched)
        try:
            group = (
                layer_group(self.graph, operator)
                if stage is None
                else stage_group(self.graph, stage, "stage0")
            )
        except PlanError:
            return None
        peak_bytes = self.live.peak_bytes(group, begin, end)
        work = Work(group.macs, group_instructions(group), peak_bytes)
        return Segment(begin, end, stage, peak_bytes, work)
