"""Memory for kernels that have been measured to be faster with more of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tvm_patch.analysis import Network
from tvm_patch.kernel_times import KernelTimes
from tvm_patch.lower.kernels import choose_kernels
from tvm_patch.plan import Evaluator, Plan, execution_of
from tvm_patch.schedules import Instructions, space_of

#: Packings that are tried at most.
_MOST_TRIES = 12


@dataclass(frozen=True)
class _Wish:
    """Scratch memory for one operator, and what an inference gains by it."""

    operator: str
    size_bytes: int
    gain: float


def with_tuned_scratch(
    network: Network,
    plan: Plan,
    times: KernelTimes,
    instructions: Instructions,
    *,
    arena_limit_bytes: int | None = None,
    algorithm: str = "hill_climb",
) -> Plan:
    """A plan with the same stages, whose kernels have the scratch memory that makes them fastest.

    Most operators run while the arena has room to spare. Where it has not, those get memory first
    that gain most by a byte of it.

    Parameters
    ----------
    network : Network
        What is computed.
    plan : Plan
        How.
    times : KernelTimes
        Measured.
    instructions : Instructions
        What the core has.
    arena_limit_bytes : int or None
        How large the arena may become; not larger than it is if None.

    Returns
    -------
    Plan
        The one given where nothing is gained.
    """
    limit = max(arena_limit_bytes or 0, plan.memory.arena_bytes)
    wishes = _wishes(network, plan, times, instructions)
    chosen = sorted(wishes, key=lambda wish: -wish.gain / wish.size_bytes)
    best, granted = plan, 0
    # Halving: the longest run of the best wishes that fits, then single ones behind it.
    low, high, tries = 0, len(chosen), 0
    while low < high and tries < _MOST_TRIES:
        middle, tries = (low + high + 1) // 2 if tries else high, tries + 1
        packed = _packed(network, plan, chosen[:middle], algorithm, limit)
        if packed is None:
            high = middle - 1
        else:
            low, best, granted = middle, packed, middle
    kept = chosen[:granted]
    for wish in sorted(chosen[granted + 1 :], key=lambda each: -each.gain)[:_MOST_TRIES]:
        packed = _packed(network, plan, [*kept, wish], algorithm, limit)
        if packed is not None:
            best, kept = packed, [*kept, wish]
    return best


def _packed(
    network: Network, plan: Plan, wishes: list[_Wish], algorithm: str, limit_bytes: int
) -> Plan | None:
    sizes = dict(plan.scratch_bytes) | {wish.operator: wish.size_bytes for wish in wishes}
    evaluator = Evaluator(network.graph.with_scratch(sizes))
    candidate = evaluator.evaluate(plan.stages)
    if candidate.bound_bytes > limit_bytes:
        return None
    packed = replace(evaluator.pack(candidate, algorithm=algorithm), scratch_bytes=sizes)
    return packed if packed.memory.arena_bytes <= limit_bytes else None


def _wishes(
    network: Network, plan: Plan, times: KernelTimes, instructions: Instructions
) -> list[_Wish]:
    wishes = []
    for group in execution_of(network.graph, plan).groups:
        for layout in group.operators:
            kernels = choose_kernels(network, group, layout, instructions)
            macs = sum(kernel.macs for kernel in kernels)
            gain, most = 0.0, layout.scratch_bytes
            for kernel in kernels:
                space = space_of(kernel)
                known = () if space is None else times.times(space.key)
                if space is None or not known or known[0].units is None:
                    continue
                now = times.best(space.key, layout.scratch_bytes)
                if now is None or now.units is None:
                    continue
                calls = group.macs_of(layout) / macs
                gain += calls * (now.units - known[0].units)
                most = max(most, known[0].scratch_bytes)
            if gain > 0 and most > layout.scratch_bytes:
                wishes.append(_Wish(layout.operator.name, most, gain))
    return wishes
