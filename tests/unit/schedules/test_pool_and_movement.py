"""Pooling, mean and data movement kernels against numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.schedules import (
    AccumulateRow,
    AverageOfSum,
    AvgPoolPadded,
    CopyRow,
    Fill,
    MeanOfSum,
    MeanSpatial,
    PoolRow,
    ResizeNearestRow,
    StridedSlice,
    Transpose,
    nearest_indices,
    row_rule,
)

from . import naive
from .execution import run_c, run_llvm

EXAMPLES = settings(max_examples=15, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)


def divide_half_away(total: naive.Array, count: naive.Array | int) -> naive.Array:
    """LiteRT's average."""
    return np.sign(total) * ((np.abs(total) + count // 2) // count)


def expected_pool(kernel: PoolRow, data: naive.Array) -> naive.Array:
    """One pooled row."""
    window = (kernel.pool_h, kernel.pool_w)
    values = naive.windows(data, window, kernel.stride_w, (1, 1), kernel.out_width)
    if kernel.kind == "max":
        pooled = values.max(axis=(1, 2))
    else:
        pooled = divide_half_away(values.sum(axis=(1, 2)), window[0] * window[1])
    return np.clip(pooled, kernel.clamp_min, kernel.clamp_max).astype(np.int8)[None]


@EXAMPLES
@given(
    kind=st.sampled_from(["max", "avg"]),
    channels=st.integers(1, 6),
    width=st.integers(1, 6),
    window=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    clamp=st.sampled_from([(-128, 127), (-30, 60)]),
    seed=SEEDS,
)
def test_pooled_row_equals_numpy(
    kind: str,
    channels: int,
    width: int,
    window: tuple[int, int],
    stride: int,
    clamp: tuple[int, int],
    seed: int,
) -> None:
    pixels = (width - 1) * stride + window[1] + 1
    kernel = PoolRow(kind, pixels, channels, width, *window, stride, *clamp)
    rng = np.random.default_rng(seed)
    data = rng.integers(-128, 128, (window[0], pixels, channels)).astype(np.int8)
    np.testing.assert_array_equal(run_llvm(kernel, [data], {}), expected_pool(kernel, data))


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("window", [(2, 2), (3, 5), (8, 8), (1, 20)])
def test_pool_c_equals_numpy(kind: str, window: tuple[int, int]) -> None:
    kernel = PoolRow(kind, 26, 3, 4, *window, 2, -128, 127)
    rng = np.random.default_rng(9)
    data = rng.integers(-128, 128, (window[0], 26, 3)).astype(np.int8)
    np.testing.assert_array_equal(run_c(kernel, [data], {}), expected_pool(kernel, data))


def test_pool_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'max' or 'avg'"):
        PoolRow("median", 26, 3, 4, 2, 2, 2, -128, 127)


#: (H, W, C), window, strides, (top, left, bottom, right).
PADDED_POOLS = [
    ((7, 6, 3), (3, 3), (2, 1), (1, 1, 1, 1)),
    ((7, 6, 3), (3, 3), (1, 2), (0, 1, 2, 0)),
    ((3, 1, 1), (1, 2), (1, 1), (0, 1, 0, 1)),
    ((4, 2, 1), (1, 3), (1, 1), (0, 1, 0, 1)),
    ((2, 5, 2), (2, 1), (2, 3), (1, 0, 1, 0)),
]


@pytest.mark.parametrize("run", [run_llvm, run_c])
@pytest.mark.parametrize(("shape", "window", "strides", "padding"), PADDED_POOLS)
def test_padded_average_counts_valid_elements(run, shape, window, strides, padding) -> None:
    top, left, bottom, right = padding
    height, width, channels = shape
    out_h = (height + top + bottom - window[0]) // strides[0] + 1
    out_w = (width + left + right - window[1]) // strides[1] + 1
    kernel = AvgPoolPadded(*shape, out_h, out_w, *window, *strides, *padding, -100, 100)
    data = np.random.default_rng(10).integers(-128, 128, shape).astype(np.int8)
    expected = np.empty((out_h, out_w, channels), np.int8)
    for y, x in np.ndindex(out_h, out_w):
        first_row, first_column = y * strides[0] - top, x * strides[1] - left
        rows = slice(max(first_row, 0), first_row + window[0])
        columns = slice(max(first_column, 0), first_column + window[1])
        patch = data[rows, columns].astype(np.int64).reshape(-1, channels)
        expected[y, x] = np.clip(divide_half_away(patch.sum(axis=0), len(patch)), -100, 100)
    np.testing.assert_array_equal(run(kernel, [data], {}), expected)


@pytest.mark.parametrize("run", [run_llvm, run_c])
@pytest.mark.parametrize("shift", [-9, -6, 0])
@pytest.mark.parametrize("channels", [1, 6, 8])
def test_mean_equals_litert_arithmetic(run, shift: int, channels: int) -> None:
    multiplier = 2**31 // 49
    kernel = MeanSpatial(49, channels, -7, 11, multiplier, shift)
    data = np.random.default_rng(11).integers(-128, 128, (49, channels)).astype(np.int8)
    total = (data.astype(np.int64) + 7).sum(axis=0)
    expected = np.clip(naive.multiply(total, multiplier, shift) + 11, -128, 127).astype(np.int8)
    np.testing.assert_array_equal(run(kernel, [data], {}), expected)


@pytest.mark.parametrize("run", [run_llvm, run_c])
@pytest.mark.parametrize(("width", "channels"), [(1, 1), (5, 6), (7, 8), (300, 3)])
def test_a_row_is_added_to_the_sums_of_those_before(run, width: int, channels: int) -> None:
    rng = np.random.default_rng(14)
    data = rng.integers(-128, 128, (width, channels)).astype(np.int8)
    sums = rng.integers(-(10**6), 10**6, channels).astype(np.int32)
    expected = sums + data.sum(axis=0, dtype=np.int32)
    np.testing.assert_array_equal(run(AccumulateRow(width, channels), [data, sums], {}), expected)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("channels", [1, 6, 8])
def test_sums_are_finished_in_place_too(channels: int, in_place: bool) -> None:
    rng = np.random.default_rng(15)
    total = rng.integers(-128 * 49, 127 * 49 + 1, channels).astype(np.int32)

    def run(kernel: MeanOfSum | AverageOfSum) -> naive.Array:
        out = run_c(kernel, [total.copy()], {}, in_place=in_place)
        return out.view(np.int8)[:channels]

    multiplier, shift = 2**31 // 49, -1
    mean = naive.multiply(total.astype(np.int64) + 7 * 49, multiplier, shift) + 11
    expected = np.clip(mean, -128, 127).astype(np.int8)
    kernel = MeanOfSum(channels, 49, -7, 11, multiplier, shift)
    np.testing.assert_array_equal(run(kernel), expected)
    average = np.clip(divide_half_away(total.astype(np.int64), 49), -100, 90).astype(np.int8)
    np.testing.assert_array_equal(run(AverageOfSum(channels, 49, -100, 90)), average)


@pytest.mark.parametrize("run", [run_llvm, run_c])
def test_resized_row_takes_the_mapped_columns(run) -> None:
    kernel = ResizeNearestRow(5, 12, 3, align_corners=False, half_pixel_centers=True)
    data = np.random.default_rng(12).integers(-128, 128, (5, 3)).astype(np.int8)
    columns = nearest_indices(5, 12, align_corners=False, half_pixel_centers=True)
    np.testing.assert_array_equal(run(kernel, [data], {}), data[columns])


def test_nearest_indices_of_the_three_conventions() -> None:
    plain = nearest_indices(3, 6, align_corners=False, half_pixel_centers=False)
    corners = nearest_indices(3, 5, align_corners=True, half_pixel_centers=False)
    centers = nearest_indices(2, 3, align_corners=False, half_pixel_centers=True)
    assert plain.tolist() == [0, 0, 1, 1, 2, 2]
    assert corners.tolist() == [0, 1, 1, 2, 2]
    assert centers.tolist() == [0, 1, 1]


@EXAMPLES
@given(st.integers(1, 60), st.integers(1, 120), st.sampled_from([(0, 0), (1, 0), (0, 1)]))
def test_a_row_rule_gives_the_rows_that_it_was_made_from(
    in_size: int, out_size: int, convention: tuple[int, int]
) -> None:
    corners, centers = (bool(flag) for flag in convention)
    rows = nearest_indices(in_size, out_size, align_corners=corners, half_pixel_centers=centers)
    rule = row_rule(rows.tolist(), in_size)
    assert rule is not None
    y = np.arange(out_size, dtype=np.int32)
    products = y * np.int32(rule.multiplier) + np.int32(rule.offset)
    assert products.dtype == np.int32
    assert (products >= 0).all()
    np.testing.assert_array_equal(products >> rule.shift, rows)


def test_rows_that_float32_spaces_unevenly_follow_no_rule() -> None:
    rows = nearest_indices(200, 24, align_corners=False, half_pixel_centers=False)
    assert row_rule(rows.tolist(), 200) is None
    # Row 15 is 125 exactly, but less in float32; row 3 is 25.
    assert (rows[3], rows[15]) == (25, 124)


@pytest.mark.parametrize("run", [run_llvm, run_c])
def test_copied_transposed_and_sliced_data(run) -> None:
    data = np.random.default_rng(13).integers(-128, 128, (2, 5, 6)).astype(np.int8)
    transposed = run(Transpose((2, 5, 6), (2, 0, 1)), [data], {})
    np.testing.assert_array_equal(transposed, data.transpose(2, 0, 1))
    sliced = run(StridedSlice((2, 5, 6), (0, 1, 5), (2, 5, 6), (1, 2, 1)), [data], {})
    np.testing.assert_array_equal(sliced, data[:, 1:5:2, 5:6])
    filled = run(Fill(9, -5), [], {})
    np.testing.assert_array_equal(filled, np.full(9, -5, np.int8))
    whole = run(CopyRow(10, 6, 6, 6), [data], {})
    np.testing.assert_array_equal(whole.reshape(-1), data.reshape(-1))


def test_strided_copy_leaves_the_gaps_alone() -> None:
    data = np.random.default_rng(14).integers(-128, 77, (4, 5)).astype(np.int8)
    for run in (run_llvm, run_c):
        out = run(CopyRow(4, 3, 5, 7), [data], {})
        np.testing.assert_array_equal(out[:, :3], data[:, :3])
        assert (out[:, 3:] == 77).all()


def test_names_tell_kernels_apart() -> None:
    kernel = PoolRow("max", 26, 3, 4, 2, 2, 2, -128, 127)
    names = {
        kernel.name,
        replace(kernel, in_row_pixels=30).name,
        replace(kernel, kind="avg").name,
        Fill(9, -5).name,
        Fill(9, 5).name,
        CopyRow(4, 3, 5, 7).name,
        CopyRow(4, 3, 7, 5).name,
    }
    assert len(names) == 7
    assert all(name.isidentifier() for name in names)
