"""Pools, global pools whole and in two steps, and ``qnn.resize_nearest``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from tvm_patch.qnn.ops import registry


def max_pool2d(
    data: Any,
    *,
    pool_size: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int] = (0, 0, 0, 0),
    clamp_min: int = registry.INT8_MIN,
    clamp_max: int = registry.INT8_MAX,
) -> relax.Call:
    """Maximum over a window; padding (top, left, bottom, right) is ignored, i.e. reads as -128."""
    return _pool("qnn.max_pool2d", data, pool_size, strides, padding, clamp_min, clamp_max)


def avg_pool2d(
    data: Any,
    *,
    pool_size: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int] = (0, 0, 0, 0),
    clamp_min: int = registry.INT8_MIN,
    clamp_max: int = registry.INT8_MAX,
) -> relax.Call:
    """Average over the valid elements of a window, rounded half away from zero.

    Input and output share scale and zero point; ``data`` is ``[1, H, W, C]`` int8.
    """
    return _pool("qnn.avg_pool2d", data, pool_size, strides, padding, clamp_min, clamp_max)


def mean(
    data: Any,
    *,
    axes: Sequence[int],
    keepdims: bool,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
) -> relax.Call:
    """Mean over the spatial axes: ``[1, H, W, C]`` int8 to ``[1, 1, 1, C]`` or ``[1, C]``.

    ``acc = sum(data - input_zero_point)``, requantised by ``multiplier`` and ``shift`` which
    hold ``input_scale / (output_scale * H * W)`` as LiteRT's reference kernel splits it, with
    the rounding of :func:`tvm_patch.qnn.arithmetic.multiply_by_quantized_multiplier`.
    """
    return registry.make_call(
        "qnn.mean",
        [data],
        axes=[int(axis) for axis in axes],
        keepdims=int(keepdims),
        input_zero_point=int(input_zero_point),
        output_zero_point=int(output_zero_point),
        multiplier=int(multiplier),
        shift=int(shift),
    )


def global_sum(data: Any) -> relax.Call:
    """Sum over all pixels: ``[1, H, W, C]`` int8 to ``[1, 1, 1, C]`` int32.

    The first half of a global pool; it can take a map's rows as they are made.
    """
    return registry.make_call("qnn.global_sum", [data])


def mean_of_sum(
    total: Any,
    *,
    pixels: int,
    keepdims: bool,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
) -> relax.Call:
    """What :func:`mean` makes of a map whose ``pixels`` add up to ``total``.

    ``[1, 1, 1, C]`` int32 to ``[1, 1, 1, C]`` or ``[1, C]`` int8; ``acc = total - pixels *
    input_zero_point``, the rest as there.
    """
    return registry.make_call(
        "qnn.mean_of_sum",
        [total],
        pixels=int(pixels),
        keepdims=int(keepdims),
        input_zero_point=int(input_zero_point),
        output_zero_point=int(output_zero_point),
        multiplier=int(multiplier),
        shift=int(shift),
    )


def average_of_sum(
    total: Any,
    *,
    pixels: int,
    clamp_min: int = registry.INT8_MIN,
    clamp_max: int = registry.INT8_MAX,
) -> relax.Call:
    """What :func:`avg_pool2d` makes of a window whose ``pixels`` elements add up to ``total``.

    ``[1, 1, 1, C]``, int32 to int8, rounded half away from zero.
    """
    return registry.make_call(
        "qnn.average_of_sum",
        [total],
        pixels=int(pixels),
        clamp_min=int(clamp_min),
        clamp_max=int(clamp_max),
    )


def resize_nearest(
    data: Any,
    *,
    out_height: int,
    out_width: int,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
) -> relax.Call:
    """Nearest-neighbour resize of ``[1, H, W, C]`` int8, pixel choice as in LiteRT."""
    return registry.make_call(
        "qnn.resize_nearest",
        [data],
        out_height=int(out_height),
        out_width=int(out_width),
        align_corners=int(align_corners),
        half_pixel_centers=int(half_pixel_centers),
    )


def _pool(
    name: str,
    data: Any,
    pool_size: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    clamp_min: int,
    clamp_max: int,
) -> relax.Call:
    return registry.make_call(
        name,
        [data],
        pool_size=list(pool_size),
        strides=list(strides),
        padding=list(padding),
        clamp_min=int(clamp_min),
        clamp_max=int(clamp_max),
    )


def _infer_pool(call: relax.Call) -> Any:
    attrs = registry.attributes(call)
    data = registry.tensor_type(call, 0, "data", "int8", 4)
    registry.check_ints(call, attrs, "pool_size", 2, 1)
    registry.check_ints(call, attrs, "strides", 2, 1)
    registry.check_ints(call, attrs, "padding", 4, 0)
    registry.check_clamp(call, attrs)
    top, left, bottom, right = attrs["padding"]
    window_h, window_w = attrs["pool_size"]
    if max(top, bottom) >= window_h or max(left, right) >= window_w:
        raise ValueError(f"{registry.op_name(call)}: padding may leave a window without elements")
    out_h = registry.window_extent(data[1], top, bottom, window_h, attrs["strides"][0])
    out_w = registry.window_extent(data[2], left, right, window_w, attrs["strides"][1])
    if out_h <= 0 or out_w <= 0:
        raise ValueError(
            f"{registry.op_name(call)}: a window of {window_h}x{window_w} does not fit into "
            f"{data[1]}x{data[2]} with padding {attrs['padding']}"
        )
    return registry.int8_tensor((data[0], out_h, out_w, data[3]))


def _infer_mean(call: relax.Call) -> Any:
    attrs = registry.attributes(call)
    data = registry.tensor_type(call, 0, "data", "int8", 4)
    registry.check_zero_points(call, attrs)
    if sorted(attrs["axes"]) != [1, 2]:
        raise ValueError(f"qnn.mean: axes must be [1, 2] (H and W), got {attrs['axes']}")
    middle = (1, 1) if attrs["keepdims"] else ()
    return registry.int8_tensor((data[0], *middle, data[3]))


def _infer_global_sum(call: relax.Call) -> Any:
    data = registry.tensor_type(call, 0, "data", "int8", 4)
    return relax.TensorType([data[0], 1, 1, data[3]], "int32")


def _sums(call: relax.Call, attrs: dict[str, Any]) -> registry.Shape:
    """Shape of the sums that a call finishes."""
    total = registry.tensor_type(call, 0, "total", "int32", 4)
    if total[1:3] != (1, 1):
        raise ValueError(f"{registry.op_name(call)}: sums must be of one pixel, got {list(total)}")
    if attrs["pixels"] < 1:
        raise ValueError(f"{registry.op_name(call)}: pixels = {attrs['pixels']} is below one")
    return total


def _infer_mean_of_sum(call: relax.Call) -> Any:
    attrs = registry.attributes(call)
    registry.check_zero_points(call, attrs)
    total = _sums(call, attrs)
    return registry.int8_tensor(total if attrs["keepdims"] else (total[0], total[3]))


def _infer_average_of_sum(call: relax.Call) -> Any:
    attrs = registry.attributes(call)
    registry.check_clamp(call, attrs)
    return registry.int8_tensor(_sums(call, attrs))


def _infer_resize_nearest(call: relax.Call) -> Any:
    attrs = registry.attributes(call)
    data = registry.tensor_type(call, 0, "data", "int8", 4)
    if attrs["out_height"] < 1 or attrs["out_width"] < 1:
        raise ValueError("qnn.resize_nearest: the output must have at least one row and column")
    if attrs["align_corners"] and attrs["half_pixel_centers"]:
        raise ValueError("qnn.resize_nearest: align_corners excludes half_pixel_centers")
    return registry.int8_tensor((data[0], attrs["out_height"], attrs["out_width"], data[3]))


registry.register("qnn.max_pool2d", "int8 maximum pooling", _infer_pool)
registry.register("qnn.avg_pool2d", "int8 average pooling", _infer_pool)
registry.register("qnn.mean", "int8 mean over H and W with rescaling", _infer_mean)
registry.register("qnn.global_sum", "int32 sum of int8 over H and W", _infer_global_sum)
registry.register("qnn.mean_of_sum", "int8 mean of a global sum", _infer_mean_of_sum)
registry.register("qnn.average_of_sum", "int8 average of a global sum", _infer_average_of_sum)
registry.register("qnn.resize_nearest", "int8 nearest-neighbour resize", _infer_resize_nearest)
