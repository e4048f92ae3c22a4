"""Candidates behind a tracker: one session for an image, whatever its candidates do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tvm_patch.errors import BoardLostError, DeviceError, DeviceSilentError
from tvm_patch.rack.wording import put_in_words
from tvm_patch.tune import tracked
from tvm_patch.tune.bench import Verdict
from tvm_patch.tune.tracked import TrackedRunner


class FakeModule:
    """A firmware of three candidates: one is right, one hangs, one computes something else."""

    def __init__(self, lost_at: int | None) -> None:
        self.selected, self.lost_at = 0, lost_at

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return {"set_input": self.select, "measure": self.measure, "get_output": self.output}[name]

    def select(self, _index: int, value: Any) -> None:
        (self.selected,) = np.frombuffer(value.numpy().tobytes(), "<u4")

    def measure(self, _runs: int) -> str:
        if self.selected == self.lost_at:
            raise RuntimeError(put_in_words(BoardLostError("it is gone")))
        if self.selected == 1:
            raise RuntimeError(put_in_words(DeviceSilentError("it hangs")))
        return json.dumps({"profile": [{"name": "run", "units": 100 + int(self.selected)}]})

    def output(self, _index: int) -> Any:
        verdict = Verdict.RIGHT if self.selected == 0 else Verdict.WRONG
        return tracked.tensor(np.frombuffer(np.array([verdict], "<u4").tobytes(), np.int8))


class FakeClient:
    """Hands out a board, and another one if it is lost."""

    def __init__(self, *modules: FakeModule) -> None:
        self.modules = list(modules)
        self.uploads = 0

    def with_board(self, work: Callable[[Any], Any]) -> Any:
        try:
            return work(self)
        except RuntimeError:
            self.modules.pop(0)
            return work(self)

    def upload(self, _data: bytearray, *, target: str) -> None:
        assert target
        self.uploads += 1

    def load_module(self, _name: str) -> FakeModule:
        return self.modules[0]

    def cpu(self, _number: int) -> Any:
        return None


class FakeFirmware:
    """Where it lies."""

    def __init__(self, folder: Path) -> None:
        self.elf_path = folder / "firmware" / "firmware.elf"


@pytest.mark.parametrize("lost_at", [None, 2])
def test_an_image_is_flashed_once_and_broken_candidates_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost_at: int | None
) -> None:
    monkeypatch.setattr(tracked, "pack", lambda folder: b"artifact")
    monkeypatch.setattr(tracked, "write_built", lambda built: None)
    monkeypatch.setattr(tracked, "tensor", _tensor)
    client: Any = FakeClient(FakeModule(lost_at), FakeModule(None))
    firmware: Any = FakeFirmware(tmp_path)
    with TrackedRunner(client, 2, firmware, 3) as runner:
        assert runner.run(0) == runner.run(0) == (100, Verdict.RIGHT)
        with pytest.raises(DeviceError, match="hangs"):
            runner.run(1)
        assert runner.run(2) == (102, Verdict.WRONG)
    assert client.uploads == (1 if lost_at is None else 2)


def _tensor(value: Any, _device: Any = None) -> Any:
    from tvm.runtime import tensor

    return tensor(value)
