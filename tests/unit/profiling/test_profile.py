"""Profiles: loops of known length on the emulator, and a real network taken apart."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.support import DIGITS, need_emulator
from tvm_patch.board import load_board
from tvm_patch.cycles import CortexM4
from tvm_patch.errors import DeviceError, ModelFileError
from tvm_patch.micro import build_firmware, open_session
from tvm_patch.pipeline import generate, make_plan, prepare
from tvm_patch.plan import InputMode, Requirements
from tvm_patch.profiling import Profile, profile_model, run_profile

MARKED = Path(__file__).parents[1] / "micro" / "marked_model"
TURNS = 50


def turns(count: int) -> list[np.ndarray]:
    return [np.frombuffer(struct.pack("<I", count), np.int8)]


@pytest.mark.emulator
@pytest.mark.parametrize("board", ["qemu_cortex_m7", "qemu_cortex_m4", "qemu_cortex_m33"])
def test_operators_called_in_turns_get_what_is_theirs(board: str, tmp_path: Path) -> None:
    need_emulator()
    profile = profile_model(MARKED, load_board(board), tmp_path, turns(TURNS))
    first, second, last = profile.operators
    assert profile.unit == "instructions"
    assert (first.stage, second.stage, last.stage) == ("stage0", "stage0", None)
    assert (first.calls, second.calls, last.calls) == (TURNS, TURNS, 1)
    # Two instructions a turn of the loops, and a few for the call; half a tick each as tolerance.
    assert first.kernel_units == pytest.approx(TURNS * (2 * 700 + 4), abs=TURNS * 20)
    assert second.kernel_units == pytest.approx(TURNS * (2 * 90 + 4), abs=TURNS * 20)
    assert last.kernel_units == pytest.approx(2 * 20000, abs=100)
    assert first.units_per_mac == pytest.approx(1.0, abs=0.03)
    assert abs(first.data_units) < TURNS * 25
    assert abs(profile.loops_units) < TURNS * 25
    assert 10 < profile.mark_units < 60
    assert profile.marks == 7 * TURNS + 6


@pytest.mark.emulator
def test_a_production_build_has_no_marks_and_says_so(tmp_path: Path) -> None:
    need_emulator()
    firmware = build_firmware(MARKED, load_board("qemu_cortex_m7"), tmp_path)
    assert b"tvm_patch_profile_mark" not in firmware.elf_path.read_bytes()
    with open_session(firmware) as session:
        session.infer(turns(3))
        with pytest.raises(DeviceError, match="no profiling build") as raised:
            session.spans()
    assert "--profile" in str(raised.value.hint)


def test_on_the_host_time_is_booked_too(tmp_path: Path) -> None:
    firmware = build_firmware(MARKED, load_board("host"), tmp_path, profile=True, sanitize=True)
    profile = run_profile(MARKED, firmware, tmp_path, turns(20))
    assert profile.unit == "nanoseconds"
    assert [operator.calls for operator in profile.operators] == [20, 20, 1]
    # Marks run in no time beside the loops, of which there are 20 * 790 + 20,000 turns.
    assert sum(operator.kernel_units for operator in profile.operators) > 0.5 * profile.units


def test_operators_alone_are_timed_in_a_profiling_build(tmp_path: Path) -> None:
    firmware = build_firmware(MARKED, load_board("host"), tmp_path, profile=True, sanitize=True)
    with open_session(firmware) as session:
        session.write_input(0, turns(5)[0])
        assert [time.name for time in session.profile()] == ["stage0", "last"]
        session.run_until(1)


def test_a_folder_without_marks_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(MARKED, tmp_path / "model")
    manifest = json.loads((folder / "model.json").read_text())
    del manifest["marks"]
    (folder / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelFileError, match="no marks"):
        build_firmware(folder, load_board("host"), tmp_path / "build", profile=True)


def test_another_model_s_spans_are_refused(tmp_path: Path) -> None:
    firmware = build_firmware(MARKED, load_board("host"), tmp_path / "build", profile=True)
    folder = shutil.copytree(MARKED, tmp_path / "model")
    manifest = json.loads((folder / "model.json").read_text())
    manifest["marks"].pop()
    (folder / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(DeviceError, match="8 spans, the model 7 marks"):
        run_profile(folder, firmware, tmp_path, turns(1))


@pytest.mark.emulator
def test_the_operators_of_streamed_stages_add_up_to_the_inference(tmp_path: Path) -> None:
    """With the input by rows: the stopwatch stands still while the host sends them."""
    need_emulator()
    prepared = prepare(DIGITS)
    wanted = Requirements(
        objective="memory", max_overhead=1.0, buffering="rows", input_mode=InputMode.ROWS
    )
    generated = generate(prepared, make_plan(prepared, wanted), tmp_path / "model")
    board = load_board("qemu_cortex_m7")
    firmware = build_firmware(generated.folder, board, tmp_path / "firmware")
    image = np.random.default_rng(1).integers(-128, 128, 4096, dtype=np.int8)
    with open_session(firmware) as session:
        session.write_input(0, image)
        whole = session.run().instructions
    profile = profile_model(generated.folder, board, tmp_path / "profile", [image])
    # Besides what it costs itself, a mark makes the compiler keep values elsewhere.
    assert profile.units == pytest.approx(whole, abs=12 * profile.marks)
    assert profile.units == pytest.approx(whole, rel=0.02)
    names = {operator.name for operator in prepared.network.graph.operators}
    assert names <= {operator.name for operator in profile.operators}
    assert profile.macs == generated.model.execution.macs
    _check_against_layers(profile)


@pytest.mark.emulator
def test_cycles_are_estimated_beside_instructions(tmp_path: Path) -> None:
    need_emulator()
    board = load_board("qemu_cortex_m4")
    profile = profile_model(MARKED, board, tmp_path, turns(TURNS))
    first, second, last = profile.operators
    assert (profile.core, profile.no_estimate) == ("Cortex-M4", "")
    # Three cycles a turn: SUBS, BNE, and one to refill the pipeline; and a few for each call.
    assert first.kernel_cycles == pytest.approx(TURNS * 3 * 700, rel=0.01)
    assert second.kernel_cycles == pytest.approx(TURNS * 3 * 90, rel=0.06)
    assert last.kernel_cycles == pytest.approx(3 * 20000, rel=0.001)
    slow = profile_model(
        *(MARKED, board, tmp_path, turns(TURNS)), timing=CortexM4(flash_wait_states=2)
    )
    assert slow.operators[2].kernel_cycles == pytest.approx(5 * 20000, rel=0.001)
    assert slow.flash_wait_states == 2
    assert profile.cycles is not None
    parts = [operator.cycles or 0 for operator in profile.operators]
    assert profile.cycles == sum(parts) + (profile.loops_cycles or 0)


@pytest.mark.emulator
def test_where_there_is_no_model_of_the_core_that_is_said(tmp_path: Path) -> None:
    need_emulator()
    profile = profile_model(MARKED, load_board("qemu_cortex_m7"), tmp_path, turns(1))
    assert profile.cycles is None
    assert profile.operators[0].cycles is None
    assert "not for the cortex-m7" in profile.no_estimate


def _check_against_layers(profile: Profile) -> None:
    assert sum(operator.stage is not None for operator in profile.operators) > 10
    for operator in profile.operators:
        if operator.kind in ("conv2d", "depthwise_conv2d"):
            assert operator.units_per_mac is not None
            assert 0.5 < operator.units_per_mac < 20
            assert operator.kernel_units > operator.data_units
