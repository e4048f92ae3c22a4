"""Lowering of one quantised real value to integer operators: the heart of the fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn import arithmetic, ops, tables
from tvm_patch.qnn.fold import binary, movement, source, unary, weighted
from tvm_patch.qnn.fold.emitter import Emitter
from tvm_patch.qnn.fold.values import (
    Dequantized,
    FloatNode,
    Quant,
    QuantizedConst,
    Target,
)

SOFTMAX_QUANT = Quant(1 / 256, -128)
# LiteRT's pooling kernels take scales as equal up to this.
_POOL_SCALE_TOLERANCE = 1e-6


def lower(emitter: Emitter, value: Any, target: Target) -> Any:
    """Emit ``quantize(value)``.

    Parameters
    ----------
    emitter : Emitter
        Where to.
    value : Dequantized, FloatNode or Expr
        The real value; an expression is a float32 input of the network.
    target : Target
        The int8 tensor to make of it.

    Returns
    -------
    Expr or None
        The int8 result; None if the value has no integer form.
    """
    if isinstance(value, relax.Expr):
        quantised = ops.quantize(
            value, scale=target.quant.scale, zero_point=target.quant.zero_point
        )
        return emitter.emit_clamped(quantised, target)
    if isinstance(value, Dequantized) and value.quant == target.quant:
        return _same(emitter, value.data, target)
    tabulated = unary.tabulate(value, target)
    if tabulated is not None:
        data, table = tabulated
        return emit_table(emitter, emitter.integer(data), table, target)
    if not isinstance(value, FloatNode):
        return None
    bounds = source.clip_bounds(value.call)
    if bounds is not None:
        quant = target.quant
        inner = arithmetic.clamp_range(*bounds, quant.scale, quant.zero_point)
        return lower(emitter, value.args[0], target.clamped(*inner))
    if movement.is_movement(value.op):
        return _lower_movement(emitter, value, target)
    if value.op == "relax.add" and is_biased(value):
        product, bias = value.args if weighted.is_weighted(value.args[0]) else value.args[::-1]
        return weighted.lower(emitter, product, bias, target)
    if weighted.is_weighted(value):
        return weighted.lower(emitter, value, None, target)
    handler = _HANDLERS.get(value.op)
    return None if handler is None else handler(emitter, value, target)


def emit_table(emitter: Emitter, data: Any, table: Any, target: Target) -> Any:
    """Emit a lookup whose table also does the target's clip."""
    return emitter.emit_target(ops.lookup(data, np.clip(table, *target.clamp)), target)


def _same(emitter: Emitter, data: Any, target: Target) -> Any:
    """Quantising back to the same parameters: nothing, or a clip."""
    if target.is_full_range:
        return data
    identity = np.arange(-128, 128).astype(np.int8)
    return emit_table(emitter, emitter.integer(data), identity, target)


def _lower_movement(emitter: Emitter, node: FloatNode, target: Target) -> Any:
    """Movement of a pending value: quantise first, then move the bytes."""
    inner = Target(target.quant, f"{target.name}_source", False, target.clamp)
    data = lower(emitter, node.args[0], inner)
    if data is None:
        return None
    moved = movement.rebuild(node.call, emitter.integer(data))
    return None if moved is None else emitter.emit_target(moved, target)


def is_biased(node: FloatNode) -> bool:
    """Whether an addition adds one constant per channel to a weighted sum."""
    for product, bias in (node.args, node.args[::-1]):
        if weighted.is_weighted(product) and isinstance(bias, (QuantizedConst, np.ndarray)):
            shape = source.static_shape(product.call)
            values = bias.values if isinstance(bias, QuantizedConst) else bias
            return (
                shape is not None
                and values.size in (1, values.shape[-1], shape[-1])
                and (values.size in (1, shape[-1]))
            )
    return False


def _lower_softmax(emitter: Emitter, node: FloatNode, target: Target) -> Any:
    data, beta = _softmax_input(node.args[0])
    shape = source.static_shape(node.call)
    axis = int(node.call.attrs.axis)
    if data is None or shape is None or axis not in (-1, len(shape) - 1):
        return None
    try:
        parameters = arithmetic.softmax_parameters(data.quant.scale, beta)
    except ValueError as error:
        raise UnsupportedOperatorError(f"layer {target.name}: {error}") from error
    call = ops.softmax(emitter.integer(data.data), **vars(parameters))
    if target.quant == SOFTMAX_QUANT:
        return emitter.emit_clamped(call, target)
    inner = emitter.emit(call, f"{target.name}_softmax")
    return _requantized(emitter, inner, SOFTMAX_QUANT, target)


