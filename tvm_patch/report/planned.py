"""What was planned, in a few lines: peaks with the input resident and by rows, the frontier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm_patch.plan import InputMode, Moment, Plan
from tvm_patch.report.cells import Cells, Column
from tvm_patch.report.tables import stages_text

_INPUT_WORDS = {InputMode.RESIDENT: "input resident", InputMode.ROWS: "input by rows"}


@dataclass(frozen=True)
class Peak:
    """The peak of one plan, or why there is none.

    Parameters
    ----------
    input_mode : InputMode
        Where the input lives.
    plan : Plan or None
        None where there is no such plan.
    why_not : str
        The reason in that case.
    cut_short : bool
        Whether the search was ended early, so that there may be a better plan.
    """

    input_mode: InputMode
    plan: Plan | None
    why_not: str = ""
    cut_short: bool = False


def input_words(mode: InputMode) -> str:
    """``input resident`` or ``input by rows``."""
    return _INPUT_WORDS[mode]


def peaks_table(peaks: Sequence[Peak]) -> Cells:
    """Both ways of giving a network its input, beside each other."""
    columns = [
        Column("", left=True),
        *(
            Column(input_words(peak.input_mode) + (" *" if peak.cut_short else ""))
            for peak in peaks
        ),
    ]
    lines = [("arena B", [_arena(peak.plan) for peak in peaks])]
    lines += [
        ("bound of its packing B", [_bound(peak.plan) for peak in peaks]),
        ("bound of all looked for B", [_search_bound(peak.plan) for peak in peaks]),
        ("MAC overhead F", [f"{p.plan.mac_overhead:.3f}" if p.plan else "-" for p in peaks]),
        ("instructions, about x", [f"{p.plan.slowdown:.2f}" if p.plan else "-" for p in peaks]),
        ("operators in stages", [_staged(peak.plan) for peak in peaks]),
    ]
    return Cells(tuple(columns), tuple((name, *cells) for name, cells in lines))


def peaks_record(peaks: Sequence[Peak]) -> dict[str, dict[str, object] | None]:
    """The same for programs, by input mode; None where there is no such plan."""
    return {
        peak.input_mode.value: None
        if peak.plan is None
        else {
            "arena_bytes": peak.plan.memory.arena_bytes,
            "lower_bound_bytes": peak.plan.memory.lower_bound_bytes,
            "search_bound_bytes": peak.plan.bound_bytes or None,
            "mac_overhead": peak.plan.mac_overhead,
            "slowdown": peak.plan.slowdown,
            "cut_short": peak.cut_short,
        }
        for peak in peaks
    }


def _arena(plan: Plan | None) -> str:
    return "-" if plan is None else f"{plan.memory.arena_bytes:,}"


def _search_bound(plan: Plan | None) -> str:
    return f"{plan.bound_bytes:,}" if plan is not None and plan.bound_bytes else "-"


def _bound(plan: Plan | None) -> str:
    return "-" if plan is None else f"{plan.memory.lower_bound_bytes:,}"


def _staged(plan: Plan | None) -> str:
    if plan is None:
        return "-"
    return "+".join(str(len(stage.operators)) for stage in plan.stages) or "none"


def moment_text(moment: Moment, most: int = 4) -> str:
    """What holds the peak up."""
    shown = [f"{name} {size_bytes:,}" for name, size_bytes in moment.holders[:most]]
    if len(moment.holders) > most:
        rest = sum(size_bytes for _, size_bytes in moment.holders[most:])
        shown.append(f"{len(moment.holders) - most} more {rest:,}")
    where = f"{moment.operator} in {moment.group}" if moment.in_stage else moment.operator
    return f"most bytes live while {where} runs: {moment.live_bytes:,} ({', '.join(shown)})"


def frontier_table(plans: Sequence[Plan], chosen: Plan | None = None) -> Cells:
    """Plans with their arena and MACs; the chosen one is marked."""
    rows: list[tuple[str, ...]] = []
    marked: list[int] = []
    for plan in plans:
        is_chosen = chosen is not None and _same(plan, chosen)
        if is_chosen:
            marked.append(len(rows))
        rows.append(
            (
                ">" if is_chosen else "",
                f"{plan.memory.arena_bytes:,}",
                f"{plan.mac_overhead:.3f}",
                f"{plan.macs:,}",
                stages_text(plan.stages),
                plan.stages[-1].operators[-1] if plan.stages else "",
            )
        )
    columns = (
        Column("", left=True),
        Column("arena B"),
        Column("F"),
        Column("MACs", goes=2),
        Column("stages", left=True, shrinks_to=24),
        Column("until", left=True, shrinks_to=12, goes=1),
    )
    return Cells(columns, tuple(rows), marked=marked)


def _same(plan: Plan, other: Plan) -> bool:
    return plan.stages == other.stages and plan.input_mode is other.input_mode
