"""``PatchPartition``: registered, carries plans out, and refuses what cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tvm
from tvm import relax

import tvm_patch
from tests.support import DIGITS
from tvm_patch.analysis import read_network
from tvm_patch.board import load_board
from tvm_patch.errors import DoesNotFitError, PlanError, TuningError
from tvm_patch.kernel_times import KernelTime, TimesWriter, kernels_digest
from tvm_patch.micro.measured_on import measured_on
from tvm_patch.pipeline import Prepared, database_times, prepare, tuned_plan
from tvm_patch.plan import Requirements, choose_plan
from tvm_patch.schedules import Instructions
from tvm_patch.transform import PatchPartition, parse_size, plan_of
from tvm_patch.tune.tasks import Task, tasks_of


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare(DIGITS)


def test_importing_the_package_registers_the_pass() -> None:
    assert tvm_patch.__version__
    assert relax.transform.PatchPartition is PatchPartition
    assert isinstance(PatchPartition(ram="64KB"), tvm.transform.Pass)


def test_the_stage_becomes_a_private_function_with_its_plan(digits: Prepared) -> None:
    module = PatchPartition(split=3, grid=(2, 2))(digits.imported.module)
    stage = module["stage0"]
    assert "global_symbol" not in (stage.attrs or {})
    assert '"tile_h"' in str(stage.attrs["tvm_patch.stage"])
    plan = plan_of(module)
    assert plan is not None
    assert len(plan.stages[0].operators) == 3


def test_partitioning_leaves_the_network_as_it_was(digits: Prepared) -> None:
    module = PatchPartition(split=7, grid=(3, 3), name=digits.imported.name)(digits.module)
    assert read_network(module, name=digits.imported.name).graph == digits.network.graph


def test_the_same_plan_gives_the_same_module(digits: Prepared) -> None:
    plan = choose_plan(digits.network.graph, Requirements(ram_bytes=64 * 1024))
    first = PatchPartition(plan)(digits.module)
    second = PatchPartition(plan)(digits.module)
    tvm.ir.assert_structural_equal(first, second)
    assert plan_of(first) == plan


def test_the_input_module_is_unchanged(digits: Prepared) -> None:
    before = digits.imported.module.script()
    PatchPartition(split=3, grid=(2, 2))(digits.imported.module)
    assert digits.imported.module.script() == before


def test_a_limit_that_nothing_fits(digits: Prepared) -> None:
    with pytest.raises(DoesNotFitError, match="4,096") as caught:
        PatchPartition(ram="4K")(digits.module)
    assert caught.value.required_bytes > caught.value.available_bytes == 4096


def test_errors_keep_their_type_in_a_sequence_of_passes(digits: Prepared) -> None:
    sequence = tvm.transform.Sequential([PatchPartition(ram="4K")])
    with pytest.raises(DoesNotFitError, match="4,096"):
        sequence(digits.module)


def test_arguments_that_contradict_each_other() -> None:
    with pytest.raises(PlanError, match="go together"):
        PatchPartition(split=3)
    with pytest.raises(PlanError, match="one of"):
        PatchPartition(split=3, grid=(2, 2), ram="64K")


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("64K", 65536), ("64KB", 65536), ("1.5k", 1536), ("2M", 2 << 20), ("100", 100), (7, 7)],
)
def test_sizes(text: str | int, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "K", "12 potatoes", "-5K"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(PlanError, match="size"):
        parse_size(text)


def _times(tasks: tuple[Task, ...]) -> list[KernelTime]:
    """Gathering takes 0.7 of the default everywhere."""
    records = []
    for task in tasks:
        for candidate in task.candidates():
            gathers = candidate.choice.get("form") == "gathered"
            units = task.default.macs * (0.7 if gathers else 1.0)
            records.append(
                KernelTime(
                    task.key,
                    candidate.choice,
                    units,
                    scratch_bytes=candidate.scratch_bytes,
                    kernels=kernels_digest(),
                )
            )
    return records


def test_a_database_gives_kernels_memory_where_the_arena_has_room(
    digits: Prepared, tmp_path: Path
) -> None:
    options = {"split": 7, "grid": (4, 4), "name": digits.imported.name}
    plain = plan_of(PatchPartition(**options)(digits.module))
    assert plain is not None
    board = load_board("qemu_cortex_m7")
    writer = TimesWriter(tmp_path, measured_on(board), {})
    writer.add(_times(tasks_of(digits.network, plain, Instructions.DSP)))
    plan = plan_of(PatchPartition(**options, database=tmp_path)(digits.module))
    assert plan is not None and plan.stages == plain.stages
    assert sum(plan.scratch_bytes.values()) > sum(plain.scratch_bytes.values())
    assert plan.memory.arena_bytes <= plain.memory.arena_bytes
    assert plan == tuned_plan(digits, plain, database_times(tmp_path, board), board)
    given = PatchPartition(plain, database=tmp_path)(digits.module)
    assert plan_of(given) == plain, "a plan is carried out as it is"


def test_a_database_that_knows_nothing_changes_nothing(digits: Prepared, tmp_path: Path) -> None:
    plain = PatchPartition(split=3, grid=(2, 2))(digits.module)
    tuned = PatchPartition(split=3, grid=(2, 2), database=tmp_path)(digits.module)
    assert plan_of(tuned) == plan_of(plain)


def test_a_database_of_another_compiler_is_refused(digits: Prepared, tmp_path: Path) -> None:
    on = replace(measured_on(load_board("qemu_cortex_m7")), compiler="gcc 1.0")
    TimesWriter(tmp_path, on, {}).add([KernelTime("task", {}, 1.0)])
    with pytest.raises(TuningError, match=r"another compiler: gcc 1\.0"):
        PatchPartition(split=3, grid=(2, 2), database=tmp_path)(digits.module)
