"""The demo network on every emulated core, and a real board's limits on an emulator."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support import DIGITS, need_emulator, real_model
from tvm_patch.errors import DoesNotFitError
from tvm_patch.micro import elf
from tvm_patch.pipeline import deploy, prepare
from tvm_patch.plan import Requirements

pytestmark = pytest.mark.emulator

SMALL = Requirements(objective="memory", max_overhead=1.3)


@pytest.mark.parametrize(
    "board", ["qemu_cortex_m7", "qemu_cortex_m4", "qemu_cortex_m33", "qemu_cortex_m3"]
)
def test_every_core_computes_the_same_integers(board: str, tmp_path: Path) -> None:
    need_emulator()
    deployment = deploy(DIGITS, board=board, requirements=SMALL, folder=tmp_path)
    assert deployment.validation.bit_exact
    dsp = deployment.firmware.board.dsp
    assert elf.has_dsp_extension(deployment.firmware.elf_path) == dsp
    assert bool(dsp_instructions(deployment.firmware.elf_path)) == dsp


def dsp_instructions(elf_path: Path) -> set[str]:
    """Mnemonics of the DSP extension in the firmware's code, by a disassembler."""
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", str(elf_path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    pattern = r"\t((?:smla|smul|smml|smus|smua|sxtb16|sxtab|uxtb16|uxtab|pkh|qadd|ssat16)\w*)\s"
    found = set(re.findall(pattern, listing))
    # Long multiplication is part of every Cortex-M3.
    return {name for name in found if not re.match(r"sm(lal|ull)s?(\.w)?$", name)}


def test_the_host_computes_the_same_integers(tmp_path: Path) -> None:
    deployment = deploy(DIGITS, board="host", requirements=SMALL, folder=tmp_path)
    assert deployment.validation.bit_exact
    assert deployment.measurement.nanoseconds is not None
    assert deployment.measurement.peak_sram_bytes is None


@pytest.mark.parametrize("board", ["stm32f746g_disco", "nrf52840dk"])
def test_a_real_board_s_limits_on_an_emulator(board: str, tmp_path: Path) -> None:
    need_emulator()
    deployment = deploy(DIGITS, board=board, emulate=True, requirements=SMALL, folder=tmp_path)
    assert deployment.validation.bit_exact
    # The memory of the real board, not the emulator's megabytes.
    assert deployment.firmware.board.region("sram").size_bytes <= 320 * 1024


def test_instructions_are_the_same_in_every_run(tmp_path: Path) -> None:
    need_emulator()
    model = prepare(DIGITS)
    counts = {
        deploy(model, requirements=SMALL, folder=tmp_path).measurement.instructions
        for _ in range(2)
    }
    assert len(counts) == 1


def test_an_arena_larger_than_the_board_is_named(tmp_path: Path) -> None:
    need_emulator()
    with pytest.raises(DoesNotFitError, match="sram"):
        deploy(
            real_model("person-det"),
            board="nrf52840dk",
            emulate=True,
            layers=True,
            folder=tmp_path,
        )
