"""ONNX operators that compute element by element, reduce, or join tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from tvm import relax

from tvm_patch.importer.onnx_graph import Graph, shape_of
from tvm_patch.importer.onnx_values import (
    Constant,
    Flattened,
    Order,
    Quantised,
    Real,
    Value,
    image_order,
)

# What LiteRT's integer softmax writes: probabilities in steps of 1/256 from -128.
_SOFTMAX_SCALE, _SOFTMAX_ZERO_POINT = 1 / 256, -128


def binary(relax_op: Callable[..., relax.Expr]) -> Callable[[Graph, onnx.NodeProto], Value]:
    """Make the converter of ``Add``, ``Sub`` or ``Mul``."""

    def convert(graph: Graph, node: onnx.NodeProto) -> Value:
        values = [graph.value(node, 0), graph.value(node, 1)]
        if relax_op is relax.op.multiply:
            gated = _hard_swish(graph, values)
            if gated is not None:
                return gated
        rank = max(len(shape_of(value)) for value in values)
        order = image_order(rank)
        operands = [_operand(graph, node, position, rank, order) for position in (0, 1)]
        return graph.real(relax_op(*operands), order)

    return convert


def relu(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Relu``."""
    return _bounded(graph, node, 0.0, None)


def clip(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Clip`` with constant bounds, given as attributes before opset 11."""
    bounds: list[float | None] = []
    for position, name in ((1, "min"), (2, "max")):
        bound = graph.attribute(node, name, None)
        if graph.has_input(node, position):
            constant = graph.constant(node, position)
            number = constant.array.astype(np.float64).reshape(-1)[0]
            if constant.scales is not None:
                number = (number - constant.zero_point) * float(constant.scales[0])
            bound = float(number)
        bounds.append(None if bound is None else float(bound))
    return _bounded(graph, node, bounds[0], bounds[1])


def sigmoid(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Sigmoid``."""
    return _unary(graph, node, relax.op.sigmoid)


def tanh(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Tanh``."""
    return _unary(graph, node, relax.op.tanh)


def leaky_relu(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``LeakyRelu``."""
    alpha = float(graph.attribute(node, "alpha", 0.01))
    return _unary(graph, node, lambda x: relax.op.nn.leakyrelu(x, alpha))


def hard_swish(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``HardSwish``."""
    return _unary(graph, node, _hard_swish_expr)


def hard_sigmoid(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``HardSigmoid``; multiplied by its own input it is a hard swish."""
    alpha = float(graph.attribute(node, "alpha", 0.2))
    beta = float(graph.attribute(node, "beta", 0.5))
    data = graph.quantised(node, 0)
    line = relax.op.add(
        relax.op.multiply(data.dequantised(), relax.const(alpha, "float32")),
        relax.const(beta, "float32"),
    )
    expr = graph.builder.normalize(relax.op.clip(line, 0.0, 1.0))
    swish = math.isclose(alpha, 1 / 6, rel_tol=1e-3) and math.isclose(beta, 0.5)
    return Real(expr, data.order, gate_of=data if swish else None)


def softmax(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Softmax`` over the last physical axis; other scales than 1/256 follow it."""
    data = graph.quantised(node, 0)
    rank = len(data.order)
    axis = int(graph.attribute(node, "axis", -1 if graph.opset >= 13 else 1))
    data = graph.ordered(data, image_order(rank), node.input[0])
    if data.position(axis) != rank - 1:
        raise graph.refuse(node, "is not over the channels")
    real = graph.real(relax.op.nn.softmax(data.dequantised(), axis=-1), data.order)
    return graph.quantise(real, _SOFTMAX_SCALE, _SOFTMAX_ZERO_POINT, node.output[0])


def concat(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Concat``."""
    count = len(node.input)
    order = image_order(len(shape_of(graph.value(node, 0))))
    axis = order.index(int(graph.attribute(node, "axis", 0)) % len(order))
    parts = [_operand(graph, node, position, len(order), order) for position in range(count)]
    return graph.real(relax.op.concat(parts, axis), order)


def reduce_mean(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``ReduceMean`` over constant axes, an input since opset 18."""
    data = graph.image(node, 0)
    rank = len(data.order)
    axes = graph.attribute(node, "axes", None)
    if graph.has_input(node, 1):
        axes = graph.integers(node, 1)
    logical = {int(axis) % rank for axis in (range(rank) if axes is None else axes)}
    keep = bool(graph.attribute(node, "keepdims", 1))
    positions = sorted(data.position(axis) for axis in logical)
    expr = relax.op.mean(data.dequantised(), positions, keep)
    if keep:
        return graph.real(expr, data.order)
    left = [axis for axis in data.order if axis not in logical]
    order = tuple(sorted(left).index(axis) for axis in left)
    return graph.real(expr, order)


def _bounded(
    graph: Graph, node: onnx.NodeProto, lowest: float | None, highest: float | None
) -> Value:
    value = graph.value(node, 0)
    if isinstance(value, Real):
        return value.clamped(lowest, highest)
    data = graph.quantised(node, 0)
    if (lowest, highest) == (0.0, None):
        return graph.real(relax.op.nn.relu(data.dequantised()), data.order)
    low = -math.inf if lowest is None else lowest
    high = math.inf if highest is None else highest
    # Bounds beyond what int8 represents are the ends of its range.
    assert data.scale is not None
    low = max(low, (-128 - data.zero_point) * data.scale)
    high = min(high, (127 - data.zero_point) * data.scale)
    return graph.real(relax.op.clip(data.dequantised(), low, high), data.order)


def _unary(
    graph: Graph, node: onnx.NodeProto, function: Callable[[relax.Expr], relax.Expr]
) -> Value:
    data = graph.quantised(node, 0)
    return graph.real(function(data.dequantised()), data.order)


def _hard_swish_expr(x: relax.Expr) -> relax.Expr:
    # The form of TVM's TFLite front end, so that there is one pattern to fold.
    gate = relax.op.clip(relax.op.add(x, relax.const(3.0, "float32")), 0.0, 6.0)
    return relax.op.divide(relax.op.multiply(x, gate), relax.const(6.0, "float32"))


def _hard_swish(graph: Graph, values: list[Any]) -> Value | None:
    for gate, other in (values, values[::-1]):
        if not isinstance(gate, Real) or gate.gate_of is None or not isinstance(other, Quantised):
            continue
        if gate.gate_of.expr.same_as(other.expr) and gate.order == other.order:
            return graph.real(
                _hard_swish_expr(graph.builder.normalize(other.dequantised())), other.order
            )
    return None


def _operand(graph: Graph, node: onnx.NodeProto, position: int, rank: int, order: Order) -> Any:
    """Return one input as real numbers in an axis order, ranks filled up with ones in front."""
    value = graph.value(node, position)
    name = node.input[position]
    if isinstance(value, Constant):
        if value.scales is None or value.per_channel:
            raise graph.refuse(node, f"reads the constant {name!r}, which is not quantised to int8")
        shape = (1,) * (rank - value.array.ndim) + value.array.shape
        array = value.array.reshape(shape).transpose(order)
        return relax.op.dequantize(
            relax.const(np.ascontiguousarray(array), "int8"),
            relax.const(value.scales[0], "float32"),
            relax.const(value.zero_point, "int32"),
            0,
        )
    if isinstance(value, Flattened):
        value = graph.materialised(value, name)
    data = graph.quantised(node, position) if not isinstance(value, Quantised) else value
    if data.scale is None:
        data = graph.quantised(node, position)
    if len(data.order) < rank:
        shape = (1,) * (rank - len(data.order)) + data.shape
        data = graph.reshaped(data, shape, f"{name}_{rank}d")
    return graph.ordered(data, order, name).dequantised()
