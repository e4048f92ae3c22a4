"""``tvm-patch tune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from tvm_patch.cli.options import (
    BoardName,
    BufferingOption,
    Buffers,
    DatabaseFolder,
    Emulate,
    InputForm,
    InputOption,
    Io,
    IoForm,
    JsonFile,
    MaxOverhead,
    MaxSlowdown,
    Model,
    Optimize,
    OutputFolder,
    Port,
    Ram,
    Search,
    Seed,
    Serial,
    Verbose,
    make_requirements,
)
from tvm_patch.errors import TuningError

if TYPE_CHECKING:
    from tvm_patch.cli.building import Target
    from tvm_patch.cli.terminal import Activity
    from tvm_patch.measurement import Measurement
    from tvm_patch.micro import Firmware
    from tvm_patch.pipeline import Generated
    from tvm_patch.tune.bench import Bench
    from tvm_patch.tune.flow import Tuned, Whole
    from tvm_patch.tune.tuner import Standing
    from tvm_patch.validation import Golden, Validation

_READINGS_ON_HARDWARE = 7


def tune(
    model: Model,
    board: BoardName = "qemu_cortex_m7",
    emulate: Emulate = False,
    ram: Ram = None,
    optimize: Optimize = None,
    max_overhead: MaxOverhead = None,
    max_slowdown: MaxSlowdown = None,
    buffering: BufferingOption = Buffers.ANY,
    input_form: InputOption = InputForm.RESIDENT,
    trials: Annotated[
        int,
        typer.Option(
            help="Candidates that the database is to have of this model's kernels; those it has "
            "already count."
        ),
    ] = 200,
    database: DatabaseFolder = None,
    plans: Annotated[
        int,
        typer.Option(
            "--plans",
            min=0,
            help="Other plans than the planner's choice that are looked at, and measured whole at "
            "most: smaller ones, and faster ones once their kernels are tuned.",
        ),
    ] = 5,
    search: Annotated[
        Search, typer.Option(help="evolutionary, ranked by a cost model, or random to compare.")
    ] = Search.EVOLUTIONARY,
    boards: Annotated[
        int, typer.Option("--boards", min=1, help="Emulated boards side by side.")
    ] = 1,
    tracker: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="HOST:PORT", help="Measure on boards that this tracker of TVM's hands out."
        ),
    ] = None,
    key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What to ask the tracker for; the board's name by default."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(min=1.0, metavar="S", help="After that a candidate counts as hung."),
    ] = 20.0,
    io: IoForm = Io.MODEL,
    port: Port = None,
    serial: Serial = None,
    seed: Seed = 0,
    plot: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Draw how tuning went, and the plans measured, into this PNG file.", dir_okay=False
        ),
    ] = None,
    output: OutputFolder = None,
    json_file: JsonFile = None,
    verbose: Verbose = False,
) -> None:
    """Measure ways of making a model's kernels on the board, and keep the fastest.

    Kernels are measured many in an image, at the shapes that the plans for --ram need. Plans are
    compared again as kernels become faster; the best are measured whole, which gives a frontier
    of time against peak SRAM. All goes into a database, which `build` and `deploy` use by
    themselves. What ends it early costs the image in flight at most: the same command goes on.
    See docs/tuning.md.
    """
    from tvm_patch.cli.building import find_target, output_folder
    from tvm_patch.cli.kernel_times import database_folder
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.pipeline import prepare
    from tvm_patch.report import check_writable, to_json, write_atomically
    from tvm_patch.tune.flow import tune as tune_model
    from tvm_patch.tune.tuner import Strategy

    if trials < 1:
        raise TuningError(f"--trials {trials} leaves nothing to measure", hint="give --trials 200")
    folder = database_folder(database)
    if folder is None:
        raise TuningError("there must be a database to tune into", hint="give --database DIR")
    for file in (json_file, plot):
        if file is not None:
            check_writable(file)
    requirements = make_requirements(
        ram, optimize, max_overhead, max_slowdown, buffering, input_form
    )
    target = find_target(board, emulate)
    target.check_tools(runs=tracker is None and port is None)
    with activity(f"import {model.name}") as shown:
        prepared = prepare(model, io=io.value)
        out = output_folder(output, model)
        benches = _benches(target, out, boards, tracker, key, port, serial, timeout, shown)
        result = tune_model(
            prepared,
            benches,
            folder,
            out / "tuned",
            requirements=requirements,
            trials=trials,
            strategy=Strategy(search.value),
            seed=seed,
            most_plans=plans,
            say=shown.step,
            on_progress=lambda standing: _progress(shown, standing),
        )
    plan_file = out / "tuned-plan.json"
    write_atomically(plan_file, result.best.plan.to_json())
    if json_file is not None:
        write_atomically(json_file, to_json(_record(prepared.imported.name, result)))
    if plot is not None:
        from tvm_patch.report.tuning import tuning_figure

        figure = tuning_figure(
            result.history, result.standing.default_units, result.wholes, result.frontier
        )
        figure.savefig(plot)
    show(*_lines(prepared.imported.name, result, folder, plan_file))


def _benches(
    target: Target,
    out: Path,
    boards: int,
    tracker: str | None,
    key: str | None,
    port: str | None,
    serial: str | None,
    timeout_s: float,
    shown: Activity,
) -> list[Bench]:
    from functools import partial

    from tvm_patch.tune.bench import Bench, SessionRunner

    board = target.board.emulate() if target.emulate else target.board
    make: Any = None
    whole: Any = None
    repeats = _READINGS_ON_HARDWARE if board.is_real else 1
    if tracker is not None:
        from tvm_patch.rack.address import Address
        from tvm_patch.rack.client import RackClient
        from tvm_patch.tune.tracked import TrackedRunner, measure_whole

        client = RackClient(
            Address.parse(tracker), key or board.name, on_step=shown.step, session_timeout_s=0.0
        )
        make = partial(TrackedRunner, client, repeats)
        whole = partial(measure_whole, client)
    elif board.is_real:
        from tvm_patch.pipeline import run_on_device

        def make(firmware: Firmware, _count: int) -> SessionRunner:
            return SessionRunner(firmware, timeout_s=timeout_s, port=port, serial=serial)

        def whole(
            generated: Generated, firmware: Firmware, golden: Golden, runs: int
        ) -> tuple[Measurement, Validation]:
            return run_on_device(generated, firmware, golden, port=port, serial=serial, runs=runs)

    return [
        Bench(
            board=target.board,
            folder=out / "images" / str(number),
            emulate=target.emulate,
            make_runner=make,
            measure_whole=whole,
            timeout_s=timeout_s,
            repeats=repeats,
        )
        for number in range(boards)
    ]


def _progress(shown: Activity, standing: Standing) -> None:
    left = standing.seconds_left
    eta = (
        ""
        if left is None
        else f", {left / 60:.0f} min left"
        if left > 90
        else f", {left:.0f} s left"
    )
    shown.report(f"best so far {standing.ratio:.3f}x{eta}", standing.measured, standing.trials)
    shown.note(
        f"{standing.measured}/{standing.trials} measured, {standing.failed} failed; tuned kernels "
        f"{standing.ratio:.3f}x of the default{eta}"
    )


def _lines(model: str, result: Tuned, folder: Path, plan_file: Path) -> list[Any]:
    from tvm_patch.report.tuning import wholes_table

    standing = result.standing
    return [
        f"{model}: {standing.measured} candidates measured ({standing.failed} failed), "
        f"kernels {standing.ratio:.3f}x of the default",
        wholes_table(result.default, result.wholes, result.frontier),
        f"best: plan '{result.best.name}', {result.ratio:.3f}x of the default",
        f"database: {folder}; plan: {plan_file}",
        f"next:     tvm-patch build MODEL --plan {plan_file} --database {folder}",
    ]


def _record(model: str, result: Tuned) -> dict[str, Any]:
    from dataclasses import asdict

    def whole(each: Whole) -> dict[str, Any]:
        return {
            "plan": each.name,
            "tuned": each.is_tuned,
            "units": each.units,
            "peak_sram_bytes": each.measurement.peak_sram_bytes,
            "arena_bytes": each.measurement.arena_bytes,
            "flash_bytes": each.measurement.flash_bytes,
            "mac_overhead": each.plan.mac_overhead,
            "bit_exact": each.bit_exact,
        }

    return {
        "model": model,
        "kernels": asdict(result.standing) | {"ratio": result.standing.ratio},
        "history": [list(point) for point in result.history],
        "wholes": [whole(each) for each in result.wholes],
        "frontier": [whole(each) for each in result.frontier],
        "best": whole(result.best),
        "ratio": result.ratio,
    }
