"""Softmax in gemmlowp's fixed point, with the exponential tabulated at compile time.

Differences to the row's maximum take 256 values only, so the exponential, by far the larger part
of LiteRT's kernel, becomes one load. Source: gemmlowp ``fixedpoint/fixedpoint.h`` and TensorFlow
Lite ``internal/reference/softmax.h``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tvm import s_tir, te, tirx

from .fixed_point import (
    bind,
    int32,
    maximum_over,
    rounding_doubling_high_multiply,
    saturate,
)
from .kernel import Constants, finish, kernel_name

_INT32_MIN, _INT32_MAX = -(1 << 31), (1 << 31) - 1
#: Scaled differences are Q5.26, sums of exponentials Q12.19.
_DIFFERENCE_INTEGER_BITS, _SUM_INTEGER_BITS = 5, 12
_FRACTION_BITS = 31 - _DIFFERENCE_INTEGER_BITS
#: exp(-1/8), 1/3, and exp(-2**e) for e = -2 .. 4, in Q0.31.
_EXP_MINUS_EIGHTH, _THIRD = 1895147668, 715827883
_EXP_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
#: 48/17 and -32/17 in Q2.29, for the first guess of Newton's division.
_GUESS_OFFSET, _GUESS_SLOPE = 1515870810, -1010580540


def _high_multiply(a: int, b: int) -> int:
    return (a * b + (1 << 30)) >> 31


def _rounding_shift(value: int, exponent: int) -> int:
    return (value + (1 << (exponent - 1)) - (value < 0)) >> exponent


def _exp_of_negative(value: int) -> int:
    """exp of a Q5.26 value in (-32, 0], as Q0.31: gemmlowp's exp_on_negative_values."""
    if value == 0:
        return _INT32_MAX
    quarter = 1 << (_FRACTION_BITS - 2)
    fraction = (value & (quarter - 1)) - quarter
    x = (fraction << _DIFFERENCE_INTEGER_BITS) + (1 << 28)
    x2 = _high_multiply(x, x)
    x3 = _high_multiply(x2, x)
    x4_quarter = _rounding_shift(_high_multiply(x2, x2), 2)
    tail = _rounding_shift(_high_multiply(x4_quarter + x3, _THIRD) + x2, 1)
    result = _EXP_MINUS_EIGHTH + _high_multiply(_EXP_MINUS_EIGHTH, x + tail)
    for index, factor in enumerate(_EXP_POWERS):
        if (fraction - value) & (1 << (_FRACTION_BITS - 2 + index)):
            result = _high_multiply(result, factor)
    return result


def exponentials(
    *, input_multiplier: int, input_left_shift: int, diff_min: int
) -> npt.NDArray[np.int32]:
    """Q0.31 exponentials of the differences 0, -1, ... -255; zero below ``diff_min``.

    Parameters are the attributes of qnn.softmax.
    """
    table = np.zeros(256, np.int32)
    for distance in range(256):
        if -distance >= diff_min:
            scaled = _high_multiply(-distance << input_left_shift, input_multiplier)
            table[distance] = _exp_of_negative(scaled)
    return table


def softmax(data: te.Tensor, table: te.Tensor) -> te.Tensor:
    """Softmax over int8 [rows, n], result scale 1/256 and zero point -128.

    Parameters
    ----------
    table : te.Tensor
        int32 [256] from :func:`exponentials`.
    """
    rows, length = (int(extent) for extent in data.shape)
    i, j = te.reduce_axis((0, length), "i"), te.reduce_axis((0, length), "j")
    top = te.compute(
        (rows,), lambda r: maximum_over(data[r, i].astype("int32"), [i]), name="maximum"
    )

    def exponential(r: tirx.Var, k: tirx.Expr) -> tirx.Expr:
        return table[top[r] - data[r, k].astype("int32")]

    total = te.compute(
        (rows,),
        lambda r: te.sum(_to_sum_format(exponential(r, j)), axis=[j]),
        name="sum",
    )
    headroom = te.compute((rows,), lambda r: _headroom(total[r]), name="headroom")
    scale = te.compute((rows,), lambda r: _reciprocal(total[r], headroom[r]), name="scale")

    def element(r: tirx.Var, k: tirx.Var) -> tirx.Expr:
        product = rounding_doubling_high_multiply(exponential(r, k), scale[r]).astype("int64")
        exponent = int32(_SUM_INTEGER_BITS + 31 - 8) - headroom[r]
        wide = exponent.astype("int64")
        one = tirx.const(1, "int64")
        half = tirx.shift_left(one, wide - one)
        rounded = tirx.shift_right(product + half, wide).astype("int32")
        return saturate(rounded - int32(128), -128, 127)

    return te.compute((rows, length), element, name="out")


