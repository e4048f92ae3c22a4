"""Tables, softmax, float boundaries and resizes by micro-kernel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import EXAMPLES_FACTOR
from tvm_patch.qnn.reference.softmax import softmax as litert_softmax
from tvm_patch.schedules import (
    DequantizeFlat,
    DspQuantizeFlat,
    LookupFlat,
    QuantizeFlat,
    ResizeNearestRow,
    SoftmaxRows,
    dsp_dequantize,
    dsp_lookup,
    dsp_quantize,
    dsp_resize_row,
    dsp_softmax,
    nearest_indices,
)

from . import naive
from .execution import run_c, run_description
from .test_dsp_pool import some_data
from .test_elementwise import AWKWARD

EXAMPLES = settings(max_examples=6 * EXAMPLES_FACTOR, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("length", [1, 7, 8, 17, 256])
@pytest.mark.parametrize("in_place", [False, True])
def test_functions_by_table(length: int, in_place: bool) -> None:
    rng = np.random.default_rng(length)
    data = rng.permutation(np.arange(-128, 128)).astype(np.int8)[:length]
    table = rng.permutation(256).astype(np.uint8).view(np.int8)
    expected = table[data.astype(int) + 128]
    kernel = dsp_lookup(LookupFlat(length))
    actual = run_c(kernel, [data], {"table": table}, in_place=in_place)
    np.testing.assert_array_equal(actual.reshape(-1), expected)
    described = run_description(kernel, [data], {"table": table})
    np.testing.assert_array_equal(described.reshape(-1), expected)


def rows_of(shape: tuple[int, int], scale: float) -> SoftmaxRows:
    """Softmax of inputs with a scale, its parameters as LiteRT's."""
    fraction, exponent = np.frexp(min(scale * 2**26, 2**31 - 1))
    multiplier = min(round(float(fraction) * 2**31), 2**31 - 1)
    diff_min = -((31 << 26) >> int(exponent))
    return SoftmaxRows(*shape, multiplier, int(exponent), diff_min)


@EXAMPLES
@given(
    rows=st.integers(1, 4),
    length=st.one_of(st.integers(1, 20), st.sampled_from([600, 1000, 4095])),
    scale=st.floats(-10, 3).map(lambda exponent: 2.0**exponent),
    spread=st.integers(0, 255),
    seed=SEEDS,
)
def test_softmax_equals_litert_arithmetic(
    rows: int, length: int, scale: float, spread: int, seed: int
) -> None:
    """Rows whose values differ by much or by nothing; sums up to all the bits there are."""
    plain = rows_of((rows, length), scale)
    rng = np.random.default_rng(seed)
    values = rng.integers(0, spread + 1, (rows, length)) - rng.integers(0, 256, (rows, 1))
    data = np.clip(values, -128, 127).astype(np.int8)
    expected = litert_softmax(data, plain.input_multiplier, plain.input_left_shift, plain.diff_min)
    kernel = dsp_softmax(plain)
    np.testing.assert_array_equal(run_c(kernel, [data], {}), expected)
    np.testing.assert_array_equal(run_description(kernel, [data], {}), expected)


@pytest.mark.parametrize("length", [1, 2, 512, 1024, 2048])
def test_softmax_of_equal_values(length: int) -> None:
    """Sums that are powers of two, and so many that no output is more than the least."""
    plain = rows_of((1, length), 0.1)
    data = np.full((1, length), -128, np.int8)
    expected = litert_softmax(data, plain.input_multiplier, plain.input_left_shift, plain.diff_min)
    np.testing.assert_array_equal(run_c(dsp_softmax(plain), [data], {}), expected)


def quantised(data: naive.Array, scale: float, zero_point: int) -> naive.Array:
    """LiteRT's QUANTIZE; infinities saturate."""
    with np.errstate(over="ignore"):
        quotient = (data / np.float32(scale)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(quotient) + 0.5), quotient)
    return np.clip(rounded + zero_point, -128, 127).astype(np.int8)


@EXAMPLES
@given(
    scale=st.floats(-20, 20).map(lambda exponent: float(np.float32(2.0**exponent))),
    zero_point=st.integers(-128, 127),
    length=st.integers(1, 9),
    seed=SEEDS,
)
def test_quantised_numbers_round_halves_away_and_saturate(
    scale: float, zero_point: int, length: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore"):
        noise = (rng.normal(0, 100, length) * scale).astype(np.float32)
        ties = ((rng.integers(-300, 300, 200) + 0.5) * scale).astype(np.float32)
        beside = np.nextafter(ties, rng.choice([-np.inf, np.inf], 200)).astype(np.float32)
        data = np.concatenate([AWKWARD * np.float32(scale), noise, ties, beside])
    kernel = dsp_quantize(QuantizeFlat(len(data), zero_point), scale)
    assert kernel is not None
    constants: dict[str, naive.Array] = {"scale": np.asarray(scale, np.float32)}
    expected = quantised(data, scale, zero_point)
    for in_place in (False, True):
        actual = run_c(kernel, [data], constants, in_place=in_place)
        np.testing.assert_array_equal(actual.view(np.int8).reshape(-1)[: len(data)], expected)
    described = run_description(kernel, [data], constants)
    np.testing.assert_array_equal(described.reshape(-1), expected)


def test_a_scale_that_cannot_be_halved_has_no_micro_kernel() -> None:
    plain = QuantizeFlat(4, 0)
    assert dsp_quantize(plain, 2.0**-126) is None
    assert isinstance(dsp_quantize(plain, 2.0**-125), DspQuantizeFlat)


@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_dequantised_numbers_are_exact(zero_point: int) -> None:
    data = np.arange(-128, 127).astype(np.int8)
    scale = np.float32(0.123456789)
    expected = scale * (data.astype(np.int32) - zero_point).astype(np.float32)
    kernel = dsp_dequantize(DequantizeFlat(len(data), zero_point))
    constants: dict[str, naive.Array] = {"scale": np.asarray(scale)}
    np.testing.assert_array_equal(run_c(kernel, [data], constants).reshape(-1), expected)
    np.testing.assert_array_equal(run_description(kernel, [data], constants).reshape(-1), expected)


@EXAMPLES
@given(
    widths=st.tuples(st.integers(1, 9), st.integers(1, 20)),
    channels=st.one_of(st.integers(1, 12), st.sampled_from([31, 33, 48])),
    convention=st.sampled_from([(False, False), (True, False), (False, True)]),
    seed=SEEDS,
)
def test_resized_rows_take_the_mapped_pixels(
    widths: tuple[int, int], channels: int, convention: tuple[bool, bool], seed: int
) -> None:
    corners, centers = convention
    plain = ResizeNearestRow(*widths, channels, corners, centers)
    columns = nearest_indices(*widths, align_corners=corners, half_pixel_centers=centers)
    data = some_data(seed, (widths[0], channels))
    kernel = dsp_resize_row(plain)
    np.testing.assert_array_equal(run_c(kernel, [data], {}), data[columns])
    np.testing.assert_array_equal(run_description(kernel, [data], {}), data[columns])
