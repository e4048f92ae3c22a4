"""Elementwise, boundary and softmax kernels against naive arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.schedules import (
    AddFlat,
    DequantizeFlat,
    LookupFlat,
    MulFlat,
    QuantizeFlat,
    SoftmaxRows,
)

from . import naive
from .execution import run_c, run_llvm

EXAMPLES = settings(max_examples=15, deadline=None, derandomize=True)
ZERO_POINTS = st.integers(-128, 127)
MULTIPLIERS = st.one_of(st.integers(2**30, 2**31 - 1), st.sampled_from([2**30, 2**31 - 1]))
SEEDS = st.integers(0, 2**32 - 1)
#: (length, rhs_length): same shape, per channel, one value.
LENGTHS = st.sampled_from([(24, 24), (7, 7), (24, 6), (15, 5), (13, 1), (1, 1)])
CLAMPS = st.sampled_from([(-128, 127), (-20, 90), (3, 3)])

ADDITION = AddFlat(
    24, 24, 4, -3, -5, 20, 2**30, 0, 1500000000, -1, 1600000000, -18, -128, 127
)  # fmt: skip
PRODUCT = MulFlat(24, 24, 1, -2, 3, 1500000000, -7, -128, 127)


def operands(seed: int, kernel: AddFlat | MulFlat) -> list[naive.Array]:
    """Random operands with the extremes among them."""
    rng = np.random.default_rng(seed)
    result: list[naive.Array] = []
    for length in (kernel.length, kernel.rhs_length):
        values = rng.integers(-128, 128, length).astype(np.int8)
        values[rng.integers(length)] = rng.choice([-128, 127])
        result.append(values)
    return result


def expected_sum(kernel: AddFlat, lhs: naive.Array, rhs: naive.Array) -> naive.Array:
    """LiteRT's ADD and SUB."""
    rhs = np.resize(rhs, lhs.shape)
    left = (lhs.astype(np.int64) - kernel.lhs_zero_point) << kernel.left_shift
    right = (rhs.astype(np.int64) - kernel.rhs_zero_point) << kernel.left_shift
    left = naive.multiply(left, kernel.lhs_multiplier, kernel.lhs_shift)
    right = naive.multiply(right, kernel.rhs_multiplier, kernel.rhs_shift)
    total = left - right if kernel.subtract else left + right
    scaled = naive.multiply(total, kernel.output_multiplier, kernel.output_shift)
    shifted = scaled + kernel.output_zero_point
    return np.clip(shifted, kernel.clamp_min, kernel.clamp_max).astype(np.int8)


@EXAMPLES
@given(
    lengths=LENGTHS,
    zero_points=st.tuples(ZERO_POINTS, ZERO_POINTS, ZERO_POINTS),
    lhs=st.tuples(MULTIPLIERS, st.integers(-8, 0)),
    rhs=st.tuples(MULTIPLIERS, st.integers(-8, 0)),
    output=st.tuples(MULTIPLIERS, st.integers(-24, -12)),
    clamp=CLAMPS,
    subtract=st.booleans(),
    seed=SEEDS,
)
def test_sum_equals_litert_arithmetic(
    lengths: tuple[int, int],
    zero_points: tuple[int, int, int],
    lhs: tuple[int, int],
    rhs: tuple[int, int],
    output: tuple[int, int],
    clamp: tuple[int, int],
    subtract: bool,
    seed: int,
) -> None:
    kernel = AddFlat(*lengths, *zero_points, 20, *lhs, *rhs, *output, *clamp, subtract)
    data = operands(seed, kernel)
    np.testing.assert_array_equal(
        run_llvm(kernel, list(data), {}).reshape(-1), expected_sum(kernel, *data)
    )


@EXAMPLES
@given(
    lengths=LENGTHS,
    zero_points=st.tuples(ZERO_POINTS, ZERO_POINTS, ZERO_POINTS),
    multiplier=MULTIPLIERS,
    shift=st.integers(-16, 3),
    clamp=CLAMPS,
    seed=SEEDS,
)
def test_product_equals_litert_arithmetic(
    lengths: tuple[int, int],
    zero_points: tuple[int, int, int],
    multiplier: int,
    shift: int,
    clamp: tuple[int, int],
    seed: int,
) -> None:
    kernel = MulFlat(*lengths, *zero_points, multiplier, shift, *clamp)
    lhs, rhs = operands(seed, kernel)
    left = lhs.astype(np.int64) - kernel.lhs_zero_point
    right = np.resize(rhs, lhs.shape).astype(np.int64) - kernel.rhs_zero_point
    scaled = naive.multiply(left * right, multiplier, shift) + kernel.output_zero_point
    expected = np.clip(scaled, *clamp).astype(np.int8)
    np.testing.assert_array_equal(run_llvm(kernel, [lhs, rhs], {}).reshape(-1), expected)


