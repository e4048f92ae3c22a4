"""Softmax in gemmlowp's fixed point, vectorised.

Raw values of ``FixedPoint<int32, n>`` are held as int64 arrays. Source: gemmlowp
``fixedpoint/fixedpoint.h`` and TensorFlow Lite ``internal/reference/softmax.h``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvm_patch.qnn import arithmetic
from tvm_patch.qnn.arithmetic import IntArray

_FRACTION_BITS = 31 - arithmetic.SOFTMAX_INTEGER_BITS
_ACCUMULATOR_INTEGER_BITS = 12
# exp(-1/8) and 1/3 in Q0.31.
_EXP_MINUS_EIGHTH = 1895147668
_THIRD = 715827883
# exp(-2**e) in Q0.31 for e = -2 .. 4.
_EXP_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
# 48/17 and -32/17 in Q2.29: the first guess of Newton's division.
_GUESS_OFFSET, _GUESS_SLOPE = 1515870810, -1010580540


def softmax(data: Any, input_multiplier: int, input_left_shift: int, diff_min: int) -> Any:
    """int8 softmax over the last axis; the result has scale 1/256 and zero point -128."""
    values = np.asarray(data, dtype=np.int64)
    difference = values - values.max(axis=-1, keepdims=True)
    counted = difference >= diff_min
    rescaled = arithmetic.saturating_rounding_doubling_high_mul(
        np.where(counted, difference, 0) << input_left_shift, input_multiplier
    )
    exponentials = _exp_on_negative_values(rescaled)
    terms = arithmetic.rounding_divide_by_pot(exponentials, _ACCUMULATOR_INTEGER_BITS)
    total = np.where(counted, terms, 0).sum(axis=-1, keepdims=True)
    scale, bits_over_unit = _reciprocal(total)
    product = arithmetic.saturating_rounding_doubling_high_mul(scale, exponentials)
    result = arithmetic.rounding_divide_by_pot(product, bits_over_unit + 31 - 8)
    result = np.where(counted, result, 0) + arithmetic.INT8_MIN
    return np.clip(result, arithmetic.INT8_MIN, arithmetic.INT8_MAX).astype(np.int8)


def _exp_on_negative_values(value: IntArray) -> IntArray:
    """exp of Q5.26 values in (-32, 0], as Q0.31."""
    quarter = 1 << (_FRACTION_BITS - 2)
    fraction = (value & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_zero(fraction << arithmetic.SOFTMAX_INTEGER_BITS)
    remainder = fraction - value
    for index, factor in enumerate(_EXP_POWERS):
        bit = 1 << (_FRACTION_BITS - 2 + index)
        reduced = arithmetic.saturating_rounding_doubling_high_mul(result, factor)
        result = np.where(remainder & bit, reduced, result)
    return np.where(value == 0, arithmetic.INT32_MAX, result)


def _exp_between_minus_quarter_and_zero(value: IntArray) -> IntArray:
    """Taylor expansion around -1/8, of Q0.31 values in [-1/4, 0)."""
    mul = arithmetic.saturating_rounding_doubling_high_mul
    x = value + (1 << 28)
    x2 = mul(x, x)
    x3 = mul(x2, x)
    x4_quarter = arithmetic.rounding_divide_by_pot(mul(x2, x2), 2)
    tail = arithmetic.rounding_divide_by_pot(mul(x4_quarter + x3, _THIRD) + x2, 1)
    return _EXP_MINUS_EIGHTH + mul(_EXP_MINUS_EIGHTH, x + tail)


def _reciprocal(total: IntArray) -> tuple[IntArray, IntArray]:
    """Reciprocal of Q12.19 sums of at least one: Q0.31 value and its exponent."""
    # frexp's exponent is the bit length; sums stay far below 2**53, so float64 holds them.
    bit_length = np.frexp(total.astype(np.float64))[1].astype(np.int64)
    headroom = 32 - bit_length
    shifted = (total << headroom) - (1 << 31)
    return _one_over_one_plus(shifted), _ACCUMULATOR_INTEGER_BITS - headroom


def _one_over_one_plus(value: IntArray) -> IntArray:
    """1 / (1 + x) of Q0.31 values in [0, 1), by three Newton steps."""
    mul = arithmetic.saturating_rounding_doubling_high_mul
    half = (value + arithmetic.INT32_MAX + 1) >> 1
    x = _GUESS_OFFSET + mul(half, _GUESS_SLOPE)
    for _ in range(3):
        error = (1 << 29) - mul(half, x)
        x = x + _saturating_shift_left(mul(x, error), 2)
    return _saturating_shift_left(x, 1)


def _saturating_shift_left(value: IntArray, bits: int) -> IntArray:
    shifted: IntArray = np.clip(value << bits, arithmetic.INT32_MIN, arithmetic.INT32_MAX)
    return shifted
