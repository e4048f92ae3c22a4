"""Convolution, depthwise and dense kernels against naive arithmetic, over shapes and parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.schedules import ConvRow, Dense, DepthwiseRow

from . import naive
from .execution import run_c, run_llvm

EXAMPLES = settings(max_examples=25, deadline=None, derandomize=True)

#: Shift ranges: the fast path, one common shift, small, none and left shifts.
SHIFTS = st.sampled_from(
    [(-9, -6), (-7, -7), (-31, -1), (-2, -1), (-1, -1), (0, 0), (-3, 0), (-2, 3), (2, 2)]
)
ZERO_POINTS = st.integers(-128, 127)
ROUNDINGS = st.sampled_from(["double", "single"])
SEEDS = st.integers(0, 2**32 - 1)
CLAMPS = st.sampled_from([(-128, 127), (-10, 100), (5, 5), (0, 127)])


def channel_constants(
    rng: np.random.Generator, channels: int, shifts: tuple[int, int], *, wide: bool
) -> dict[str, naive.Array]:
    """Random bias, multiplier and shift.

    Biases suit the shifts, lest every output saturate; a few are as large as may be.
    """
    shift = rng.integers(shifts[0], shifts[1] + 1, channels)
    limit = 2**20 if shifts[1] > 0 else 2**31 - 2**26 if wide else 2**29
    reach = np.minimum(2.0 ** (8 - shift), limit).astype(np.int64)
    reach = np.where(rng.random(channels) < 0.1, limit, reach)
    multiplier = rng.integers(2**30, 2**31, channels)
    multiplier[rng.integers(channels)] = rng.choice([0, 2**30, 2**31 - 1])
    return {
        "bias": rng.integers(-reach, reach).astype(np.int32),
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int32),
    }


def weights(rng: np.random.Generator, shifts: tuple[int, int], *shape: int) -> naive.Array:
    """Random int8 weights, sparse ones and minus ones where shifts are too small for others."""
    if shifts[0] <= -5:
        return int8(rng, *shape)
    return (rng.integers(-1, 2, shape) * (rng.random(shape) < 0.1)).astype(np.int8)


def int8(rng: np.random.Generator, *shape: int) -> naive.Array:
    """Random int8 with both extremes frequent."""
    values = rng.integers(-128, 128, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([-128, 127], shape), values).astype(np.int8)


@EXAMPLES
@given(
    groups=st.sampled_from([1, 1, 1, 2, 3]),
    group_in=st.integers(1, 9),
    group_out=st.integers(1, 9),
    width=st.integers(1, 9),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    slack=st.integers(0, 3),
    zero_point=ZERO_POINTS,
    clamp=CLAMPS,
    rounding=ROUNDINGS,
    shifts=SHIFTS,
    wide=st.booleans(),
    seed=SEEDS,
)
def test_convolution_row_equals_naive_sum(
    groups: int,
    group_in: int,
    group_out: int,
    width: int,
    kernel: tuple[int, int],
    stride: int,
    dilation: tuple[int, int],
    slack: int,
    zero_point: int,
    clamp: tuple[int, int],
    rounding: str,
    shifts: tuple[int, int],
    wide: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    pixels = (width - 1) * stride + (kernel[1] - 1) * dilation[1] + 1 + slack
    row = ConvRow(
        pixels, groups * group_in, width, groups * group_out, *kernel, stride, *dilation, groups,
        zero_point, *clamp, rounding, *shifts, small_accumulator=not wide,
    )  # fmt: skip
    data = int8(rng, (kernel[0] - 1) * dilation[0] + 1, pixels, groups * group_in)
    constants = channel_constants(rng, groups * group_out, shifts, wide=wide)
    constants["weight"] = weights(rng, shifts, groups * group_out, *kernel, group_in)
    window = naive.windows(data, kernel, stride, dilation, width)
    grouped = window.reshape(*window.shape[:3], groups, group_in)
    weight = constants["weight"].astype(np.int64).reshape(groups, group_out, *kernel, group_in)
    acc = np.einsum("xyzgi,goyzi->xgo", grouped, weight).reshape(1, width, -1)
    expected = naive.requantise(acc, constants, row)
    np.testing.assert_array_equal(run_llvm(row, [data], constants), expected)


@EXAMPLES
@given(
    channels=st.integers(1, 9),
    depth_multiplier=st.integers(1, 3),
    width=st.integers(1, 9),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    zero_point=ZERO_POINTS,
    clamp=CLAMPS,
    rounding=ROUNDINGS,
    shifts=SHIFTS,
    wide=st.booleans(),
    seed=SEEDS,
)
def test_depthwise_row_equals_naive_sum(
    channels: int,
    depth_multiplier: int,
    width: int,
    kernel: tuple[int, int],
    stride: int,
    dilation: tuple[int, int],
    zero_point: int,
    clamp: tuple[int, int],
    rounding: str,
    shifts: tuple[int, int],
    wide: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    pixels = (width - 1) * stride + (kernel[1] - 1) * dilation[1] + 2
    row = DepthwiseRow(
        pixels, channels, width, depth_multiplier, *kernel, stride, *dilation,
        zero_point, *clamp, rounding, *shifts, small_accumulator=not wide,
    )  # fmt: skip
    data = int8(rng, (kernel[0] - 1) * dilation[0] + 1, pixels, channels)
    constants = channel_constants(rng, row.out_channels, shifts, wide=wide)
    constants["weight"] = weights(rng, shifts, *kernel, row.out_channels)
    window = np.repeat(naive.windows(data, kernel, stride, dilation, width), depth_multiplier, -1)
    acc = (window * constants["weight"].astype(np.int64)).sum(axis=(1, 2))[None]
    expected = naive.requantise(acc, constants, row)
    np.testing.assert_array_equal(run_llvm(row, [data], constants), expected)


@EXAMPLES
@given(
    in_features=st.integers(1, 70),
    out_features=st.integers(1, 13),
    rounding=ROUNDINGS,
    shifts=SHIFTS,
    wide=st.booleans(),
    seed=SEEDS,
)
def test_dense_equals_matrix_product(
    in_features: int,
    out_features: int,
    rounding: str,
    shifts: tuple[int, int],
    wide: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    layer = Dense(in_features, out_features, 3, -128, 127, rounding, *shifts, not wide)
    data = int8(rng, in_features)
    constants = channel_constants(rng, out_features, shifts, wide=wide)
    constants["weight"] = weights(rng, shifts, out_features, in_features)
    acc = constants["weight"].astype(np.int64) @ data.astype(np.int64)
    expected = naive.requantise(acc[None, None], constants, layer)
    np.testing.assert_array_equal(run_llvm(layer, [data], constants), expected)


CONV = ConvRow(12, 3, 4, 6, 3, 3, 2, 1, 1, 1, -7, -128, 127, "double", -9, -6)
SAMPLES = [
    CONV,
    replace(CONV, shift_min=-2, shift_max=2),
    replace(CONV, rounding="single"),
    replace(CONV, rounding="single", shift_min=-1, shift_max=1),
    replace(CONV, small_accumulator=False),
    DepthwiseRow(12, 5, 4, 1, 3, 3, 2, 1, 1, -7, -128, 127, "double", -9, -6),
    Dense(40, 10, 4, -128, 127, "single", -8, -8),
]


@pytest.mark.parametrize("kernel", SAMPLES, ids=lambda kernel: kernel.name)
def test_printed_c_equals_host_build(kernel: ConvRow | DepthwiseRow | Dense) -> None:
    rng = np.random.default_rng(1)
    shapes = [tuple(int(n) for n in p.shape) for p in kernel.prim_func().params]
    data = int8(rng, *shapes[0])
    shifts = (kernel.shift_min, kernel.shift_max)
    constants = channel_constants(rng, shapes[2][0], shifts, wide=False)
    source = {ConvRow: (6, 3, 3, 3), DepthwiseRow: (3, 3, 5), Dense: (10, 40)}[type(kernel)]
    constants["weight"] = weights(rng, shifts, *source)
    constants["multiplier"][0] = 2**31 - 1
    expected = run_llvm(kernel, [data], constants)
    np.testing.assert_array_equal(run_c(kernel, [data], constants), expected)


def test_names_follow_from_the_parameters() -> None:
    assert CONV.name.startswith("conv2d_3x3_s2_c3_o6_w4_")
    assert replace(CONV).name == CONV.name
    assert replace(CONV, clamp_min=0).name != CONV.name
    assert CONV.name.isidentifier()


def test_macs_count_every_tap() -> None:
    assert CONV.macs == 4 * 6 * 27
    assert Dense(40, 10, 0, -128, 127, "single", -8, -8).macs == 400


def test_pack_refuses_accumulators_beyond_the_promise() -> None:
    rng = np.random.default_rng(2)
    kernel = replace(CONV, shift_min=-23, shift_max=-23)
    constants = channel_constants(rng, 6, (-23, -23), wide=False)
    constants["weight"] = int8(rng, 6, 3, 3, 3)
    constants["multiplier"][:] = 2**30
    # Where 64 becomes 65: any other sum as large would not depend on the input any more.
    constants["bias"][3] = 2**30 + 2**23
    with pytest.raises(ValueError, match=r"2\*\*30"):
        kernel.pack(constants)
    assert replace(kernel, small_accumulator=False).pack(constants)["channels"].shape == (6, 3)


def test_pack_refuses_shifts_out_of_range() -> None:
    rng = np.random.default_rng(3)
    constants = channel_constants(rng, 6, (-12, -12), wide=False)
    constants["weight"] = int8(rng, 6, 3, 3, 3)
    with pytest.raises(ValueError, match="shifts exceed"):
        CONV.pack(constants)
