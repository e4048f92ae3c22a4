"""Pools by micro-kernel: the integers of LiteRT, whatever the window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import EXAMPLES_FACTOR
from tvm_patch.schedules import (
    AvgPoolPadded,
    DspAvgPoolPadded,
    DspPoolRow,
    PoolRow,
    dsp_avg_pool_padded,
    dsp_pool_objection,
    dsp_pool_row,
)

from . import naive
from .execution import run_c, run_description, run_llvm
from .test_pool_and_movement import expected_pool

EXAMPLES = settings(max_examples=6 * EXAMPLES_FACTOR, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
CLAMPS = st.sampled_from([(-128, 127), (-30, 60), (0, 127), (-128, -1), (5, 5)])


def micro_kernel(plain: PoolRow) -> DspPoolRow:
    kernel = dsp_pool_row(plain)
    assert kernel is not None
    return kernel


def some_data(seed: int, shape: tuple[int, ...]) -> naive.Array:
    """Any bytes, or none but the extremes."""
    rng = np.random.default_rng(seed)
    if seed % 4 == 0:
        return rng.choice([-128, 127], shape).astype(np.int8)
    if seed % 4 == 1:
        return np.full(shape, rng.choice([-128, 127]), np.int8)
    return rng.integers(-128, 128, shape).astype(np.int8)


@EXAMPLES
@given(
    kind=st.sampled_from(["max", "avg"]),
    channels=st.integers(4, 13),
    width=st.integers(1, 6),
    window=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    stride=st.integers(1, 5),
    beyond=st.integers(0, 2),
    clamp=CLAMPS,
    seed=SEEDS,
)
def test_rows_equal_numpy(
    kind: str,
    channels: int,
    width: int,
    window: tuple[int, int],
    stride: int,
    beyond: int,
    clamp: tuple[int, int],
    seed: int,
) -> None:
    pixels = (width - 1) * stride + window[1] + beyond
    kernel = micro_kernel(PoolRow(kind, pixels, channels, width, *window, stride, *clamp))
    data = some_data(seed, (window[0], pixels, channels))
    expected = expected_pool(kernel.plain, data)
    np.testing.assert_array_equal(run_c(kernel, [data], {}), expected)
    np.testing.assert_array_equal(run_description(kernel, [data], {}), expected)


@pytest.mark.parametrize("count", [1, 2, 4, 9, 256])
def test_averages_of_all_sums(count: int) -> None:
    """Every sum that so many int8 have, ties of both signs among them."""
    totals = np.arange(-128 * count, 127 * count + 1)
    totals = totals[: len(totals) // 4 * 4]
    share, rest = np.divmod(totals, count)
    data = share + (np.arange(count)[:, None] < rest)
    data = data.astype(np.int8).reshape(1, count, -1)
    plain = PoolRow("avg", count, data.shape[2], 1, 1, count, 1, -128, 127)
    assert not dsp_pool_objection(plain)
    result = run_c(DspPoolRow(plain), [data], {})
    np.testing.assert_array_equal(result, expected_pool(plain, data))


@EXAMPLES
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(4, 11)),
    window=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 4)] * 4),
    clamp=CLAMPS,
    seed=SEEDS,
)
def test_padded_averages_equal_the_plain_kernel(
    shape: tuple[int, int, int],
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: tuple[int, int, int, int],
    clamp: tuple[int, int],
    seed: int,
) -> None:
    """Which is compared with numpy elsewhere; each window has an element in the map."""
    top, left, bottom, right = (min(pad, window[i % 2] - 1) for i, pad in enumerate(padding))
    out_h = (shape[0] + top + bottom - window[0]) // strides[0] + 1
    out_w = (shape[1] + left + right - window[1]) // strides[1] + 1
    if out_h < 1 or out_w < 1:
        return
    plain = AvgPoolPadded(
        *shape, out_h, out_w, *window, *strides, top, left, bottom, right, *clamp
    )  # fmt: skip
    kernel = dsp_avg_pool_padded(plain)
    assert kernel is not None
    data = some_data(seed, shape)
    expected = run_llvm(plain, [data], {})
    np.testing.assert_array_equal(run_c(kernel, [data], {}), expected)
    np.testing.assert_array_equal(run_description(kernel, [data], {}), expected)


def test_what_has_no_micro_kernel() -> None:
    plain = PoolRow("avg", 26, 8, 4, 2, 2, 2, -128, 127)
    assert dsp_pool_row(replace(plain, channels=3)) is None
    assert dsp_pool_row(replace(plain, kind="max", channels=3)) is None
    assert dsp_pool_row(replace(plain, pool_h=16, pool_w=16)) is not None
    wide = replace(plain, pool_h=16, pool_w=17)
    assert dsp_pool_row(wide) is None
    assert "halfword" in str(dsp_pool_objection(wide))
    assert dsp_pool_row(replace(wide, kind="max")) is not None
    padded = AvgPoolPadded(20, 20, 8, 4, 5, 16, 17, 1, 1, 0, 1, 0, 1, -128, 127)
    assert dsp_avg_pool_padded(padded) is None
    assert dsp_avg_pool_padded(replace(padded, pool_w=16, channels=2)) is None


def test_names_tell_numbers_apart() -> None:
    kernel = micro_kernel(PoolRow("max", 26, 8, 4, 2, 2, 2, -128, 127))
    padded = DspAvgPoolPadded(AvgPoolPadded(9, 9, 8, 9, 9, 3, 3, 1, 1, 1, 1, 1, 1, -128, 127))
    names = {
        kernel.name,
        micro_kernel(replace(kernel.plain, in_row_pixels=30)).name,
        micro_kernel(replace(kernel.plain, clamp_min=0)).name,
        micro_kernel(replace(kernel.plain, kind="avg")).name,
        padded.name,
        replace(padded, plain=replace(padded.plain, pad_top=2)).name,
    }
    assert len(names) == 6
    assert all(name.isidentifier() for name in names)
