"""What a client may call on a firmware that it has loaded.

The names are those of TVM's graph executor where there are any. Inputs stay on this side until a
function runs the network, which writes them, runs and reads the outputs in one go: what a board
fails at can so be done again from the beginning.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.errors import DeviceError, RackError
from tvm_patch.measurement import measure
from tvm_patch.micro import DeviceInfo, RunResult, Session
from tvm_patch.micro.protocol import ClockKind
from tvm_patch.rack.artifact import Artifact, TensorSpec
from tvm_patch.rack.keeper import BoardKeeper

Array = npt.NDArray[np.generic]

_REPEATS_MAX = 10_000
_NUMBER_MAX = 1_000_000


@dataclass(frozen=True)
class Timing:
    """What ``time_evaluator`` is asked for; the names are TVM's."""

    number: int
    repeat: int
    min_repeat_ms: int


class FirmwareFunctions:
    """The functions of one loaded firmware.

    Parameters
    ----------
    artifact : Artifact
        The firmware.
    keeper : BoardKeeper
        The board that it is loaded on.
    make_tensor : callable
        Makes a tensor of TVM's from an array.
    virtual_time : bool
        Whether ``time_evaluator`` takes an emulator's instructions for nanoseconds.
    """

    def __init__(
        self,
        artifact: Artifact,
        keeper: BoardKeeper,
        *,
        make_tensor: Callable[[Array], Any],
        virtual_time: bool = False,
    ) -> None:
        self._artifact = artifact
        self._keeper = keeper
        self._make_tensor = make_tensor
        self._virtual_time = virtual_time
        self._inputs: dict[int, Array] = {}
        self._outputs: list[bytes] = []
        self._functions: dict[str, Callable[..., Any]] = {
            "main": self._main,
            "run": self._run,
            "set_input": self._set_input,
            "get_output": self._get_output,
            "get_num_inputs": lambda: len(artifact.inputs),
            "get_num_outputs": lambda: len(artifact.outputs),
            "get_input_index": self._input_index,
            "measure": self._measure,
            "info": self._info,
        }

    def find(self, name: str) -> Callable[..., Any]:
        """Return a function.

        Raises
        ------
        RackError
            If there is none of that name; names those there are.
        """
        if name not in self._functions:
            raise RackError(
                f"a firmware has no function {name!r}", hint="it has " + ", ".join(self._functions)
            )
        return self._functions[name]

    def time_evaluator(self, name: str, timing: Timing) -> Callable[..., bytes]:
        """Return a function that times another one, as TVM's ``time_evaluator`` does.

        It takes what the timed function takes, and returns a double for each repeat: the mean
        of its runs, in seconds.

        Raises
        ------
        RackError
            If the function does not run the network, or the board has no time.
        """
        if name not in ("run", "main"):
            raise RackError(f"{name!r} cannot be timed", hint="time 'run' or 'main'")
        if not (0 < timing.repeat <= _REPEATS_MAX and 0 < timing.number <= _NUMBER_MAX):
            raise RackError(f"cannot time {timing.number} runs, {timing.repeat} times")

        def evaluate(*arguments: Any) -> bytes:
            if arguments:
                self._take_all(arguments)
            inputs = self._given_inputs()
            seconds = self._keeper.run(lambda session: self._time(session, inputs, timing))
            return struct.pack(f"={len(seconds)}d", *seconds)

        return evaluate

    def _time(self, session: Session, inputs: list[Array], timing: Timing) -> list[float]:
        number = timing.number
        seconds: list[float] = []
        for _ in range(timing.repeat):
            for index, value in enumerate(inputs):
                session.write_input(index, value.tobytes())
            while True:
                mean = self._mean_s(session.run(number), session.info())
                if mean * number * 1000 >= timing.min_repeat_ms or mean == 0:
                    break
                # As TVM does: more runs, until a repeat takes long enough.
                number = min(math.ceil(1.1 * timing.min_repeat_ms / 1000 / mean), _NUMBER_MAX)
            seconds.append(mean)
        return seconds

    def _mean_s(self, result: RunResult, info: DeviceInfo) -> float:
        units = sum(result.ticks) * result.units_per_tick / len(result.ticks)
        if result.clock_kind == ClockKind.NANOSECONDS:
            return units * 1e-9
        if result.clock_kind == ClockKind.CYCLES and info.clock_hz:
            return units / info.clock_hz
        if result.clock_kind == ClockKind.INSTRUCTIONS and self._virtual_time:
            return units * 1e-9
        raise RackError(
            f"{info.board} is emulated and has no time: it counts instructions",
            hint="call 'measure', or serve it with --virtual-time (an instruction is a nanosecond)",
        )

    def _main(self, *inputs: Any) -> Any:
        self._take_all(inputs)
        self._run()
        return self._get_output(0)

    def _run(self) -> None:
        inputs = self._given_inputs()
        self._outputs = self._keeper.run(lambda session: session.infer(inputs))

    def _set_input(self, which: int | str, value: Any) -> None:
        index = self._input_index(which) if isinstance(which, str) else int(which)
        spec = self._spec(self._artifact.inputs, "input", index)
        array = value.numpy()
        if array.dtype != np.dtype(spec.dtype) or array.size != math.prod(spec.shape):
            raise RackError(
                f"input {spec.name!r} is {spec.dtype} {spec.shape}, "
                f"not {array.dtype} {tuple(array.shape)}"
            )
        self._inputs[index] = array.reshape(spec.shape)

    def _get_output(self, index: int, target: Any = None) -> Any:
        spec = self._spec(self._artifact.outputs, "output", int(index))
        if not self._outputs:
            raise RackError("there is no output yet", hint="call 'run' first")
        array = np.frombuffer(self._outputs[int(index)], spec.dtype).reshape(spec.shape)
        if target is None:
            return self._make_tensor(array)
        target.copyfrom(array.reshape(target.shape))
        return None

    def _input_index(self, name: str) -> int:
        names = [spec.name for spec in self._artifact.inputs]
        if name not in names:
            raise RackError(f"there is no input {name!r}", hint="inputs: " + ", ".join(names))
        return names.index(name)

    def _measure(self, runs: int = 1) -> str:
        if not 0 < runs <= _NUMBER_MAX:
            raise RackError(f"cannot measure {runs} runs")
        inputs = self._given_inputs()
        firmware = self._artifact.built.firmware
        done = self._keeper.run(lambda session: measure(session, firmware, inputs, runs=runs))
        self._outputs = list(done.outputs)
        return json.dumps({**asdict(done.measurement), "board": firmware.board.name})

    def _info(self) -> str:
        info = self._keeper.run(lambda session: session.info())
        return json.dumps(
            {
                **asdict(info),
                "clock_kind": info.clock_kind.name.lower(),
                "inputs": [asdict(spec) for spec in self._artifact.inputs],
                "outputs": [asdict(spec) for spec in self._artifact.outputs],
            }
        )

    def _take_all(self, inputs: tuple[Any, ...]) -> None:
        if len(inputs) != len(self._artifact.inputs):
            raise RackError(
                f"the network has {len(self._artifact.inputs)} inputs, not {len(inputs)}"
            )
        for index, value in enumerate(inputs):
            self._set_input(index, value)

    def _given_inputs(self) -> list[Array]:
        for index, spec in enumerate(self._artifact.inputs):
            if index not in self._inputs:
                raise RackError(f"input {spec.name!r} has not been set", hint="call 'set_input'")
        return [self._inputs[index] for index in range(len(self._artifact.inputs))]

    @staticmethod
    def _spec(specs: tuple[TensorSpec, ...], role: str, index: int) -> TensorSpec:
        if not 0 <= index < len(specs):
            raise DeviceError(f"the network has {len(specs)} {role}s; there is no {role} {index}")
        return specs[index]
