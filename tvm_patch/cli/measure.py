"""``tvm-patch measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tvm_patch.cli.options import (
    BuiltFolder,
    JsonFile,
    Port,
    Runs,
    Seed,
    Serial,
    Verbose,
    runs_or_default,
)
from tvm_patch.errors import RackError


def measure(
    folder: BuiltFolder,
    runs: Runs = None,
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
    serial: Serial = None,
    tracker: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="HOST:PORT", help="Measure on a board that this tracker of TVM's hands out."
        ),
    ] = None,
    key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What to ask the tracker for; the firmware's board by default."),
    ] = None,
    priority: Annotated[int, typer.Option(help="At the tracker: the higher, the sooner.")] = 1,
    wait: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.0, metavar="S", help="Longest to wait for a board of the tracker's."),
    ] = None,
    session_timeout: Annotated[
        float,
        typer.Option(
            min=0.0, metavar="S", help="After that the tracker's board is taken back; 0: never."
        ),
    ] = 0.0,
    seed: Seed = 0,
    json_file: JsonFile = None,
    verbose: Verbose = False,
) -> None:
    """Run a built firmware and read off the device what it needs.

    Inputs are random: `validate` and `deploy` compare outputs with the reference. With --tracker
    the board may be anywhere: docs/rack.md.
    """
    from tvm_patch.cli.measuring import Request, measure_behind_tracker, random_inputs
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
        spread_text,
        to_json,
        write_atomically,
    )
    from tvm_patch.report.export import measured_record, profile_records, unit_of, versions
    from tvm_patch.report.records import write_measured
    from tvm_patch.report.tables import ticks_of

    for file in (json_file, plot):
        if file is not None:
            check_writable(file)
    wants_profile = profile or plot is not None
    request = None if tracker is None else Request(tracker, key, priority, wait, session_timeout)
    _check_options(request is not None, wants_profile=wants_profile, port=port, key=key)
    built = read_built(folder)
    board = built.firmware.board
    runs = runs_or_default(runs, board)
    with activity(f"start {board.name}" if request is None else "look for the tracker") as shown:
        if request is not None:
            measurement = measure_behind_tracker(folder, built, request, runs, seed, shown)
        else:
            with open_session(
                built.firmware, port=port, serial=serial, progress=shown.report
            ) as session:
                sizes = [tensor.size_bytes for tensor in session.inputs]
                inputs = random_inputs(sizes, built.input_dtypes, seed)
                shown.step(f"run {runs} times" if runs > 1 else "run")
                measurement = measure_device(session, built.firmware, inputs, runs=runs).measurement
        profiled = None
        if wants_profile:
            profiled = profile_model(
                built.model_dir,
                board,
                built.profile_dir,
                inputs,
                port=port,
                serial=serial,
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
    spread = spread_text(measurement)
    if spread:
        show(spread)


def _check_options(
    behind_tracker: bool, *, wants_profile: bool, port: str | None, key: str | None
) -> None:
    if behind_tracker and port is not None:
        raise RackError("--port and --tracker both name a board", hint="give one of them")
    if behind_tracker and wants_profile:
        raise RackError(
            "a profile is not measured behind a tracker",
            hint="leave out --tracker, on a machine with the board or an emulator",
        )
    if key is not None and not behind_tracker:
        raise RackError("--key needs a tracker to ask", hint="name it: --tracker HOST:PORT")
