"""The dialect's operators as plain loops over Python integers: slow, and easy to believe.

Written after TensorFlow Lite's reference kernels, independently of tvm_patch.qnn.reference.
"""

from __future__ import annotations

import math

import numpy as np


def high_mul(a, b):
    """SaturatingRoundingDoublingHighMul with gemmlowp's nudge and truncating division."""
    if a == b == -(1 << 31):
        return (1 << 31) - 1
    product = a * b
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    return int(math.copysign(abs(nudged) >> 31, nudged))


def divide_by_pot(x, exponent):
    """RoundingDivideByPOT with gemmlowp's mask and threshold."""
    mask = (1 << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if remainder > threshold else 0)


def scale(x, multiplier, shift):
    """MultiplyByQuantizedMultiplier with two roundings."""
    return divide_by_pot(high_mul(x << max(shift, 0), multiplier), max(-shift, 0))


def scale_single(x, multiplier, shift):
    """MultiplyByQuantizedMultiplier with one rounding."""
    total = 31 - shift
    return (x * multiplier + (1 << (total - 1))) >> total


def clamp(x, low, high):
    return max(low, min(high, x))


def _requantized(acc, channel, args, attrs):
    function = scale if attrs["rounding"] == "double" else scale_single
    value = function(acc, int(args[1][channel]), int(args[2][channel]))
    return clamp(value + attrs["output_zero_point"], attrs["clamp_min"], attrs["clamp_max"])


def _read(data, y, x, channel, outside):
    _, height, width, _ = data.shape
    inside = 0 <= y < height and 0 <= x < width
    return int(data[0, y, x, channel]) if inside else outside


def _positions(data, kernel, attrs):
    """Output size, and per output position the input positions of its window taps."""
    _, height, width, _ = data.shape
    top, left, bottom, right = attrs["padding"]
    step_y, step_x = attrs["strides"]
    grow_y, grow_x = attrs.get("dilation", (1, 1))
    out_h = (height + top + bottom - (kernel[0] - 1) * grow_y - 1) // step_y + 1
    out_w = (width + left + right - (kernel[1] - 1) * grow_x - 1) // step_x + 1
    positions = {
        (y, x): [
            (j, i, y * step_y - top + j * grow_y, x * step_x - left + i * grow_x)
            for j in range(kernel[0])
            for i in range(kernel[1])
        ]
        for y in range(out_h)
        for x in range(out_w)
    }
    return (out_h, out_w), positions


def conv2d(data, weight, *args, **attrs):
    out_channels, kernel_h, kernel_w, depth = weight.shape
    per_group = out_channels // attrs["groups"]
    result = {}
    size, positions = _positions(data, (kernel_h, kernel_w), attrs)
    for position, taps in positions.items():
        for o in range(out_channels):
            acc = int(args[0][o])
            for j, i, y, x in taps:
                for c in range(depth):
                    channel = o // per_group * depth + c
                    value = _read(data, y, x, channel, attrs["input_zero_point"])
                    acc += int(weight[o, j, i, c]) * value
            result[(*position, o)] = _requantized(acc, o, args, attrs)
    return _array(result, (*size, out_channels))


def depthwise_conv2d(data, weight, *args, **attrs):
    kernel_h, kernel_w, out_channels = weight.shape
    result = {}
    size, positions = _positions(data, (kernel_h, kernel_w), attrs)
    for position, taps in positions.items():
        for o in range(out_channels):
            acc = int(args[0][o])
            for j, i, y, x in taps:
                channel = o // attrs["depth_multiplier"]
                acc += int(weight[j, i, o]) * _read(data, y, x, channel, attrs["input_zero_point"])
            result[(*position, o)] = _requantized(acc, o, args, attrs)
    return _array(result, (*size, out_channels))


def dense(data, weight, *args, **attrs):
    result = {}
    for o in range(weight.shape[0]):
        acc = int(args[0][o]) + sum(
            int(w) * int(x) for w, x in zip(weight[o], data[0], strict=True)
        )
        result[(o,)] = _requantized(acc, o, args, attrs)
    return _array(result, (weight.shape[0],))


def max_pool2d(data, **attrs):
    result = {}
    size, positions = _positions(data, attrs["pool_size"], attrs)
    for position, taps in positions.items():
        for c in range(data.shape[3]):
            best = max(_read(data, y, x, c, -128) for _, _, y, x in taps)
            result[(*position, c)] = clamp(best, attrs["clamp_min"], attrs["clamp_max"])
    return _array(result, (*size, data.shape[3]))


def avg_pool2d(data, **attrs):
    result = {}
    size, positions = _positions(data, attrs["pool_size"], attrs)
    for position, taps in positions.items():
        for c in range(data.shape[3]):
            values = [_read(data, y, x, c, None) for _, _, y, x in taps]
            values = [value for value in values if value is not None]
            total, count = sum(values), len(values)
            half = total + count // 2 if total > 0 else total - count // 2
            average = int(math.copysign(abs(half) // count, half))
            result[(*position, c)] = clamp(average, attrs["clamp_min"], attrs["clamp_max"])
    return _array(result, (*size, data.shape[3]))


def mean(data, **attrs):
    _, height, width, channels = data.shape
    result = {}
    for c in range(channels):
        acc = sum(
            int(data[0, y, x, c]) - attrs["input_zero_point"]
            for y in range(height)
            for x in range(width)
        )
        value = scale(acc, attrs["multiplier"], attrs["shift"]) + attrs["output_zero_point"]
        result[(c,)] = clamp(value, -128, 127)
    flat = _array(result, (channels,))
    return flat.reshape(1, 1, 1, channels) if attrs["keepdims"] else flat


def add(lhs, rhs, *, sign=1, **attrs):
    rhs = np.broadcast_to(rhs, lhs.shape)
    result = {}
    for index in np.ndindex(lhs.shape):
        left = (int(lhs[index]) - attrs["lhs_zero_point"]) << attrs["left_shift"]
        right = (int(rhs[index]) - attrs["rhs_zero_point"]) << attrs["left_shift"]
        total = scale(left, attrs["lhs_multiplier"], attrs["lhs_shift"]) + sign * scale(
            right, attrs["rhs_multiplier"], attrs["rhs_shift"]
        )
        value = scale(total, attrs["output_multiplier"], attrs["output_shift"])
        value += attrs["output_zero_point"]
        result[index] = clamp(value, attrs["clamp_min"], attrs["clamp_max"])
    return _array(result, lhs.shape, batch=False)


def mul(lhs, rhs, **attrs):
    rhs = np.broadcast_to(rhs, lhs.shape)
    result = {}
    for index in np.ndindex(lhs.shape):
        product = (int(lhs[index]) - attrs["lhs_zero_point"]) * (
            int(rhs[index]) - attrs["rhs_zero_point"]
        )
        value = scale(product, attrs["multiplier"], attrs["shift"]) + attrs["output_zero_point"]
        result[index] = clamp(value, attrs["clamp_min"], attrs["clamp_max"])
    return _array(result, lhs.shape, batch=False)


def _array(values, shape, *, batch=True):
    result = np.zeros(shape, np.int8)
    for index, value in values.items():
        result[index] = value
    return result[np.newaxis] if batch else result
