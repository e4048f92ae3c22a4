"""Lowering of convolutions and matrix products with their bias."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn import arithmetic, ops
from tvm_patch.qnn.fold import source
from tvm_patch.qnn.fold.emitter import Emitter
from tvm_patch.qnn.fold.values import (
    Array,
    Dequantized,
    FloatNode,
    Padded,
    QuantizedConst,
    Target,
)

WEIGHTED_OPS = ("relax.nn.conv2d", "relax.matmul")
# Bias scales may differ from input scale times weight scale by float rounding alone; beyond
# that (ONNX allows it) the bias is requantised.
_BIAS_SCALE_TOLERANCE = 1e-3


def is_weighted(node: Any) -> bool:
    """Whether ``node`` is a convolution or product of an int8 tensor with constant weights."""
    return (
        isinstance(node, FloatNode)
        and node.op in WEIGHTED_OPS
        and isinstance(node.args[0], Dequantized)
        and isinstance(node.args[1], QuantizedConst)
    )


def lower(emitter: Emitter, node: FloatNode, bias: Any, target: Target) -> Any:
    """Emit the integer operator of a weighted node; None if it has no integer form."""
    if node.op == "relax.matmul":
        return _lower_dense(emitter, node, bias, target)
    return _lower_conv2d(emitter, node, bias, target)


def _lower_conv2d(emitter: Emitter, node: FloatNode, bias: Any, target: Target) -> Any:
    data, weight = node.args
    attrs = node.call.attrs
    if (str(attrs.data_layout), str(attrs.out_layout)) != ("NHWC", "NHWC"):
        return None
    kernel = str(attrs.kernel_layout)
    if sorted(kernel) != sorted("OIHW"):
        return None
    order = [kernel.index(axis) for axis in "OHWI"]
    values = weight.values.transpose(order)
    scales = _channel_scales(weight, weight.scale.transpose(order), target)
    padding = source.ints(attrs.padding)
    tensor = data.data
    if isinstance(tensor, Padded) and _foldable(tensor, data.quant.zero_point):
        padding = _added(padding, tensor.width)
        tensor = tensor.source
    tensor = emitter.integer(tensor)
    groups = int(attrs.groups)
    window: dict[str, Any] = {
        "strides": source.ints(attrs.strides),
        "padding": padding,
        "dilation": source.ints(attrs.dilation),
    }
    multiplier, shift = arithmetic.conv_multipliers(data.quant.scale, scales, target.quant.scale)
    folded = _folded_bias(values, bias, data, scales, multiplier, target)
    common = _common(data, target, rounding="double")
    if values.shape[3] == 1 and groups > 1:
        # OHW1 to HWC; output channel o reads input channel o // M in either layout.
        call = ops.depthwise_conv2d(
            tensor,
            values[..., 0].transpose(1, 2, 0),
            folded,
            multiplier,
            shift,
            depth_multiplier=values.shape[0] // groups,
            **window,
            **common,
        )
    else:
        call = ops.conv2d(
            tensor, values, folded, multiplier, shift, groups=groups, **window, **common
        )
    return emitter.emit_target(call, target)


def _lower_dense(emitter: Emitter, node: FloatNode, bias: Any, target: Target) -> Any:
    data, weight = node.args
    tensor = emitter.integer(data.data)
    shape = source.static_shape(tensor)
    if weight.values.ndim != 2 or shape is None or len(shape) != 2 or shape[0] != 1:
        return None
    values = weight.values.T
    scales = _channel_scales(weight, weight.scale.T, target)
    multiplier, shift = arithmetic.dense_multipliers(
        data.quant.scale, scales if weight.per_channel else scales[:1], target.quant.scale
    )
    channels = values.shape[0]
    multiplier, shift = np.resize(multiplier, channels), np.resize(shift, channels)
    folded = _folded_bias(values, bias, data, scales, multiplier, target)
    call = ops.dense(
        tensor, values, folded, multiplier, shift, **_common(data, target, rounding="single")
    )
    return emitter.emit_target(call, target)


def _common(data: Dequantized, target: Target, rounding: str) -> dict[str, Any]:
    return {
        "input_zero_point": data.quant.zero_point,
        "output_zero_point": target.quant.zero_point,
        "clamp_min": target.clamp[0],
        "clamp_max": target.clamp[1],
        "rounding": rounding,
    }


def _foldable(padded: Padded, zero_point: int) -> bool:
    """Whether a padding of H and W reads exactly as the convolution's own padding does."""
    return padded.value == zero_point and not any(padded.width[:2] + padded.width[6:])


def _added(padding: list[int], width: tuple[int, ...]) -> list[int]:
    top, left, bottom, right = padding
    return [top + width[2], left + width[4], bottom + width[3], right + width[5]]


def _channel_scales(weight: QuantizedConst, scale: Array, target: Target) -> Array:
    """``[O]`` scales of weights given output channels first, after checking them."""
    if weight.values.dtype != np.int8:
        raise UnsupportedOperatorError(
            f"layer {target.name}: weights are {weight.values.dtype}, not int8",
            hint="quantise the weights as int8",
        )
    if np.any(weight.zero_point):
        raise UnsupportedOperatorError(
            f"layer {target.name}: its weights have a zero point other than 0",
            hint="quantise the weights symmetrically",
        )
    flat = scale.reshape(scale.shape[0], -1)
    if np.any(flat != flat[:, :1]):
        raise UnsupportedOperatorError(
            f"layer {target.name}: weight scales vary along another axis than output channels",
            hint="quantise the weights per tensor or per output channel",
        )
    return flat[:, 0]


def _folded_bias(
    weight: Array,
    bias: Any,
    data: Dequantized,
    scales: Array,
    multiplier: Array,
    target: Target,
) -> Array:
    """``[O]`` int32 bias less ``zero_point * sum(weight)``."""
    channels = weight.shape[0]
    flat = weight.reshape(channels, -1).astype(np.int64)
    folded = _integer_bias(bias, data, scales, target) - data.quant.zero_point * flat.sum(axis=1)
    # Scales too small for a multiplier leave a channel at its zero point whatever it sums up;
    # converters give such channels the largest bias there is.
    folded = np.where(multiplier == 0, 0, folded)
    if np.any(np.abs(folded) > arithmetic.INT32_MAX):
        raise _large_bias(target)
    return np.asarray(folded, dtype=np.int64)


def _integer_bias(bias: Any, data: Dequantized, scales: Array, target: Target) -> Array:
    """``[O]`` bias at the scale of the accumulator, int64."""
    channels = scales.shape[0]
    if bias is None:
        return np.zeros(channels, np.int64)
    unit = np.float64(np.float32(data.quant.scale)) * scales.astype(np.float64)
    if isinstance(bias, QuantizedConst) and not np.any(bias.zero_point):
        own = np.resize(bias.scale.reshape(-1), channels).astype(np.float64)
        if np.all(np.abs(own - unit) <= _BIAS_SCALE_TOLERANCE * unit):
            return np.resize(bias.values.reshape(-1), channels).astype(np.int64)
    real = bias.real() if isinstance(bias, QuantizedConst) else bias
    steps = np.resize(np.asarray(real, np.float64).reshape(-1), channels) / unit
    if np.any(np.abs(steps) > arithmetic.INT32_MAX):
        raise _large_bias(target)
    return np.asarray(np.rint(steps), dtype=np.int64)


def _large_bias(target: Target) -> UnsupportedOperatorError:
    return UnsupportedOperatorError(
        f"layer {target.name}: its bias does not fit into int32",
        hint="quantise the layer with larger scales",
    )
