"""Fixed-point primitives against gemmlowp's definitions on Python integers."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tvm_patch.qnn import arithmetic

from . import naive

INT32 = st.integers(arithmetic.INT32_MIN, arithmetic.INT32_MAX)
MULTIPLIERS = st.integers(1 << 30, arithmetic.INT32_MAX)


@given(INT32, INT32)
@example(arithmetic.INT32_MIN, arithmetic.INT32_MIN)
@example(arithmetic.INT32_MIN, arithmetic.INT32_MAX)
def test_high_mul(a, b):
    assert arithmetic.saturating_rounding_doubling_high_mul(a, b) == naive.high_mul(a, b)


@given(INT32, st.integers(0, 31))
@example(arithmetic.INT32_MAX, 31)
@example(arithmetic.INT32_MIN, 31)
@example(-3, 1)
def test_rounding_divide_by_pot(x, exponent):
    assert arithmetic.rounding_divide_by_pot(x, exponent) == naive.divide_by_pot(x, exponent)


@given(st.integers(-(1 << 28), 1 << 28), MULTIPLIERS, st.integers(-31, 2))
def test_multiply_by_quantized_multiplier(x, multiplier, shift):
    expected = naive.scale(x, multiplier, shift)
    assert arithmetic.multiply_by_quantized_multiplier(x, multiplier, shift) == expected
    single = arithmetic.multiply_by_quantized_multiplier_single(x, multiplier, shift)
    assert single == naive.scale_single(x, multiplier, shift)
    assert abs(int(single) - expected) <= 1
