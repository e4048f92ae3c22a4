"""What ``measure`` does that needs numpy or a tracker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tvm_patch.cli.terminal import Activity
    from tvm_patch.measurement import Measurement
    from tvm_patch.report import Built


@dataclass(frozen=True)
class Request:
    """A board to ask a tracker for, as the command line has it."""

    tracker: str
    key: str | None
    priority: int
    wait_s: float | None
    session_timeout_s: float


def measure_behind_tracker(
    folder: Path, built: Built, request: Request, runs: int, seed: int, shown: Activity
) -> Measurement:
    """Measure a built firmware on a board that a tracker hands out.

    Raises
    ------
    RackError
        If there is no way to a board.
    DeviceError
        If the network or its firmware fails there.
    """
    from tvm_patch.rack.address import Address
    from tvm_patch.rack.artifact import read_tensors
    from tvm_patch.rack.client import RackClient

    specs, _ = read_tensors(built.model_dir)
    inputs = random_inputs([spec.size_bytes for spec in specs], built.input_dtypes, seed)
    board = built.firmware.board
    # A firmware that stands in for a real board's runs on the emulated one, which has its own key.
    key = request.key or board.emulated_by or board.name
    client = RackClient(
        Address.parse(request.tracker),
        key,
        priority=request.priority,
        wait_s=request.wait_s,
        session_timeout_s=request.session_timeout_s,
        on_step=shown.step,
    )
    return client.measure(folder, inputs, runs=runs).measurement


def random_inputs(
    sizes_bytes: Sequence[int], dtypes: Sequence[str], seed: int
) -> list[np.ndarray[Any, Any]]:
    """Return an array for each input: any int8, or float32 from -1 to 1."""
    generator = np.random.default_rng(seed)
    inputs: list[np.ndarray[Any, Any]] = []
    for size_bytes, dtype in zip(sizes_bytes, dtypes, strict=True):
        count = size_bytes // np.dtype(dtype).itemsize
        if dtype == "float32":
            inputs.append(generator.uniform(-1.0, 1.0, count).astype(np.float32))
        else:
            inputs.append(generator.integers(-128, 128, count, dtype=np.int8))
    return inputs
