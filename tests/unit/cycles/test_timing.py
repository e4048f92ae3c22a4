"""Loops of known timing on the emulator: what the manual says against what is estimated."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import need_emulator
from tvm_patch.board import load_board
from tvm_patch.cycles import CortexM4, Cost, Estimate, run_counted
from tvm_patch.micro import Firmware, Session, build_firmware

pytestmark = pytest.mark.emulator

HERE = Path(__file__).parent
TURNS = 200


@dataclass(frozen=True)
class Expected:
    """One turn of a loop: its body, and what the manual says of it.

    The loop itself is SUBS, of one cycle, and BNE, of one and one to refill the pipeline; what is
    read from flash waits as often as ``flash_reads`` says, and branches ``taken`` once each.
    """

    instructions: int
    cycles: int
    flash_reads: int = 0
    taken: int = 0
    divisions: int = 0


# From the Cortex-M4 Technical Reference Manual (Arm 100166), sections 3.3.1 and 3.3.2.
LOOPS: Mapping[str, Expected] = {
    "nothing": Expected(0, 0),
    "arithmetic": Expected(8, 8),
    # LDR 2, ADDS 1.
    "one_load": Expected(2, 3),
    # Pipelined: 2 + 1 + 1 + 1.
    "four_loads": Expected(4, 5),
    # STR 1, LDR 2; the address of each further one is what the one before loads: 2 + 2.
    "chased_loads": Expected(4, 7),
    "stores": Expected(3, 3),
    # STR with register offset 2, LDR behind a store 2, STR with register offset behind LDR 1.
    "store_register_offset": Expected(3, 5),
    # LDR 2, STR 1, LDR behind a store 2.
    "load_store_load": Expected(3, 5),
    # Three each.
    "pairs": Expected(2, 6),
    # 1 + 5, 1 + 4, 1 + 4, 1.
    "multiple": Expected(4, 17),
    # ADDS 1, LDR 2, and a stall: its address has just been computed.
    "address_computed": Expected(2, 4),
    # CMP 1, BEQ not taken 1, B 1 + 1, CBZ taken 1 + 1.
    "branches": Expected(4, 6, taken=2),
    # B 1 + 1, and 1 more since its target lies across two words; ADD 1, NOP 1.
    "branch_to_split": Expected(3, 5, taken=1),
    # LDR across a word at a half word: 2 + 1, at a byte: 2 + 2, LDRH across a half word: 2 + 1.
    "misaligned": Expected(6, 13),
    # LDR 2 + 1, LDRD 3.
    "flash_reads": Expected(3, 6, flash_reads=4),
    "divisions": Expected(2, 0, divisions=2),
    # CMP, ITE, and one cycle for each instruction behind it, executed or not.
    "conditional": Expected(4, 4),
}


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    need_emulator()
    folder = tmp_path_factory.mktemp("timed")
    return build_firmware(HERE / "timed_model", load_board("qemu_cortex_m4"), folder)


def estimates(firmware: Firmware, folder: Path, core: CortexM4) -> dict[str, Cost]:
    """What one turn of each loop costs: the difference of many turns and twice as many."""

    def work(session: Session) -> list[str]:
        for turns in (TURNS, 2 * TURNS):
            session.write_input(0, struct.pack("<I", turns))
            session.profile()
        return session.operator_names()

    names, estimated = run_counted(firmware, "timed", folder, core, work)
    assert not estimated.missing
    assert estimated.core == "Cortex-M4"
    assert len(estimated.estimates) == 2 * len(names)
    few, many = estimated.estimates[: len(names)], estimated.estimates[len(names) :]
    return {
        name: Cost(*(_per_turn(a, b, field) for field in ("instructions", "cycles")))
        for name, a, b in zip(names, few, many, strict=True)
    }


def _per_turn(few: Estimate, many: Estimate, field: str) -> int:
    turns, remainder = divmod(getattr(many.total, field) - getattr(few.total, field), TURNS)
    assert remainder == 0
    return turns


@pytest.mark.parametrize("wait_states", [0, 3])
def test_every_loop_takes_what_the_manual_says(
    firmware: Firmware, tmp_path: Path, wait_states: int
) -> None:
    core = CortexM4(flash_wait_states=wait_states)
    found = estimates(firmware, tmp_path, core)
    expected = {
        name: Cost(
            instructions=loop.instructions + 2,
            cycles=loop.cycles
            + 3
            + loop.divisions * core.divide_cycles
            + wait_states * (loop.flash_reads + loop.taken + 1),
        )
        for name, loop in LOOPS.items()
    }
    assert found == expected


def test_what_the_manual_gives_as_a_range_is_a_parameter(
    firmware: Firmware, tmp_path: Path
) -> None:
    found = estimates(firmware, tmp_path, CortexM4(refill_cycles=3, divide_cycles=12))
    assert found["nothing"].cycles == 5
    assert found["branches"].cycles == 6 + 2 * 2 + 5
    assert found["divisions"].cycles == 24 + 5


def test_instructions_are_those_of_the_stopwatch(firmware: Firmware, tmp_path: Path) -> None:
    """Two ways of counting that share nothing: the plugin, and the emulator's clock."""

    def work(session: Session) -> tuple[int | None, int]:
        session.write_input(0, struct.pack("<I", 5000))
        return session.run().instructions, session.info().units_per_tick

    (stopwatch, tick), estimated = run_counted(firmware, "timed", tmp_path, CortexM4(), work)
    (estimate,) = estimated.estimates
    assert stopwatch is not None
    assert estimate.total.instructions == pytest.approx(stopwatch, abs=tick)
    # Besides the loop: PUSH, two MOVS, POP, and a NOP where the loop has to be aligned.
    assert estimate.by_function["multiple"].instructions == pytest.approx(6 * 5000 + 4, abs=1)
    assert estimate.by_function["branches"].instructions == pytest.approx(6 * 5000 + 4, abs=1)
