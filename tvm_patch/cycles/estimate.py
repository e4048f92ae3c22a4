"""Counts of executions and a timing model: instructions and cycles, by function and span."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tvm_patch.cycles.cortex_m4 import CortexM4
from tvm_patch.cycles.counting import BlockCount, Region
from tvm_patch.cycles.program import Program

_RUNTIME_PREFIX = "tvm_patch_"


@dataclass(frozen=True)
class Cost:
    """Instructions executed, exactly, and cycles, estimated."""

    instructions: int = 0
    cycles: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.instructions + other.instructions, self.cycles + other.cycles)


@dataclass(frozen=True)
class Estimate:
    """What an inference costs, without the runtime that measures it.

    Parameters
    ----------
    by_function : mapping of str to Cost
        By C function; the empty name is code that belongs to none.
    by_span : mapping of int to Cost
        By the number of the mark in front, in a profiling build.
    """

    by_function: Mapping[str, Cost] = field(default_factory=dict)
    by_span: Mapping[int, Cost] = field(default_factory=dict)

    @property
    def total(self) -> Cost:
        """The whole inference."""
        return sum(self.by_function.values(), Cost())


def estimate_region(program: Program, region: Region, core: CortexM4) -> Estimate:
    """Apply a timing model to what was executed.

    Parameters
    ----------
    program : Program
        The firmware that ran.
    region : Region
        Counts of its blocks.
    core : CortexM4
        The timing model.

    Raises
    ------
    BuildError
        If the code cannot be disassembled.
    """
    by_function: dict[str, Cost] = {}
    by_span: dict[int, Cost] = {}
    for span, blocks in region.spans.items():
        for block in blocks:
            function = program.function_at(block.address)
            if function.startswith(_RUNTIME_PREFIX):
                continue
            cost = block_cost(program, block, core)
            by_function[function] = by_function.get(function, Cost()) + cost
            by_span[span] = by_span.get(span, Cost()) + cost
    return Estimate(by_function, by_span)


def block_cost(program: Program, block: BlockCount, core: CortexM4) -> Cost:
    """What all executions of one block cost together."""
    instructions = program.instructions(block.address, block.instructions)
    last = instructions[-1]
    split = last.target is not None and last.target % 4 != 0 and program.is_wide(last.target)
    cycles = (
        block.executions * core.block_cycles(instructions)
        + block.taken * core.taken_cycles(last, target_is_split=split)
        + block.flash_reads * core.flash_wait_states
        + block.misaligned
    )
    return Cost(block.executions * len(instructions), cycles)
