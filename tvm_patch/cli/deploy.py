"""``tvm-patch deploy``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    JsonFile,
    Layers,
    LinkOption,
    MaxOverhead,
    MaxSlowdown,
    Model,
    Optimize,
    OutputFolder,
    PlanFile,
    Port,
    Ram,
    Runner,
    Runs,
    Seed,
    Serial,
    Split,
    TimeLimit,
    Verbose,
    runs_or_default,
)
from tvm_patch.cli.planning import Wishes, check_peak, decide
from tvm_patch.errors import ValidationError

if TYPE_CHECKING:
    from tvm_patch.validation import Validation


def deploy(
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
    runs: Runs = None,
    seed: Seed = 0,
    link: LinkOption = None,
    port: Port = None,
    serial: Serial = None,
    runner: Runner = None,
    build_only: Annotated[
        bool, typer.Option("--build-only", help="Stop at the firmware: ELF, and HEX to flash.")
    ] = False,
    database: DatabaseFolder = None,
    output: OutputFolder = None,
    json_file: JsonFile = None,
    verbose: Verbose = False,
) -> None:
    """From a model file to measured firmware: plan, build, run, measure, validate."""
    from tvm_patch.analysis.cost import cost_of
    from tvm_patch.cli.building import (
        build_model,
        built_lines,
        find_target,
        output_folder,
        profiled_operators,
    )
    from tvm_patch.cli.kernel_times import find_times, with_times
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.pipeline import make_plan, prepare, reference_run, run_on_device
    from tvm_patch.report import (
        Row,
        check_writable,
        comparison_table,
        deployment_record,
        spread_text,
        stages_text,
        to_json,
        write_atomically,
    )
    from tvm_patch.report.records import write_measured

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
    if json_file is not None:
        check_writable(json_file)
    target = find_target(board, emulate, link)
    target.check_tools(runs=port is None and not build_only)
    if not build_only:
        target.check_plugged_in(port, serial, runner)
    with activity(f"import {model.name}") as shown:
        prepared = prepare(model, io=io.value)
        shown.step("plan")
        plan = decide(prepared.network.graph, wishes, shown).plan
        times = find_times(target, database, shown)
        plan = with_times(prepared, plan, wishes, times, target)
        unpatched = make_plan(prepared, layers=True)
        folder = output_folder(output, model)
        generated, firmware = build_model(
            prepared, plan, target, folder, shown, small_code=wishes.small_code, times=times
        )
        if not build_only:
            shown.step("compute the reference")
            golden = reference_run(prepared, seed=seed)
            shown.step(f"run on {firmware.board.name}")
            measurement, validation = run_on_device(
                generated,
                firmware,
                golden,
                port=port,
                serial=serial,
                runner=runner,
                runs=runs_or_default(runs, firmware.board),
                progress=shown.report,
            )
    if build_only:
        show(*built_lines(folder, plan, firmware))
        return
    name = prepared.imported.name
    record = deployment_record(
        model=name,
        cost=cost_of(prepared.file_network),
        plan=plan,
        layers=unpatched,
        board=firmware.board,
        measurement=measurement,
        validation=validation,
        operators=profiled_operators(generated),
        tools=target.tool_versions(),
    )
    write_measured(folder, record)
    if json_file is not None:
        write_atomically(json_file, to_json(record))
    spread = spread_text(measurement)
    rows = [Row(plan.manner, plan, measurement)] if plan.stages else []
    unpatched_row = Row("layer by layer", unpatched, None if plan.stages else measurement)
    show(
        f"{name} on {_where(firmware.board.name, firmware.board.emulated_by)}: "
        f"{stages_text(plan.stages)}",
        comparison_table([unpatched_row, *rows]),
        *([spread] if spread else []),
        _verdict(validation),
        f"C and firmware: {folder}",
    )
    _fail_if_different(name, validation)
    check_peak(name, plan, measurement.peak_sram_bytes, wishes.ram_bytes)


def _where(board: str, emulated_by: str | None) -> str:
    return f"{board} (emulated by {emulated_by})" if emulated_by else board


def _verdict(validation: Validation) -> str:
    if validation.bit_exact:
        return f"outputs: bit-exact against {validation.source}"
    return f"outputs: DIFFER from {validation.source} by up to {validation.max_abs_diff:g}"


def _fail_if_different(model: str, validation: Validation) -> None:
    if validation.bit_exact:
        return
    culprit = validation.first_mismatch or "no operator's output in the arena, only the result"
    raise ValidationError(
        f"{model}: outputs differ from {validation.source} by up to "
        f"{validation.max_abs_diff:g} steps; first to differ: {culprit}",
        hint=f"narrow it down with: tvm-patch validate {Path(model).name}",
    )
