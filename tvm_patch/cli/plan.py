"""``tvm-patch plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from tvm_patch.cli.options import (
    Algorithm,
    BufferingOption,
    Buffers,
    Grid,
    InputForm,
    InputOption,
    Io,
    IoForm,
    JsonFile,
    Layers,
    MaxOverhead,
    Model,
    Optimize,
    Ram,
    Split,
    TimeLimit,
    Verbose,
)
from tvm_patch.cli.planning import Wishes, decide

if TYPE_CHECKING:
    from tvm_patch.plan import Graph, Plan


def plan(
    model: Model,
    ram: Ram = None,
    optimize: Optimize = None,
    max_overhead: MaxOverhead = None,
    buffering: BufferingOption = Buffers.ANY,
    input_form: InputOption = InputForm.RESIDENT,
    split: Split = None,
    grid: Grid = None,
    layers: Layers = False,
    algorithm: Algorithm = "hill_climb",
    time_limit: TimeLimit = None,
    io: IoForm = Io.MODEL,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", metavar="FILE", help="Write the chosen plan as JSON."),
    ] = None,
    plot: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--plot", metavar="FILE.png", help="Draw its memory over time."),
    ] = None,
    csv: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--csv", metavar="FILE", help="Write its packing as MiniMalloc's CSV."),
    ] = None,
    json_file: JsonFile = None,
    verbose: Verbose = False,
) -> None:
    """Show the plans worth having, and choose one.

    The table holds all plans that no other one beats in both arena and MACs (F is the MACs
    executed over those of the layer-by-layer network); `>` marks the one chosen.
    """
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.pipeline import prepare
    from tvm_patch.report import (
        check_writable,
        plan_record,
        plans_table,
        stages_text,
        to_json,
        write_atomically,
    )

    wishes = Wishes(
        ram=ram,
        optimize=optimize,
        max_overhead=max_overhead,
        split=split,
        grid=grid,
        layers=layers,
        plan_file=None,
        algorithm=algorithm,
        buffering=buffering,
        input_form=input_form,
        time_limit_s=time_limit,
    )
    wishes.check()
    for path in (output, plot, csv, json_file):
        if path is not None:
            check_writable(path)
    with activity(f"import {model.name}") as shown:
        prepared = prepare(model, io=io.value)
        graph = prepared.network.graph
        shown.step("plan")
        decision = decide(prepared, wishes, shown)
        chosen = decision.plan
        shown.step("list the alternatives")
        plans = _with_chosen(_frontier(graph, algorithm, wishes, shown), chosen)
        if plot is not None:
            from tvm_patch.report.memory_map import memory_map_png

            shown.step("draw")
            picture = memory_map_png(graph, chosen, limit_bytes=wishes.ram_bytes)
            write_atomically(plot, picture)
    if output is not None:
        write_atomically(output, chosen.to_json())
    if csv is not None:
        write_atomically(csv, _minimalloc(graph, chosen))
    if json_file is not None:
        record: dict[str, Any] = {
            "model": {"name": graph.name, "macs": graph.macs},
            "plan": plan_record(chosen),
            "planned": {
                "arena_bytes": chosen.memory.arena_bytes,
                "lower_bound_bytes": chosen.memory.lower_bound_bytes,
            },
            "alternatives": [
                {"arena_bytes": each.memory.arena_bytes, **plan_record(each)} for each in plans
            ],
        }
        write_atomically(json_file, to_json(record))
    show(
        plans_table(plans, chosen),
        f"chosen: {stages_text(chosen.stages)}; arena {chosen.memory.arena_bytes:,} bytes "
        f"(no packing of these buffers is under {chosen.memory.lower_bound_bytes:,}), "
        f"F {chosen.mac_overhead:.3f}",
    )


def _frontier(graph: Graph, algorithm: str, wishes: Wishes, shown: Any) -> list[Plan]:
    """All plans that no other one beats in both arena and MACs, packed."""
    from tvm_patch.plan import Evaluator, InputMode, enumerate_candidates, pareto

    evaluator = Evaluator(graph)
    candidates = enumerate_candidates(
        evaluator,
        lambda done: shown.count("candidates", done),
        buffering=wishes.buffering.value,
        input_mode=InputMode(wishes.input_form.value),
    )
    # Exact packing of every alternative would take minutes and change none of their order.
    quick = "hill_climb" if algorithm == "exact" else algorithm
    return [evaluator.pack(candidate, algorithm=quick) for candidate in pareto(candidates)]


def _with_chosen(plans: list[Plan], chosen: Plan) -> list[Plan]:
    """The plans with the chosen one in its place, even where others beat it."""
    others = [plan for plan in plans if plan.stages != chosen.stages]
    return sorted([*others, chosen], key=lambda plan: (plan.macs, -plan.memory.arena_bytes))


def _minimalloc(graph: Graph, chosen: Plan) -> str:
    from tvm_patch.memory import Allocation, format_csv
    from tvm_patch.plan import execution_of

    memory = chosen.memory
    allocation = Allocation(
        offsets_bytes=memory.offsets_bytes,
        arena_bytes=memory.arena_bytes,
        algorithm=memory.algorithm,
        lower_bound_bytes=memory.lower_bound_bytes,
        optimal=memory.arena_bytes == memory.lower_bound_bytes,
    )
    return format_csv(execution_of(graph, chosen).problem(), allocation)
