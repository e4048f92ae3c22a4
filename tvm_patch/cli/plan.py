"""``tvm-patch plan``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

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
    MaxSlowdown,
    Model,
    Optimize,
    PlanFile,
    Ram,
    Split,
    TimeLimit,
    Verbose,
)
from tvm_patch.cli.planning import Wishes, decide

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tvm_patch.cli.terminal import Activity
    from tvm_patch.plan import Graph, Plan
    from tvm_patch.report.study import Study


def plan(
    model: Model,
    ram: Ram = None,
    optimize: Optimize = None,
    max_overhead: MaxOverhead = None,
    max_slowdown: MaxSlowdown = None,
    buffering: BufferingOption = Buffers.ANY,
    input_form: InputOption = InputForm.RESIDENT,
    split: Split = None,
    grid: Grid = None,
    layers: Layers = False,
    plan_file: PlanFile = None,
    algorithm: Algorithm = "hill_climb",
    time_limit: TimeLimit = None,
    io: IoForm = Io.MODEL,
    frontier: Annotated[
        bool,
        typer.Option("--frontier", help="List all plans that no other beats in arena and MACs."),
    ] = False,
    frontier_plot: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--frontier-plot", metavar="FILE.png", help="Draw them, arena over F."),
    ] = None,
    tensors: Annotated[
        bool, typer.Option("--tensors", help="List the tensors that stages hold a part of.")
    ] = False,
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
    """Choose a plan, and show its stages and what they need.

    F is the MACs executed over those of the layer-by-layer network. Peaks are given for both ways
    of giving the network its input: whole in memory, or fetched row by row.
    """
    from tvm_patch.cli.studying import study_of
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.pipeline import prepare
    from tvm_patch.report import check_writable, to_json, write_atomically
    from tvm_patch.report.study import study_record

    wishes = Wishes(
        ram=ram,
        optimize=optimize,
        max_overhead=max_overhead,
        max_slowdown=max_slowdown,
        split=split,
        grid=grid,
        layers=layers,
        plan_file=plan_file,
        algorithm=algorithm,
        buffering=buffering,
        input_form=input_form,
        time_limit_s=time_limit,
    )
    wishes.check()
    for path in (output, plot, frontier_plot, csv, json_file):
        if path is not None:
            check_writable(path)
    with activity(f"import {model.name}") as shown:
        prepared = prepare(model, io=io.value)
        graph = prepared.network.graph
        shown.step("plan")
        decision = decide(graph, wishes, shown)
        chosen = decision.plan
        if output is not None:
            write_atomically(output, chosen.to_json())
        if csv is not None:
            write_atomically(csv, _minimalloc(graph, chosen))
        study = study_of(
            *(graph, wishes, decision, shown), frontier=frontier or frontier_plot is not None
        )
        _draw(study, plot, frontier_plot, shown)
    if json_file is not None:
        write_atomically(json_file, to_json(study_record(study)))
    show(*_results(study, tensors=tensors))


def _draw(study: Study, plot: Path | None, frontier_plot: Path | None, shown: Activity) -> None:
    from tvm_patch.report import write_atomically

    if plot is not None:
        from tvm_patch.report.memory_map import memory_map_png

        shown.step("draw the memory over time")
        picture = memory_map_png(study.graph, study.plan, limit_bytes=study.limit_bytes)
        write_atomically(plot, picture)
    if frontier_plot is not None:
        from tvm_patch.report.frontier_plot import frontier_png

        shown.step("draw the frontier")
        picture = frontier_png(
            study.graph.name,
            study.frontiers,
            chosen=study.plan,
            layers=study.layers,
            limit_bytes=study.limit_bytes,
        )
        write_atomically(frontier_plot, picture)


def _results(study: Study, *, tensors: bool) -> Iterator[RenderableType]:
    """What is printed, from the whole list of plans to the one chosen."""
    from tvm_patch.report import stages_text
    from tvm_patch.report.planned import frontier_table, input_words, moment_text, peaks_table
    from tvm_patch.report.stages import fallbacks_text, held_tensors_table, stages_table

    plan = study.plan
    for mode, plans in study.frontiers.items():
        yield f"plans that no other beats, {input_words(mode)}:"
        yield frontier_table(plans, plan)
    yield stages_table(study.graph, study.parts)
    if tensors and study.stages:
        yield held_tensors_table(study.graph, study.parts)
    yield from fallbacks_text(study.graph, study.parts)
    yield peaks_table(study.peaks)
    if study.moment is not None:
        yield moment_text(study.moment)
    bound = f", bound {plan.bound_bytes:,}" if plan.bound_bytes else ""
    yield (
        f"chosen: {stages_text(plan.stages)}; arena {plan.memory.arena_bytes:,} bytes{bound} "
        f"(no packing of these buffers is under {plan.memory.lower_bound_bytes:,}), "
        f"F {plan.mac_overhead:.3f}, about {plan.slowdown:.2f} times the instructions"
    )


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