def _to_sum_format(exponential: tirx.Expr) -> tirx.Expr:
    """Q0.31 in [0, 1] to Q12.19, rounded; adding a half before shifting would overflow at one."""
    return ((exponential >> int32(_SUM_INTEGER_BITS - 1)) + int32(1)) >> int32(1)


def _headroom(total: tirx.Expr) -> tirx.Expr:
    """Leading zeros of a sum in [2**19, 2**31): it holds the maximum's own exp(0) = 1."""
    lowest = 31 - _SUM_INTEGER_BITS
    count: tirx.Expr = int32(1)
    for bit in range(lowest + 1, 31):
        count = count + (total < int32(1 << bit)).astype("int32")
    return count


def _shift_left_saturating(value: tirx.Expr, bits: int) -> tirx.Expr:
    wide = value.astype("int64") * tirx.const(1 << bits, "int64")
    low, high = tirx.const(_INT32_MIN, "int64"), tirx.const(_INT32_MAX, "int64")
    return bind("wide", wide, lambda w: tirx.max(tirx.min(w, high), low).astype("int32"))


def _reciprocal(total: tirx.Expr, headroom: tirx.Expr) -> tirx.Expr:
    """Q0.31 reciprocal of the normalised sum, by three Newton steps as in gemmlowp."""
    multiply = rounding_doubling_high_multiply
    # RoundingHalfSum of the normalised sum less one, and one.
    normalised = tirx.shift_left(total.astype("int64"), headroom.astype("int64"))
    half_sum = (normalised >> tirx.const(1, "int64")).astype("int32")

    def newton(x: tirx.Expr, half: tirx.Expr, steps: int) -> tirx.Expr:
        if steps == 0:
            return _shift_left_saturating(x, 1)
        error = int32(1 << 29) - multiply(half, x)
        step = x + _shift_left_saturating(multiply(x, error), 2)
        return bind("guess", step, lambda y: newton(y, half, steps - 1))

    def start(half: tirx.Expr) -> tirx.Expr:
        guess = int32(_GUESS_OFFSET) + multiply(half, int32(_GUESS_SLOPE))
        return bind("guess", guess, lambda x: newton(x, half, 3))

    return bind("half", half_sum, start)


@dataclass(frozen=True)
class SoftmaxRows:
    """Softmax over the last axis; parameters named as the attributes of qnn.softmax.

    Buffers: data int8 [rows, length], exponentials int32 [256], out int8 [rows, length].
    """

    rows: int
    length: int
    input_multiplier: int
    input_left_shift: int
    diff_min: int

    @property
    def name(self) -> str:
        """C identifier stem: the scale is in the table."""
        scale = ("input_multiplier", "input_left_shift", "diff_min")
        stem = f"softmax_r{self.rows}_n{self.length}"
        return kernel_name(stem, self, "rows", "length", *scale)

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("exponentials",)

    @property
    def macs(self) -> int:
        """None."""
        return 0

    def pack(self, constants: Constants) -> Constants:
        """Make the table; ``constants`` is not read."""
        return {
            "exponentials": exponentials(
                input_multiplier=self.input_multiplier,
                input_left_shift=self.input_left_shift,
                diff_min=self.diff_min,
            )
        }

    def prim_func(self) -> tirx.PrimFunc:
        """Schedule: row by row, the row's scalars in registers."""
        data = te.placeholder((self.rows, self.length), "int8", "data")
        table = te.placeholder((256,), "int32", "exponentials")
        sch = s_tir.Schedule(te.create_prim_func([data, table, softmax(data, table)]))
        row, _ = sch.get_loops(sch.get_sblock("out"))
        for stage in ("scale", "headroom", "sum", "maximum"):
            block = sch.get_sblock(stage)
            sch.compute_at(block, row, preserve_unit_loops=True)
        for stage in ("sum", "maximum"):
            block = sch.get_sblock(stage)
            sch.decompose_reduction(block, sch.get_loops(block)[-1])
        return finish(sch)
