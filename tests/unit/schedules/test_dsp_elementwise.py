"""Addition by micro-kernel: for every pair of values the integers of LiteRT's arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.schedules import AddFlat, DspAddFlat, MulFlat, dsp_add, dsp_mul

from . import naive
from .execution import run_c, run_description
from .test_elementwise import ADDITION, CLAMPS, MULTIPLIERS, ZERO_POINTS, expected_sum

VALUES = np.arange(-128, 128).astype(np.int8)
#: Every pair of values.
PAIRS = [np.repeat(VALUES, 256), np.tile(VALUES, 256)]


def micro_kernel(plain: AddFlat) -> DspAddFlat:
    kernel = dsp_add(plain)
    assert kernel is not None
    return kernel


@settings(max_examples=10, deadline=None)
@given(
    zero_points=st.tuples(ZERO_POINTS, ZERO_POINTS, ZERO_POINTS),
    multiplier=MULTIPLIERS,
    shift=st.integers(-6, -1),
    is_left_larger=st.booleans(),
    output=st.tuples(st.integers(2**30 + 10**6, 2**31 - 1), st.integers(-20, -16)),
    clamp=CLAMPS,
    subtract=st.booleans(),
)
def test_sums_of_all_pairs_equal_litert_arithmetic(
    zero_points: tuple[int, int, int],
    multiplier: int,
    shift: int,
    is_left_larger: bool,
    output: tuple[int, int],
    clamp: tuple[int, int],
    subtract: bool,
) -> None:
    """Scales as LiteRT makes them: the larger one is a half."""
    scales = [(2**30, 0), (multiplier, shift)]
    left, right = scales if is_left_larger else scales[::-1]
    plain = AddFlat(
        65536, 65536, *zero_points, 20, *left, *right, *output, *clamp, subtract
    )  # fmt: skip
    kernel = dsp_add(plain)
    if kernel is None:
        return
    expected = expected_sum(plain, *PAIRS)
    np.testing.assert_array_equal(run_description(kernel, PAIRS, {}).reshape(-1), expected)
    np.testing.assert_array_equal(run_c(kernel, PAIRS, {}).reshape(-1), expected)


@pytest.mark.parametrize("length", [1, 3, 4, 7, 8, 11, 12, 21])
@pytest.mark.parametrize("in_place", [False, True])
def test_any_length(length: int, in_place: bool) -> None:
    rng = np.random.default_rng(length)
    data: list[naive.Array] = [rng.integers(-128, 128, length).astype(np.int8) for _ in range(2)]
    plain = replace(ADDITION, length=length, rhs_length=length)
    expected = expected_sum(plain, *data)
    result = run_c(micro_kernel(plain), data, {}, in_place=in_place)
    np.testing.assert_array_equal(result.reshape(-1), expected)


def test_ties_on_both_sides_of_zero_have_no_micro_kernel() -> None:
    """Halves are rounded away from zero, which no single rounding does."""
    halves = replace(
        ADDITION, lhs_multiplier=2**30, lhs_shift=0, rhs_multiplier=2**30, rhs_shift=0,
        lhs_zero_point=0, rhs_zero_point=0, output_zero_point=0,
        output_multiplier=2**30, output_shift=-19,
    )  # fmt: skip
    assert dsp_add(halves) is None
    # Behind a rectifier those below zero are all the same.
    rectified = replace(halves, output_zero_point=-128)
    data = [values[:4096] for values in (PAIRS[1], PAIRS[0] + np.int8(64))]
    rectified = replace(rectified, length=4096, rhs_length=4096)
    result = run_c(micro_kernel(rectified), data, {})
    np.testing.assert_array_equal(result.reshape(-1), expected_sum(rectified, *data))


def test_repeated_operands_and_scales_beyond_a_word_have_no_micro_kernel() -> None:
    assert dsp_add(replace(ADDITION, rhs_length=6)) is None
    assert dsp_add(replace(ADDITION, output_shift=7)) is None


def test_additions_share_a_function_but_for_their_shift_and_clamp() -> None:
    kernel = micro_kernel(ADDITION)
    assert kernel.name.startswith("add_dsp_")
    assert kernel.name.isidentifier()
    other = replace(kernel, offset=kernel.offset + 1, length=kernel.length + 1)
    assert other.name == kernel.name
    assert other.arguments != kernel.arguments
    assert replace(kernel, shift=kernel.shift - 1).name != kernel.name


@settings(max_examples=8, deadline=None)
@given(
    zero_points=st.tuples(ZERO_POINTS, ZERO_POINTS, ZERO_POINTS),
    multiplier=MULTIPLIERS,
    shift=st.integers(-16, -1),
    clamp=CLAMPS,
)
def test_products_of_all_pairs_equal_litert_arithmetic(
    zero_points: tuple[int, int, int], multiplier: int, shift: int, clamp: tuple[int, int]
) -> None:
    plain = MulFlat(65536, 65536, *zero_points, multiplier, shift, *clamp)
    kernel = dsp_mul(plain)
    assert kernel is not None
    expected = expected_product(plain, *PAIRS)
    np.testing.assert_array_equal(run_description(kernel, PAIRS, {}).reshape(-1), expected)
    np.testing.assert_array_equal(run_c(kernel, PAIRS, {}).reshape(-1), expected)


def expected_product(plain: MulFlat, lhs: naive.Array, rhs: naive.Array) -> naive.Array:
    """LiteRT's MUL."""
    left = lhs.astype(np.int64) - plain.lhs_zero_point
    right = np.resize(rhs, lhs.shape).astype(np.int64) - plain.rhs_zero_point
    scaled = naive.multiply(left * right, plain.multiplier, plain.shift) + plain.output_zero_point
    return np.clip(scaled, plain.clamp_min, plain.clamp_max).astype(np.int8)


@pytest.mark.parametrize("lengths", [(1, 1), (7, 7), (8, 8), (30, 6), (15, 5), (24, 8)])
def test_products_of_any_length_and_of_repeated_runs(lengths: tuple[int, int]) -> None:
    rng = np.random.default_rng(lengths[0])
    data: list[naive.Array] = [rng.integers(-128, 128, n).astype(np.int8) for n in lengths]
    plain = MulFlat(*lengths, 1, -2, 3, 1500000000, -7, -128, 127)
    kernel = dsp_mul(plain)
    assert kernel is not None
    expected = expected_product(plain, *data)
    np.testing.assert_array_equal(run_c(kernel, data, {}).reshape(-1), expected)


def test_products_with_one_number_or_scaled_up_have_no_micro_kernel() -> None:
    plain = MulFlat(8, 8, 1, -2, 3, 1500000000, -7, -128, 127)
    assert dsp_mul(replace(plain, rhs_length=1)) is None
    assert dsp_mul(replace(plain, shift=0)) is None
