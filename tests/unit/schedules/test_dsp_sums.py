"""Means and global pools by micro-kernel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import EXAMPLES_FACTOR
from tvm_patch.schedules import (
    AccumulateRow,
    AverageOfSum,
    DspAccumulateRow,
    DspMean,
    MeanOfSum,
    MeanSpatial,
    dsp_average_objection,
    dsp_average_of_sum,
)

from . import naive
from .execution import run_c, run_description
from .test_dsp_pool import some_data
from .test_pool_and_movement import divide_half_away

EXAMPLES = settings(max_examples=6 * EXAMPLES_FACTOR, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
ZERO_POINTS = st.one_of(st.sampled_from([-128, 127]), st.integers(-128, 127))
MULTIPLIERS = st.one_of(st.sampled_from([2**30, 2**31 - 1]), st.integers(2**30, 2**31 - 1))


@EXAMPLES
@given(
    width=st.one_of(st.integers(1, 20), st.sampled_from([255, 256, 257, 520])),
    channels=st.integers(1, 21),
    in_place=st.booleans(),
    seed=SEEDS,
)
def test_a_row_is_added_to_the_sums_of_those_before(
    width: int, channels: int, in_place: bool, seed: int
) -> None:
    data = some_data(seed, (width, channels))
    sums = np.random.default_rng(seed).integers(-(2**30), 2**30, channels).astype(np.int32)
    expected = sums + data.sum(axis=0, dtype=np.int32)
    kernel = DspAccumulateRow(AccumulateRow(width, channels))
    np.testing.assert_array_equal(run_c(kernel, [data, sums], {}), expected)
    np.testing.assert_array_equal(run_description(kernel, [data, sums], {}), expected)


def expected_mean(plain: MeanSpatial | MeanOfSum, total: naive.Array) -> naive.Array:
    """LiteRT's MEAN of plain sums."""
    acc = total.astype(np.int64) - plain.pixels * plain.input_zero_point
    scaled = naive.multiply(acc, plain.multiplier, plain.shift) + plain.output_zero_point
    return np.clip(scaled, -128, 127).astype(np.int8)


@EXAMPLES
@given(
    pixels=st.one_of(st.integers(1, 30), st.sampled_from([256, 300])),
    channels=st.integers(1, 13),
    zero_points=st.tuples(ZERO_POINTS, ZERO_POINTS),
    multiplier=MULTIPLIERS,
    shift=st.integers(-24, 3),
    seed=SEEDS,
)
def test_means_equal_litert_arithmetic(
    pixels: int,
    channels: int,
    zero_points: tuple[int, int],
    multiplier: int,
    shift: int,
    seed: int,
) -> None:
    data = some_data(seed, (pixels, channels))
    total = data.sum(axis=0, dtype=np.int32)
    numbers = (*zero_points, multiplier, shift)
    whole = DspMean(MeanSpatial(pixels, channels, *numbers))
    expected = expected_mean(whole.plain, total)
    np.testing.assert_array_equal(run_c(whole, [data], {}), expected)
    np.testing.assert_array_equal(run_description(whole, [data], {}), expected)
    finishing = DspMean(MeanOfSum(channels, pixels, *numbers))
    np.testing.assert_array_equal(run_c(finishing, [total], {}), expected)
    in_place = run_c(finishing, [total.copy()], {}, in_place=True).view(np.int8)[:channels]
    np.testing.assert_array_equal(in_place, expected)


def test_means_round_ties_away_from_zero() -> None:
    """Sums of both signs at a scale of one half, a quarter, ..."""
    total = np.arange(-1000, 1001).astype(np.int32)
    for shift in (-1, -2, -5):
        kernel = DspMean(MeanOfSum(len(total), 9, 0, 3, 2**30, shift))
        expected = expected_mean(kernel.plain, total)
        np.testing.assert_array_equal(run_c(kernel, [total], {}), expected)


@pytest.mark.parametrize("pixels", [3, 4, 49, 4095])
def test_averages_of_all_sums(pixels: int) -> None:
    """All ties among them; of many pixels the neighbourhoods of ties."""
    total = np.arange(-128 * pixels, 127 * pixels + 1)
    if pixels > 200:
        near = np.arange(-3, 4)[:, None] + np.arange(-255, 256) * pixels // 2
        total = np.unique(np.clip(near, total[0], total[-1]))
    total = total.astype(np.int32)
    plain = AverageOfSum(len(total), pixels, -128, 127)
    kernel = dsp_average_of_sum(plain)
    assert kernel is not None
    expected = divide_half_away(total.astype(np.int64), pixels)
    np.testing.assert_array_equal(run_c(kernel, [total], {}), expected)


@EXAMPLES
@given(
    pixels=st.integers(3, 4095),
    channels=st.integers(1, 40),
    clamp=st.sampled_from([(-128, 127), (-100, 90), (0, 0)]),
    in_place=st.booleans(),
    seed=SEEDS,
)
def test_averages_are_clamped_and_may_be_in_place(
    pixels: int, channels: int, clamp: tuple[int, int], in_place: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    total = rng.integers(-128 * pixels, 127 * pixels + 1, channels).astype(np.int32)
    kernel = dsp_average_of_sum(AverageOfSum(channels, pixels, *clamp))
    assert kernel is not None
    expected = np.clip(divide_half_away(total.astype(np.int64), pixels), *clamp)
    np.testing.assert_array_equal(run_description(kernel, [total], {}), expected)
    result = run_c(kernel, [total.copy()], {}, in_place=in_place)
    np.testing.assert_array_equal(result.view(np.int8)[:channels], expected)


def test_divisors_that_have_no_product() -> None:
    for pixels in (1, 2, 4096):
        plain = AverageOfSum(8, pixels, -128, 127)
        assert dsp_average_of_sum(plain) is None
        assert str(pixels) in str(dsp_average_objection(plain))


def test_names_tell_kernels_apart() -> None:
    mean = MeanSpatial(49, 8, 0, 3, 2**30, -6)
    names = {
        DspMean(mean).name,
        DspMean(MeanSpatial(48, 8, 0, 3, 2**30, -6)).name,
        DspMean(MeanSpatial(49, 8, 1, 3, 2**30, -6)).name,
        DspMean(MeanOfSum(8, 49, 0, 3, 2**30, -6)).name,
        DspAccumulateRow(AccumulateRow(7, 8)).name,
        DspAccumulateRow(AccumulateRow(8, 8)).name,
        *(kernel.name for n in (3, 4) if (kernel := dsp_average_of_sum(AverageOfSum(8, n, 0, 9)))),
    }
    assert len(names) == 8
    assert all(name.isidentifier() for name in names)
