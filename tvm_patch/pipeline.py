"""The whole flow, top to bottom: model file to measured firmware.

Each step is a function that can be called alone; :func:`deploy` calls all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tvm import IRModule

from tvm_patch import qnn
from tvm_patch.analysis import Network, read_network
from tvm_patch.board import Board, load_board
from tvm_patch.codegen import Quantisation, write_model
from tvm_patch.importer import ImportedModel, load_model
from tvm_patch.kernel_times import NO_TIMES, KernelTimes, load_times
from tvm_patch.lower import LoweredModel, lower_network
from tvm_patch.lower.tuned import with_tuned_scratch
from tvm_patch.measurement import Measurement, check_planned_is_used, measure
from tvm_patch.micro import Firmware, Progress, build_firmware, flash, open_session
from tvm_patch.micro.measured_on import measured_on
from tvm_patch.plan import (
    Deadline,
    Plan,
    Requirements,
    best_order,
    choose_plan,
    layer_by_layer,
)
from tvm_patch.schedules import Instructions
from tvm_patch.transform import Tuning, partition, reorder
from tvm_patch.validation import Golden, Validation, compare, first_mismatch, make_golden

Io = Literal["model", "int8"]
Step = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """A model in the integer dialect.

    Parameters
    ----------
    imported : ImportedModel
        As read from the file.
    module : IRModule
        Integer-only Relax, dead channels left out.
    network : Network
        Its graph, attributes and constants.
    quantisation : mapping of str to Quantisation
        Scale and zero point of inputs and outputs, by tensor name.
    integer_tensors : mapping of str to str
        Where a float boundary was stripped, the tensor of the original model whose integers an
        input or output now is.
    file_network : Network
        The network with all channels of the file, for its costs.
    """

    imported: ImportedModel
    module: IRModule
    network: Network
    quantisation: Mapping[str, Quantisation]
    integer_tensors: Mapping[str, str]
    file_network: Network


@dataclass(frozen=True)
class Generated:
    """A model lowered under a plan, and the folder its C is in."""

    model: LoweredModel
    module: IRModule
    folder: Path


@dataclass(frozen=True)
class Deployment:
    """All that :func:`deploy` did and found."""

    prepared: Prepared
    plan: Plan
    generated: Generated
    firmware: Firmware
    measurement: Measurement
    validation: Validation


def prepare(model: str | Path | IRModule | ImportedModel, *, io: Io = "model") -> Prepared:
    """Import a model, fold it into the integer dialect, and put its branches into an order.

    Parameters
    ----------
    model : path, IRModule or ImportedModel
        TFLite, ONNX in QDQ form, or Relax in QDQ form.
    io : {"model", "int8"}
        ``int8`` strips a float boundary.
    """
    imported = model if isinstance(model, ImportedModel) else load_model(model)
    whole = qnn.to_integer(imported.module, io=io)
    module = qnn.drop_dead_channels(whole)
    network = read_network(module, name=imported.name)
    order = best_order(network.graph)
    if order != network.graph.operators:
        module = reorder(module, order)
        network = read_network(module, name=imported.name)
    infos = {info.var_name: info for info in (*imported.inputs, *imported.outputs)}
    quantisation = {
        name: Quantisation(info.scale, info.zero_point)
        for name, info in infos.items()
        if info.scale is not None
    }
    stripped = _stripped_tensors(imported, network) if io == "int8" else {}
    quantisation.update({name: found[1] for name, found in stripped.items()})
    integers = {name: found[0] for name, found in stripped.items()}
    original = read_network(whole, name=imported.name)
    return Prepared(imported, module, network, quantisation, integers, original)


def _stripped_tensors(
    imported: ImportedModel, network: Network
) -> dict[str, tuple[str, Quantisation]]:
    """For each boundary tensor that lost its float form, the integer tensor that it stands for."""
    graph = network.graph
    whole = read_network(qnn.to_integer(imported.module), name=imported.name)
    found: dict[str, tuple[str, Quantisation]] = {}
    for operator in whole.graph.operators:
        attributes = whole.details[operator.name].attributes
        if operator.kind == "quantize":
            outer, inner = operator.inputs[0], operator.output
        elif operator.kind == "dequantize":
            outer, inner = operator.output, operator.inputs[0]
        else:
            continue
        if outer in (*graph.inputs, *graph.outputs):
            found[outer] = (inner, Quantisation(attributes["scale"], attributes["zero_point"]))
    return found


def make_plan(
    prepared: Prepared,
    requirements: Requirements | None = None,
    *,
    layers: bool = False,
    algorithm: str = "hill_climb",
    progress: Callable[[int], None] | None = None,
    deadline: Deadline | None = None,
) -> Plan:
    """Choose a plan.

    Parameters
    ----------
    requirements : Requirements or None
        Limits and the objective.
    layers : bool
        Layer by layer, nothing patched.
    algorithm : str
        Packing algorithm.
    progress : callable or None
        Told how many candidates there are by now.
    deadline : Deadline or None
        When it passes, the best plan found by then is taken.
    """
    graph = prepared.network.graph
    if layers:
        return layer_by_layer(graph, algorithm=algorithm)
    return choose_plan(
        graph,
        requirements or Requirements(),
        algorithm=algorithm,
        progress=progress,
        deadline=deadline,
    )


def instructions_of(board: Board | None) -> Instructions:
    """What kernels for a board may use; on the host plain C stands in for the DSP extension."""
    has_dsp = board is None or board.dsp or board.port == "host"
    return Instructions.DSP if has_dsp else Instructions.PLAIN


def generate(
    prepared: Prepared,
    plan: Plan,
    folder: Path,
    board: Board | None = None,
    *,
    small_code: bool = False,
    times: KernelTimes = NO_TIMES,
) -> Generated:
    """Carry out a plan and write the C.

    Parameters
    ----------
    board : Board or None
        Its core decides which instructions the kernels use. Without one, and on the host, they are
        those of the DSP extension, with plain C for other cores.
    small_code : bool
        Kernels that layers share rather than faster ones.
    times : KernelTimes
        Measured on the board; of each kernel the fastest way is taken.
    """
    module = partition(prepared.module, prepared.network, plan)
    network = read_network(module, name=prepared.imported.name)
    model = lower_network(
        network,
        plan,
        c_name=prepared.imported.c_name,
        instructions=instructions_of(board),
        small_code=small_code,
        times=times,
    )
    write_model(model, folder, quantisation=prepared.quantisation)
    return Generated(model, module, folder)


def tuned_plan(
    prepared: Prepared,
    plan: Plan,
    times: KernelTimes,
    board: Board | None,
    *,
    arena_limit_bytes: int | None = None,
    algorithm: str = "hill_climb",
) -> Plan:
    """Give a plan's kernels the scratch memory with which they have been measured to be fastest.

    Parameters
    ----------
    times : KernelTimes
        Measured on the board.
    arena_limit_bytes : int or None
        How large the arena may become; not larger than it is if None.
    """
    if not times:
        return plan
    return with_tuned_scratch(
        prepared.network,
        plan,
        times,
        instructions_of(board),
        arena_limit_bytes=arena_limit_bytes,
        algorithm=algorithm,
    )


def tuned_partition(
    network: Network,
    plan: Plan,
    tuning: Tuning,
    *,
    arena_limit_bytes: int | None = None,
    algorithm: str = "hill_climb",
) -> Plan:
    """As :func:`tuned_plan`, for ``PatchPartition(database=...)``."""
    board = load_board(tuning.board)
    times = database_times(tuning.database, board)
    if not times:
        return plan
    return with_tuned_scratch(
        network,
        plan,
        times,
        instructions_of(board),
        arena_limit_bytes=arena_limit_bytes,
        algorithm=algorithm,
    )


def database_times(
    database: str | Path | None, board: Board, *, emulate: bool = False
) -> KernelTimes:
    """What a database knows of a board; nothing without a database.

    Raises
    ------
    TuningError
        When it was made on another core, or by another compiler or TVM.
    """
    if database is None:
        return NO_TIMES
    return load_times(Path(database), measured_on(board, emulate=emulate))


def reference_run(prepared: Prepared, *, seed: int = 0) -> Golden:
    """What the reference computes from random inputs."""
    return make_golden(
        prepared.imported,
        prepared.module,
        prepared.network.graph,
        prepared.integer_tensors,
        seed=seed,
    )


def run_on_device(
    generated: Generated,
    firmware: Firmware,
    golden: Golden,
    *,
    port: str | None = None,
    serial: str | None = None,
    runner: str | None = None,
    runs: int = 1,
    timeout_s: float = 60.0,
    progress: Progress | None = None,
) -> tuple[Measurement, Validation]:
    """Flash, measure, and compare with the reference.

    Raises
    ------
    DeviceError
        When the device touched another amount of arena than planned.
    """
    flash(firmware, port=port, serial=serial, runner=runner)
    with open_session(
        firmware, port=port, serial=serial, timeout_s=timeout_s, progress=progress
    ) as session:
        run = measure(session, firmware, golden.inputs, runs=runs)
        verdict = compare(golden, run.outputs)
        if not verdict.bit_exact:
            culprit = first_mismatch(session, generated.model, golden)
            verdict = Validation(False, verdict.max_abs_diff, verdict.source, culprit)
    check_planned_is_used(run.measurement, generated.model.plan.memory.arena_bytes)
    return run.measurement, verdict


def deploy(
    model: str | Path | IRModule | ImportedModel | Prepared,
    *,
    board: str | Board = "qemu_cortex_m7",
    requirements: Requirements | None = None,
    plan: Plan | None = None,
    layers: bool = False,
    io: Io = "model",
    algorithm: str = "hill_climb",
    folder: Path | None = None,
    emulate: bool = False,
    port: str | None = None,
    serial: str | None = None,
    runner: str | None = None,
    runs: int = 1,
    seed: int = 0,
    database: str | Path | None = None,
    small_code: bool = False,
    on_step: Step | None = None,
    progress: Progress | None = None,
) -> Deployment:
    """From a model file to measured firmware.

    Parameters
    ----------
    model : path, IRModule, ImportedModel or Prepared
        What to run.
    board : str or Board
        Where.
    requirements : Requirements or None
        For the planner; ignored when ``plan`` or ``layers`` is given.
    plan : Plan or None
        Carried out as it is.
    layers : bool
        Layer by layer.
    io : {"model", "int8"}
        ``int8`` strips a float boundary.
    folder : Path or None
        For the C and the firmware; ``out/<model>`` if None.
    emulate : bool
        Run a real board's limits on an emulator.
    port, serial, runner : str or None
        Serial port of a real board, serial number of its debug probe, and the tool that flashes
        it; each is found where it is None.
    seed : int
        Of the random inputs that are compared with the reference.
    database : str, Path or None
        Kernel times that ``tvm-patch tune`` has measured: kernels are made in the fastest ways.
    small_code : bool
        Kernels that layers share rather than faster ones; no measured times are used.
    on_step : callable or None
        Told what begins.

    Raises
    ------
    TvmPatchError
        Typed for whatever goes wrong; see :mod:`tvm_patch.errors`.
    """
    say = on_step or (lambda _text: None)
    board = load_board(board) if isinstance(board, str) else board
    say("import")
    prepared = model if isinstance(model, Prepared) else prepare(model, io=io)
    say("plan")
    times = NO_TIMES if small_code else database_times(database, board, emulate=emulate)
    if plan is None:
        plan = make_plan(prepared, requirements, layers=layers, algorithm=algorithm)
        limit = None if requirements is None or layers else requirements.arena_limit_bytes
        plan = tuned_plan(prepared, plan, times, board, arena_limit_bytes=limit)
    folder = folder or Path("out") / prepared.imported.c_name
    say("generate C")
    generated = generate(
        prepared, plan, folder / "model", board, small_code=small_code, times=times
    )
    say("build firmware")
    firmware = build_firmware(generated.folder, board, folder / "firmware", emulate=emulate)
    say("compute the reference")
    golden = reference_run(prepared, seed=seed)
    say("run on the device")
    measurement, validation = run_on_device(
        generated,
        firmware,
        golden,
        port=port,
        serial=serial,
        runner=runner,
        runs=runs,
        progress=progress,
    )
    return Deployment(prepared, plan, generated, firmware, measurement, validation)
