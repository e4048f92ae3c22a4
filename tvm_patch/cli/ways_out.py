"""What would make a model fit that does not: tried out, not guessed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tvm_patch.errors import DoesNotFitError, PlanError

if TYPE_CHECKING:
    from tvm_patch.cli.planning import Wishes
    from tvm_patch.cli.terminal import Activity
    from tvm_patch.plan import Graph, Requirements

# No limit that could be in a search's way.
_UNLIMITED_BYTES = 1 << 40


def with_ways_out(
    error: DoesNotFitError, graph: Graph, wishes: Wishes, shown: Activity
) -> DoesNotFitError:
    """The same error, its hint naming options that need less memory, and how much.

    Each one is searched for; Ctrl-C leaves the rest out.
    """
    from tvm_patch.plan import Deadline, choose_plan, interruptible

    found: list[tuple[int, str]] = []
    deadline = Deadline(wishes.time_limit_s)
    shown.step("it does not fit: look for ways out")
    with interruptible(deadline):
        for words, requirements in _others(wishes.requirements()):
            if deadline.passed():
                break
            try:
                plan = choose_plan(
                    graph, requirements, algorithm=wishes.algorithm, deadline=deadline
                )
            except PlanError:
                # No such plan: the input cannot come by rows.
                continue
            needed_bytes = plan.memory.arena_bytes + requirements.stack_reserve_bytes
            if needed_bytes < error.required_bytes:
                if words == "--max-overhead":
                    words += f" {math.ceil(plan.mac_overhead * 100) / 100:.2f}"
                if words == "--max-slowdown":
                    words += f" {math.ceil(plan.slowdown * 100) / 100:.2f}"
                fits = " and fits" if needed_bytes <= error.available_bytes else ""
                found.append(
                    (
                        needed_bytes,
                        f"{words} needs {needed_bytes:,} bytes{fits} (F {plan.mac_overhead:.2f})",
                    )
                )
    if not found:
        return error
    lines = [text for _, text in sorted(found)]
    hint = "\n  ".join([*lines, *([error.hint] if error.hint else [])])
    return DoesNotFitError(
        error.message,
        required_bytes=error.required_bytes,
        available_bytes=error.available_bytes,
        hint=hint,
    )


def _others(requirements: Requirements) -> Iterator[tuple[str, Requirements]]:
    """Options that allow more than the given ones, with the requirements that they stand for."""
    from tvm_patch.plan import InputMode

    least = replace(requirements, ram_bytes=_UNLIMITED_BYTES, objective="memory")
    if requirements.max_overhead is not None:
        yield "--max-overhead", replace(least, max_overhead=None)
    if requirements.max_slowdown is not None:
        yield "--max-slowdown", replace(least, max_slowdown=None)
    if requirements.buffering != "any":
        yield "--buffering any", replace(least, buffering="any")
    if requirements.input_mode is InputMode.RESIDENT:
        yield "--input rows", replace(least, input_mode=InputMode.ROWS)
