"""Micro-kernels: hand-written C of ``micro_project/kernels``, called in place of TE computes.

A micro-kernel is a pair, as TVM's tensor intrinsics are: a *description*, the TE compute over the
very constants that the C reads, and an *implementation*, one call of a C function. The description
runs on the host by LLVM, so that tests compare both. TVM's own ``tensorize`` replaces one block;
a micro-kernel makes sums and requantises them, which are two, so the whole function is replaced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tvm import s_tir, te, tirx

from .kernel import Constants, Kernel


@runtime_checkable
class MicroKernel(Kernel, Protocol):
    """A kernel whose ``prim_func`` calls C."""

    @property
    def headers(self) -> tuple[str, ...]:
        """Headers of ``micro_project/kernels`` that its C includes."""

    def description(self) -> tirx.PrimFunc:
        """What ``prim_func`` computes, without C: the same parameters and packed constants."""


@runtime_checkable
class WithScratch(Protocol):
    """A kernel that needs memory to itself while it runs: its last parameter."""

    @property
    def scratch_bytes(self) -> int:
        """How much, at an address that four divides."""


@runtime_checkable
class WithArguments(Protocol):
    """A kernel that serves several layers: they call it with numbers of their own."""

    @property
    def arguments(self) -> tuple[int, ...]:
        """Behind all pointers."""


class _WithMacs(Protocol):
    @property
    def macs(self) -> int:
        """Multiply-accumulates."""


class WithWeights:
    """What micro-kernels have in common that multiply weights, and whose shape is a plain kernel's.

    Beside this they have ``headers``.
    """

    plain: _WithMacs

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("weight", "channels")

    @property
    def macs(self) -> int:
        """The plain kernel's multiply-accumulates, each counted once."""
        return self.plain.macs


class _WithNumbers(MicroKernel, Protocol):
    @property
    def numbers(self) -> tuple[int, ...]:
        """What the C function is called with."""

    @property
    def remark(self) -> str:
        """How it works."""


class OtherWay:
    """What other ways have in common of making what a micro-kernel makes, of the same constants."""

    @property
    def first(self) -> MicroKernel:
        """The kernel that this is another way of."""
        raise NotImplementedError

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return self.first.constants

    @property
    def macs(self) -> int:
        """Multiply-accumulates, each counted once."""
        return self.first.macs

    def pack(self, constants: Constants) -> Constants:
        """As the first way."""
        return self.first.pack(constants)

    def description(self) -> tirx.PrimFunc:
        """The first way's."""
        return self.first.description()


class TurnedWay(OtherWay):
    """Another way whose inner loop takes other turns, perhaps with its inputs gathered first."""

    turn: int
    _function: str

    @property
    def first(self) -> _WithNumbers:
        """The kernel that this is another way of."""
        raise NotImplementedError

    @property
    def remark(self) -> str:
        """How sums are made and requantised."""
        turns = f"{self.first.remark}, {self.turn} words a turn"
        if isinstance(self, WithScratch):
            return f"{turns}, inputs gathered in {self.scratch_bytes:,} bytes"
        return turns

    def prim_func(self) -> tirx.PrimFunc:
        """One call of the C function."""
        return implement(
            self.description(),
            self._function,
            (self.turn, *self.first.numbers),
            scratch_bytes=self.scratch_bytes if isinstance(self, WithScratch) else 0,
        )


def micro_kernel_name(stem: str, numbers: Sequence[int]) -> str:
    """Append to ``stem`` a short hash of the numbers that the C function is called with.

    Layers that differ in their constants alone share a kernel.
    """
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).hexdigest()
    return f"{stem}_{digest[:6]}"


def headers_of(kernels: Sequence[Kernel]) -> tuple[str, ...]:
    """All headers that kernels include, sorted."""
    micro = [kernel for kernel in kernels if isinstance(kernel, MicroKernel)]
    return tuple(sorted({header for kernel in micro for header in kernel.headers}))


def describe(tensors: list[te.Tensor]) -> tirx.PrimFunc:
    """The description as a function: parameters in order, output last."""
    func: tirx.PrimFunc = te.create_prim_func(tensors)
    return func


def implement(
    description: tirx.PrimFunc,
    function: str,
    numbers: Sequence[int],
    *,
    scratch_bytes: int = 0,
    arguments: Sequence[str] = (),
) -> tirx.PrimFunc:
    """The implementation: ``function(pointers..., arguments..., numbers...)``.

    Parameters
    ----------
    description : tvm.tirx.PrimFunc
        Gives the parameters; each is passed as a pointer to its first element.
    function : str
        Static inline C function of a header in ``micro_project/kernels``.
    numbers : sequence of int
        Its remaining arguments: constants, from which the C compiler makes the kernel of the shape.
    scratch_bytes : int
        Size of one more buffer behind the description's, which the function is given as well.
    arguments : sequence of str
        Names of int32 parameters behind the buffers, which are handed on; see ``WithArguments``.

    Returns
    -------
    tvm.tirx.PrimFunc
        An s_tir function with the description's parameters, and scratch memory if there is any.
    """
    buffers = list(description.params)
    if scratch_bytes:
        buffers.append(tirx.decl_buffer((scratch_bytes,), "int8", name="scratch"))
    pointers = [tirx.address_of(tirx.BufferLoad(b, [0] * len(b.shape))) for b in buffers]
    variables = [tirx.Var(name, "int32") for name in arguments]
    constants = [tirx.const(number, "int32") for number in numbers]
    body = tirx.Evaluate(tirx.call_extern("void", function, *pointers, *variables, *constants))
    root = s_tir.SBlock([], [], [], "root", body)
    realize = s_tir.SBlockRealize([], tirx.const(True, "bool"), root)
    return tirx.PrimFunc([*buffers, *variables], realize).with_attr("s_tir", True)
