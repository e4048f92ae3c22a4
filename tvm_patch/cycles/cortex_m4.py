"""Timing of the Arm Cortex-M4, for instructions in order.

From the Cortex-M4 Technical Reference Manual (Arm 100166): tables of section 3.3, "Instruction set
summary" and "Load/store timings", and of section 7.2 for floating point.

- Data processing, multiplications (SMLAD, SMULL, SMMUL...) and saturation take one cycle.
- A load of one register takes two, one less behind another such load whose result is not in its
  address.
- A store takes one; with a register offset two, one less behind a load. Nothing is pipelined behind
  a store.
- LDRD and STRD take three, LDM, STM, PUSH and POP one more than they move words; nothing is
  pipelined with them.
- A load or store whose address comes from the data processing just before it waits for a cycle.
- A branch that is taken takes one and refills the pipeline; one that is not takes one.

What the manual gives as a range is a parameter here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm_patch.cycles.program import Instruction, Kind

_COMPUTES = {
    Kind.SIMPLE,
    Kind.DIVIDE,
    Kind.FLOAT_DIVIDE,
    Kind.FLOAT_MULTIPLY_ADD,
    Kind.FLOAT_MOVE_PAIR,
}


@dataclass(frozen=True)
class CortexM4:
    """The core, and the flash that it runs from.

    Parameters
    ----------
    flash_wait_states : int
        Cycles that flash makes the core wait when it fetches from a branch's target and when it
        reads data there. 0 is a flash as fast as the core, or a cache that always hits. Code
        that follows is taken for prefetched.
    refill_cycles : int
        To refill the pipeline behind a branch whose target is in the instruction; the manual says 1
        to 3, and the least of it where the branch is foreseen. A target of 32 bits that is not at a
        word's address takes one more.
    indirect_refill_cycles : int
        The same where the target comes from a register or from memory.
    divide_cycles : int
        Of SDIV and UDIV: the manual says 2 to 12.
    """

    flash_wait_states: int = 0
    refill_cycles: int = 1
    indirect_refill_cycles: int = 2
    divide_cycles: int = 7

    def block_cycles(self, instructions: Sequence[Instruction]) -> int:
        """Cycles of instructions one after the other, the last one not branching away.

        Everything is aligned and without wait states; nothing before the first one overlaps it.
        """
        total = 0
        before: Instruction | None = None
        for instruction in instructions:
            total += self._cycles(before, instruction)
            before = instruction
        return total

    def taken_cycles(self, last: Instruction, *, target_is_split: bool) -> int:
        """What going elsewhere behind the last instruction of a block costs on top.

        Parameters
        ----------
        last : Instruction
            Its last one.
        target_is_split : bool
            It is known to go to an instruction of 32 bits across two words.
        """
        if last.kind is Kind.BRANCH:
            refill = self.refill_cycles + target_is_split
        elif last.kind is Kind.TABLE_BRANCH:
            # Two for the load, one for the addition, three to refill: six in all.
            refill = 3
        elif last.kind is Kind.INDIRECT:
            refill = self.indirect_refill_cycles
        elif last.writes_pc:
            # LDR pc blocks for five cycles at least; POP refills as other indirect branches do.
            refill = 3 if last.kind is Kind.LOAD else self.indirect_refill_cycles
        else:
            return 0
        return refill + self.flash_wait_states

    def _cycles(self, before: Instruction | None, instruction: Instruction) -> int:
        return _FIXED.get(instruction.kind) or self._variable_cycles(before, instruction)

    def _variable_cycles(self, before: Instruction | None, instruction: Instruction) -> int:
        kind = instruction.kind
        if kind is Kind.DIVIDE:
            return self.divide_cycles
        stall = _address_stall(before, instruction)
        if kind is Kind.MULTIPLE:
            return 1 + instruction.transfers + stall
        if kind is Kind.STORE:
            return 1 + stall
        pipelined = (
            before is not None
            and before.kind is Kind.LOAD
            and not before.results & instruction.address_registers
        )
        return (1 if pipelined else 2) + stall


_FIXED = {
    Kind.SIMPLE: 1,
    Kind.BRANCH: 1,
    Kind.INDIRECT: 1,
    Kind.TABLE_BRANCH: 3,
    Kind.FLOAT_MULTIPLY_ADD: 3,
    Kind.FLOAT_DIVIDE: 14,
    Kind.FLOAT_MOVE_PAIR: 2,
}


def _address_stall(before: Instruction | None, instruction: Instruction) -> int:
    """One cycle, if the address is made of what the instruction before has just computed."""
    if before is None or before.kind not in _COMPUTES:
        return 0
    return int(bool(before.results & instruction.address_registers))
