"""From a decision to a study: the other way of giving the input, the frontier."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tvm_patch.cli.planning import search
from tvm_patch.errors import DoesNotFitError, PlanError

if TYPE_CHECKING:
    from tvm_patch.cli.planning import Decision, Wishes
    from tvm_patch.cli.terminal import Activity
    from tvm_patch.plan import Graph, InputMode, Plan
    from tvm_patch.report.planned import Peak
    from tvm_patch.report.study import Study


def study_of(
    graph: Graph, wishes: Wishes, decision: Decision, shown: Activity, *, frontier: bool
) -> Study:
    """Everything that can be said of a decision before it runs."""
    from tvm_patch.plan import layer_by_layer
    from tvm_patch.report.study import Study

    plan = decision.plan
    return Study(
        graph=graph,
        plan=plan,
        peaks=_peaks(graph, wishes, decision, shown),
        frontiers=_frontiers(graph, wishes, plan, shown) if frontier else {},
        layers=layer_by_layer(graph),
        limit_bytes=wishes.ram_bytes,
        cut_short=decision.cut_short,
    )


def _peaks(graph: Graph, wishes: Wishes, decision: Decision, shown: Activity) -> tuple[Peak, ...]:
    """The plan's own peak, and where there was a choice the best with the input given otherwise."""
    from tvm_patch.report.planned import Peak, input_words

    plan = decision.plan
    own = Peak(plan.input_mode, plan, cut_short=decision.cut_short is not None)
    if not wishes.leaves_a_choice:
        return (own,)
    other = _other(plan.input_mode)
    shown.step(f"plan with {input_words(other)}")
    try:
        requirements = replace(wishes.requirements(), input_mode=other)
        found = search(graph, wishes, shown, requirements)
        peak = Peak(other, found.plan, cut_short=found.cut_short is not None)
    except DoesNotFitError:
        peak = Peak(other, None, why_not="does not fit")
    except PlanError:
        peak = Peak(other, None, why_not="cannot come by rows")
    return (own, peak)


def _frontiers(
    graph: Graph, wishes: Wishes, chosen: Plan, shown: Activity
) -> dict[InputMode, tuple[Plan, ...]]:
    """The frontiers of both ways of giving the input."""
    from tvm_patch.plan import Deadline, InputMode, find_frontier, interruptible, undominated

    # Packing every plan exactly would take minutes and change none of their order.
    quick = "hill_climb" if wishes.algorithm == "exact" else wishes.algorithm
    found: dict[InputMode, tuple[Plan, ...]] = {}
    for mode in InputMode:
        shown.step(f"list the plans worth having, input {mode.value}")
        deadline = Deadline(wishes.time_limit_s)
        with interruptible(deadline):
            plans = find_frontier(
                graph,
                replace(wishes.requirements(), input_mode=mode),
                algorithm=quick,
                progress=lambda done: shown.count("candidates", done),
                deadline=deadline,
            )
        if deadline.cut_short is not None:
            shown.note(f"the list was cut short by {deadline.cut_short}")
        if mode is chosen.input_mode:
            plans = undominated([*plans, chosen])
        if plans:
            found[mode] = plans
    return found


def _other(mode: InputMode) -> InputMode:
    from tvm_patch.plan import InputMode

    return InputMode.ROWS if mode is InputMode.RESIDENT else InputMode.RESIDENT
