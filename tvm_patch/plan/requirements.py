"""What is required of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tvm_patch.errors import PlanError
from tvm_patch.plan.record import InputMode

Objective = Literal["memory", "macs"]
Buffering = Literal["any", "patch", "rows"]

STACK_RESERVE_BYTES = 1024
"""What a RAM limit leaves for the stack of the inference call; the device measures it."""

SLOWDOWN_PER_OVERHEAD = 1.05
"""How much slower plans may be than their MACs, by estimate, if nothing else is asked for.

Estimates of streams are good to about 1 %: counts of the networks measured stay within 1.05.
"""

_DEFAULT_MAX_OVERHEAD = 1.5


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
    max_slowdown : float or None
        Greatest number of instructions, by estimate, as a multiple of those layer by layer; at
        least 1. Where it is not given, a RAM limit leaves it open and otherwise it is
        :data:`SLOWDOWN_PER_OVERHEAD` times the overhead allowed.
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
    max_slowdown: float | None = None
    buffering: Buffering = "any"
    input_mode: InputMode = InputMode.RESIDENT
    stack_reserve_bytes: int = STACK_RESERVE_BYTES

    def __post_init__(self) -> None:
        limits = {"MAC overhead": self.max_overhead, "slowdown": self.max_slowdown}
        for what, limit in limits.items():
            if limit is not None and not limit >= 1.0:
                raise PlanError(
                    f"a {what} of {limit} cannot be: layer by layer is 1.0",
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
    def slowdown_limit(self) -> float:
        """The slowdown allowed."""
        if self.max_slowdown is not None:
            return self.max_slowdown
        if self.ram_bytes is not None:
            return float("inf")
        return SLOWDOWN_PER_OVERHEAD * self.overhead_limit

    @property
    def goal(self) -> Objective:
        """The objective in force."""
        return self.objective or ("macs" if self.ram_bytes is not None else "memory")