@pytest.mark.parametrize("in_place", [False, True])
def test_elementwise_c_may_run_in_place(in_place: bool) -> None:
    lhs, rhs = operands(5, ADDITION)
    expected = expected_sum(ADDITION, lhs, rhs)
    actual = run_c(ADDITION, [lhs, rhs], {}, in_place=in_place)
    np.testing.assert_array_equal(actual.reshape(-1), expected)
    product = run_c(PRODUCT, [lhs, rhs], {}, in_place=in_place)
    np.testing.assert_array_equal(product, run_llvm(PRODUCT, [lhs, rhs], {}))


def test_lookup_c_may_run_in_place() -> None:
    rng = np.random.default_rng(6)
    data = rng.permutation(np.arange(-128, 128)).astype(np.int8)
    table = rng.permutation(256).astype(np.uint8).view(np.int8)
    expected = table[data.astype(int) + 128]
    kernel = LookupFlat(256)
    for in_place in (False, True):
        actual = run_c(kernel, [data], {"table": table}, in_place=in_place)
        np.testing.assert_array_equal(actual.reshape(-1), expected)


def test_operand_that_does_not_repeat_evenly_is_refused() -> None:
    with pytest.raises(ValueError, match="repeat evenly"):
        MulFlat(24, 7, 1, -2, 3, 1500000000, -7, -128, 127)


#: Halves of both signs, neighbours of halves, and values far beyond int8 and int32.
AWKWARD = np.array(
    [
        *(0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.49999997, -0.49999997, 0.0, -0.0),
        *(126.5, 127.5, -127.5, -128.5, 255.5, -255.5, 300.0, -300.0),
        *(1e9, -1e9, 3e38, -3e38, np.inf, -np.inf),
    ],
    np.float32,
)


@pytest.mark.parametrize("zero_point", [0, -128, 127, 3])
@pytest.mark.parametrize("scale", [1.0, 0.0078125, 0.123456789, 3.7])
@pytest.mark.parametrize("run", [run_llvm, run_c])
def test_quantize_rounds_halves_away_and_saturates(run, scale: float, zero_point: int) -> None:
    rng = np.random.default_rng(7)
    noise = rng.normal(0, 100, 40).astype(np.float32)
    with np.errstate(over="ignore"):
        data = np.concatenate([AWKWARD, noise]) * np.float32(scale)
        quotient = (data / np.float32(scale)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(quotient) + 0.5), quotient)
    expected = np.clip(rounded + zero_point, -128, 127).astype(np.int8)
    kernel = QuantizeFlat(len(data), zero_point)
    actual = run(kernel, [data], {"scale": np.float32(scale)})
    np.testing.assert_array_equal(actual.reshape(-1), expected)


@pytest.mark.parametrize("zero_point", [-128, 5])
@pytest.mark.parametrize("run", [run_llvm, run_c])
def test_dequantize_is_exact_in_float32(run, zero_point: int) -> None:
    data = np.arange(-128, 128).astype(np.int8)
    scale = np.float32(0.123456789)
    expected = scale * (data.astype(np.int32) - zero_point).astype(np.float32)
    actual = run(DequantizeFlat(256, zero_point), [data], {"scale": scale})
    np.testing.assert_array_equal(actual.reshape(-1), expected)


@pytest.mark.parametrize("shape", [(1, 2), (3, 10), (1, 1000)])
@pytest.mark.parametrize("scale", [0.003, 0.08, 1.3])
def test_softmax_c_equals_host_build_and_approximates_softmax(
    shape: tuple[int, int], scale: float
) -> None:
    fraction, exponent = np.frexp(scale * 2**26)
    multiplier = round(float(fraction) * 2**31)
    diff_min = -((31 << 26) >> int(exponent))
    kernel = SoftmaxRows(*shape, multiplier, int(exponent), diff_min)
    data = np.random.default_rng(8).integers(-128, 128, shape).astype(np.int8)
    actual = run_llvm(kernel, [data], {})
    np.testing.assert_array_equal(run_c(kernel, [data], {}), actual)
    logits = np.exp((data - data.max(axis=1, keepdims=True).astype(float)) * scale)
    ideal = np.clip(np.round(256 * logits / logits.sum(axis=1, keepdims=True)) - 128, -128, 127)
    assert np.abs(actual - ideal).max() <= 1
