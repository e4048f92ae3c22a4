"""Fixed-point arithmetic of LiteRT's reference kernels, exactly.

A real factor is held as ``multiplier * 2**(shift - 31)``: a Q31 multiplier in [2**30, 2**31) and
an exponent (positive: left). Array functions take and return int64 arrays whose values lie in the
int32 range, so that nothing overflows on the way; where the C code would wrap, they wrap.

Sources: TensorFlow Lite ``kernels/internal/common.h`` and ``quantization_util.cc``, gemmlowp
``fixedpoint.h``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

INT8_MIN, INT8_MAX = -128, 127
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
#: Headroom of the int8 ADD and SUB kernels.
ADD_LEFT_SHIFT = 20
#: Integer bits of the softmax kernel's scaled differences (Q5.26).
SOFTMAX_INTEGER_BITS = 5

Activation = Literal["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]
_ACTIVATION_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def round_half_away(value: float) -> int:
    """Round to the nearest integer, halves away from zero (C's ``round``)."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def quantize_multiplier(real_multiplier: float) -> tuple[int, int]:
    """Split a real factor into a Q31 multiplier and an exponent.

    Parameters
    ----------
    real_multiplier : float
        Not negative; computed in double as the kernel at hand does.

    Returns
    -------
    tuple of int
        ``(multiplier, shift)``; (0, 0) for zero and for factors below about 2**-32.
    """
    if real_multiplier == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real_multiplier)
    # fraction * 2**31 is below 2**31 in magnitude, so adding a half is exact in double.
    multiplier = round_half_away(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def quantize_multiplier_smaller_than_one(real_multiplier: float) -> tuple[int, int]:
    """As :func:`quantize_multiplier`, for factors that the kernel requires to lie in (0, 1).

    Raises
    ------
    ValueError
        If the factor is not in the open interval.
    """
    if not 0.0 < real_multiplier < 1.0:
        raise ValueError(f"factor {real_multiplier} is not between 0 and 1")
    return quantize_multiplier(real_multiplier)


def wrap_int32(values: Any) -> IntArray:
    """Reduce to the int32 range modulo 2**32, as 32-bit registers do."""
    wide = np.asarray(values, dtype=np.int64)
    wrapped: IntArray = ((wide + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
    return wrapped


def saturating_rounding_doubling_high_mul(lhs: Any, rhs: Any) -> IntArray:
    """High 32 bits of ``2 * lhs * rhs``, rounded to nearest (ARM's SQRDMULH)."""
    product = np.asarray(lhs, dtype=np.int64) * np.asarray(rhs, dtype=np.int64)
    high: IntArray = np.minimum((product + (1 << 30)) >> 31, INT32_MAX)
    return high


def rounding_divide_by_pot(values: Any, exponent: Any) -> IntArray:
    """Divide by ``2**exponent``, rounding half away from zero; ``exponent`` in 0..31."""
    wide = np.asarray(values, dtype=np.int64)
    bits = np.asarray(exponent, dtype=np.int64)
    half = np.where(bits > 0, np.int64(1) << np.maximum(bits - 1, 0), 0)
    borrow = np.where(bits > 0, wide >> 63, 0)
    return (wide + half + borrow) >> bits


def multiply_by_quantized_multiplier(values: Any, multiplier: Any, shift: Any) -> IntArray:
    """Scale by a quantised multiplier with two roundings (conv, depthwise, add, mul, ...)."""
    exponent = np.asarray(shift, dtype=np.int64)
    shifted = wrap_int32(np.asarray(values, dtype=np.int64) << np.maximum(exponent, 0))
    high = saturating_rounding_doubling_high_mul(shifted, multiplier)
    return rounding_divide_by_pot(high, np.maximum(-exponent, 0))


def multiply_by_quantized_multiplier_single(values: Any, multiplier: Any, shift: Any) -> IntArray:
    """Scale by a quantised multiplier with one rounding (FULLY_CONNECTED).

    ``(values * multiplier + 2**(30 - shift)) >> (31 - shift)`` in 64 bits; shift at most 30.
    """
    total = 31 - np.asarray(shift, dtype=np.int64)
    product = np.asarray(values, dtype=np.int64) * np.asarray(multiplier, dtype=np.int64)
    return (product + (np.int64(1) << (total - 1))) >> total


def requantize(values: Any, multiplier: Any, shift: Any, rounding: str) -> IntArray:
    """Scale accumulators by the named arithmetic, ``"double"`` or ``"single"`` rounding."""
    if rounding == "double":
        return multiply_by_quantized_multiplier(values, multiplier, shift)
    if rounding == "single":
        return multiply_by_quantized_multiplier_single(values, multiplier, shift)
    raise ValueError(f"unknown rounding {rounding!r}")


def quantize_value(value: float, scale: float, zero_point: int) -> int:
    """int32 image of a real value: ``zero_point + round(value / scale)`` in float32."""
    quotient = np.float32(value) / np.float32(scale)
    return zero_point + round_half_away(float(quotient))


def clamp_range(
    low: float | None, high: float | None, scale: float, zero_point: int
) -> tuple[int, int]:
    """int8 clamp for a real interval; None leaves that side open."""
    clamp_min = INT8_MIN if low is None else max(INT8_MIN, quantize_value(low, scale, zero_point))
    clamp_max = INT8_MAX if high is None else min(INT8_MAX, quantize_value(high, scale, zero_point))
    return clamp_min, clamp_max


def activation_range(activation: Activation, scale: float, zero_point: int) -> tuple[int, int]:
    """int8 clamp of a fused activation, as ``CalculateActivationRangeQuantized`` has it."""
    low, high = _ACTIVATION_BOUNDS[activation]
    return clamp_range(low, high, scale, zero_point)


def conv_multipliers(
    input_scale: float, weight_scales: Any, output_scale: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Per-channel multipliers and shifts of CONV_2D and DEPTHWISE_CONV_2D.

    Effective scales are formed in double from the float32 scales.

    Parameters
    ----------
    input_scale, output_scale : float
        Exactly float32 values.
    weight_scales : array_like
        ``[O]`` float32.
    """
    pairs = [
        quantize_multiplier(float(np.float32(input_scale)) * float(scale) / _f64(output_scale))
        for scale in np.asarray(weight_scales, dtype=np.float32).reshape(-1)
    ]
    return _split(pairs)


def dense_multipliers(
    input_scale: float, weight_scales: Any, output_scale: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Multipliers and shifts of FULLY_CONNECTED.

    With one weight scale the product of input and weight scale is formed in float32, as the
    kernel does; with one per channel everything is as in :func:`conv_multipliers`.
    """
    scales = np.asarray(weight_scales, dtype=np.float32).reshape(-1)
    if scales.size > 1:
        return conv_multipliers(input_scale, scales, output_scale)
    product = np.float32(input_scale) * scales[0]
    return _split([quantize_multiplier(float(product) / _f64(output_scale))])


def requantize_multiplier(input_scale: float, output_scale: float) -> tuple[int, int]:
    """Multiplier and shift of QUANTIZE from int8 to int8: quotient formed in double."""
    return quantize_multiplier(_f64(input_scale) / _f64(output_scale))


def mean_multiplier(input_scale: float, output_scale: float, count: int) -> tuple[int, int]:
    """Multiplier and shift of MEAN over ``count`` elements.

    The kernel divides the quantised multiplier by ``count`` in integers, after shifting it left
    as far as a shift of -31 in total allows.
    """
    multiplier, shift = requantize_multiplier(input_scale, output_scale)
    headroom = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << headroom) // count, shift - headroom


def mul_multiplier(lhs_scale: float, rhs_scale: float, output_scale: float) -> tuple[int, int]:
    """Multiplier and shift of MUL; the kernel forms the factor in float32."""
    factor = np.float32(lhs_scale) * np.float32(rhs_scale) / np.float32(output_scale)
    return quantize_multiplier(float(factor))


@dataclass(frozen=True)
class AddParameters:
    """Integer parameters of ADD and SUB, named as the attributes of ``qnn.add``."""

    left_shift: int
    lhs_multiplier: int
    lhs_shift: int
    rhs_multiplier: int
    rhs_shift: int
    output_multiplier: int
    output_shift: int


def add_parameters(lhs_scale: float, rhs_scale: float, output_scale: float) -> AddParameters:
    """Parameters of ADD and SUB from float32 scales.

    Raises
    ------
    ValueError
        If the output scale is so small that the kernel's output factor reaches one.
    """
    twice_max = 2.0 * max(_f64(lhs_scale), _f64(rhs_scale))
    lhs = quantize_multiplier_smaller_than_one(_f64(lhs_scale) / twice_max)
    rhs = quantize_multiplier_smaller_than_one(_f64(rhs_scale) / twice_max)
    output = quantize_multiplier_smaller_than_one(
        twice_max / ((1 << ADD_LEFT_SHIFT) * _f64(output_scale))
    )
    return AddParameters(ADD_LEFT_SHIFT, *lhs, *rhs, *output)


@dataclass(frozen=True)
class SoftmaxParameters:
    """Integer parameters of ``qnn.softmax``."""

    input_multiplier: int
    input_left_shift: int
    diff_min: int


def softmax_parameters(input_scale: float, beta: float = 1.0) -> SoftmaxParameters:
    """Parameters of the fixed-point SOFTMAX.

    Raises
    ------
    ValueError
        If ``beta * input_scale`` is below 2**-26.
    """
    fraction_bits = 31 - SOFTMAX_INTEGER_BITS
    real = min(beta * _f64(input_scale) * (1 << fraction_bits), float(INT32_MAX))
    if real <= 1.0:
        raise ValueError(f"softmax input scale {input_scale} is too small")
    multiplier, left_shift = quantize_multiplier(real)
    largest = ((1 << SOFTMAX_INTEGER_BITS) - 1) * (1 << fraction_bits)
    return SoftmaxParameters(multiplier, left_shift, -(largest >> left_shift))


def _f64(scale: float) -> float:
    """The float32 value nearest to ``scale``, as double."""
    return float(np.float32(scale))


def _split(
    pairs: list[tuple[int, int]],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    multipliers, shifts = zip(*pairs, strict=True)
    return np.array(multipliers, dtype=np.int32), np.array(shifts, dtype=np.int32)
