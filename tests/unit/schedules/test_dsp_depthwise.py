"""Depthwise convolution by micro-kernel: its C and its description against naive arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.schedules import (
    DepthwiseRow,
    DepthwiseSteps,
    DspDepthwiseRow,
    depthwise_steps,
    dsp_depthwise_row,
)

from . import naive
from .execution import c_source, run_c, run_description
from .test_windowed import (
    CLAMPS,
    SEEDS,
    SHIFTS,
    ZERO_POINTS,
    channel_constants,
    int8,
    weights,
)

EXAMPLES = settings(max_examples=12, deadline=None)
SQUARES = st.sampled_from([3, 5, 7])
STRIDES = st.sampled_from([1, 2])


def random_arguments(plain: DepthwiseRow, seed: int) -> tuple[naive.Array, dict[str, naive.Array]]:
    """Rows under a window, and constants."""
    rng = np.random.default_rng(seed)
    shifts = (plain.shift_min, plain.shift_max)
    rows = (plain.kernel_h - 1) * plain.dilation_h + 1
    constants = channel_constants(rng, plain.out_channels, shifts, wide=False)
    shape = (plain.kernel_h, plain.kernel_w, plain.out_channels)
    constants["weight"] = weights(rng, shifts, *shape)
    # Constants that may be as large as can be are no row's; those here reach what a kernel takes.
    limit = 2**29 >> max(shifts[1], 0)
    constants["bias"] = np.clip(constants["bias"], -limit, limit).astype(np.int32)
    return int8(rng, rows, plain.in_row_pixels, plain.in_channels), constants


def expected_row(
    plain: DepthwiseRow, data: naive.Array, constants: dict[str, naive.Array]
) -> naive.Array:
    """The row by plain sums."""
    kernel, dilation = (plain.kernel_h, plain.kernel_w), (plain.dilation_h, plain.dilation_w)
    window = naive.windows(data, kernel, plain.stride_w, dilation, plain.out_width)
    taps = np.repeat(window, plain.depth_multiplier, -1)
    acc = (taps * constants["weight"].astype(np.int64)).sum(axis=(1, 2))[None]
    return naive.requantise(acc, constants, plain)


def check(plain: DepthwiseRow, blocks: int, seed: int) -> None:
    """Description and C against plain sums."""
    data, constants = random_arguments(plain, seed)
    row = dsp_depthwise_row(plain, constants, blocks)
    assert row is not None
    expected = expected_row(plain, data, constants)
    np.testing.assert_array_equal(run_description(row, [data], constants), expected)
    np.testing.assert_array_equal(run_c(row, [data], constants), expected)


@EXAMPLES
@given(
    channels=st.integers(1, 10),
    depth_multiplier=st.sampled_from([1, 1, 2, 3]),
    width=st.integers(1, 21),
    slack=st.integers(0, 1),
    kernel=SQUARES,
    stride=STRIDES,
    dilation_h=st.sampled_from([1, 1, 2]),
    blocks=st.integers(1, 6),
    zero_point=ZERO_POINTS,
    clamp=CLAMPS,
    shifts=SHIFTS,
    seed=SEEDS,
)
def test_any_row_equals_naive_sums(
    channels: int,
    depth_multiplier: int,
    width: int,
    slack: int,
    kernel: int,
    stride: int,
    dilation_h: int,
    blocks: int,
    zero_point: int,
    clamp: tuple[int, int],
    shifts: tuple[int, int],
    seed: int,
) -> None:
    pixels = (width - 1) * stride + kernel + slack
    plain = DepthwiseRow(
        pixels, channels, width, depth_multiplier, kernel, kernel, stride, dilation_h, 1,
        zero_point, *clamp, "double", *shifts,
    )  # fmt: skip
    check(plain, blocks, seed)


@EXAMPLES
@given(
    channels=st.integers(1, 9),
    width=st.integers(1, 13),
    kernel=SQUARES,
    stride=STRIDES,
    blocks=st.integers(1, 3),
    shifts=SHIFTS,
    seed=SEEDS,
)
def test_rows_behind_rectifiers_equal_naive_sums(
    channels: int,
    width: int,
    kernel: int,
    stride: int,
    blocks: int,
    shifts: tuple[int, int],
    seed: int,
) -> None:
    pixels = (width - 1) * stride + kernel
    plain = DepthwiseRow(
        pixels, channels, width, 1, kernel, kernel, stride, 1, 1,
        -128, -128, 127, "double", *shifts,
    )  # fmt: skip
    check(plain, blocks, seed)


PLAIN = DepthwiseRow(11, 8, 9, 1, 3, 3, 1, 1, 1, -128, -128, 127, "double", -9, -6)


def test_the_cheap_form_of_scaling_is_for_full_ranges_above_zero_alone() -> None:
    _, constants = random_arguments(PLAIN, 1)

    def function(plain: DepthwiseRow) -> str:
        row = dsp_depthwise_row(plain, constants, 1)
        assert row is not None
        return c_source(row)

    assert "tvmp_depthwise_3_1_rectified(" in function(PLAIN)
    for changed in ({"output_zero_point": -127}, {"clamp_max": 126}, {"clamp_min": -127}):
        assert "tvmp_depthwise_3_1_any(" in function(replace(PLAIN, **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"kernel_w": 5},
        {"kernel_h": 2, "kernel_w": 2},
        {"kernel_h": 9, "kernel_w": 9},
        {"stride_w": 3},
        {"dilation_w": 2},
        {"rounding": "single"},
    ],
)
def test_other_windows_have_no_micro_kernel(changed: dict[str, int]) -> None:
    plain = replace(PLAIN, **changed)
    _, constants = random_arguments(plain, 2)
    assert dsp_depthwise_row(plain, constants, 2) is None


def steps(constants: dict[str, naive.Array]) -> DepthwiseSteps | None:
    return depthwise_steps((3, 3), 1, 1, PLAIN.requantisation.arithmetic, constants)


def test_scales_out_of_range_have_no_micro_kernel_unless_they_leave_nothing() -> None:
    _, constants = random_arguments(PLAIN, 3)
    constants["weight"][:, :, 2] = 1
    constants["bias"][2], constants["multiplier"][2] = 0, 2**30
    constants["shift"][2] = -31
    assert steps(constants) is not None
    # Half of a step: sums on either side become zero or one.
    constants["bias"][2] = 2**24
    constants["shift"][2] = -24
    assert steps(constants) is None
    with pytest.raises(ValueError, match="too large"):
        DspDepthwiseRow(PLAIN, 2).pack(constants)
    constants["shift"][2] = -23
    assert steps(constants) is not None
    # Accumulators beyond 2**30 that become nothing but saturation are no trouble.
    constants["bias"][2] = 2**31 - 1
    constants["shift"][2] = 1
    assert steps(constants) is not None


def test_ties_and_saturation_of_extreme_scales() -> None:
    """Single taps, so that accumulators are every small number, under scales that make ties."""
    width = 64
    for shift in (-1, -2, -7, 0, 1):
        for zero_point in (-128, 3, 127):
            plain = DepthwiseRow(
                width + 2, 4, width, 1, 3, 3, 1, 1, 1,
                zero_point, -128, 127, "double", shift, shift,
            )  # fmt: skip
            data = np.zeros((3, width + 2, 4), np.int8)
            data[1, 1:-1] = (np.arange(width * 4).reshape(width, 4) - 128).astype(np.int8)
            constants: dict[str, naive.Array] = {
                "weight": np.zeros((3, 3, 4), np.int8),
                "bias": np.array([0, 1, -1, 5], np.int32),
                "multiplier": np.array([2**30, 2**30, 2**31 - 1, 3 * 2**29], np.int32),
                "shift": np.full(4, shift, np.int32),
            }
            constants["weight"][1, 1] = [1, -1, 127, -128]
            row = dsp_depthwise_row(plain, constants, 3)
            assert row is not None
            expected = expected_row(plain, data, constants)
            np.testing.assert_array_equal(run_c(row, [data], constants), expected)


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_scratch_is_what_a_step_gathers(kernel: int, stride: int, blocks: int) -> None:
    columns = (4 * blocks - 1) * stride + kernel
    pairs = (columns + 1) // 2
    expected = 4 * pairs * (kernel // 2 * 8 + 4)
    assert DepthwiseSteps(kernel, stride).size_bytes(blocks) == expected
    row = DspDepthwiseRow(replace(PLAIN, kernel_h=kernel, kernel_w=kernel, stride_w=stride), blocks)
    assert row.scratch_bytes == expected


def test_names_tell_steps_apart() -> None:
    row = DspDepthwiseRow(PLAIN, 2)
    assert row.name.startswith("depthwise_dsp_3x3_s1_c8_w9_")
    assert row.name.isidentifier()
    assert replace(row, blocks=3).name != row.name
    assert row.macs == PLAIN.macs
