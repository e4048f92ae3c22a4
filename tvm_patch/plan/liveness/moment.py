"""The moment that sets the size of an arena: when it is, and what lies there."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_patch.memory import find_peak
from tvm_patch.plan.layout.group import Group
from tvm_patch.plan.liveness.storage import Execution


@dataclass(frozen=True)
class Moment:
    """A tick of an execution.

    Parameters
    ----------
    group : str
        The stage that runs, or the operator on its own.
    operator : str
        The operator that runs; of some that go through a row together, the last.
    live_bytes : int
        What must be in memory then.
    holders : tuple of (str, int)
        Name and live bytes of each storage, most first.
    """

    group: str
    operator: str
    live_bytes: int
    holders: tuple[tuple[str, int], ...]

    @property
    def in_stage(self) -> bool:
        """Whether the operator is part of a stage."""
        return self.group != self.operator


def worst_moment(execution: Execution) -> Moment | None:
    """The first tick with the most live bytes; None where nothing is ever live."""
    peak = find_peak(execution.problem())
    if not peak.buffers:
        return None
    alone = len(peak.buffers) == 1
    holders = [
        (each.name, each.size_bytes if alone else each.live_bytes_at(peak.step))
        for each in peak.buffers
    ]
    holders.sort(key=lambda item: (-item[1], item[0]))
    group, operator = _running(execution, peak.step)
    return Moment(group.name, operator, peak.live_bytes, tuple(holders))


def _running(execution: Execution, tick: int) -> tuple[Group, str]:
    """Group and operator at a tick."""
    for group in execution.groups:
        first, last = execution.ticks[group.name]
        if first <= tick <= last:
            unit = group.units[group.order[(tick - first) % len(group.order)]]
            return group, group.operators[unit[-1]].operator.name
    # Outputs are live once more behind everything.
    group = execution.groups[-1]
    return group, group.operators[-1].operator.name
