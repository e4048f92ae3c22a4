"""Candidates and whole networks on boards behind TVM's tracker."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tvm.runtime import tensor

from tvm_patch.errors import BoardLostError, DeviceError
from tvm_patch.measurement import Measurement
from tvm_patch.micro import Firmware
from tvm_patch.pipeline import Generated
from tvm_patch.rack.artifact import ARTIFACT_NAME, pack
from tvm_patch.rack.client import RackClient
from tvm_patch.rack.wording import read_words
from tvm_patch.report.built import Built, write_built
from tvm_patch.tune.bench import Verdict
from tvm_patch.validation import Golden, Validation, compare

_OPERATORS = ("prepare", "run", "check")

_Outcome = tuple[int, Verdict] | DeviceError


@dataclass
class TrackedRunner:
    """Runs the candidates of an image on whichever board the tracker hands out.

    All in one session: the image is flashed once. If the board is lost, another one begins anew.

    Parameters
    ----------
    client : RackClient
        The way to the boards.
    repeats : int
        Readings of each candidate.
    firmware : Firmware
        The image's.
    count : int
        Its candidates.
    """

    client: RackClient
    repeats: int
    firmware: Firmware
    count: int
    _outcomes: list[list[_Outcome]] = field(default_factory=list, init=False)

    def __enter__(self) -> TrackedRunner:
        folder = Path(self.firmware.elf_path).parent.parent
        operators = tuple((name, name, 0) for name in _OPERATORS)
        write_built(Built(self.firmware, "tune", 0, 0, operators, ("int8",)))
        artifact = pack(folder)

        def work(remote: Any) -> list[list[_Outcome]]:
            remote.upload(bytearray(artifact), target=ARTIFACT_NAME)
            module, device = remote.load_module(ARTIFACT_NAME), remote.cpu(0)
            return [
                [_run(module, device, number) for _ in range(self.repeats)]
                for number in range(self.count)
            ]

        self._outcomes = self.client.with_board(work)
        return self

    def __exit__(self, *_error: object) -> None:
        """The session has ended already."""

    def run(self, number: int) -> tuple[int, Verdict]:
        """What came of a candidate, reading by reading."""
        outcome = self._outcomes[number].pop(0)
        if isinstance(outcome, DeviceError):
            raise outcome
        return outcome


def _run(module: Any, device: Any, number: int) -> _Outcome:
    """One reading; the agent gets a board back that a candidate has brought down."""
    selected = np.frombuffer(np.array([number], "<u4").tobytes(), np.int8)
    try:
        module["set_input"](0, tensor(selected, device))
        record = json.loads(module["measure"](1))
        output = module["get_output"](0).numpy()
    except RuntimeError as error:
        told = read_words(str(error))
        if isinstance(told, DeviceError) and not isinstance(told, BoardLostError):
            return told
        raise
    units = {entry["name"]: int(entry["units"]) for entry in record["profile"]}
    (verdict,) = np.frombuffer(output.tobytes(), "<u4")
    return units["run"], Verdict(int(verdict))


def measure_whole(
    client: RackClient, generated: Generated, firmware: Firmware, golden: Golden, runs: int
) -> tuple[Measurement, Validation]:
    """Measure a whole network on a board behind the tracker, and compare it with the reference.

    Parameters
    ----------
    client : RackClient
        The way to the boards.
    generated, firmware, golden
        The network's C, what was built of it, and what it is to compute.
    runs : int
        Inferences to time.
    """
    graph = generated.model.network.graph
    operators = tuple(
        (group.name, "operator", group.group.macs) for group in generated.model.groups
    )
    dtypes = tuple(graph.tensor[name].dtype for name in graph.inputs)
    plan = generated.model.plan
    write_built(Built(firmware, graph.name, plan.memory.arena_bytes, plan.macs, operators, dtypes))
    folder = Path(firmware.elf_path).parent.parent
    done = client.measure(folder, list(golden.inputs), runs=runs)
    return done.measurement, compare(golden, list(done.outputs))
