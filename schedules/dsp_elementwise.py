"""Addition and multiplication by the micro-kernels of ``micro_project/kernels/elementwise.h``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import floor, log2

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from .dsp_scaling import DspScaling
from .elementwise import AddFlat, MulFlat
from .fixed_point import Requantisation, int32, saturate
from .kernel import Constants, kernel_name
from .micro_kernel import describe, implement, micro_kernel_name

_HEADERS = ("dsp.h", "elementwise.h", "requantise.h")
Integers = npt.NDArray[np.int64]

#: All int8.
_VALUES = np.arange(-128, 128, dtype=np.int64)
#: Magnitudes that the sum stays below, with room for its offset.
_SUM_BITS = 29
_FACTOR_BITS = 31
_SHIFTS = range(1, 32)
#: What to add to both factors, the least first: LiteRT rounds each operand by itself.
_NUDGES = sorted(product(range(-24, 25, 4), repeat=2), key=lambda steps: sum(map(abs, steps)))


@dataclass(frozen=True)
class DspAddFlat:
    """:class:`AddFlat` of two runs of the same length as a weighted sum with one rounding.

    There are 65,536 pairs of int8, so numbers can be checked against every one of them:
    :func:`dsp_add` looks for some that give the same output throughout. See ``struct tvmp_sum``.

    Buffers: as the plain kernel's.

    Parameters
    ----------
    length : int
        Elements of both operands and of the output.
    lhs_factor, rhs_factor, offset : int
        int32.
    shift : int
        In [1, 31].
    clamp_min, clamp_max : int
        In [-128, 127].
    """

    length: int
    lhs_factor: int
    rhs_factor: int
    offset: int
    shift: int
    clamp_min: int
    clamp_max: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        return micro_kernel_name("add_dsp", self._numbers)

    @property
    def constants(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return _HEADERS

    @property
    def macs(self) -> int:
        """None."""
        return 0

    def pack(self, constants: Constants) -> Constants:
        """Nothing to pack."""
        return {}

    def description(self) -> tirx.PrimFunc:
        """The sums as TE tensors."""
        lhs = te.placeholder((1, self.length), "int8", "lhs")
        rhs = te.placeholder((self.length,), "int8", "rhs")

        def part(value: tirx.Expr, factor: int) -> tirx.Expr:
            wide = value.astype("int64") * tirx.const(factor, "int64")
            return (wide >> tirx.const(8, "int64")).astype("int32")

        def element(p: tirx.Var, i: tirx.Var) -> tirx.Expr:
            total = part(lhs[p, i], self.lhs_factor) + part(rhs[i], self.rhs_factor)
            shifted = (total + int32(self.offset)) >> int32(self.shift)
            return saturate(shifted, self.clamp_min, self.clamp_max)

        return describe([lhs, rhs, te.compute((1, self.length), element, name="out")])

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_add``."""
        names = ("length", "lhs_factor", "rhs_factor", "offset")
        return implement(self.description(), "tvmp_add", self._numbers, arguments=names)

    @property
    def arguments(self) -> tuple[int, ...]:
        """Arguments of a call behind its pointers: additions share their code."""
        return (self.length, self.lhs_factor, self.rhs_factor, self.offset)

    @property
    def _numbers(self) -> tuple[int, ...]:
        return (self.shift, self.clamp_min, self.clamp_max)


def dsp_add(plain: AddFlat) -> DspAddFlat | None:
    """The micro-kernel for an addition or a subtraction, if there is one.

    There is none where an operand is repeated, and where no weighted sum rounds as LiteRT does: if
    ties occur, those below zero are rounded away from it.
    """
    if plain.rhs_length != plain.length:
        return None
    wanted = _outputs(plain)
    left, right = _weights(plain)
    # As many fraction bits as leave sums and factors within a word.
    bits = min(
        _SUM_BITS - log2(128 * (abs(left) + abs(right))),
        _FACTOR_BITS - 8 - log2(max(abs(left), abs(right))),
    )
    # Both operands reach the limit only with a sign; no factor is ever 2**31.
    shift = floor(bits - 1e-9)
    if shift not in _SHIFTS:
        return None
    nearest = round(left * 2 ** (shift + 8)), round(right * 2 ** (shift + 8))
    clamp = (plain.clamp_min, plain.clamp_max)
    for lhs_step, rhs_step in _NUDGES:
        lhs_factor, rhs_factor = nearest[0] + lhs_step, nearest[1] + rhs_step
        sums = (_VALUES * lhs_factor >> 8)[:, None] + (_VALUES * rhs_factor >> 8)[None, :]
        offset = _offset(sums, wanted, shift, clamp)
        if offset is not None:
            return DspAddFlat(plain.length, lhs_factor, rhs_factor, offset, shift, *clamp)
    return None


