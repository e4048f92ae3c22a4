"""Lookup tables of the unary int8 operators, by LiteRT's reference arithmetic.

Every function returns ``table[256]`` int8 with ``table[x + 128] = f(x)``. Scales are float32
values, zero points int8 values.

Sources: TensorFlow Lite ``kernels/activations.cc``, ``kernels/quantize.cc``,
``internal/reference/hard_swish.h`` and ``leaky_relu.h``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn import arithmetic

Table = npt.NDArray[np.int8]

_DOMAIN = np.arange(-128, 128, dtype=np.int64)
_INT16_MIN, _INT16_MAX = -(1 << 15), (1 << 15) - 1


def requantize(
    input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> Table:
    """QUANTIZE from int8 to int8."""
    multiplier, shift = arithmetic.requantize_multiplier(input_scale, output_scale)
    scaled = arithmetic.multiply_by_quantized_multiplier(
        _DOMAIN - input_zero_point, multiplier, shift
    )
    return _saturate(scaled + output_zero_point)


def clipped(
    low: float | None,
    high: float | None,
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
) -> Table:
    """RELU (0, None), RELU6 (0, 6) and RELU_N1_TO_1 (-1, 1) with rescaling."""
    # The kernel divides the scales in float32, unlike QUANTIZE.
    factor = np.float32(input_scale) / np.float32(output_scale)
    multiplier, shift = arithmetic.quantize_multiplier(float(factor))
    scaled = arithmetic.multiply_by_quantized_multiplier(
        _DOMAIN - input_zero_point, multiplier, shift
    )
    bounds = arithmetic.clamp_range(low, high, output_scale, output_zero_point)
    return np.clip(scaled + output_zero_point, *bounds).astype(np.int8)


def leaky_relu(
    alpha: float,
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
) -> Table:
    """LEAKY_RELU."""
    scale_in, scale_out = np.float32(input_scale), np.float32(output_scale)
    identity = arithmetic.quantize_multiplier(float(scale_in / scale_out))
    slope = arithmetic.quantize_multiplier(float(scale_in * np.float32(alpha) / scale_out))
    value = _DOMAIN - input_zero_point
    scaled = np.where(
        value >= 0,
        arithmetic.multiply_by_quantized_multiplier(value, *identity),
        arithmetic.multiply_by_quantized_multiplier(value, *slope),
    )
    return _saturate(scaled + output_zero_point)


def logistic(
    input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> Table:
    """LOGISTIC; LiteRT fixes the output at scale 1/256 and zero point -128."""
    return _from_float(
        lambda real: np.float32(1) / (np.float32(1) + _exp(-real)),
        input_scale,
        input_zero_point,
        output_scale,
        output_zero_point,
    )


def tanh(
    input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> Table:
    """TANH; LiteRT fixes the output at scale 1/128 and zero point 0."""
    return _from_float(
        lambda real: np.tanh(real.astype(np.float64)).astype(np.float32),
        input_scale,
        input_zero_point,
        output_scale,
        output_zero_point,
    )


def hard_swish(
    input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> Table:
    """HARD_SWISH, in the kernel's 16-bit fixed point.

    Raises
    ------
    UnsupportedOperatorError
        If the output scale is too small against the input's; LiteRT refuses that too.
    """
    hires_scale = np.float32(1.0 / 128.0) * np.float32(input_scale)
    output, output_exponent = _multiplier16(hires_scale / np.float32(output_scale))
    reluish, reluish_exponent = _multiplier16(hires_scale / np.float32(3.0 / 32768.0))
    if output_exponent > 0:
        raise UnsupportedOperatorError(
            f"HARD_SWISH with input scale {input_scale} and output scale {output_scale}: "
            "the output scale is below 1/128 of the input scale",
            hint="quantise the model with a wider calibration range",
        )
    hires = _wrap_int16((_DOMAIN - input_zero_point) * (1 << 7))
    preshift = _high_mul16(hires, output)
    gate = hires
    if reluish_exponent > 0:
        gate = _saturate16(gate << (reluish_exponent - 1))
    gate = _high_mul16(gate, reluish)
    if reluish_exponent > 0:
        gate = _saturate16(gate << 1)
    if reluish_exponent < 0:
        gate = arithmetic.rounding_divide_by_pot(gate, -reluish_exponent)
    gate = (gate + (1 << 15)) >> 1
    # This product rounds toward zero, as C's division does.
    product = gate * preshift
    truncated = np.sign(product) * (np.abs(product) >> 15)
    return _saturate(
        arithmetic.rounding_divide_by_pot(truncated, -output_exponent) + output_zero_point
    )


def _from_float(
    function: Callable[[Any], Any],
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
) -> Table:
    """Table of a float32 function, computed as LiteRT fills its own."""
    real = np.float32(input_scale) * (_DOMAIN - input_zero_point).astype(np.float32)
    inverse_scale = np.float32(1) / np.float32(output_scale)
    scaled = (function(real) * inverse_scale).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
    return _saturate(rounded.astype(np.int64) + output_zero_point)


def _exp(real: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Exponential rounded correctly to float32, which libm's expf is but for rare last bits."""
    with np.errstate(over="ignore"):
        return np.exp(real.astype(np.float64)).astype(np.float32)


def _multiplier16(real: Any) -> tuple[int, int]:
    """Quantised multiplier cut down to 16 bits, rounding to nearest."""
    multiplier, shift = arithmetic.quantize_multiplier(float(real))
    if multiplier >= arithmetic.INT32_MAX - (1 << 15):
        return _INT16_MAX, shift
    return (multiplier + (1 << 15)) >> 16, shift


def _high_mul16(lhs: Any, rhs: int) -> npt.NDArray[np.int64]:
    """SaturatingRoundingDoublingHighMul in 16 bits; gemmlowp rounds by a truncating division."""
    product = np.asarray(lhs, dtype=np.int64) * rhs
    nudged = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    high: npt.NDArray[np.int64] = np.minimum(np.sign(nudged) * (np.abs(nudged) >> 15), _INT16_MAX)
    return high


def _saturate16(values: Any) -> npt.NDArray[np.int64]:
    return np.asarray(np.clip(values, _INT16_MIN, _INT16_MAX), dtype=np.int64)


def _wrap_int16(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return ((values + (1 << 15)) & 0xFFFF) - (1 << 15)


def _saturate(values: Any) -> Table:
    clipped_values = np.clip(values, arithmetic.INT8_MIN, arithmetic.INT8_MAX)
    return np.asarray(clipped_values, dtype=np.int8)
