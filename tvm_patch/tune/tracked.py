"""Candidates on a board behind TVM's tracker."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tvm_patch.micro import Firmware
from tvm_patch.rack.artifact import write as write_artifact
from tvm_patch.rack.client import RackClient
from tvm_patch.report.built import Built, write_built
from tvm_patch.tune.bench import Verdict


class TrackedRunner:
    """Runs candidates of an image on whichever board the tracker hands out.

    Parameters
    ----------
    client : RackClient
        The way to the boards.
    firmware : Firmware
        The image's.
    timeout_s : float
        For the agent to wait for a candidate; it resets a board that hangs.
    """

    def __init__(self, client: RackClient, firmware: Firmware, *, timeout_s: float) -> None:
        self._client = client
        self._firmware = firmware
        self._timeout_s = timeout_s
        self._folder = Path(firmware.elf_path).parent.parent

    def __enter__(self) -> TrackedRunner:
        operators = tuple((name, name, 0) for name in ("prepare", "run", "check"))
        write_built(Built(self._firmware, "tune", 0, 0, operators, ("int8",)))
        write_artifact(self._folder)
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is kept between candidates."""

    def run(self, number: int) -> tuple[int, Verdict]:
        """Upload, select, measure; the agent keeps the image from one candidate to the next."""
        selected = np.frombuffer(np.array([number], "<u4").tobytes(), np.int8)
        run = self._client.measure(self._folder, [selected])
        times = {each.name: each.units for each in run.measurement.profile}
        (verdict,) = np.frombuffer(run.outputs[0], "<u4")
        return int(times["run"]), Verdict(int(verdict))
