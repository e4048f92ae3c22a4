"""Measures on a board behind a tracker, and asks for another one when it is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tvm_patch.errors import BoardLostError, RackError
from tvm_patch.measurement import DeviceRun, Measurement
from tvm_patch.micro import OperatorTime
from tvm_patch.rack.address import Address
from tvm_patch.rack.artifact import ARTIFACT_NAME, pack, read_tensors
from tvm_patch.rack.tracker import request_board
from tvm_patch.rack.wording import read_words
from tvm_patch.report.built import read_built

_Result = TypeVar("_Result")

_TRIES = 6
_GRACE_S = 20.0


class RackClient:
    """Asks a tracker for boards of one key.

    Parameters
    ----------
    tracker : Address
        Where the tracker listens.
    key : str
        Of the boards that will do: a board's name, unless its agent was given another one.
    priority : int
        The higher, the sooner.
    wait_s : float or None
        How long to wait for a board at most.
    session_timeout_s : float
        After which the agent takes the board back; 0 for never.
    on_step : callable
        Told what goes on.
    """

    def __init__(
        self,
        tracker: Address,
        key: str,
        *,
        priority: int = 1,
        wait_s: float | None = None,
        session_timeout_s: float = 0.0,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._tracker = tracker
        self._key = key
        self._priority = priority
        self._wait_s = wait_s
        self._session_timeout_s = session_timeout_s
        self._on_step = on_step

    def measure(
        self,
        folder: Path,
        inputs: Sequence[npt.NDArray[np.generic]],
        *,
        runs: int = 1,
    ) -> DeviceRun:
        """Measure a built firmware on a board.

        Parameters
        ----------
        folder : Path
            What ``build`` or ``deploy`` has written.
        inputs : sequence of ndarray
            In the order of the model's inputs, in its own dtypes.
        runs : int
            Inferences to time.

        Raises
        ------
        TrackerError, UnknownKeyError
            If there is no way to a board.
        BoardLostError
            If boards were lost under it again and again.
        DeviceError
            If the network or its firmware fails.
        """
        artifact = pack(folder)
        specs, _ = read_tensors(read_built(folder).model_dir)
        if len(inputs) != len(specs):
            raise RackError(f"the network has {len(specs)} inputs, not {len(inputs)}")
        arrays = [
            np.ascontiguousarray(value).reshape(spec.shape)
            for value, spec in zip(inputs, specs, strict=True)
        ]

        def work(remote: Any) -> DeviceRun:
            self._on_step(f"flash {self._key}")
            remote.upload(bytearray(artifact), target=ARTIFACT_NAME)
            module = remote.load_module(ARTIFACT_NAME)
            device = remote.cpu(0)
            for index, value in enumerate(arrays):
                module["set_input"](index, _tensor(value, device))
            self._on_step(f"run on {self._key}")
            measurement = _read_measurement(module["measure"](runs))
            count = int(module["get_num_outputs"]())
            outputs = tuple(module["get_output"](i).numpy().tobytes() for i in range(count))
            return DeviceRun(measurement, outputs)

        return self.with_board(work)

    def with_board(self, work: Callable[[Any], _Result]) -> _Result:
        """Do something with a board; with another one if it is lost on the way.

        Parameters
        ----------
        work : callable
            Takes a ``tvm.rpc.RPCSession``; may be called several times.

        Raises
        ------
        RackError
            As :meth:`measure`.
        """
        # TVM takes its time to import: not before it is needed.
        from tvm import rpc

        lost = ""
        for attempt in range(_TRIES):
            self._on_step(f"wait for {self._key}" + (f" (again: {lost})" if lost else ""))
            grant = request_board(
                self._tracker,
                self._key,
                priority=self._priority,
                wait_s=self._wait_s,
                # Where boards were a moment ago, some will be again.
                grace_s=_GRACE_S if attempt else 0.0,
                on_wait=lambda waiting: self._on_step(
                    f"wait for {self._key}: all are busy, {waiting} waiting"
                ),
            )
            remote = None
            try:
                remote = rpc.connect(
                    grant.host, grant.port, grant.match_key, session_timeout=self._session_timeout_s
                )
                return work(remote)
            except (RuntimeError, OSError) as error:
                told = read_words(str(error))
                if told is not None and not isinstance(told, BoardLostError):
                    raise told from error
                if "RPCSessionTimeoutError" in str(error):
                    raise RackError(
                        f"{self._key}: the session's {self._session_timeout_s:.0f} s are up",
                        hint="allow it more: --session-timeout",
                    ) from error
                # The agent or its machine is gone, or the board.
                lost = "board lost" if told is not None else "connection lost"
            finally:
                # At once: tensors and tracebacks may keep the session for long.
                with suppress(RuntimeError, OSError, AttributeError):
                    if remote is not None:
                        remote.get_function("CloseRPCConnection")()
        raise BoardLostError(
            f"{self._key}: {lost} {_TRIES} times in a row",
            hint="ask the tracker who is there: python -m tvm.exec.query_rpc_tracker "
            f"--host {self._tracker.host} --port {self._tracker.port}",
        )


def _tensor(value: npt.NDArray[np.generic], device: Any) -> Any:
    from tvm.runtime import tensor

    return tensor(value, device)


def _read_measurement(text: str) -> Measurement:
    record = json.loads(text)
    del record["board"]
    profile = tuple(OperatorTime(**entry) for entry in record.pop("profile"))
    interval = record.pop("interval")
    return Measurement(
        **record, interval=None if interval is None else tuple(interval), profile=profile
    )
