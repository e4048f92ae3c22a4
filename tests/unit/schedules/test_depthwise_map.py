"""Depthwise convolution of whole small maps against naive arithmetic on a padded map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tvm_patch.schedules import DepthwiseMap, WindowAxis, dsp_depthwise_map

from . import naive
from .execution import c_source, run_c, run_description, run_llvm
from .test_windowed import (
    CLAMPS,
    EXAMPLES,
    ROUNDINGS,
    SEEDS,
    SHIFTS,
    ZERO_POINTS,
    channel_constants,
    int8,
    weights,
)


def random_arguments(
    kernel: DepthwiseMap, seed: int, *, wide: bool = False
) -> tuple[naive.Array, dict[str, naive.Array]]:
    """A map and constants."""
    rng = np.random.default_rng(seed)
    shifts = (kernel.shift_min, kernel.shift_max)
    constants = channel_constants(rng, kernel.out_channels, shifts, wide=wide)
    shape = (kernel.kernel_h, kernel.kernel_w, kernel.out_channels)
    constants["weight"] = weights(rng, shifts, *shape)
    return int8(rng, kernel.in_height, kernel.in_width, kernel.in_channels), constants


def expected_output(
    kernel: DepthwiseMap, data: naive.Array, constants: dict[str, naive.Array]
) -> naive.Array:
    """Pad with the zero point, then row by row."""
    top, left, bottom, right = kernel.padding
    widths = ((top, bottom), (left, right), (0, 0))
    padded = np.pad(data, widths, constant_values=kernel.input_zero_point)
    window = (kernel.kernel_h, kernel.kernel_w)
    rows = []
    for y in range(kernel.rows.outputs):
        below = padded[y * kernel.strides[0] :]
        taps = naive.windows(
            below, window, kernel.strides[1], kernel.dilation, kernel.columns.outputs
        )
        taps = np.repeat(taps, kernel.depth_multiplier, -1)
        rows.append((taps * constants["weight"].astype(np.int64)).sum(axis=(1, 2)))
    return naive.requantise(np.stack(rows), constants, kernel)


PAIRS = st.tuples(st.integers(1, 5), st.integers(1, 5))


@EXAMPLES
@given(
    size=PAIRS,
    channels=st.integers(1, 5),
    depth_multiplier=st.integers(1, 3),
    window=PAIRS,
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 4)] * 4),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    zero_points=st.tuples(ZERO_POINTS, ZERO_POINTS),
    clamp=CLAMPS,
    rounding=ROUNDINGS,
    shifts=SHIFTS,
    wide=st.booleans(),
    seed=SEEDS,
)
def test_map_equals_naive_sum_over_a_padded_map(
    size: tuple[int, int],
    channels: int,
    depth_multiplier: int,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    zero_points: tuple[int, int],
    clamp: tuple[int, int],
    rounding: str,
    shifts: tuple[int, int],
    wide: bool,
    seed: int,
) -> None:
    kernel = DepthwiseMap(
        *size, channels, depth_multiplier, *window, strides, padding, dilation,
        *zero_points, *clamp, rounding, *shifts, small_accumulator=not wide,
    )  # fmt: skip
    assume(kernel.rows.outputs > 0 and kernel.columns.outputs > 0)
    assume(kernel.macs > 0)
    data, constants = random_arguments(kernel, seed, wide=wide)
    expected = expected_output(kernel, data, constants)
    np.testing.assert_array_equal(run_llvm(kernel, [data], constants), expected)
    quick = dsp_depthwise_map(kernel, constants)
    if quick is not None:
        np.testing.assert_array_equal(run_description(quick, [data], constants), expected)


SAME = DepthwiseMap(
    4, 4, 6, 1, 7, 7, (1, 1), (3, 3, 3, 3), (1, 1), -7, 4, -128, 127, "double", -9, -6
)
HALVED = replace(SAME, strides=(2, 2))
TINY = replace(SAME, in_height=2, in_width=2)
SAMPLES = [
    SAME,
    HALVED,
    TINY,
    replace(TINY, in_height=1, in_width=1, in_channels=1),
    replace(SAME, kernel_h=3, in_width=5, padding=(1, 3, 1, 3), depth_multiplier=2),
    replace(HALVED, dilation=(2, 1), padding=(6, 2, 6, 3), input_zero_point=127),
    replace(TINY, kernel_h=2, kernel_w=2, padding=(2, 2, 2, 2), input_zero_point=-128),
    replace(TINY, shift_min=-7, shift_max=-7),
    replace(TINY, shift_min=-2, shift_max=2),
    replace(TINY, rounding="single", clamp_min=5, clamp_max=5),
    replace(TINY, small_accumulator=False),
]


@pytest.mark.parametrize("kernel", SAMPLES, ids=lambda kernel: kernel.name)
def test_printed_c_equals_naive_sum(kernel: DepthwiseMap) -> None:
    data, constants = random_arguments(kernel, 1)
    expected = expected_output(kernel, data, constants)
    np.testing.assert_array_equal(run_c(kernel, [data], constants), expected)


RECTIFIED = replace(SAME, output_zero_point=-128)


@pytest.mark.parametrize(
    "kernel",
    [
        *(kernel for kernel in SAMPLES if kernel.shift_max < 0 and kernel.small_accumulator),
        RECTIFIED,
        replace(RECTIFIED, shift_min=-8, shift_max=-8, depth_multiplier=2, clamp_max=90),
        replace(TINY, clamp_min=-20, clamp_max=100),
    ],
    ids=lambda kernel: kernel.name,
)
@pytest.mark.parametrize("narrow", [False, True])
def test_scaling_by_instructions_equals_naive_sum(kernel: DepthwiseMap, narrow: bool) -> None:
    data, constants = random_arguments(kernel, 1)
    if narrow:
        constants["bias"] %= 2**20
    quick = dsp_depthwise_map(kernel, constants)
    if quick is None:
        # One rounding has a fast form for narrow sums alone.
        assert kernel.rounding == "single" and not narrow
        return
    assert quick.macs == kernel.macs
    assert "tvmp_scale_alone(" in c_source(quick)
    expected = expected_output(kernel, data, constants)
    np.testing.assert_array_equal(run_description(quick, [data], constants), expected)
    np.testing.assert_array_equal(run_c(quick, [data], constants), expected)


def test_maps_that_differ_in_constants_alone_share_a_function() -> None:
    _, constants = random_arguments(SAME, 1)
    _, others = random_arguments(SAME, 2)
    kernels = [
        dsp_depthwise_map(plain, values)
        for plain, values in (
            (SAME, constants),
            (SAME, others),
            (replace(SAME, output_zero_point=9), others),
            (replace(SAME, clamp_max=9), others),
        )
    ]
    first, second, third, fourth = (kernel.name for kernel in kernels if kernel is not None)
    assert first == second == third != fourth
    assert first.isidentifier() and first.startswith("depthwise_dsp_map_7x7_c6_h4_w4_")


def test_scales_without_a_fast_form_leave_the_map_as_it_is() -> None:
    kernel = replace(TINY, shift_min=-2, shift_max=2)
    _, constants = random_arguments(kernel, 1)
    constants["shift"][:] = [2, 1, 0, -1, -2, 2]
    constants["weight"][...] = 1
    constants["bias"][:] = 0
    assert dsp_depthwise_map(kernel, constants) is None


@pytest.mark.parametrize("kernel", SAMPLES, ids=lambda kernel: kernel.name)
def test_c_spells_out_the_taps_inside_and_no_condition(kernel: DepthwiseMap) -> None:
    body = c_source(kernel)
    assert body.count("(int32_t)weight[") * kernel.out_channels == kernel.macs
    assert "if (" not in body
    assert "&&" not in body
    assert body.count("for (") <= 1


def test_only_taps_that_are_ever_inside_are_kept() -> None:
    data, constants = random_arguments(TINY, 2)
    assert data.shape == (2, 2, 6)
    constants["bias"][...] = 0  # no channel is constant, so all keep their weights
    packed = TINY.pack(constants)["weight"]
    assert packed.shape == (6, 3, 3)
    np.testing.assert_array_equal(packed, constants["weight"][2:5, 2:5].transpose(2, 0, 1))


def test_macs_count_taps_inside() -> None:
    assert SAME.macs == 16 * 16 * 6
    assert TINY.macs == 16 * 6
    assert replace(SAME, kernel_h=3, kernel_w=3, padding=(1, 1, 1, 1)).macs == 100 * 6


def test_window_that_sees_padding_at_the_ends_only() -> None:
    axis = WindowAxis(size=4, kernel=3, stride=1, dilation=1, before=1, after=1)
    assert (axis.outputs, axis.valid_taps, axis.used) == (4, 10, range(3))
    beyond = WindowAxis(size=2, kernel=7, stride=1, dilation=1, before=3, after=3)
    assert (beyond.outputs, beyond.valid_taps, beyond.used) == (2, 4, range(2, 5))


def test_biases_at_the_limit_belong_to_constant_channels_and_are_settled() -> None:
    kernel = replace(TINY, small_accumulator=False, input_zero_point=1)
    _, constants = random_arguments(kernel, 3)
    constants["weight"][...] = 0
    constants["weight"][0, 0] = 1
    constants["multiplier"][...] = 2**30
    for bias in (2**31 - 2, 2**31 - 1):
        constants["bias"][...] = bias
        packed = kernel.pack(constants)
        assert np.abs(packed["channels"][:, 0].astype(np.int64)).max() < 2**30
        assert not packed["weight"].any()


def test_names_follow_from_the_parameters() -> None:
    assert SAME.name.startswith("depthwise_map_7x7_c6_h4_w4_")
    assert replace(SAME).name == SAME.name
    assert replace(SAME, padding=(3, 3, 3, 2)).name != SAME.name
    assert SAME.name.isidentifier()
