"""Sums that must fit 32 bits: their bounds are known from weights and shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import ir

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn import arithmetic, ops
from tvm_patch.qnn.fold import source

#: Exponentials are at most one, which is 2**19 where softmax adds them up (Q12.19).
_SOFTMAX_ONE = 1 << 19

Bounds = tuple[int, int]


def check_sums(name: str, call: Any) -> None:
    """Refuse an operator of the dialect whose sums may leave int32, whatever its input.

    Parameters
    ----------
    name : str
        The layer's.
    call : relax.Call
        To an operator of the dialect.

    Raises
    ------
    UnsupportedOperatorError
        With the layer's name.
    """
    bounds = _BOUNDS.get(ops.op_name(call) or "")
    if bounds is None:
        return
    low, high = bounds(call, ops.attributes(call))
    if low < arithmetic.INT32_MIN or high > arithmetic.INT32_MAX:
        raise UnsupportedOperatorError(
            f"layer {name}: its sums may leave the int32 range",
            hint="split the layer, make its map smaller, or quantise with larger scales",
        )


def _weighted(call: Any, attrs: Mapping[str, Any]) -> Bounds:
    """Of a convolution or dense layer, with the shift to the left before it is multiplied."""
    constants = call.args[1:]
    if not all(isinstance(constant, ir.GenericConst) for constant in constants):
        return 0, 0
    weight, bias, multiplier, shift = (
        constant.value.numpy().astype(np.int64) for constant in constants
    )
    # Output channels come first, but last in the weights of a depthwise layer.
    if ops.op_name(call) == "qnn.depthwise_conv2d":
        weight = weight.transpose(2, 0, 1)
    flat: npt.NDArray[np.int64] = weight.reshape(weight.shape[0], -1)
    # Products of int8 with the extremes of int8 bound every partial sum as well.
    ends = flat * arithmetic.INT8_MIN, flat * arithmetic.INT8_MAX
    low = bias + np.minimum(*ends).sum(axis=1)
    high = bias + np.maximum(*ends).sum(axis=1)
    left = np.clip(shift, 0, 31) if attrs["rounding"] == "double" else np.zeros_like(shift)
    # A channel whose multiplier is zero stays at its zero point whatever is shifted out.
    left = np.where(multiplier == 0, 0, left)
    return int((low << left).min()), int((high << left).max())


def _average(_call: Any, attrs: Mapping[str, Any]) -> Bounds:
    """Of a pool, with the half of a divisor that rounds away from zero."""
    return _average_bounds(prod(attrs["pool_size"]))


def _average_of_sum(_call: Any, attrs: Mapping[str, Any]) -> Bounds:
    return _average_bounds(attrs["pixels"])


def _average_bounds(elements: int) -> Bounds:
    half = elements // 2
    return elements * arithmetic.INT8_MIN - half, elements * arithmetic.INT8_MAX + half


def _mean(call: Any, attrs: Mapping[str, Any]) -> Bounds:
    shape = source.static_shape(call.args[0])
    return _mean_bounds(shape[1] * shape[2] if shape else 0, attrs)


def _mean_of_sum(_call: Any, attrs: Mapping[str, Any]) -> Bounds:
    return _mean_bounds(attrs["pixels"], attrs)


def _mean_bounds(elements: int, attrs: Mapping[str, Any]) -> Bounds:
    """Of values less their zero point, shifted to the left."""
    left, zero_point = max(attrs["shift"], 0), attrs["input_zero_point"]
    low, high = arithmetic.INT8_MIN - zero_point, arithmetic.INT8_MAX - zero_point
    # The sum as it is comes before its zero points are taken off.
    low, high = min(low << left, arithmetic.INT8_MIN), max(high << left, arithmetic.INT8_MAX)
    return elements * low, elements * high


def _global_sum(call: Any, _attrs: Mapping[str, Any]) -> Bounds:
    shape = source.static_shape(call.args[0])
    elements = shape[1] * shape[2] if shape else 0
    return elements * arithmetic.INT8_MIN, elements * arithmetic.INT8_MAX


def _softmax(call: Any, _attrs: Mapping[str, Any]) -> Bounds:
    shape = source.static_shape(call.args[0])
    return 0, (shape[-1] if shape else 0) * _SOFTMAX_ONE


_BOUNDS: dict[str, Callable[[Any, Mapping[str, Any]], Bounds]] = {
    "qnn.conv2d": _weighted,
    "qnn.depthwise_conv2d": _weighted,
    "qnn.dense": _weighted,
    "qnn.avg_pool2d": _average,
    "qnn.average_of_sum": _average_of_sum,
    "qnn.mean": _mean,
    "qnn.global_sum": _global_sum,
    "qnn.mean_of_sum": _mean_of_sum,
    "qnn.softmax": _softmax,
}
