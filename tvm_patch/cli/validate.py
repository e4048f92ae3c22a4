"""``tvm-patch validate``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_patch.cli.options import (
    Algorithm,
    BoardName,
    BufferingOption,
    Buffers,
    Emulate,
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
    OutputFolder,
    PlanFile,
    Port,
    Ram,
    Runner,
    Seed,
    Serial,
    Split,
    TimeLimit,
    Verbose,
)
from tvm_patch.cli.planning import Wishes, decide
from tvm_patch.errors import ValidationError

if TYPE_CHECKING:
    from rich.table import Table

    from tvm_patch.cli.terminal import Activity
    from tvm_patch.micro import Session
    from tvm_patch.pipeline import Generated, Prepared
    from tvm_patch.validation import Golden, Validation


@dataclass(frozen=True)
class Finding:
    """One comparison: who computed, from which seed, and how it compares with the reference."""

    who: str
    seed: int
    validation: Validation


def validate(
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
    seed: Seed = 0,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="How many random inputs to compare.")
    ] = 3,
    host_only: Annotated[
        bool, typer.Option("--host-only", help="Build no firmware and run on no device.")
    ] = False,
    port: Port = None,
    serial: Serial = None,
    runner: Runner = None,
    output: OutputFolder = None,
    json_file: JsonFile = None,
    verbose: Verbose = False,
) -> None:
    """Compare host and device with the reference, bit for bit.

    Against LiteRT's reference kernels (TFLite) or the numpy reference of the integer dialect
    (ONNX): the integer dialect itself, the network as Relax runs it on the host under the plan,
    and the firmware. Of what differs, the first operator is named.
    """
    from tvm_patch.cli.building import build_model, find_target, output_folder
    from tvm_patch.cli.host_run import HostRun
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.micro import flash, open_session
    from tvm_patch.pipeline import prepare, reference_run
    from tvm_patch.report import check_writable, to_json, write_atomically
    from tvm_patch.transform import partition

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
    target = find_target(board, emulate)
    if not host_only:
        target.check_tools(runs=port is None)
        target.check_plugged_in(port, serial, runner)
    findings: list[Finding] = []
    with activity(f"import {model.name}") as shown:
        prepared = prepare(model, io=io.value)
        shown.step("plan")
        plan = decide(prepared.network.graph, wishes, shown).plan
        shown.step("compute the reference")
        goldens = {s: reference_run(prepared, seed=s) for s in range(seed, seed + seeds)}
        if prepared.imported.format == "tflite":
            # Elsewhere the dialect is the reference itself.
            findings += [
                Finding("dialect", s, _dialect(prepared, g, s)) for s, g in goldens.items()
            ]
        shown.step("build and run on the host")
        host = HostRun(partition(prepared.module, prepared.network, plan))
        findings += [Finding("host", s, host.validate(g)) for s, g in goldens.items()]
        if not host_only:
            folder = output_folder(output, model)
            generated, firmware = build_model(
                prepared, plan, target, folder, shown, small_code=wishes.small_code
            )
            shown.step(f"run on {firmware.board.name}")
            flash(firmware, port=port, serial=serial, runner=runner)
            with open_session(firmware, port=port, serial=serial, progress=shown.report) as session:
                findings += _on_device(session, generated, goldens, shown)
    if json_file is not None:
        record = {
            "model": {"name": prepared.imported.name},
            "board": None if host_only else firmware.board.name,
            "bit_exact": all(finding.validation.bit_exact for finding in findings),
            "findings": [{"who": f.who, "seed": f.seed, **asdict(f.validation)} for f in findings],
        }
        write_atomically(json_file, to_json(record))
    show(_table(findings))
    _fail_if_different(prepared.imported.name, findings)
    show(f"bit-exact: {len(findings)} of {len(findings)} comparisons")


def _dialect(prepared: Prepared, golden: Golden, seed: int) -> Validation:
    """The integer dialect by numpy against the original, tensor by tensor where that differs."""
    import numpy as np

    from tvm_patch.importer import golden_outputs, random_inputs
    from tvm_patch.validation import Validation, compare

    graph = prepared.network.graph
    outputs = [np.ascontiguousarray(golden.tensors[name]).tobytes() for name in graph.outputs]
    verdict = compare(golden, outputs)
    if verdict.bit_exact:
        return verdict
    original = random_inputs(prepared.imported, seed)
    tensors = golden_outputs(prepared.imported, original, all_tensors=True).tensors
    culprit = next(
        (
            operator.name
            for operator in graph.operators
            if operator.output in tensors
            and tensors[operator.output].tobytes() != golden.tensors[operator.output].tobytes()
        ),
        None,
    )
    return Validation(False, verdict.max_abs_diff, verdict.source, culprit)


def _on_device(
    session: Session, generated: Generated, goldens: dict[int, Golden], shown: Activity
) -> list[Finding]:
    from tvm_patch.validation import Validation, compare, first_mismatch

    findings = []
    for seed, golden in goldens.items():
        verdict = compare(golden, session.infer(golden.inputs))
        if not verdict.bit_exact:
            shown.step("look for the first operator that differs")
            culprit = first_mismatch(session, generated.model, golden)
            verdict = Validation(False, verdict.max_abs_diff, verdict.source, culprit)
        findings.append(Finding("device", seed, verdict))
    return findings


def _table(findings: list[Finding]) -> Table:
    from rich.table import Table

    table = Table(header_style="bold")
    for column in ("computed by", "seed", "compared with", "verdict", "first to differ"):
        table.add_column(column)
    for finding in findings:
        verdict = finding.validation
        table.add_row(
            finding.who,
            str(finding.seed),
            verdict.source,
            "bit-exact" if verdict.bit_exact else f"differs by up to {verdict.max_abs_diff:g}",
            verdict.first_mismatch or "",
            style=None if verdict.bit_exact else "bold red",
        )
    return table


def _fail_if_different(model: str, findings: list[Finding]) -> None:
    wrong = [finding for finding in findings if not finding.validation.bit_exact]
    if not wrong:
        return
    first = wrong[0]
    raise ValidationError(
        f"{model}: {len(wrong)} of {len(findings)} comparisons differ, the {first.who} (seed "
        f"{first.seed}) by up to {first.validation.max_abs_diff:g} steps; first operator to "
        f"differ: {first.validation.first_mismatch or 'unknown'}",
        hint="please report it with the model file",
    )
