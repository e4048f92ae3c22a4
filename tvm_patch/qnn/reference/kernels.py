"""numpy kernels of the dialect's operators, from integer tensors to integer tensors.

Each kernel takes the operator's arguments as arrays and its attributes as keywords, exactly as
:mod:`tvm_patch.qnn.ops` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.qnn import arithmetic
from tvm_patch.qnn.reference.softmax import softmax

Array = npt.NDArray[Any]
Kernel = Callable[..., Array]


def conv2d(
    data: Array,
    weight: Array,
    bias: Array,
    multiplier: Array,
    shift: Array,
    *,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    input_zero_point: int,
    **output: Any,
) -> Array:
    """``qnn.conv2d`` by im2col and a matrix product."""
    out_channels, kernel_h, kernel_w, _ = weight.shape
    windows = _windows(
        _padded(data, padding, input_zero_point), (kernel_h, kernel_w), strides, dilation
    )
    _, out_h, out_w, _, _, channels = windows.shape
    # Sums of int8 products are exact in float64, which brings in the fast matrix product.
    columns = windows.reshape(out_h * out_w, kernel_h * kernel_w, groups, channels // groups)
    filters = weight.reshape(groups, out_channels // groups, -1).astype(np.float64)
    parts = [
        columns[:, :, group].reshape(out_h * out_w, -1).astype(np.float64) @ filters[group].T
        for group in range(groups)
    ]
    acc = np.concatenate(parts, axis=1).astype(np.int64) + bias.astype(np.int64)
    result = _requantize(acc, multiplier, shift, **output)
    return result.reshape(1, out_h, out_w, out_channels)


def depthwise_conv2d(
    data: Array,
    weight: Array,
    bias: Array,
    multiplier: Array,
    shift: Array,
    *,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    depth_multiplier: int,
    input_zero_point: int,
    **output: Any,
) -> Array:
    """``qnn.depthwise_conv2d``, one filter tap at a time."""
    kernel_h, kernel_w, _ = weight.shape
    padded = _padded(data, padding, input_zero_point)
    windows = _windows(padded, (kernel_h, kernel_w), strides, dilation)
    acc: Array = np.zeros((*windows.shape[:3], weight.shape[2]), np.int32) + bias
    for y in range(kernel_h):
        for x in range(kernel_w):
            taps = np.repeat(windows[:, :, :, y, x], depth_multiplier, axis=-1)
            acc += taps.astype(np.int32) * weight[y, x].astype(np.int32)
    return _requantize(acc, multiplier, shift, **output)


def dense(
    data: Array,
    weight: Array,
    bias: Array,
    multiplier: Array,
    shift: Array,
    *,
    input_zero_point: int,
    **output: Any,
) -> Array:
    """``qnn.dense``; the input zero point is already in the bias."""
    del input_zero_point
    acc = data.astype(np.int64) @ weight.astype(np.int64).T + bias
    return _requantize(acc, multiplier, shift, **output)


def add(lhs: Array, rhs: Array, **attributes: Any) -> Array:
    """``qnn.add``."""
    return _add_or_subtract(lhs, rhs, 1, **attributes)


def subtract(lhs: Array, rhs: Array, **attributes: Any) -> Array:
    """``qnn.subtract``."""
    return _add_or_subtract(lhs, rhs, -1, **attributes)


def _add_or_subtract(
    lhs: Array,
    rhs: Array,
    sign: int,
    *,
    lhs_zero_point: int,
    rhs_zero_point: int,
    output_zero_point: int,
    left_shift: int,
    lhs_multiplier: int,
    lhs_shift: int,
    rhs_multiplier: int,
    rhs_shift: int,
    output_multiplier: int,
    output_shift: int,
    clamp_min: int,
    clamp_max: int,
) -> Array:
    scale = arithmetic.multiply_by_quantized_multiplier
    left = scale((lhs.astype(np.int64) - lhs_zero_point) << left_shift, lhs_multiplier, lhs_shift)
    right = scale((rhs.astype(np.int64) - rhs_zero_point) << left_shift, rhs_multiplier, rhs_shift)
    total = scale(left + sign * right, output_multiplier, output_shift)
    return _clamp(total + output_zero_point, clamp_min, clamp_max)


def mul(
    lhs: Array,
    rhs: Array,
    *,
    lhs_zero_point: int,
    rhs_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
    clamp_min: int,
    clamp_max: int,
) -> Array:
    """``qnn.mul``."""
    product = (lhs.astype(np.int64) - lhs_zero_point) * (rhs.astype(np.int64) - rhs_zero_point)
    scaled = arithmetic.multiply_by_quantized_multiplier(product, multiplier, shift)
    return _clamp(scaled + output_zero_point, clamp_min, clamp_max)


def lookup(data: Array, table: Array) -> Array:
    """``qnn.lookup``."""
    return table[data.astype(np.int64) + 128]


def max_pool2d(
    data: Array,
    *,
    pool_size: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    clamp_min: int,
    clamp_max: int,
) -> Array:
    """``qnn.max_pool2d``."""
    windows = _windows(_padded(data, padding, -128), pool_size, strides, (1, 1))
    return _clamp(windows.max(axis=(3, 4)), clamp_min, clamp_max)


def avg_pool2d(
    data: Array,
    *,
    pool_size: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    clamp_min: int,
    clamp_max: int,
) -> Array:
    """``qnn.avg_pool2d``."""
    total = _windows(_padded(data, padding, 0), pool_size, strides, (1, 1)).sum(
        axis=(3, 4), dtype=np.int64
    )
    ones = np.ones_like(data, dtype=np.int64)
    count = _windows(_padded(ones, padding, 0), pool_size, strides, (1, 1)).sum(axis=(3, 4))
    return _clamp(_divide_half_away(total, count), clamp_min, clamp_max)


def mean(
    data: Array,
    *,
    axes: Sequence[int],
    keepdims: int,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
) -> Array:
    """``qnn.mean``."""
    shifted = data.astype(np.int64) - input_zero_point
    total = shifted.sum(axis=tuple(axes), keepdims=bool(keepdims))
    scaled = arithmetic.multiply_by_quantized_multiplier(total, multiplier, shift)
    return _clamp(scaled + output_zero_point, arithmetic.INT8_MIN, arithmetic.INT8_MAX)


def global_sum(data: Array) -> Array:
    """``qnn.global_sum``."""
    total: Array = data.sum(axis=(1, 2), keepdims=True, dtype=np.int32)
    return total


def mean_of_sum(
    total: Array,
    *,
    pixels: int,
    keepdims: int,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
) -> Array:
    """``qnn.mean_of_sum``."""
    shifted = total.astype(np.int64) - pixels * input_zero_point
    scaled = arithmetic.multiply_by_quantized_multiplier(shifted, multiplier, shift)
    result = _clamp(scaled + output_zero_point, arithmetic.INT8_MIN, arithmetic.INT8_MAX)
    return result if keepdims else result[:, 0, 0]


def average_of_sum(total: Array, *, pixels: int, clamp_min: int, clamp_max: int) -> Array:
    """``qnn.average_of_sum``."""
    return _clamp(_divide_half_away(total.astype(np.int64), pixels), clamp_min, clamp_max)


def _divide_half_away(total: Array, count: Array | int) -> Array:
    """Quotients rounded half away from zero."""
    result: Array = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return result


def pad(data: Array, *, pad_width: Sequence[int], pad_value: int) -> Array:
    """``qnn.pad``."""
    widths = np.asarray(pad_width).reshape(-1, 2)
    return np.pad(data, widths, constant_values=pad_value)


def resize_nearest(
    data: Array, *, out_height: int, out_width: int, align_corners: int, half_pixel_centers: int
) -> Array:
    """``qnn.resize_nearest``."""
    rows = nearest_indices(data.shape[1], out_height, align_corners, half_pixel_centers)
    columns = nearest_indices(data.shape[2], out_width, align_corners, half_pixel_centers)
    return data[:, rows][:, :, columns]


def nearest_indices(
    in_size: int, out_size: int, align_corners: int, half_pixel_centers: int
) -> npt.NDArray[np.int64]:
    """Source index of each output index along one axis, in float32 as LiteRT computes it."""
    if align_corners and out_size > 1:
        scale = np.float32(in_size - 1) / np.float32(out_size - 1)
    else:
        scale = np.float32(in_size) / np.float32(out_size)
    offset = np.float32(0.5 if half_pixel_centers else 0.0)
    position = (np.arange(out_size, dtype=np.float32) + offset) * scale
    if align_corners:
        index = np.floor(position.astype(np.float64) + 0.5)
    else:
        index = np.floor(position.astype(np.float64))
    return np.clip(index.astype(np.int64), 0, in_size - 1)


def concatenate(*tensors: Array, axis: int) -> Array:
    """``qnn.concatenate``."""
    return np.concatenate(tensors, axis=axis)


def quantize(data: Array, *, scale: float, zero_point: int) -> Array:
    """``qnn.quantize``; float32 division, halves away from zero."""
    quotient = (data.astype(np.float32) / np.float32(scale)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(quotient) + 0.5), quotient)
    return _clamp(rounded + zero_point, arithmetic.INT8_MIN, arithmetic.INT8_MAX)


def dequantize(data: Array, *, scale: float, zero_point: int) -> Array:
    """``qnn.dequantize``."""
    return np.float32(scale) * (data.astype(np.int32) - zero_point).astype(np.float32)


KERNELS: Mapping[str, Kernel] = {
    f"qnn.{kernel.__name__}": kernel
    for kernel in (
        conv2d,
        depthwise_conv2d,
        dense,
        add,
        subtract,
        mul,
        lookup,
        softmax,
        max_pool2d,
        avg_pool2d,
        mean,
        global_sum,
        mean_of_sum,
        average_of_sum,
        pad,
        resize_nearest,
        concatenate,
        quantize,
        dequantize,
    )
}


def _padded(data: Array, padding: Sequence[int], value: int) -> Array:
    top, left, bottom, right = padding
    if not any(padding):
        return data
    return np.pad(data, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def _windows(
    data: Array, kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Array:
    """View ``[1, OH, OW, KH, KW, C]`` of the windows over ``[1, H, W, C]``."""
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(data, reach, axis=(1, 2))
    view = view[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    return view.transpose(0, 1, 2, 4, 5, 3)


def _requantize(
    acc: Array,
    multiplier: Array,
    shift: Array,
    *,
    output_zero_point: int,
    clamp_min: int,
    clamp_max: int,
    rounding: str,
) -> Array:
    scaled = arithmetic.requantize(acc, multiplier, shift, rounding)
    return _clamp(scaled + output_zero_point, clamp_min, clamp_max)


def _clamp(values: Array, low: int, high: int) -> Array:
    return np.clip(values, low, high).astype(np.int8)
