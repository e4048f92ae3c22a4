"""What every operator of a network takes on a device, inside stages too.

The firmware that is measured otherwise knows nothing of this: a second one is built from the same
generated C, whose marks (:mod:`tvm_patch.lower.marks`) then read the stopwatch wherever the code of
another operator begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.board import Board
from tvm_patch.cycles import CortexM4, Cost, Estimated, run_counted
from tvm_patch.errors import DeviceError, ModelFileError
from tvm_patch.lower.marks import Mark, Part
from tvm_patch.micro import (
    Firmware,
    Progress,
    Session,
    SpanTime,
    build_firmware,
    flash,
    open_session,
)
from tvm_patch.micro.project import read_model_folder
from tvm_patch.micro.protocol import ClockKind

UNITS: Mapping[ClockKind, str] = {
    ClockKind.INSTRUCTIONS: "instructions",
    ClockKind.CYCLES: "cycles",
    ClockKind.NANOSECONDS: "nanoseconds",
}


@dataclass(frozen=True)
class OperatorProfile:
    """What one operator takes in an inference.

    Parameters
    ----------
    name, kind : str
        Of the operator.
    stage : str or None
        The stage that it is in; None if it runs on its own.
    macs : int
        Multiply-accumulates executed, recomputed halos included.
    calls : int
        How often its kernel is called.
    kernel_units : int
        Taken by its kernel.
    data_units : int
        Taken by what surrounds the kernel: gathering rows, moving them up in line buffers, blanking
        borders, the loop over rows.
    kernels : tuple of str
        C functions of its kernels; none where it only moves data.
    kernel_cycles, data_cycles : int or None
        The same in cycles, estimated; None where there is no estimate.
    """

    name: str
    kind: str
    stage: str | None
    macs: int
    calls: int
    kernel_units: int
    data_units: int
    kernels: tuple[str, ...] = ()
    kernel_cycles: int | None = None
    data_cycles: int | None = None

    @property
    def cycles(self) -> int | None:
        """All cycles that the operator takes, estimated."""
        if self.kernel_cycles is None or self.data_cycles is None:
            return None
        return self.kernel_cycles + self.data_cycles

    @property
    def units(self) -> int:
        """All that the operator takes."""
        return self.kernel_units + self.data_units

    @property
    def units_per_mac(self) -> float | None:
        """Cost of a multiply-accumulate; None where there is none."""
        return self.units / self.macs if self.macs else None


@dataclass(frozen=True)
class Profile:
    """An inference taken apart.

    Parameters
    ----------
    unit : str
        ``instructions`` on an emulator, ``cycles`` on hardware, ``nanoseconds`` on the host.
    operators : tuple of OperatorProfile
        In execution order.
    loops_units : int
        Taken by the loops of stages and by what goes from one operator to the next.
    mark_units : float
        What one reading of the stopwatch costs, measured on the device, and taken off already.
    marks : int
        How many there were.
    loops_cycles : int or None
        The loops in cycles, estimated; None where there is no estimate.
    core : str
        The core whose cycles are estimated; empty where there is no estimate.
    flash_wait_states : int
        Of the flash that the estimate is for.
    no_estimate : str
        Why there is none; empty where there is.
    """

    unit: str
    operators: tuple[OperatorProfile, ...]
    loops_units: int
    mark_units: float
    marks: int
    loops_cycles: int | None = None
    core: str = ""
    flash_wait_states: int = 0
    no_estimate: str = ""

    @property
    def units(self) -> int:
        """The whole inference: all operators, and the loops around them."""
        return sum(operator.units for operator in self.operators) + self.loops_units

    @property
    def cycles(self) -> int | None:
        """The whole inference in cycles, estimated; None where there is no estimate."""
        if self.loops_cycles is None:
            return None
        return sum(operator.cycles or 0 for operator in self.operators) + self.loops_cycles

    @property
    def macs(self) -> int:
        """Multiply-accumulates executed."""
        return sum(operator.macs for operator in self.operators)

    def share(self, units: int) -> float:
        """Part of the whole, 0 to 1."""
        return units / self.units if self.units else 0.0


def profile_model(
    model_dir: Path,
    board: Board,
    build_dir: Path,
    inputs: Sequence[npt.NDArray[np.generic]],
    *,
    port: str | None = None,
    serial: str | None = None,
    timeout_s: float = 60.0,
    timing: CortexM4 | None = None,
    on_step: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Build a model's profiling firmware, run one inference on it, and take that apart.

    Parameters
    ----------
    model_dir : Path
        What the code generator has written.
    board : Board
        As in the firmware that the profile is about.
    build_dir : Path
        Where to build.
    inputs : sequence of ndarray
        In the order of the model's inputs, in its own dtypes.
    port : str or None
        Serial port of a real board.
    serial : str or None
        Serial number of its debug probe, where several are plugged in.
    timeout_s : float
        How long the inference may take without a word from the device.
    timing : CortexM4 or None
        The core and its flash, where cycles are estimated.
    on_step, progress : callable or None
        Told what begins, and how far it is.

    Raises
    ------
    ModelFileError
        If the folder is not a generated model with marks.
    TvmPatchError
        Whatever building, flashing and running raise.
    """
    say = on_step or (lambda _text: None)
    say("build the profiling firmware")
    firmware = build_firmware(model_dir, board, build_dir, profile=True)
    say("profile")
    return run_profile(
        *(model_dir, firmware, build_dir, inputs),
        port=port,
        serial=serial,
        timeout_s=timeout_s,
        timing=timing,
        progress=progress,
    )


