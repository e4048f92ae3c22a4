"""Saying that nothing fits: how much is missing, and which tensors hold the peak up."""

from __future__ import annotations

from tvm_patch.deadline import Deadline
from tvm_patch.errors import DoesNotFitError
from tvm_patch.plan.evaluate import execution_of
from tvm_patch.plan.graph import Graph
from tvm_patch.plan.liveness.moment import worst_moment
from tvm_patch.plan.record import Plan
from tvm_patch.plan.requirements import Requirements

_NAMED_TENSORS = 3


def does_not_fit(
    graph: Graph,
    requirements: Requirements,
    best: Plan,
    *,
    bound_bytes: int = 0,
    deadline: Deadline | None = None,
) -> DoesNotFitError:
    """The error for a RAM limit that no plan keeps to.

    Parameters
    ----------
    graph : Graph
        The network.
    requirements : Requirements
        With a RAM limit.
    best : Plan
        The smallest plan found.
    bound_bytes : int
        No plan that was looked for and keeps to the other requirements has a smaller arena; 0
        where that is not known.
    deadline : Deadline or None
        Of the search.
    """
    assert requirements.ram_bytes is not None
    reserve = requirements.stack_reserve_bytes
    needed = best.memory.arena_bytes + reserve
    parts = [
        f"{graph.name} does not fit {requirements.ram_bytes:,} bytes of RAM: the best plan found "
        f"needs {needed:,} ({best.memory.arena_bytes:,} arena + {reserve:,} reserved for the "
        f"stack, F {best.mac_overhead:.2f})"
    ]
    if bound_bytes:
        parts.append(f"no plan that was looked for can need less than {bound_bytes + reserve:,}")
    held_up = _held_up_by(graph, best)
    if held_up:
        parts.append(held_up)
    hint = f"allow --ram {-(-needed // 1024)}K or more, or make the input image smaller"
    if deadline is not None and deadline.cut_short is not None:
        parts.append(f"planning was cut short by {deadline.cut_short}")
        hint = f"give it more time, or {hint}"
    return DoesNotFitError(
        "; ".join(parts),
        required_bytes=needed,
        available_bytes=requirements.ram_bytes,
        hint=hint,
    )


def _held_up_by(graph: Graph, plan: Plan) -> str:
    """Which tensors are live in the worst moment, in words."""
    moment = worst_moment(execution_of(graph, plan))
    if moment is None:
        return ""
    named = [f"{name} ({size_bytes:,})" for name, size_bytes in moment.holders[:_NAMED_TENSORS]]
    if len(moment.holders) > _NAMED_TENSORS:
        named.append(f"{len(moment.holders) - _NAMED_TENSORS} more")
    return f"it is held up by {', '.join(named)} while {moment.operator} runs"
