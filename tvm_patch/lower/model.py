"""A network lowered under a plan: kernels and operator functions in TIR, constants packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from tvm_patch.analysis import Network, OperatorDetail
from tvm_patch.kernel_times import NO_TIMES, KernelTimes
from tvm_patch.lower.address import ArenaAddresses
from tvm_patch.lower.group_context import KernelCall
from tvm_patch.lower.marks import Mark, Marker, marks_of
from tvm_patch.lower.packing import packed_constants
from tvm_patch.lower.sharing import kernels_of_network
from tvm_patch.lower.stage_loop import StageLoop
from tvm_patch.lower.statements import sequence
from tvm_patch.lower.whole import WholeCall
from tvm_patch.plan import Execution, Plan, execution_of
from tvm_patch.plan.layout.group import Group
from tvm_patch.schedules import Instructions, WithArguments, WithScratch, headers_of
from tvm_patch.schedules.bare_c import lower_to_bare
from tvm_patch.schedules.kernel import Constants, Kernel


@dataclass(frozen=True)
class Constant:
    """Constant data of the generated program.

    Parameters
    ----------
    symbol : str
        C name.
    value : ndarray
        Packed as the kernel reads it.
    """

    symbol: str
    value: npt.NDArray[np.generic]


@dataclass(frozen=True)
class LoweredGroup:
    """One entry of the program: a stage or an operator on its own.

    Parameters
    ----------
    name : str
        For profiles and messages.
    symbol : str
        C function, which takes the arena.
    group : Group
        What it carries out.
    function : tvm.tirx.PrimFunc
        Bare, calls kernels by symbol.
    """

    name: str
    symbol: str
    group: Group
    function: Any


@dataclass(frozen=True)
class LoweredModel:
    """Everything that code generation prints.

    Parameters
    ----------
    network : Network
        What is computed.
    plan : Plan
        How.
    execution : Execution
        Groups and storages of the plan.
    c_name : str
        The model's name in C symbols.
    kernels : mapping of str to tvm.tirx.PrimFunc
        Bare kernels by C symbol.
    headers : tuple of str
        Headers of ``micro_project/kernels`` that the kernels call into.
    instructions : Instructions
        What the kernels were chosen for.
    groups : tuple of LoweredGroup
        In execution order.
    constants : tuple of Constant
        Each kept once; operator functions reach it by an accessor of the same name.
    marks : tuple of Mark
        What the code of the groups may belong to, by the numbers in it.
    kernels_of : mapping of str to tuple of str
        C symbols of an operator's kernels; none where it only moves data.
    """

    network: Network
    plan: Plan
    execution: Execution
    c_name: str
    kernels: Mapping[str, Any]
    headers: tuple[str, ...]
    instructions: Instructions
    groups: tuple[LoweredGroup, ...]
    constants: tuple[Constant, ...]
    marks: tuple[Mark, ...]
    kernels_of: Mapping[str, tuple[str, ...]]


def lower_network(
    network: Network,
    plan: Plan,
    *,
    c_name: str,
    instructions: Instructions = Instructions.DSP,
    small_code: bool = False,
    times: KernelTimes = NO_TIMES,
) -> LoweredModel:
    """Lower a network under a plan.

    Parameters
    ----------
    network : Network
        From :func:`tvm_patch.analysis.read_network`.
    plan : Plan
        Made for this network.
    c_name : str
        C identifier.
    instructions : Instructions
        What the core has. C for the DSP extension also runs elsewhere, slowly.
    small_code : bool
        Kernels that layers share, wherever there are such; else only where they cost little time.
    times : KernelTimes
        Measured times that kernels are chosen by, unless code is to be small.

    Raises
    ------
    PlanError
        When the plan belongs to another network.
    UnsupportedOperatorError
        When an operator has no kernel.
    """
    execution = execution_of(network.graph, plan)
    prefix = f"tvmgen_{c_name}_"
    chosen = kernels_of_network(
        network, execution, instructions, small_code=small_code, times=times
    )
    kernels = {prefix + kernel.name: kernel for some in chosen.values() for kernel in some}
    constants, accessors = _pack_constants(network, chosen, prefix)
    symbols = _group_symbols(network, execution, prefix)
    marks = marks_of(execution.groups)
    program = _Program(network, execution, plan, chosen, accessors, prefix, marks)
    groups = tuple(program.lower(group, symbols[group.name]) for group in execution.groups)
    return LoweredModel(
        network=network,
        plan=plan,
        execution=execution,
        c_name=c_name,
        kernels={
            symbol: lower_to_bare(kernel.prim_func(), symbol) for symbol, kernel in kernels.items()
        },
        headers=headers_of(tuple(kernels.values())),
        instructions=instructions,
        groups=groups,
        constants=tuple(constants),
        marks=marks,
        kernels_of={
            operator: tuple(prefix + kernel.name for kernel in some)
            for operator, some in chosen.items()
        },
    )


def operator_symbol(network: Network, name: str) -> str:
    """A short C identifier for an operator: its kind and its place in the network."""
    index = network.graph.operator_index[name]
    return f"{network.graph.operators[index].kind}_{index}"


def _group_symbols(network: Network, execution: Execution, prefix: str) -> Mapping[str, str]:
    return {
        group.name: prefix
        + (group.name if group.stage is not None else operator_symbol(network, group.name))
        for group in execution.groups
    }


def _pack_constants(
    network: Network, chosen: Mapping[str, Sequence[Kernel]], prefix: str
) -> tuple[list[Constant], Mapping[tuple[str, str, str], str]]:
    """Constants as kernels read them, equal ones kept once, and the accessor of each role."""
    constants: list[Constant] = []
    symbol_of: dict[tuple[str, bytes], str] = {}
    accessors: dict[tuple[str, str, str], str] = {}
    for operator, kernels in chosen.items():
        for kernel in kernels:
            packed = packed_constants(kernel, operator, constants_of(network.details[operator]))
            for role in kernel.constants:
                value = np.ascontiguousarray(packed[role])
                key = (str(value.dtype), value.tobytes())
                if key not in symbol_of:
                    stem = f"{prefix}{operator_symbol(network, operator)}_{role}"
                    # Kernels of other widths may read the same constant in another order.
                    number = sum(constant.symbol.startswith(stem) for constant in constants)
                    symbol_of[key] = stem if number == 0 else f"{stem}_{number}"
                    constants.append(Constant(symbol_of[key], value))
                accessors[operator, prefix + kernel.name, role] = symbol_of[key]
    return constants, accessors


@dataclass(frozen=True)
class _Program:
    """What the functions of all groups have in common."""

    network: Network
    execution: Execution
    plan: Plan
    chosen: Mapping[str, Sequence[Kernel]]
    accessors: Mapping[tuple[str, str, str], str]
    prefix: str
    marks: Sequence[Mark]

    def lower(self, group: Group, symbol: str) -> LoweredGroup:
        """The function of one group."""
        memory = self.plan.memory
        arena = ArenaAddresses(memory.arena_bytes, memory.offsets_bytes, self.accessors)
        calls = {
            layout.operator.name: kernel_calls(self.chosen[layout.operator.name], self.prefix)
            for layout in group.operators
        }
        storage_of = self.execution.storage_of
        marker = Marker(f"{self.prefix}mark", self.marks, group)
        if group.tiling is None:
            body = WholeCall(self.network, group, arena, storage_of, calls, marker).body()
        else:
            fetch = f"{self.prefix}fetch_rows"
            body = StageLoop(self.network, group, arena, storage_of, calls, fetch, marker).body()
        marked = [*marker.loops(), body, *marker.run()]
        function = tirx.PrimFunc([arena.parameter], sequence([*arena.declarations(), *marked]))
        bare = lower_to_bare(function.with_attr("s_tir", True), symbol)
        return LoweredGroup(group.name, symbol, group, bare)


def constants_of(detail: OperatorDetail) -> Constants:
    """Constants that a kernel packs; a scale is among an operator's attributes."""
    constants = dict(detail.constants)
    if "scale" in detail.attributes:
        constants["scale"] = np.asarray(detail.attributes["scale"], np.float32)
    return constants


def kernel_calls(kernels: Sequence[Kernel], prefix: str) -> tuple[KernelCall, ...]:
    """How operator functions call kernels whose symbols begin with ``prefix``."""
    return tuple(
        KernelCall(
            prefix + kernel.name,
            kernel.constants,
            isinstance(kernel, WithScratch),
            kernel.arguments if isinstance(kernel, WithArguments) else (),
        )
        for kernel in kernels
    )
