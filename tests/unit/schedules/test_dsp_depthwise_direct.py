"""Depthwise convolution straight from the input: its C and description against naive arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.schedules import (
    DepthwiseRow,
    DspDepthwiseDirect,
    dsp_depthwise_direct,
    dsp_depthwise_direct_objection,
    dsp_depthwise_shared,
)

from . import naive
from .execution import run_c, run_description
from .test_dsp_depthwise import expected_row
from .test_windowed import (
    CLAMPS,
    ROUNDINGS,
    SEEDS,
    SHIFTS,
    ZERO_POINTS,
    channel_constants,
    int8,
    weights,
)

EXAMPLES = settings(max_examples=25, deadline=None)


def random_arguments(plain: DepthwiseRow, seed: int) -> tuple[naive.Array, dict[str, naive.Array]]:
    """Rows under a window, and constants."""
    rng = np.random.default_rng(seed)
    shifts = (plain.shift_min, plain.shift_max)
    wide = not plain.small_accumulator
    constants = channel_constants(rng, plain.out_channels, shifts, wide=wide)
    shape = (plain.kernel_h, plain.kernel_w, plain.out_channels)
    constants["weight"] = weights(rng, shifts, *shape)
    if rng.random() < 0.5:
        # Sums that are narrow for sure.
        constants["bias"] = np.clip(constants["bias"], -(2**20), 2**20).astype(np.int32)
    rows = (plain.kernel_h - 1) * plain.dilation_h + 1
    return int8(rng, rows, plain.in_row_pixels, plain.in_channels), constants


def check(plain: DepthwiseRow, seed: int) -> None:
    """Description and C against plain sums."""
    data, constants = random_arguments(plain, seed)
    row = dsp_depthwise_direct(plain, constants)
    assert row is not None
    expected = expected_row(plain, data, constants)
    np.testing.assert_array_equal(run_description(row, [data], constants), expected)
    np.testing.assert_array_equal(run_c(row, [data], constants), expected)
    shared = dsp_depthwise_shared(row)
    assert (shared is None) == (plain.kernel_h > 3 or plain.kernel_h * plain.kernel_w > 9)
    if shared is not None:
        np.testing.assert_array_equal(run_description(shared, [data], constants), expected)
        np.testing.assert_array_equal(run_c(shared, [data], constants), expected)


@EXAMPLES
@given(
    channels=st.integers(4, 13),
    width=st.integers(1, 9),
    slack=st.integers(0, 1),
    kernel=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    stride=st.integers(1, 4),
    dilation_h=st.sampled_from([1, 1, 2]),
    zero_point=ZERO_POINTS,
    clamp=CLAMPS,
    rounding=ROUNDINGS,
    shifts=SHIFTS,
    wide=st.booleans(),
    seed=SEEDS,
)
def test_any_row_equals_naive_sums(
    channels: int,
    width: int,
    slack: int,
    kernel: tuple[int, int],
    stride: int,
    dilation_h: int,
    zero_point: int,
    clamp: tuple[int, int],
    rounding: str,
    shifts: tuple[int, int],
    wide: bool,
    seed: int,
) -> None:
    pixels = (width - 1) * stride + kernel[1] + slack
    plain = DepthwiseRow(
        pixels, channels, width, 1, *kernel, stride, dilation_h, 1,
        zero_point, *clamp, rounding, *shifts, small_accumulator=not wide,
    )  # fmt: skip
    check(plain, seed)


@EXAMPLES
@given(
    channels=st.integers(4, 9),
    width=st.integers(1, 5),
    kernel=st.sampled_from([3, 3, 5, 7]),
    stride=st.sampled_from([1, 2]),
    shifts=SHIFTS,
    seed=SEEDS,
)
def test_rows_behind_rectifiers_equal_naive_sums(
    channels: int, width: int, kernel: int, stride: int, shifts: tuple[int, int], seed: int
) -> None:
    pixels = (width - 1) * stride + kernel
    plain = DepthwiseRow(
        pixels, channels, width, 1, kernel, kernel, stride, 1, 1,
        -128, -128, 127, "double", *shifts,
    )  # fmt: skip
    check(plain, seed)


PLAIN = DepthwiseRow(11, 8, 9, 1, 3, 3, 1, 1, 1, -128, -128, 127, "double", -9, -6)


@pytest.mark.parametrize(
    ("changed", "objection"),
    [
        ({"in_channels": 3}, "less than a word"),
        ({"depth_multiplier": 2}, "2 outputs"),
        ({"dilation_w": 2}, "2 apart"),
        ({"kernel_w": 14, "stride_w": 2}, "more than 15 columns"),
        ({"in_channels": 1024}, "too far apart"),
    ],
)
def test_what_it_is_not_for(changed: dict[str, int], objection: str) -> None:
    plain = replace(PLAIN, **changed)
    found = dsp_depthwise_direct_objection(
        plain.in_channels,
        plain.depth_multiplier,
        (plain.kernel_h, plain.kernel_w),
        plain.stride_w,
        plain.dilation_w,
    )
    assert found is not None
    assert objection in found
    _, constants = random_arguments(plain, 2)
    assert dsp_depthwise_direct(plain, constants) is None


def test_promises_are_checked() -> None:
    _, constants = random_arguments(PLAIN, 5)
    constants["bias"][:] = 2**24
    constants["shift"][:] = -17
    wide = replace(PLAIN, shift_min=-17, shift_max=-17)
    row = dsp_depthwise_direct(wide, constants)
    assert row is not None
    assert not row.narrow
    with pytest.raises(ValueError, match="must not promise narrow"):
        DspDepthwiseDirect(wide, narrow=True).pack(constants)


def test_layers_that_differ_in_constants_alone_share_a_kernel() -> None:
    row = DspDepthwiseDirect(PLAIN, narrow=True)
    assert row.name.startswith("depthwise_direct_3x3_s1_c8_w9_")
    assert row.name.isidentifier()
    assert row.macs == PLAIN.macs
    # The zero point is in the constants.
    assert (
        replace(row, plain=replace(PLAIN, output_zero_point=-128, clamp_max=127)).name == row.name
    )
    assert replace(row, plain=replace(PLAIN, out_width=8)).name != row.name


def test_shared_functions_serve_layers_of_any_width_and_depth() -> None:
    shared = dsp_depthwise_shared(DspDepthwiseDirect(PLAIN, narrow=True))
    assert shared is not None and shared.macs == PLAIN.macs
    wider = replace(shared, plain=replace(PLAIN, out_width=20, in_row_pixels=22, in_channels=12))
    assert wider.name == shared.name and wider.arguments != shared.arguments
    assert wider.constant_bytes > shared.constant_bytes
    strided = replace(shared, plain=replace(PLAIN, out_width=5, stride_w=2))
    assert strided.name != shared.name
    large = replace(PLAIN, kernel_h=5, kernel_w=5, out_width=7)
    assert dsp_depthwise_shared(DspDepthwiseDirect(large, narrow=True)) is None


@pytest.mark.parametrize("channels", [7, 8])
def test_constants_take_as_many_bytes_as_promised(channels: int) -> None:
    for shifts in ((-9, -9), (-12, -6)):
        plain = replace(PLAIN, in_channels=channels, shift_min=shifts[0], shift_max=shifts[1])
        _, constants = random_arguments(plain, 3)
        direct = dsp_depthwise_direct(plain, constants)
        assert direct is not None
        for kernel in (direct, dsp_depthwise_shared(direct)):
            assert kernel is not None
            packed = kernel.pack(constants)
            assert sum(value.nbytes for value in packed.values()) == kernel.constant_bytes