def _weights(plain: AddFlat) -> tuple[float, float]:
    """What an output changes by with each operand."""
    common = plain.output_multiplier * 2.0 ** (plain.output_shift - 31 + plain.left_shift)
    left = plain.lhs_multiplier * 2.0 ** (plain.lhs_shift - 31)
    right = plain.rhs_multiplier * 2.0 ** (plain.rhs_shift - 31)
    return common * left, common * (-right if plain.subtract else right)


def _outputs(plain: AddFlat) -> Integers:
    """Outputs of all pairs of int8, [256, 256]."""
    left = (_VALUES - plain.lhs_zero_point) << plain.left_shift
    right = (_VALUES - plain.rhs_zero_point) << plain.left_shift
    left = _multiply(left, plain.lhs_multiplier, plain.lhs_shift)
    right = _multiply(right, plain.rhs_multiplier, plain.rhs_shift)
    total = left[:, None] + (-right if plain.subtract else right)[None, :]
    scaled = _multiply(total, plain.output_multiplier, plain.output_shift)
    outputs: Integers = np.clip(scaled + plain.output_zero_point, plain.clamp_min, plain.clamp_max)
    return outputs


def _multiply(value: Integers, multiplier: int, shift: int) -> Integers:
    """TFLite's MultiplyByQuantizedMultiplier."""
    high = ((value << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    exponent = max(-shift, 0)
    if exponent == 0:
        return high
    return (high + (1 << (exponent - 1)) - (high < 0)) >> exponent


def _offset(sums: Integers, wanted: Integers, shift: int, clamp: tuple[int, int]) -> int | None:
    """An offset with which all sums become what is wanted; None if there is none."""
    low, high = clamp
    # wanted * 2**shift <= sum + offset < (wanted + 1) * 2**shift, but for what is clamped.
    least = np.where(wanted > low, (wanted << shift) - sums, np.iinfo(np.int64).min)
    most = np.where(wanted < high, ((wanted + 1) << shift) - 1 - sums, np.iinfo(np.int64).max)
    first, last = int(least.max()), int(most.min())
    limit = 1 << 30
    first, last = max(first, -limit), min(last, limit)
    return (first + last) // 2 if first <= last else None


@dataclass(frozen=True)
class DspMulFlat:
    """:class:`MulFlat` of two runs of the same length, or of one that is repeated.

    Buffers: as the plain kernel's.

    Parameters
    ----------
    plain : MulFlat
        Lengths and arithmetic; :func:`dsp_mul` tells whether there is a micro-kernel for it.
    """

    plain: MulFlat

    @property
    def name(self) -> str:
        """C identifier stem."""
        return kernel_name(f"mul_dsp_n{self.plain.length}", self)

    @property
    def constants(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return _HEADERS

    @property
    def macs(self) -> int:
        """None."""
        return 0

    def pack(self, constants: Constants) -> Constants:
        """Nothing to pack."""
        return {}

    @property
    def scaling(self) -> DspScaling:
        """How products become outputs; the only scale is that of all of them."""
        plain = self.plain
        return DspScaling(
            Requantisation(
                plain.output_zero_point, plain.clamp_min, plain.clamp_max,
                "double", plain.shift, plain.shift, small_accumulator=True,
            )
        )  # fmt: skip

    def description(self) -> tirx.PrimFunc:
        """The products as TE tensors."""
        return describe(self.plain.compute())

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_mul``."""
        plain = self.plain
        numbers = (
            plain.rhs_length,
            plain.length // plain.rhs_length,
            plain.lhs_zero_point,
            plain.rhs_zero_point,
            plain.multiplier,
            *self.scaling.numbers,
        )
        return implement(self.description(), "tvmp_mul", numbers)


def dsp_mul(plain: MulFlat) -> DspMulFlat | None:
    """The micro-kernel for a multiplication; None for one by a number, or scaled up."""
    kernel = DspMulFlat(plain)
    is_run = plain.rhs_length > 1 or plain.length == 1
    return kernel if is_run and kernel.scaling.is_fast else None
