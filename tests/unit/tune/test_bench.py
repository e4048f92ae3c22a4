"""Images of candidates on an emulated board, broken ones among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tvm import s_tir, tirx

from tests.support import need_emulator
from tests.unit.tune.fakes import digits, digits_tasks
from tvm_patch.board import load_board
from tvm_patch.schedules import DspConvRow
from tvm_patch.tune.bench import Bench
from tvm_patch.tune.estimate import instructions_of
from tvm_patch.tune.image import write_image
from tvm_patch.tune.tasks import Candidate


@dataclass(frozen=True)
class Broken:
    """A kernel that does something else in place of its work."""

    kernel: DspConvRow
    how: str

    @property
    def name(self) -> str:
        return f"broken_{self.how}"

    @property
    def constants(self) -> tuple[str, ...]:
        return self.kernel.constants

    @property
    def macs(self) -> int:
        return self.kernel.macs

    def pack(self, constants: Any) -> Any:
        return self.kernel.pack(constants)

    def prim_func(self) -> Any:
        function = self.kernel.prim_func()
        addresses = [
            tirx.address_of(tirx.BufferLoad(buffer, [0] * len(buffer.shape)))
            for buffer in function.params
        ]
        # Parameters that nobody uses are an error to the compiler.
        used = [tirx.Evaluate(tirx.call_extern("void", "(void)", each)) for each in addresses]
        out_bytes = self.kernel.plain.out_width * self.kernel.plain.out_channels
        barrier = tirx.Evaluate(tirx.call_extern("void", "__sync_synchronize"))

        def forever(body: Any) -> Any:
            return tirx.For(tirx.Var("i", "int32"), 0, (1 << 31) - 1, tirx.ForKind.SERIAL, body)

        bodies = {
            "faults": tirx.Evaluate(tirx.call_extern("void", "__builtin_trap")),
            "hangs": forever(forever(barrier)),
            "does not build": tirx.Evaluate(tirx.call_extern("void", "no_such_function")),
            "spills": tirx.Evaluate(
                tirx.call_extern("void", "__builtin_memset", addresses[-1], 1, out_bytes + 1)
            ),
        }
        root = s_tir.SBlock([], [], [], "root", tirx.SeqStmt([*used, bodies[self.how]]))
        realize = s_tir.SBlockRealize([], tirx.const(True, "bool"), root)
        return tirx.PrimFunc(list(function.params), realize).with_attr("s_tir", True)


def convolution() -> Any:
    return next(task for task in digits_tasks() if isinstance(task.default, DspConvRow))


@pytest.mark.emulator
def test_broken_candidates_are_marked_and_the_rest_survive(tmp_path: Path) -> None:
    need_emulator()
    task = convolution()
    good = task.candidates()
    plain = task.default.plain
    wrong = replace(task.default, plain=replace(plain, output_zero_point=5, clamp_min=5))
    broken = [
        Candidate(task, {"form": how}, Broken(task.default, how))
        for how in ("faults", "spills", "hangs")
    ]
    candidates = [good[0], broken[0], good[2], Candidate(task, {}, wrong), *broken[1:], good[3]]
    bench = Bench(load_board("qemu_cortex_m7"), tmp_path, timeout_s=120.0)
    seen: list[Any] = []
    readings = bench.measure(candidates, seen.append)
    assert readings == seen and [each.candidate for each in readings] == candidates
    errors = [reading.error for reading in readings]
    assert [error is None for error in errors] == [True, False, True, False, False, False, True]
    assert "fault" in str(errors[1]).lower() and errors[3] == "computes other integers"
    assert errors[4] == "writes beyond its output" and "watchdog" in str(errors[5])
    again = bench.measure([good[0]])
    assert again[0].units == readings[0].units, "an emulator counts the same each time"


@pytest.mark.emulator
def test_one_that_does_not_compile_does_not_take_others_along(tmp_path: Path) -> None:
    need_emulator()
    task = convolution()
    candidates = [
        *task.candidates()[:3],
        Candidate(task, {}, Broken(task.default, "does not build")),
    ]
    readings = Bench(load_board("qemu_cortex_m7"), tmp_path).measure(candidates)
    assert [reading.units is None for reading in readings] == [False, False, False, True]
    assert "does not build" in str(readings[3].error)


@pytest.mark.emulator
def test_every_task_of_a_network_runs_as_its_default_does(tmp_path: Path) -> None:
    need_emulator()
    board = load_board("qemu_cortex_m7")
    candidates = []
    for task in digits_tasks():
        by_form = {each.choice.get("form"): each for each in reversed(task.candidates())}
        candidates += list(by_form.values())
    assert {"row", "gathered", "unrolled"} <= {each.choice.get("form") for each in candidates}
    readings = Bench(board, tmp_path).measure(candidates)
    assert [reading.error for reading in readings] == [None] * len(candidates)
    assert digits().network.graph.name == candidates[0].task.model
    measured = {each.candidate.identity: each.units or 0.0 for each in readings}
    for each in candidates:
        default = each.task.candidates()[0]
        ratio = measured[each.identity] / measured[default.identity]
        estimated = instructions_of(each.kernel) / instructions_of(default.kernel)
        assert 0.7 < ratio / estimated < 1.4, each.choice


def test_the_same_candidates_give_the_same_bytes(tmp_path: Path) -> None:
    candidates = [candidate for task in digits_tasks()[:3] for candidate in task.candidates()[:4]]

    def content(folder: Path) -> dict[str, bytes]:
        write_image(candidates, folder)
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    assert content(tmp_path / "a") == content(tmp_path / "b")