def run_profile(
    model_dir: Path,
    firmware: Firmware,
    work_dir: Path,
    inputs: Sequence[npt.NDArray[np.generic]],
    *,
    port: str | None = None,
    serial: str | None = None,
    timeout_s: float = 60.0,
    timing: CortexM4 | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Run one inference on a profiling firmware, and take it apart; see :func:`profile_model`."""
    model, manifest = read_model_folder(model_dir)
    timing = timing or CortexM4()

    def opened(options: Sequence[str]) -> Session:
        return open_session(
            firmware,
            port=port,
            serial=serial,
            timeout_s=timeout_s,
            progress=progress,
            emulator_options=options,
        )

    def work(session: Session) -> tuple[list[SpanTime], str, float]:
        session.infer(inputs)
        unit = UNITS[session.info().clock_kind]
        return session.spans(), unit, session.mark_units()

    flash(firmware, port=port, serial=serial)
    found, estimated = run_counted(firmware, model.c_name, work_dir, timing, work, opened)
    profile = _assign(manifest, *found, estimated, model_dir)
    return replace(profile, flash_wait_states=timing.flash_wait_states)


def _assign(
    manifest: Mapping[str, Any],
    spans: Sequence[SpanTime],
    unit: str,
    mark_units: float,
    estimated: Estimated,
    model_dir: Path,
) -> Profile:
    """Give every span to the operator that its mark names."""
    try:
        marks = [
            Mark(Part(mark["part"]), mark["group"], mark["operator"]) for mark in manifest["marks"]
        ]
        layers = [
            (
                *(layer["name"], layer["kind"], layer["operator"], layer["macs"]),
                tuple(layer.get("kernels", ())),
            )
            for layer in manifest["layers"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{model_dir}: its manifest tells nothing of marks: {error!r}",
            hint="generate the model again",
        ) from error
    if len(marks) != len(spans):
        raise DeviceError(
            f"the device has {len(spans)} spans, the model {len(marks)} marks",
            hint="build and flash the profiling firmware again",
        )
    time = dict(zip(marks, spans, strict=True))
    cycles: dict[Mark, int | None] = dict.fromkeys(marks)
    if estimated.estimates:
        by_span = estimated.estimates[0].by_span
        cycles = {mark: by_span.get(i, Cost()).cycles for i, mark in enumerate(marks)}
    stages = {mark.group for mark in marks if mark.part is Part.LOOPS}
    operators = tuple(
        OperatorProfile(
            name=name,
            kind=kind,
            stage=group if group in stages else None,
            macs=macs,
            calls=time[Mark(Part.KERNEL, group, name)].visits,
            kernel_units=time[Mark(Part.KERNEL, group, name)].units,
            data_units=time[Mark(Part.DATA, group, name)].units,
            kernels=kernels,
            kernel_cycles=cycles[Mark(Part.KERNEL, group, name)],
            data_cycles=cycles[Mark(Part.DATA, group, name)],
        )
        for name, kind, group, macs, kernels in layers
    )
    around = [mark for mark in marks if mark.part in (Part.RUN, Part.LOOPS)]
    return Profile(
        unit=unit,
        operators=operators,
        loops_units=sum(time[mark].units for mark in around),
        mark_units=mark_units,
        marks=sum(span.visits for span in spans),
        loops_cycles=sum(cycles[mark] or 0 for mark in around) if estimated.core else None,
        core=estimated.core,
        no_estimate=estimated.missing,
    )
