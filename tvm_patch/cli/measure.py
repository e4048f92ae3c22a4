"""``tvm-patch measure``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from tvm_patch.cli.options import BuiltFolder, JsonFile, Port, Runs, Seed, Verbose

if TYPE_CHECKING:
    from tvm_patch.micro import Session
    from tvm_patch.report import Built


def measure(
    folder: BuiltFolder,
    runs: Runs = 1,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Show what every operator takes, inside stages too: builds a second firmware.",
        ),
    ] = False,
    plot: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw the profile into this PNG file.", dir_okay=False),
    ] = None,
    flash_wait_states: Annotated[
        int,
        typer.Option(
            help="Of the flash that the profile's estimate of cycles is for.", min=0, max=20
        ),
    ] = 0,
    port: Port = None,
    seed: Seed = 0,
    json_file: JsonFile = None,
    verbose: Verbose = False,
) -> None:
    """Run a built firmware and read off the device what it needs.

    Inputs are random: `validate` and `deploy` compare outputs with the reference.
    """
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.cycles import CortexM4
    from tvm_patch.measurement import check_planned_is_used
    from tvm_patch.measurement import measure as measure_device
    from tvm_patch.micro import open_session
    from tvm_patch.profiling import profile_model
    from tvm_patch.report import (
        check_writable,
        figure,
        operator_profile_note,
        operator_profile_record,
        operator_profile_table,
        profile_png,
        read_built,
        to_json,
        write_atomically,
    )
    from tvm_patch.report.export import measured_record, profile_records, unit_of, versions
    from tvm_patch.report.records import write_measured
    from tvm_patch.report.tables import ticks_of

    for file in (json_file, plot):
        if file is not None:
            check_writable(file)
    built = read_built(folder)
    board = built.firmware.board
    with activity(f"start {board.name}") as shown:
        session = open_session(built.firmware, port=port, progress=shown.report)
        with session:
            inputs = _random_inputs(session, built, seed)
            shown.step(f"run {runs} times" if runs > 1 else "run")
            measurement = measure_device(session, built.firmware, inputs, runs=runs).measurement
        profiled = None
        if profile or plot is not None:
            profiled = profile_model(
                built.model_dir,
                board,
                built.profile_dir,
                inputs,
                port=port,
                timing=CortexM4(flash_wait_states=flash_wait_states),
                on_step=shown.step,
                progress=shown.report,
            )
    check_planned_is_used(measurement, built.planned_arena_bytes)
    record = {
        "model": {"name": built.model},
        "board": board.name,
        "emulated_by": board.emulated_by,
        "planned": {"arena_bytes": built.planned_arena_bytes, "macs": built.planned_macs},
        "measured": measured_record(measurement, board),
        "profile": profile_records(measurement, built.operators),
        "operators": operator_profile_record(profiled) if profiled else None,
        "versions": versions(),
    }
    write_measured(folder, record)
    if json_file is not None:
        write_atomically(json_file, to_json(record))
    where = f"{built.model} on {board.name}"
    if plot is not None and profiled is not None:
        write_atomically(plot, profile_png(profiled, title=where))
    if profile and profiled is not None:
        show(operator_profile_table(profiled), operator_profile_note(profiled))
    unit, ticks = unit_of(measurement), ticks_of(measurement)
    per_mac = f" ({ticks / built.planned_macs:.2f} per MAC)" if ticks and built.planned_macs else ""
    show(
        where,
        f"arena touched  {figure(measurement.arena_bytes):>12} bytes "
        f"of {figure(built.planned_arena_bytes)} planned",
        f"stack          {figure(measurement.stack_bytes):>12} bytes",
        f"peak SRAM      {figure(measurement.peak_sram_bytes):>12} bytes",
        f"flash          {figure(measurement.flash_bytes):>12} bytes, whole firmware",
        f"static SRAM    {figure(measurement.static_sram_bytes):>12} bytes, whole firmware",
        f"{unit:<14} {figure(ticks):>12}{per_mac}",
    )
    if measurement.runs > 1:
        show(
            f"{measurement.runs} runs: {figure(measurement.minimum)} to "
            f"{figure(measurement.maximum)} {unit}"
        )


def _random_inputs(session: Session, built: Built, seed: int) -> list[Any]:
    import numpy as np

    generator = np.random.default_rng(seed)
    inputs: list[Any] = []
    for tensor, dtype in zip(session.inputs, built.input_dtypes, strict=True):
        count = tensor.size_bytes // np.dtype(dtype).itemsize
        if dtype == "float32":
            inputs.append(generator.uniform(-1.0, 1.0, count).astype(np.float32))
        else:
            inputs.append(generator.integers(-128, 128, count, dtype=np.int8))
    return inputs
