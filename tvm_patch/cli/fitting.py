"""What would fit where a firmware is too large for its board."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tvm_patch.errors import DoesNotFitError, PlanError

if TYPE_CHECKING:
    from tvm_patch.cli.terminal import Activity
    from tvm_patch.pipeline import Prepared
    from tvm_patch.plan import Plan


def with_what_fits(
    error: DoesNotFitError, prepared: Prepared, plan: Plan, shown: Activity
) -> DoesNotFitError:
    """The same error, its hint naming a plan that fits, or boards with enough flash.

    The plan is searched for: its arena must be smaller by what is too much.
    """
    if error.section == "flash":
        hint = _boards_with_flash(error.required_bytes)
    elif error.section:
        hint = _smaller_plan(error, prepared, plan, shown)
    else:
        return error
    return DoesNotFitError(
        error.message,
        required_bytes=error.required_bytes,
        available_bytes=error.available_bytes,
        section=error.section,
        hint=hint,
    )


def _smaller_plan(error: DoesNotFitError, prepared: Prepared, plan: Plan, shown: Activity) -> str:
    from tvm_patch.pipeline import make_plan
    from tvm_patch.plan import InputMode, Requirements

    shown.step("it does not fit: look for a plan that does")
    arena_bytes = plan.memory.arena_bytes - (error.required_bytes - error.available_bytes)
    others = f"beside the arena the firmware takes {_others_bytes(error, plan):,} bytes of it"
    if arena_bytes <= 0:
        return f"no plan helps: {others}; take a larger board"
    resident = Requirements()
    resident = replace(resident, ram_bytes=arena_bytes + resident.stack_reserve_bytes)
    ways = (("", resident), (" --input rows", replace(resident, input_mode=InputMode.ROWS)))
    for option, requirements in ways:
        try:
            found = make_plan(prepared, requirements)
        except (PlanError, DoesNotFitError):
            continue
        return (
            f"this fits: --ram {requirements.ram_bytes}{option} (an arena of "
            f"{found.memory.arena_bytes:,} bytes, F {found.mac_overhead:.2f})"
        )
    return (
        f"no plan was found with an arena of {arena_bytes:,} bytes or less, and {others}; "
        "take a larger board"
    )


def _others_bytes(error: DoesNotFitError, plan: Plan) -> int:
    return error.required_bytes - plan.memory.arena_bytes


def _boards_with_flash(required_bytes: int) -> str:
    from tvm_patch.board import list_boards, load_board

    enough = []
    for name in list_boards():
        board = load_board(name)
        flash = board.region("flash")
        if board.is_real and flash is not None and flash.size_bytes >= required_bytes:
            enough.append(name)
    if not enough:
        return "take a smaller model: no board has so much flash"
    return "weights and code take it, so no plan helps; boards with enough: " + ", ".join(enough)
