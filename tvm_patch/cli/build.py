"""``tvm-patch build``."""

from __future__ import annotations

from typing import Annotated

import typer

from tvm_patch.cli.options import (
    Algorithm,
    BoardName,
    BufferingOption,
    Buffers,
    DatabaseFolder,
    Emulate,
    Grid,
    InputForm,
    InputOption,
    Io,
    IoForm,
    Layers,
    LinkOption,
    MaxOverhead,
    MaxSlowdown,
    Model,
    Optimize,
    OutputFolder,
    PlanFile,
    Ram,
    Split,
    TimeLimit,
    Verbose,
)
from tvm_patch.cli.planning import Wishes, decide


def build(
    model: Model,
    board: BoardName = "qemu_cortex_m7",
    emulate: Emulate = False,
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
    link: LinkOption = None,
    c_only: Annotated[
        bool, typer.Option("--c-only", help="Write the C folder and build no firmware.")
    ] = False,
    database: DatabaseFolder = None,
    output: OutputFolder = None,
    verbose: Verbose = False,
) -> None:
    """Write a model's C and build firmware of it."""
    from tvm_patch.cli.building import build_model, built_lines, find_target, output_folder
    from tvm_patch.cli.kernel_times import find_times, with_times
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.pipeline import generate, prepare
    from tvm_patch.report.records import write_planned

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
    target = find_target(board, emulate, link)
    if not c_only:
        target.check_tools(runs=False)
    with activity(f"import {model.name}") as shown:
        prepared = prepare(model, io=io.value)
        shown.step("plan")
        plan = decide(prepared.network.graph, wishes, shown).plan
        folder = output_folder(output, model)
        times = find_times(target, database, shown)
        plan = with_times(prepared, plan, wishes, times, target)
        if c_only:
            shown.step("generate C")
            generate(
                prepared,
                plan,
                folder / "model",
                target.board,
                small_code=wishes.small_code,
                times=times,
            )
            write_planned(folder, prepared.network.graph, plan)
            firmware = None
        else:
            _, firmware = build_model(
                prepared, plan, target, folder, shown, small_code=wishes.small_code, times=times
            )
    show(*built_lines(folder, plan, firmware))