def _softmax_input(value: Any) -> tuple[Dequantized | None, float]:
    """The logits and the beta that multiplies them."""
    if isinstance(value, Dequantized):
        return value, 1.0
    if isinstance(value, FloatNode) and value.op == "relax.multiply":
        for data, factor in (value.args, value.args[::-1]):
            if (
                isinstance(data, Dequantized)
                and isinstance(factor, np.ndarray)
                and factor.size == 1
            ):
                return data, float(factor.reshape(()))
    return None, 1.0


def _lower_avg_pool2d(emitter: Emitter, node: FloatNode, target: Target) -> Any:
    data = node.args[0]
    window = movement.pool_window(node.call)
    if not isinstance(data, Dequantized) or window is None:
        return None
    if bool(node.call.attrs.count_include_pad) and any(window["padding"]):
        return None
    same = (
        abs(data.quant.scale - target.quant.scale) <= _POOL_SCALE_TOLERANCE
        and data.quant.zero_point == target.quant.zero_point
    )
    tensor = emitter.integer(data.data)
    if same:
        low, high = target.clamp
        call = ops.avg_pool2d(tensor, clamp_min=low, clamp_max=high, **window)
        return emitter.emit_target(call, target)
    inner = emitter.emit(ops.avg_pool2d(tensor, **window), f"{target.name}_pool")
    return _requantized(emitter, inner, data.quant, target)


def _lower_mean(emitter: Emitter, node: FloatNode, target: Target) -> Any:
    data = node.args[0]
    shape = source.static_shape(data.data) if _is_plain(data) else None
    if shape is None or len(shape) != 4:
        return None
    if node.op == "relax.mean":
        axes = [axis % 4 for axis in source.ints(node.call.attrs.axis or range(4))]
        keepdims = bool(node.call.attrs.keepdims)
    else:
        if source.static_shape(node.call) != [shape[0], 1, 1, shape[3]]:
            return None
        axes, keepdims = [1, 2], True
    if sorted(axes) != [1, 2]:
        return None
    multiplier, shift = arithmetic.mean_multiplier(
        data.quant.scale, target.quant.scale, shape[1] * shape[2]
    )
    call = ops.mean(
        data.data,
        axes=[1, 2],
        keepdims=keepdims,
        input_zero_point=data.quant.zero_point,
        output_zero_point=target.quant.zero_point,
        multiplier=multiplier,
        shift=shift,
    )
    return emitter.emit_clamped(call, target)


def _is_plain(value: Any) -> bool:
    return isinstance(value, Dequantized) and isinstance(value.data, relax.Expr)


def _lower_concat(emitter: Emitter, node: FloatNode, target: Target) -> Any:
    fields = node.args[0]
    shape = source.static_shape(node.call)
    if shape is None or not isinstance(fields, tuple):
        return None
    parts = []
    for index, field in enumerate(fields):
        inner = Target(target.quant, f"{target.name}_input{index}", False)
        part = lower(emitter, field, inner) if not isinstance(field, np.ndarray) else None
        if part is None:
            return None
        parts.append(emitter.integer(part))
    axis = int(node.call.attrs.axis) % len(shape)
    return emitter.emit_clamped(ops.concatenate(parts, axis=axis), target)


def _requantized(emitter: Emitter, data: Any, quant: Quant, target: Target) -> Any:
    table = tables.requantize(
        quant.scale, quant.zero_point, target.quant.scale, target.quant.zero_point
    )
    return emit_table(emitter, data, table, target)


_HANDLERS: Mapping[str, Callable[[Emitter, FloatNode, Target], Any]] = {
    "relax.add": binary.lower,
    "relax.subtract": binary.lower,
    "relax.multiply": binary.lower,
    "relax.nn.softmax": _lower_softmax,
    "relax.nn.avg_pool2d": _lower_avg_pool2d,
    "relax.nn.adaptive_avg_pool2d": _lower_mean,
    "relax.mean": _lower_mean,
    "relax.concat": _lower_concat,
}
