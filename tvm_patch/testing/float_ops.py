"""Real-valued feature maps in plain NumPy, to calibrate ranges and to check the meaning of ops.

Feature maps are float64 [N, H, W, C]. Padding is by TFLite's rule: SAME puts the odd row or column
at the bottom or right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def padding_amounts(
    size: int, kernel: int, stride: int, dilation: int, padding: str
) -> tuple[int, int]:
    """Rows (or columns) of padding before and after one axis."""
    if padding == "VALID":
        return 0, 0
    reach = (kernel - 1) * dilation + 1
    total = max(0, (-(-size // stride) - 1) * stride + reach - size)
    return total // 2, total - total // 2


def windows(
    x: Array,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: str,
    fill: float = 0.0,
) -> Array:
    """Windows of a feature map as [N, OH, OW, C, KH, KW]."""
    amounts = [
        padding_amounts(x.shape[axis + 1], kernel[axis], strides[axis], dilation[axis], padding)
        for axis in (0, 1)
    ]
    padded = np.pad(x, [(0, 0), *amounts, (0, 0)], constant_values=fill)
    reach = [(kernel[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    strided: Array = view[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    return strided


def conv2d(
    x: Array,
    weight: Array,
    strides: Sequence[int],
    dilation: Sequence[int] = (1, 1),
    padding: str = "SAME",
) -> Array:
    """Convolution without bias; `weight` is [O, KH, KW, C / groups]."""
    outputs, kernel_h, kernel_w, depth = weight.shape
    view = windows(x, (kernel_h, kernel_w), strides, dilation, padding)
    groups = x.shape[3] // depth
    grouped = view.reshape(*view.shape[:3], groups, depth, kernel_h, kernel_w)
    kernels = weight.reshape(groups, outputs // groups, kernel_h, kernel_w, depth)
    result = np.einsum("nhwgcij,goijc->nhwgo", grouped, kernels, optimize=True)
    merged: Array = result.reshape(*result.shape[:3], outputs)
    return merged


def depthwise_conv2d(
    x: Array,
    weight: Array,
    strides: Sequence[int],
    dilation: Sequence[int] = (1, 1),
    padding: str = "SAME",
) -> Array:
    """Depthwise convolution without bias; `weight` is [KH, KW, C * M]."""
    kernel_h, kernel_w, outputs = weight.shape
    channels = x.shape[3]
    view = windows(x, (kernel_h, kernel_w), strides, dilation, padding)
    kernels = weight.reshape(kernel_h, kernel_w, channels, outputs // channels)
    result = np.einsum("nhwcij,ijcm->nhwcm", view, kernels, optimize=True)
    merged: Array = result.reshape(*result.shape[:3], outputs)
    return merged


def max_pool2d(x: Array, pool_size: Sequence[int], strides: Sequence[int], padding: str) -> Array:
    """Maximum over windows; padding never wins."""
    return np.asarray(windows(x, pool_size, strides, (1, 1), padding, -np.inf).max(axis=(-1, -2)))


def average_pool2d(
    x: Array, pool_size: Sequence[int], strides: Sequence[int], padding: str
) -> Array:
    """Average over the elements of each window that lie inside the image."""
    total = windows(x, pool_size, strides, (1, 1), padding).sum(axis=(-1, -2))
    inside = windows(np.ones_like(x), pool_size, strides, (1, 1), padding).sum(axis=(-1, -2))
    return np.asarray(total / inside)


def resize_nearest(
    x: Array, size: Sequence[int], *, align_corners: bool = False, half_pixel: bool = False
) -> Array:
    """Nearest neighbour by TFLite's rule, computed in float32 as its kernel does."""
    rows, columns = (
        _nearest_indices(x.shape[axis + 1], size[axis], align_corners, half_pixel)
        for axis in (0, 1)
    )
    resized: Array = x[:, rows][:, :, columns]
    return resized


def _nearest_indices(extent: int, size: int, align_corners: bool, half_pixel: bool) -> Array:
    aligned = align_corners and size > 1
    scale = np.float32((extent - 1) / (size - 1)) if aligned else np.float32(extent / size)
    offset = np.float32(0.5 if half_pixel else 0.0)
    position = (np.arange(size, dtype=np.float32) + offset) * scale
    index = np.floor(position + np.float32(0.5)) if align_corners else np.floor(position)
    clipped: Array = np.clip(index, 0, extent - 1).astype(np.int64)
    return clipped
