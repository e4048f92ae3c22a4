"""LiteRT's reference arithmetic and windowed operators, as plain as can be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


def high_multiply(value: Array, multiplier: Array | int) -> Array:
    """SaturatingRoundingDoublingHighMul as gemmlowp writes it, in Python integers' range."""
    product = np.asarray(value, np.int64) * np.asarray(multiplier, np.int64)
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    total = product + nudge
    return np.where(total >= 0, total >> 31, -((-total) >> 31))


def divide_by_power_of_two(value: Array, exponent: Array | int) -> Array:
    """RoundingDivideByPOT as gemmlowp writes it."""
    exponent = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (value < 0)
    return (value >> exponent) + ((value & mask) > threshold)


def multiply(value: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """MultiplyByQuantizedMultiplier with two roundings."""
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    return divide_by_power_of_two(high_multiply(value << left, multiplier), right)


def multiply_rounding_once(value: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """MultiplyByQuantizedMultiplier with one rounding in 64 bits."""
    total = 31 - np.asarray(shift, np.int64)
    return (value * np.asarray(multiplier, np.int64) + (np.int64(1) << (total - 1))) >> total


def requantise(acc: Array, constants: dict[str, Array], kernel: object) -> Array:
    """Accumulators [..., channels] without bias to int8."""
    scale = multiply if kernel.rounding == "double" else multiply_rounding_once  # type: ignore[attr-defined]
    total = acc.astype(np.int64) + constants["bias"]
    scaled = scale(total, constants["multiplier"], constants["shift"])
    shifted = scaled + kernel.output_zero_point  # type: ignore[attr-defined]
    return np.clip(shifted, kernel.clamp_min, kernel.clamp_max).astype(np.int8)  # type: ignore[attr-defined]


def windows(
    data: Array, kernel: tuple[int, int], stride: int, dilation: tuple[int, int], width: int
) -> Array:
    """Windows of one output row: int64 [width, KH, KW, C] of data [rows, pixels, C]."""
    rows = np.arange(kernel[0]) * dilation[0]
    columns = np.arange(kernel[1]) * dilation[1]
    at = np.arange(width)[:, None, None] * stride + columns[None, None, :]
    return data[rows[None, :, None], at].astype(np.int64)
