"""Cycles of a core, estimated from the instructions that an emulator executed.

An emulator counts instructions. Some of them take more cycles than others, so a trick that saves
instructions need not save time. Here a timing model is applied to how often each instruction was
executed. The result is an estimate and is called one everywhere; measured cycles come from boards.
"""

from __future__ import annotations

from tvm_patch.cycles.cortex_m4 import CortexM4
from tvm_patch.cycles.counting import BlockCount, Counter, Region, SpanArray
from tvm_patch.cycles.emulated import (
    MODELLED_CORES,
    Counted,
    Estimated,
    count_executions,
    run_counted,
    why_not,
)
from tvm_patch.cycles.estimate import Cost, Estimate, block_cost, estimate_region
from tvm_patch.cycles.program import Instruction, Kind, Program

__all__ = [
    "MODELLED_CORES",
    "BlockCount",
    "CortexM4",
    "Cost",
    "Counted",
    "Counter",
    "Estimate",
    "Estimated",
    "Instruction",
    "Kind",
    "Program",
    "Region",
    "SpanArray",
    "block_cost",
    "count_executions",
    "estimate_region",
    "run_counted",
    "why_not",
]
