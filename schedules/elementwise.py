"""Elementwise kernels over flat runs of int8: addition, subtraction, product, lookup.

All of them may run in place: element i of the output depends on element i of the inputs alone,
and the loops keep that order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import s_tir, te, tirx

from .fixed_point import (
    int32,
    multiply_by_quantized_multiplier,
    rounding_right_shift,
    saturate,
)
from .kernel import Constants, finish, kernel_name, largest_divisor

#: Multiplier of one half in Q31.
_HALF = 1 << 30
#: Elements per loop iteration.
_UNROLL = 4


@dataclass(frozen=True)
class _Binary:
    """What two-operand kernels share.

    Parameters
    ----------
    length : int
        Elements of the first operand and of the output.
    rhs_length : int
        ``length``, or the channels that the second operand is repeated over, or 1.
    """

    length: int
    rhs_length: int

    def __post_init__(self) -> None:
        if self.length % self.rhs_length:
            raise ValueError(f"{self.rhs_length} values do not repeat evenly in {self.length}")

    @property
    def constants(self) -> tuple[str, ...]:
        """None: a constant operand is passed as data."""
        return ()

    @property
    def macs(self) -> int:
        """None."""
        return 0

    def pack(self, constants: Constants) -> Constants:
        """Nothing to pack."""
        return {}

    def element(self, lhs: tirx.Expr, rhs: tirx.Expr) -> tirx.Expr:
        """int8 result of two int8 elements."""
        raise AssertionError("every kernel defines its element")

    def compute(self) -> list[te.Tensor]:
        """The run as TE tensors: lhs, rhs, out."""
        inner = self.rhs_length if self.rhs_length > 1 else self.length
        shape = (self.length // inner, inner)
        lhs = te.placeholder(shape, "int8", "lhs")
        rhs = te.placeholder((self.rhs_length,), "int8", "rhs")
        out = te.compute(
            shape,
            lambda p, c: self.element(lhs[p, c], rhs[c if self.rhs_length > 1 else 0]),
            name="out",
        )
        return [lhs, rhs, out]

    def prim_func(self) -> tirx.PrimFunc:
        """Schedule: one flat loop, unrolled a little; buffers lhs, rhs, out."""
        return schedule_flat(self.compute())


@dataclass(frozen=True)
class AddFlat(_Binary):
    """Addition or subtraction with rescaling; parameters named as the attributes of qnn.add.

    Buffers: lhs int8 [length], rhs int8 [rhs_length], out int8 [length].
    """

    lhs_zero_point: int
    rhs_zero_point: int
    output_zero_point: int
    left_shift: int
    lhs_multiplier: int
    lhs_shift: int
    rhs_multiplier: int
    rhs_shift: int
    output_multiplier: int
    output_shift: int
    clamp_min: int
    clamp_max: int
    subtract: bool = False

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = f"{'subtract' if self.subtract else 'add'}_n{self.length}"
        return kernel_name(stem, self, "length", "subtract")

    def element(self, lhs: tirx.Expr, rhs: tirx.Expr) -> tirx.Expr:
        """int8 result of two int8 elements."""
        left = self._scaled(lhs, self.lhs_zero_point, self.lhs_multiplier, self.lhs_shift)
        right = self._scaled(rhs, self.rhs_zero_point, self.rhs_multiplier, self.rhs_shift)
        total = left - right if self.subtract else left + right
        scaled = multiply_by_quantized_multiplier(
            total, self.output_multiplier, self.output_shift, small=self._is_small
        )
        shifted = scaled + int32(self.output_zero_point)
        return saturate(shifted, self.clamp_min, self.clamp_max)

    @property
    def _is_small(self) -> bool:
        # Differences of int8 values have 8 bits and a sign.
        growth = max(self.lhs_shift, self.rhs_shift, 0)
        return self.left_shift + growth <= 20 and self.output_shift <= 0

    def _scaled(self, value: tirx.Expr, zero_point: int, multiplier: int, shift: int) -> tirx.Expr:
        offset = value.astype("int32") - int32(zero_point)
        if multiplier == _HALF and self.left_shift >= 1 and shift <= 0:
            # Halving an even number needs no rounding: most additions have one such operand.
            halved = offset * int32(1 << (self.left_shift - 1))
            return rounding_right_shift(halved, -shift)
        raised = offset * int32(1 << self.left_shift)
        return multiply_by_quantized_multiplier(
            raised, multiplier, shift, small=self.left_shift <= 21 and shift <= 0
        )


@dataclass(frozen=True)
class MulFlat(_Binary):
    """Product with rescaling; parameters named as the attributes of qnn.mul.

    Buffers: lhs int8 [length], rhs int8 [rhs_length], out int8 [length].
    """

    lhs_zero_point: int
    rhs_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    clamp_min: int
    clamp_max: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        return kernel_name(f"mul_n{self.length}", self, "length")

    def element(self, lhs: tirx.Expr, rhs: tirx.Expr) -> tirx.Expr:
        """int8 result of two int8 elements."""
        left = lhs.astype("int32") - int32(self.lhs_zero_point)
        right = rhs.astype("int32") - int32(self.rhs_zero_point)
        scaled = multiply_by_quantized_multiplier(
            left * right, self.multiplier, self.shift, small=self.shift <= 0
        )
        shifted = scaled + int32(self.output_zero_point)
        return saturate(shifted, self.clamp_min, self.clamp_max)


@dataclass(frozen=True)
class LookupFlat:
    """Any unary int8 function by table.

    Buffers: data int8 [length], table int8 [256] indexed by value + 128, out int8 [length].
    """

    length: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        return f"lookup_n{self.length}"

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("table",)

    @property
    def macs(self) -> int:
        """None."""
        return 0

    def pack(self, constants: Constants) -> Constants:
        """Keep the table int8 [256]."""
        return {"table": np.ascontiguousarray(constants["table"])}

    def prim_func(self) -> tirx.PrimFunc:
        """The scheduled function."""
        data = te.placeholder((1, self.length), "int8", "data")
        table = te.placeholder((256,), "int8", "table")
        return schedule_flat([data, table, lookup(data, table)])


def lookup(data: te.Tensor, table: te.Tensor) -> te.Tensor:
    """``table[data + 128]`` elementwise; int8 of any shape, table int8 [256]."""
    return te.compute(
        data.shape, lambda *at: table[data[at].astype("int32") + int32(128)], name="out"
    )


def elementwise(
    shape: tuple[int, ...],
    lhs: te.Tensor,
    rhs: te.Tensor,
    element: Callable[[tirx.Expr, tirx.Expr], tirx.Expr],
) -> te.Tensor:
    """Apply ``element`` over ``shape``, the second operand broadcast along leading axes."""
    ones = all(int(extent) == 1 for extent in rhs.shape)

    def compute(*at: tirx.Var) -> tirx.Expr:
        index = at[len(at) - rhs.ndim :]
        other = [
            0 if ones or int(extent) == 1 else i for i, extent in zip(index, rhs.shape, strict=True)
        ]
        return element(lhs[at], rhs[tuple(other)])

    return te.compute(shape, compute, name="out")


def schedule_flat(tensors: list[te.Tensor]) -> tirx.PrimFunc:
    """Unroll the innermost loop of a single elementwise stage named ``out`` a little."""
    sch = s_tir.Schedule(te.create_prim_func(tensors))
    inner = sch.get_loops(sch.get_sblock("out"))[-1]
    extent = int(sch.get(inner).extent)
    _, unrolled = sch.split(inner, [None, largest_divisor(extent, _UNROLL)])
    sch.unroll(unrolled)
    return finish(sch)
