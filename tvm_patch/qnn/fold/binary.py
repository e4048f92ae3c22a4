"""Lowering of additions, subtractions and products of two int8 tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tvm import ir, relax

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn import arithmetic, ops
from tvm_patch.qnn.fold import source
from tvm_patch.qnn.fold.emitter import Emitter
from tvm_patch.qnn.fold.values import (
    Array,
    Dequantized,
    FloatNode,
    Quant,
    QuantizedConst,
    Target,
)
from tvm_patch.qnn.reference import kernels

_CONSTRUCTORS: Mapping[str, Callable[..., Any]] = {
    "relax.add": ops.add,
    "relax.subtract": ops.subtract,
    "relax.multiply": ops.mul,
}
_KERNELS: Mapping[str, Callable[..., Array]] = {
    "relax.add": kernels.add,
    "relax.subtract": kernels.subtract,
    "relax.multiply": kernels.mul,
}
_DOMAIN = np.arange(-128, 128).astype(np.int8)


def lower(emitter: Emitter, node: FloatNode, target: Target) -> Any:
    """Emit the operator; None if an operand is not int8 or the shapes do not broadcast."""
    shape = source.static_shape(node.call)
    operands = [_operand(emitter, arg, shape) for arg in node.args]
    sides = [side for side in operands if side is not None]
    if len(sides) < len(operands):
        return None
    shapes = [source.static_shape(data) for data, _ in sides]
    may_swap = node.op != "relax.subtract" and shapes[1] == shape
    if shapes[0] != shape and not may_swap:
        return None
    # Kernels take the larger one first, and constants second.
    if may_swap and (shapes[0] != shape or isinstance(sides[0][0], ir.GenericConst)):
        sides.reverse()
    (lhs, lhs_quant), (rhs, rhs_quant) = sides
    attributes = _attributes(node.op, lhs_quant, rhs_quant, target)
    return emitter.emit_target(_CONSTRUCTORS[node.op](lhs, rhs, **attributes), target)


def table_of_one_tensor(value: Any, target: Target) -> Array | None:
    """Table of an int8 tensor combined with one int8 constant or itself, by the same arithmetic.

    The caller has made sure that no second tensor takes part.

    Returns
    -------
    ndarray or None
        ``table[256]`` before any clip; None if ``value`` is something else.
    """
    if not isinstance(value, FloatNode) or value.op not in _KERNELS:
        return None
    quants: list[Quant] = []
    arrays: list[Array] = []
    for arg in value.args:
        if isinstance(arg, Dequantized):
            quants.append(arg.quant)
            arrays.append(_DOMAIN)
        elif isinstance(arg, QuantizedConst) and _is_int8_scalar(arg):
            quants.append(arg.quant)
            arrays.append(arg.values.reshape(()))
        else:
            return None
    full = Target(target.quant, target.name, target.is_output)
    attributes = _attributes(value.op, quants[0], quants[1], full)
    return _KERNELS[value.op](*arrays, **attributes)


def _is_int8_scalar(const: QuantizedConst) -> bool:
    return const.values.size == 1 and const.values.dtype == np.int8


def _attributes(op: str, lhs: Quant, rhs: Quant, target: Target) -> dict[str, Any]:
    """Attributes of ``qnn.add``, ``qnn.subtract`` or ``qnn.mul``."""
    common = {
        "lhs_zero_point": lhs.zero_point,
        "rhs_zero_point": rhs.zero_point,
        "output_zero_point": target.quant.zero_point,
        "clamp_min": target.clamp[0],
        "clamp_max": target.clamp[1],
    }
    if op == "relax.multiply":
        multiplier, shift = arithmetic.mul_multiplier(lhs.scale, rhs.scale, target.quant.scale)
        return {**common, "multiplier": multiplier, "shift": shift}
    try:
        parameters = arithmetic.add_parameters(lhs.scale, rhs.scale, target.quant.scale)
    except ValueError as error:
        raise UnsupportedOperatorError(
            f"layer {target.name}: its output scale {target.quant.scale} is too small for input "
            f"scales {lhs.scale} and {rhs.scale}",
            hint="quantise the model with a wider calibration range",
        ) from error
    return {**common, **vars(parameters)}


def _operand(emitter: Emitter, value: Any, shape: Sequence[int] | None) -> tuple[Any, Quant] | None:
    if isinstance(value, Dequantized) and isinstance(value.data, ir.GenericConst):
        return _spread(value.data, shape), value.quant
    if isinstance(value, Dequantized):
        return emitter.integer(value.data), value.quant
    if isinstance(value, QuantizedConst) and value.is_activation:
        return relax.const(np.ascontiguousarray(value.values), "int8"), value.quant
    return None


def _spread(const: Any, shape: Sequence[int] | None) -> Any:
    """A constant that differs along rows or columns as large as what it is combined with."""
    values = source.constant_array(const)
    if shape is None or values.size in (1, shape[-1]):
        return const
    return relax.const(np.ascontiguousarray(np.broadcast_to(values, shape)), "int8")
