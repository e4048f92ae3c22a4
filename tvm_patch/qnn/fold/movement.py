"""Operators that only move or select values and so act on int8 as on the real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from tvm_patch.qnn import ops
from tvm_patch.qnn.fold import source
from tvm_patch.qnn.fold.values import Array, QuantizedConst
from tvm_patch.qnn.reference import interpreter
from tvm_patch.qnn.reference.kernels import nearest_indices

_RESHAPES = (
    "relax.reshape",
    "relax.squeeze",
    "relax.expand_dims",
    "relax.flatten",
)
_PLAIN = (*_RESHAPES, "relax.permute_dims", "relax.strided_slice")
_SELECTING = ("relax.nn.max_pool2d", "relax.image.resize2d")


def is_movement(op: str) -> bool:
    """Whether ``op`` moves or selects values, padding aside."""
    return op in _PLAIN or op in _SELECTING


def rebuild(call: Any, data: Any, clamp: tuple[int, int] = (-128, 127)) -> Any:
    """The int8 form of a moving operator on ``data``.

    Parameters
    ----------
    call : relax.Call
        The source operator.
    data : Expr
        Its int8 input.
    clamp : tuple of int
        Only for maximum pooling, which can clip its result.

    Returns
    -------
    Expr or None
        ``data`` itself where nothing moves; None if there is no int8 form.
    """
    name = ops.op_name(call)
    shape = source.static_shape(call)
    if name in _RESHAPES and shape is not None:
        if shape == source.static_shape(data):
            return data
        return relax.op.reshape(data, tuple(shape))
    if name == "relax.permute_dims":
        return _permuted(call, data)
    if name == "relax.strided_slice":
        return _sliced(call, data)
    if name == "relax.nn.max_pool2d":
        window = pool_window(call)
        if window is None:
            return None
        return ops.max_pool2d(data, clamp_min=clamp[0], clamp_max=clamp[1], **window)
    if name == "relax.image.resize2d":
        return _resized(call, data)
    return None


def _permuted(call: Any, data: Any) -> Any:
    shape = source.static_shape(data) or []
    axes = _axes(call, len(shape))
    kept = [axis for axis in axes if shape[axis] != 1]
    if kept == sorted(kept):
        # Only axes of size one trade places: the bytes stay where they are.
        target = [shape[axis] for axis in axes]
        return data if target == shape else relax.op.reshape(data, tuple(target))
    return relax.op.permute_dims(data, axes)


def _axes(call: Any, rank: int) -> list[int]:
    axes = call.attrs.axes
    if axes is None:
        return list(range(rank))[::-1]
    return [axis % rank for axis in source.ints(axes)]


def _sliced(call: Any, data: Any) -> Any:
    shape = source.static_shape(data) or []
    begin, end, stride = interpreter.strided_slice_bounds(call, shape)
    if (begin, end, stride) == ([0] * len(shape), shape, [1] * len(shape)):
        return data
    return relax.op.strided_slice(data, list(range(len(shape))), begin, end, stride)


def pool_window(call: Any) -> dict[str, Any] | None:
    """Window attributes of a pooling call; None if it is not NHWC, dense and floor-rounded."""
    attrs = call.attrs
    layouts = {str(attrs.layout), str(attrs.out_layout)}
    if layouts != {"NHWC"} or set(source.ints(attrs.dilation)) != {1} or bool(attrs.ceil_mode):
        return None
    return {
        "pool_size": source.ints(attrs.pool_size),
        "strides": source.ints(attrs.strides),
        "padding": source.ints(attrs.padding),
    }


def _resized(call: Any, data: Any) -> Any:
    attrs = call.attrs
    before, after = source.static_shape(data), source.static_shape(call)
    if before is None or after is None:
        return None
    if str(attrs.layout) != "NHWC" or str(attrs.method) != "nearest_neighbor":
        return None
    mode, rounding = str(attrs.coordinate_transformation_mode), str(attrs.rounding_method)
    wanted = [_relax_indices(before[axis], after[axis], mode, rounding) for axis in (1, 2)]
    for align_corners, half_pixel in ((0, 0), (0, 1), (1, 0)):
        found = [
            nearest_indices(before[axis], after[axis], align_corners, half_pixel) for axis in (1, 2)
        ]
        if all(a is not None and np.array_equal(a, b) for a, b in zip(wanted, found, strict=True)):
            return ops.resize_nearest(
                data,
                out_height=after[1],
                out_width=after[2],
                align_corners=bool(align_corners),
                half_pixel_centers=bool(half_pixel),
            )
    return None


def _relax_indices(in_size: int, out_size: int, mode: str, rounding: str) -> Array | None:
    """Source index of each output index by the rules of ``relax.image.resize2d``."""
    # LiteRT's own combinations are taken as LiteRT computes them, in float32.
    litert = {
        ("asymmetric", "floor"): (0, 0),
        ("align_corners", "round"): (1, 0),
        ("half_pixel", "round_prefer_ceil"): (0, 1),
    }.get((mode, rounding))
    if litert is not None:
        return nearest_indices(in_size, out_size, *litert)
    index = np.arange(out_size, dtype=np.float64)
    if mode == "asymmetric":
        position = index * in_size / out_size
    elif mode == "align_corners":
        position = index * (in_size - 1) / max(out_size - 1, 1)
    elif mode in ("half_pixel", "pytorch_half_pixel"):
        position = (index + 0.5) * in_size / out_size - 0.5
    else:
        return None
    rounded = {
        "floor": np.floor(position),
        "ceil": np.ceil(position),
        "round": np.floor(position + 0.5),
        "round_prefer_ceil": np.floor(position + 0.5),
        "round_prefer_floor": np.ceil(position - 0.5),
    }.get(rounding)
    return None if rounded is None else np.clip(rounded, 0, in_size - 1).astype(np.int64)


def move_array(call: Any, values: Array) -> Array | None:
    """Apply a plain movement to a constant."""
    name = ops.op_name(call)
    shape = source.static_shape(call)
    if name in _RESHAPES and shape is not None:
        return values.reshape(shape)
    if name == "relax.permute_dims":
        return values.transpose(_axes(call, values.ndim))
    return None


def move_const(call: Any, const: QuantizedConst) -> QuantizedConst | None:
    """Apply a plain movement to a dequantised constant, scales and all."""
    parts = [move_array(call, part) for part in (const.values, const.scale, const.zero_point)]
    if any(part is None for part in parts):
        return None
    values, scale, zero_point = (np.asarray(part) for part in parts)
    return QuantizedConst(values, scale, zero_point, const.per_channel)
