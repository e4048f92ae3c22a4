"""Real functions of one int8 tensor, turned into lookup tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tvm_patch.qnn import tables
from tvm_patch.qnn.fold import binary, source
from tvm_patch.qnn.fold.values import Array, Dequantized, FloatNode, Padded, QuantizedConst, Target
from tvm_patch.qnn.reference import kernels

_DOMAIN = np.arange(-128, 128, dtype=np.int64)

#: Elementwise operators that can be tabulated in float32.
_ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    "relax.add": np.add,
    "relax.subtract": np.subtract,
    "relax.multiply": np.multiply,
    "relax.divide": np.divide,
    "relax.maximum": np.maximum,
    "relax.minimum": np.minimum,
    "relax.power": np.power,
    "relax.negative": np.negative,
    "relax.abs": np.abs,
    "relax.exp": np.exp,
    "relax.sqrt": np.sqrt,
    "relax.tanh": np.tanh,
    "relax.square": np.square,
    "relax.sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relax.nn.silu": lambda x: x / (1 + np.exp(-x)),
}
_HARD_SWISH_OPS = {"relax.add", "relax.clip", "relax.nn.relu6", "relax.multiply", "relax.divide"}


def tabulate(value: Any, target: Target) -> tuple[Any, Array] | None:
    """Table of a real function of one int8 tensor.

    Parameters
    ----------
    value : Dequantized or FloatNode
        The real value to quantise.
    target : Target
        The int8 tensor to make; its clip is left to the caller.

    Returns
    -------
    tuple or None
        The int8 tensor and ``table[256]``; None if ``value`` is no such function. LiteRT's
        operators get LiteRT's arithmetic, everything else is evaluated in float32.
    """
    leaf = _leaf(value)
    if leaf is None:
        return None
    quant = target.quant
    scales = (
        leaf.quant.scale,
        leaf.quant.zero_point,
        quant.scale,
        quant.zero_point,
    )
    table = _litert_table(value, scales)
    if table is None:
        table = binary.table_of_one_tensor(value, target)
    if table is None:
        real = np.float32(leaf.quant.scale) * (_DOMAIN - leaf.quant.zero_point).astype(np.float32)
        with np.errstate(all="ignore"):
            result = _evaluate(value, real)
        if not np.all(np.isfinite(result)):
            return None
        table = kernels.quantize(result, scale=quant.scale, zero_point=quant.zero_point)
    return leaf.data, table


def _litert_table(value: Any, scales: tuple[float, int, float, int]) -> Array | None:
    """Table of an operator that LiteRT has; None for any other function."""
    if isinstance(value, Dequantized):
        return tables.requantize(*scales)
    if isinstance(value.args[0], Dequantized):
        bounds = source.clip_bounds(value.call)
        if bounds is not None:
            return tables.clipped(*bounds, *scales)
        if value.op == "relax.sigmoid":
            return tables.logistic(*scales)
        if value.op == "relax.tanh":
            return tables.tanh(*scales)
        if value.op == "relax.nn.leakyrelu":
            return tables.leaky_relu(float(value.call.attrs.alpha), *scales)
    if _is_hard_swish(value):
        return tables.hard_swish(*scales)
    return None


def _leaf(value: Any) -> Dequantized | None:
    """The one int8 tensor that an elementwise expression depends on."""
    leaves: list[Dequantized] = []
    if not _collect(value, leaves) or not leaves:
        return None
    first = leaves[0]
    if any(leaf.data is not first.data or leaf.quant != first.quant for leaf in leaves):
        return None
    if isinstance(value, FloatNode) and _rank(first.data) != len(value.call.ty.shape):
        return None
    return first


def _rank(data: Any) -> int:
    return len(data.width) // 2 if isinstance(data, Padded) else len(data.ty.shape)


def _collect(value: Any, leaves: list[Dequantized]) -> bool:
    if isinstance(value, Dequantized):
        leaves.append(value)
        return True
    if isinstance(value, FloatNode):
        known = (
            value.op in _ELEMENTWISE
            or value.op == "relax.nn.leakyrelu"
            or source.clip_bounds(value.call) is not None
        )
        return known and all(_collect(arg, leaves) for arg in _operands(value))
    if isinstance(value, QuantizedConst):
        return bool(value.values.size == 1)
    return isinstance(value, np.ndarray) and value.size == 1


def _operands(node: FloatNode) -> tuple[Any, ...]:
    """Tensor arguments; those of a clip's bounds are not."""
    return node.args[:1] if node.op == "relax.clip" else node.args


def _evaluate(value: Any, real: Array) -> Array:
    """Value of the expression over all 256 inputs, float32."""
    if isinstance(value, Dequantized):
        return real
    if isinstance(value, QuantizedConst):
        return value.real().reshape(())
    if isinstance(value, np.ndarray):
        return value.astype(np.float32).reshape(())
    operands = [_evaluate(arg, real) for arg in _operands(value)]
    bounds = source.clip_bounds(value.call)
    if bounds is not None:
        low, high = (None if bound is None else np.float32(bound) for bound in bounds)
        return np.clip(operands[0], low, high)
    if value.op == "relax.nn.leakyrelu":
        slope = np.float32(value.call.attrs.alpha)
        return np.where(operands[0] > 0, operands[0], operands[0] * slope)
    return np.asarray(_ELEMENTWISE[value.op](*operands), dtype=np.float32)


def _is_hard_swish(value: FloatNode) -> bool:
    """Whether the expression is ``x * relu6(x + 3) / 6`` in whatever arrangement."""
    operators: list[str] = []
    pending: list[Any] = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, FloatNode):
            operators.append(node.op)
            pending.extend(_operands(node))
    if len(operators) < 3 or not set(operators) <= _HARD_SWISH_OPS:
        return False
    probe = np.linspace(-8, 8, 257, dtype=np.float32)
    expected = probe * np.clip(probe + 3, 0, 6) / 6
    return bool(np.allclose(_evaluate(value, probe), expected, rtol=1e-5, atol=1e-5))
