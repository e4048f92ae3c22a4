"""Integer parameters by their meaning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tvm_patch.qnn import arithmetic

SCALES = st.floats(2.0**-6, 2.0**6, width=32)


def test_left_shift_wraps_as_registers_do():
    assert arithmetic.wrap_int32(1 << 31) == arithmetic.INT32_MIN
    assert arithmetic.wrap_int32(-(1 << 31) - 1) == arithmetic.INT32_MAX


@given(st.floats(2.0**-31, 2.0**30))
@example(1.0)
@example(1.0 - 2.0**-53)
def test_quantize_multiplier_is_close_and_normalised(real):
    multiplier, shift = arithmetic.quantize_multiplier(real)
    assert 1 << 30 <= multiplier <= arithmetic.INT32_MAX
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(real, rel=2.0**-30)


def test_tiny_multipliers_are_flushed_to_zero():
    assert arithmetic.quantize_multiplier(0.0) == (0, 0)
    assert arithmetic.quantize_multiplier(2.0**-33) == (0, 0)
    assert arithmetic.quantize_multiplier(2.0**-32) == (1 << 30, -31)


@pytest.mark.parametrize("real", [0.0, 1.0, -0.5, 3.0])
def test_multipliers_that_must_be_below_one(real):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        arithmetic.quantize_multiplier_smaller_than_one(real)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, 1), (-0.5, -1), (1.5, 2), (-2.5, -3), (0.49, 0), (7.0, 7)]
)
def test_round_half_away(value, expected):
    assert arithmetic.round_half_away(value) == expected


@pytest.mark.parametrize(
    ("activation", "zero_point", "expected"),
    [
        ("NONE", 3, (-128, 127)),
        ("RELU", -128, (-128, 127)),
        ("RELU", 5, (5, 127)),
        ("RELU6", 0, (0, 60)),
        ("RELU6", 100, (100, 127)),
        ("RELU_N1_TO_1", -125, (-128, -115)),
    ],
)
def test_activation_range(activation, zero_point, expected):
    assert arithmetic.activation_range(activation, 0.1, zero_point) == expected


def test_dense_forms_the_scale_product_in_float32():
    input_scale, weight_scale = np.float32(0.1), np.float32(0.3)
    product = float(input_scale * weight_scale)
    assert product != float(input_scale) * float(weight_scale)
    multiplier, shift = arithmetic.dense_multipliers(0.1, [0.3], 1.0)
    assert (multiplier[0], shift[0]) == arithmetic.quantize_multiplier(product)
    per_channel, _ = arithmetic.dense_multipliers(0.1, [0.3, 0.3], 1.0)
    double = arithmetic.quantize_multiplier(float(input_scale) * float(weight_scale))
    assert per_channel.tolist() == [double[0]] * 2


@given(SCALES, SCALES)
def test_add_parameters_scale_both_sides_alike(lhs_scale, rhs_scale):
    parameters = arithmetic.add_parameters(lhs_scale, rhs_scale, max(lhs_scale, rhs_scale))
    lhs = parameters.lhs_multiplier * 2.0**parameters.lhs_shift
    rhs = parameters.rhs_multiplier * 2.0**parameters.rhs_shift
    assert lhs * rhs_scale == pytest.approx(rhs * lhs_scale, rel=1e-6)


def test_add_refuses_an_output_scale_out_of_reach():
    with pytest.raises(ValueError, match="not between 0 and 1"):
        arithmetic.add_parameters(1.0, 1.0, 1e-7)


def test_softmax_parameters():
    parameters = arithmetic.softmax_parameters(0.1)
    assert parameters.input_multiplier * 2.0 ** (parameters.input_left_shift - 31) == (
        pytest.approx(0.1 * 2**26)
    )
    # 31 / 0.1 steps below the maximum leave Q5.26; the shift rounds that up to a power of two.
    assert parameters.diff_min == -248
    with pytest.raises(ValueError, match="too small"):
        arithmetic.softmax_parameters(1e-9)


def test_mean_multiplier_divides_by_the_count():
    multiplier, shift = arithmetic.mean_multiplier(0.5, 0.25, 49)
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(2 / 49, rel=1e-6)
