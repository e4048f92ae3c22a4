"""What every operator of a network takes on a device, inside stages too.

The firmware that is measured otherwise knows nothing of this: a second one is built from the same
generated C, whose marks (:mod:`tvm_patch.lower.marks`) then read the stopwatch wherever the code of
another operator begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.board import Board
from tvm_patch.errors import DeviceError, ModelFileError
from tvm_patch.lower.marks import Mark, Part
from tvm_patch.micro import Firmware, Progress, SpanTime, build_firmware, flash, open_session
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
    """

    name: str
    kind: str
    stage: str | None
    macs: int
    calls: int
    kernel_units: int
    data_units: int
    kernels: tuple[str, ...] = ()

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
    """

    unit: str
    operators: tuple[OperatorProfile, ...]
    loops_units: int
    mark_units: float
    marks: int

    @property
    def units(self) -> int:
        """The whole inference: all operators, and the loops around them."""
        return sum(operator.units for operator in self.operators) + self.loops_units

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
    timeout_s: float = 60.0,
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
    timeout_s : float
        How long the inference may take without a word from the device.
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
        model_dir, firmware, inputs, port=port, timeout_s=timeout_s, progress=progress
    )


def run_profile(
    model_dir: Path,
    firmware: Firmware,
    inputs: Sequence[npt.NDArray[np.generic]],
    *,
    port: str | None = None,
    timeout_s: float = 60.0,
    progress: Progress | None = None,
) -> Profile:
    """Run one inference on a profiling firmware, and take it apart; see :func:`profile_model`."""
    _, manifest = read_model_folder(model_dir)
    flash(firmware)
    with open_session(firmware, port=port, timeout_s=timeout_s, progress=progress) as session:
        session.infer(inputs)
        spans = session.spans()
        kind, mark_units = session.info().clock_kind, session.mark_units()
    return _assign(manifest, spans, UNITS[kind], mark_units, model_dir)


def _assign(
    manifest: Mapping[str, Any],
    spans: Sequence[SpanTime],
    unit: str,
    mark_units: float,
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
        )
        for name, kind, group, macs, kernels in layers
    )
    loops = sum(span.units for mark, span in time.items() if mark.part in (Part.RUN, Part.LOOPS))
    return Profile(unit, operators, loops, mark_units, sum(span.visits for span in spans))
