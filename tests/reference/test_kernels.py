"""The vectorised numpy kernels against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.qnn import arithmetic
from tvm_patch.qnn.reference import kernels

from . import naive

SEEDS = st.integers(0, 2**32 - 1)
EXAMPLES = settings(max_examples=30, deadline=None)


def _int8(rng, *shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def _int(rng, low, high):
    return int(rng.integers(low, high + 1))


def _requantisation(rng, channels, rounding):
    low = _int(rng, -128, 127)
    return [
        rng.integers(-5000, 5000, channels).astype(np.int32),
        rng.integers(1 << 30, 1 << 31, channels).astype(np.int32),
        rng.integers(-31, 3, channels).astype(np.int32),
    ], {
        "input_zero_point": _int(rng, -128, 127),
        "output_zero_point": _int(rng, -128, 127),
        "clamp_min": low,
        "clamp_max": _int(rng, low, 127),
        "rounding": rounding,
    }


def _window(rng, *, kernel):
    return {
        "strides": [_int(rng, 1, 3), _int(rng, 1, 3)],
        "padding": [_int(rng, 0, size - 1) for size in (*kernel, *kernel)],
    }


@EXAMPLES
@given(SEEDS, st.sampled_from(["double", "single"]))
def test_conv2d(seed, rounding):
    rng = np.random.default_rng(seed)
    groups, depth, per_group = _int(rng, 1, 3), _int(rng, 1, 3), _int(rng, 1, 3)
    kernel = [_int(rng, 1, 3), _int(rng, 1, 3)]
    args, attrs = _requantisation(rng, groups * per_group, rounding)
    attrs |= _window(rng, kernel=kernel) | {"groups": groups, "dilation": [_int(rng, 1, 2), 1]}
    data = _int8(rng, 1, _int(rng, 5, 7), _int(rng, 3, 6), groups * depth)
    weight = _int8(rng, groups * per_group, *kernel, depth)
    expected = naive.conv2d(data, weight, *args, **attrs)
    np.testing.assert_array_equal(kernels.conv2d(data, weight, *args, **attrs), expected)


@EXAMPLES
@given(SEEDS)
def test_depthwise_conv2d(seed):
    rng = np.random.default_rng(seed)
    channels, depth_multiplier = _int(rng, 1, 4), _int(rng, 1, 3)
    kernel = [_int(rng, 1, 4), _int(rng, 1, 4)]
    args, attrs = _requantisation(rng, channels * depth_multiplier, "double")
    attrs |= _window(rng, kernel=kernel)
    attrs |= {"depth_multiplier": depth_multiplier, "dilation": [1, 1]}
    data = _int8(rng, 1, _int(rng, 4, 7), _int(rng, 4, 7), channels)
    weight = _int8(rng, *kernel, channels * depth_multiplier)
    expected = naive.depthwise_conv2d(data, weight, *args, **attrs)
    np.testing.assert_array_equal(kernels.depthwise_conv2d(data, weight, *args, **attrs), expected)


@EXAMPLES
@given(SEEDS, st.sampled_from(["double", "single"]))
def test_dense(seed, rounding):
    rng = np.random.default_rng(seed)
    depth, channels = _int(rng, 1, 20), _int(rng, 1, 8)
    args, attrs = _requantisation(rng, channels, rounding)
    data, weight = _int8(rng, 1, depth), _int8(rng, channels, depth)
    expected = naive.dense(data, weight, *args, **attrs)
    np.testing.assert_array_equal(kernels.dense(data, weight, *args, **attrs), expected)


@EXAMPLES
@given(SEEDS, st.sampled_from(["max_pool2d", "avg_pool2d"]))
def test_pools(seed, name):
    rng = np.random.default_rng(seed)
    pool_size = [_int(rng, 1, 4), _int(rng, 1, 4)]
    low = _int(rng, -128, 127)
    attrs = {"pool_size": pool_size, "clamp_min": low, "clamp_max": _int(rng, low, 127)}
    attrs |= _window(rng, kernel=pool_size)
    data = _int8(rng, 1, _int(rng, 4, 7), _int(rng, 4, 7), 3)
    expected = getattr(naive, name)(data, **attrs)
    np.testing.assert_array_equal(getattr(kernels, name)(data, **attrs), expected)


@EXAMPLES
@given(SEEDS, st.booleans())
def test_mean(seed, keepdims):
    rng = np.random.default_rng(seed)
    data = _int8(rng, 1, _int(rng, 1, 6), _int(rng, 1, 6), 4)
    multiplier, shift = arithmetic.mean_multiplier(
        float(10 ** rng.uniform(-3, 1)), float(10 ** rng.uniform(-3, 1)), data[0, ..., 0].size
    )
    attrs = {
        "axes": [1, 2],
        "keepdims": keepdims,
        "input_zero_point": _int(rng, -128, 127),
        "output_zero_point": _int(rng, -128, 127),
        "multiplier": multiplier,
        "shift": shift,
    }
    expected = naive.mean(data, **attrs)
    np.testing.assert_array_equal(kernels.mean(data, **attrs), expected)
    del attrs["axes"]
    total = kernels.global_sum(data)
    finished = kernels.mean_of_sum(total, pixels=data[0, ..., 0].size, **attrs)
    np.testing.assert_array_equal(finished, expected)


@EXAMPLES
@given(SEEDS)
def test_average_of_sum(seed):
    rng = np.random.default_rng(seed)
    data = _int8(rng, 1, _int(rng, 1, 6), _int(rng, 1, 6), 4)
    low = _int(rng, -128, 127)
    clamp = {"clamp_min": low, "clamp_max": _int(rng, low, 127)}
    size = list(data.shape[1:3])
    window = {"pool_size": size, "strides": [1, 1], "padding": [0] * 4, "dilation": [1, 1]}
    expected = naive.avg_pool2d(data, **window, **clamp)
    finished = kernels.average_of_sum(kernels.global_sum(data), pixels=size[0] * size[1], **clamp)
    np.testing.assert_array_equal(finished, expected)


@EXAMPLES
@given(SEEDS, st.sampled_from([(1, 3, 2, 4), (4,), ()]), st.sampled_from([1, -1]))
def test_add_and_subtract(seed, rhs_shape, sign):
    rng = np.random.default_rng(seed)
    lhs_scale, rhs_scale = 10 ** rng.uniform(-3, 0, 2)
    output_scale = max(lhs_scale, rhs_scale) * 10 ** rng.uniform(-1, 1)
    attrs = vars(arithmetic.add_parameters(lhs_scale, rhs_scale, output_scale)) | {
        "lhs_zero_point": _int(rng, -128, 127),
        "rhs_zero_point": _int(rng, -128, 127),
        "output_zero_point": _int(rng, -128, 127),
        "clamp_min": -100,
        "clamp_max": 90,
    }
    lhs, rhs = _int8(rng, 1, 3, 2, 4), _int8(rng, *rhs_shape)
    kernel = kernels.add if sign == 1 else kernels.subtract
    expected = naive.add(lhs, rhs, sign=sign, **attrs)
    np.testing.assert_array_equal(kernel(lhs, rhs, **attrs), expected)


@EXAMPLES
@given(SEEDS, st.sampled_from([(1, 3, 2, 4), (1, 1, 1, 4), ()]))
def test_mul(seed, rhs_shape):
    rng = np.random.default_rng(seed)
    multiplier, shift = arithmetic.mul_multiplier(*(10 ** rng.uniform(-2, 0, 3)))
    attrs = {
        "lhs_zero_point": _int(rng, -128, 127),
        "rhs_zero_point": _int(rng, -128, 127),
        "output_zero_point": _int(rng, -128, 127),
        "multiplier": multiplier,
        "shift": shift,
        "clamp_min": -128,
        "clamp_max": 127,
    }
    lhs, rhs = _int8(rng, 1, 3, 2, 4), _int8(rng, *rhs_shape)
    np.testing.assert_array_equal(kernels.mul(lhs, rhs, **attrs), naive.mul(lhs, rhs, **attrs))


@pytest.mark.parametrize(
    ("sizes", "align_corners", "half_pixel_centers", "expected"),
    [
        ((2, 4), 0, 0, [0, 0, 1, 1]),
        ((4, 2), 0, 0, [0, 2]),
        ((4, 2), 0, 1, [1, 3]),
        ((3, 5), 1, 0, [0, 1, 1, 2, 2]),
        ((5, 1), 1, 0, [0]),
    ],
)
def test_nearest_indices(sizes, align_corners, half_pixel_centers, expected):
    found = kernels.nearest_indices(*sizes, align_corners, half_pixel_centers)
    assert found.tolist() == expected
