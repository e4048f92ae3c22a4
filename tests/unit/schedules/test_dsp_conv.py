"""Convolution by micro-kernel: its C and its description against naive arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.schedules import (
    TURNS,
    ConvRow,
    DspConvGathered,
    DspConvRow,
    DspConvVariant,
    dsp_conv_row,
    dsp_conv_shared,
)

from . import naive
from .execution import run_c, run_description
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

EXAMPLES = settings(max_examples=12)


def expected_row(
    plain: ConvRow, data: naive.Array, constants: dict[str, naive.Array]
) -> naive.Array:
    """The row by plain sums."""
    groups, group_in = plain.groups, plain.in_channels // plain.groups
    kernel, dilation = (plain.kernel_h, plain.kernel_w), (plain.dilation_h, plain.dilation_w)
    window = naive.windows(data, kernel, plain.stride_w, dilation, plain.out_width)
    grouped = window.reshape(*window.shape[:3], groups, group_in)
    weight = constants["weight"].astype(np.int64).reshape(groups, -1, *kernel, group_in)
    acc = np.einsum("xyzgi,goyzi->xgo", grouped, weight).reshape(1, plain.out_width, -1)
    return naive.requantise(acc, constants, plain)


@EXAMPLES
@given(
    groups=st.sampled_from([1, 1, 1, 2]),
    group_in=st.integers(1, 21),
    group_out=st.integers(1, 7),
    width=st.integers(1, 8),
    kernel=st.sampled_from([(1, 1), (1, 1), (3, 3), (1, 4), (5, 1), (2, 3)]),
    stride=st.integers(1, 2),
    dilation=st.sampled_from([(1, 1), (2, 1), (1, 2)]),
    zero_point=ZERO_POINTS,
    clamp=CLAMPS,
    rounding=ROUNDINGS,
    shifts=SHIFTS,
    narrow=st.booleans(),
    seed=SEEDS,
)
def test_any_row_equals_naive_sums(
    groups: int,
    group_in: int,
    group_out: int,
    width: int,
    kernel: tuple[int, int],
    stride: int,
    dilation: tuple[int, int],
    zero_point: int,
    clamp: tuple[int, int],
    rounding: str,
    shifts: tuple[int, int],
    narrow: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    pixels = (width - 1) * stride + (kernel[1] - 1) * dilation[1] + 1
    plain = ConvRow(
        pixels, groups * group_in, width, groups * group_out, *kernel, stride, *dilation, groups,
        zero_point, *clamp, rounding, *shifts,
    )  # fmt: skip
    data = int8(rng, (kernel[0] - 1) * dilation[0] + 1, pixels, groups * group_in)
    constants = channel_constants(rng, groups * group_out, shifts, wide=False)
    constants["weight"] = weights(rng, shifts, groups * group_out, *kernel, group_in)
    if narrow:
        constants["weight"] = np.maximum(constants["weight"], np.int8(-127))
        constants["bias"] %= 2**20
    row = dsp_conv_row(plain, constants)
    if row is None:
        run_bytes = group_in * (kernel[1] if groups == 1 and dilation[1] == 1 else 1)
        assert run_bytes < 4
        return
    expected = expected_row(plain, data, constants)
    np.testing.assert_array_equal(run_description(row, [data], constants), expected)
    # Half of the examples in the form that layers share, where it fits.
    shared = dsp_conv_shared(row) if seed % 2 else None
    kernel = row if shared is None else replace(shared, halves=seed % 4 == 1)
    np.testing.assert_array_equal(run_c(kernel, [data], constants), expected)
    variant = (DspConvVariant, DspConvGathered)[seed % 2](row, TURNS[seed // 2 % len(TURNS)])
    np.testing.assert_array_equal(run_c(variant, [data], constants), expected)


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize(
    ("channels", "at_once"), [(4, 2), (5, 2), (6, 3), (7, 3), (12, 3), (10, 1)]
)
def test_a_lone_pixel_is_made_for_several_pairs_of_channels(
    width: int, channels: int, at_once: int
) -> None:
    rng = np.random.default_rng(channels)
    for kernel, weight_min in ((1, -127), (3, -127), (1, -128)):
        plain = replace(
            PLAIN, in_channels=22, out_width=width, out_channels=channels,
            kernel_h=kernel, kernel_w=kernel,
        )  # fmt: skip
        constants = channel_constants(rng, channels, (-9, -6), wide=False)
        weight = int8(rng, channels, kernel, kernel, 22)
        constants["weight"] = np.maximum(weight, np.int8(weight_min))
        constants["bias"] %= 2**17
        row = dsp_conv_row(plain, constants)
        assert row is not None
        if width == 1:
            assert f"x {2 * at_once} channels" in row.remark
        data = int8(rng, kernel, 12, 22)
        expected = expected_row(plain, data, constants)
        np.testing.assert_array_equal(run_c(row, [data], constants), expected)


@pytest.mark.parametrize("width", [3, 4, 5, 6, 7])
def test_layers_of_other_widths_and_outputs_share_a_kernel(width: int) -> None:
    rng = np.random.default_rng(width)
    kernels = set()
    for channels in (2, 6):
        plain = replace(PLAIN, in_row_pixels=20, out_width=width, out_channels=channels)
        constants = channel_constants(rng, channels, (-9, -6), wide=False)
        constants["weight"] = np.maximum(int8(rng, channels, 3, 3, 5), np.int8(-127))
        constants["bias"] %= 2**17
        row = dsp_conv_row(plain, constants)
        assert row is not None
        shared = dsp_conv_shared(row)
        assert shared is not None and shared.arguments == (width, channels)
        assert shared.instructions >= row.instructions
        kernels.add(shared.name)
        data = int8(rng, 3, 20, 5)
        expected = expected_row(plain, data, constants)
        np.testing.assert_array_equal(run_c(shared, [data], constants), expected)
        in_halves = replace(shared, halves=True)
        assert in_halves.name != shared.name
        assert in_halves.instructions <= shared.instructions
        np.testing.assert_array_equal(run_c(in_halves, [data], constants), expected)
    assert len(kernels) == 1


def test_what_does_not_fit_a_shared_kernel_has_its_own() -> None:
    constants = plain_constants(5)
    row = dsp_conv_row(PLAIN, constants)
    assert row is not None and dsp_conv_shared(row) is None, "an odd number of channels"
    narrow = dsp_conv_row(replace(PLAIN, out_width=2), constants)
    assert narrow is not None and dsp_conv_shared(narrow) is None


PLAIN = ConvRow(12, 5, 4, 7, 3, 3, 2, 1, 1, 1, -7, -128, 127, "double", -9, -6)


def plain_constants(seed: int) -> dict[str, naive.Array]:
    rng = np.random.default_rng(seed)
    constants = channel_constants(rng, 7, (-9, -6), wide=False)
    constants["weight"] = np.maximum(int8(rng, 7, 3, 3, 5), np.int8(-127))
    constants["bias"] = rng.integers(-(2**17), 2**17, 7).astype(np.int32)
    return constants


def test_weights_are_joint_where_sums_are_small() -> None:
    constants = plain_constants(1)
    row = dsp_conv_row(PLAIN, constants)
    assert row is not None and row.joint
    constants["weight"][3, 1, 1, 0] = -128
    other = dsp_conv_row(PLAIN, constants)
    assert other is not None and not other.joint
    with pytest.raises(ValueError, match="-128"):
        row.pack(constants)


def test_wide_sums_keep_weights_apart() -> None:
    plain = replace(PLAIN, shift_min=-17, shift_max=-17)
    constants = plain_constants(4)
    constants["shift"][:], constants["multiplier"][:] = -17, 2**30
    # Where 32 becomes 33: any other sum as large would not depend on the input any more.
    constants["bias"][2] = 2**23 + 2**17
    row = dsp_conv_row(plain, constants)
    assert row is not None and not row.joint
    with pytest.raises(ValueError, match=r"2\*\*23"):
        replace(row, narrow=True).pack(constants)


def test_a_word_in_a_row_of_the_window_is_the_least() -> None:
    constants = plain_constants(2)
    constants["weight"] = constants["weight"][:, :, :1, :3]
    narrow = replace(PLAIN, in_channels=3, kernel_w=1)
    assert dsp_conv_row(narrow, constants) is None


def test_pixels_too_far_apart_for_one_pointer_have_no_micro_kernel() -> None:
    constants = plain_constants(3)
    constants["weight"] = np.ones((7, 1, 1, 2048), np.int8)
    wide = replace(PLAIN, in_channels=2048, kernel_h=1, kernel_w=1, stride_w=1)
    assert dsp_conv_row(wide, constants) is None


def test_names_tell_forms_apart() -> None:
    row = DspConvRow(PLAIN, narrow=True, joint=True)
    assert row.name.startswith("conv2d_dsp_3x3_s2_c5_o7_w4_")
    assert row.name.isidentifier()
    assert replace(row, joint=False).name != row.name
    assert row.macs == PLAIN.macs
