"""The walk over an ONNX graph in QDQ form that builds the Relax module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from tvm import relax

from tvm_patch.errors import ModelFileError, UnsupportedOperatorError
from tvm_patch.importer.names import UniqueNames
from tvm_patch.importer.onnx_values import (
    Activation,
    Constant,
    Flattened,
    Order,
    Quantised,
    Real,
    Value,
    identity,
    image_order,
)

INT8_MIN, INT8_MAX = -128, 127

# uint8 activations become int8 by taking 128 off the numbers and the zero point: the same steps.
_UINT8_OFFSET = 128


class Graph:
    """Values by name, and the Relax function under construction.

    Parameters
    ----------
    source : str
        File name, for messages.
    model : onnx.ModelProto
        Checked.
    """

    def __init__(self, source: str, model: onnx.ModelProto) -> None:
        self.source = source
        self.builder = relax.BlockBuilder()
        self.names = UniqueNames()
        self.tensor_names: dict[str, str] = {}
        self.parameters: set[str] = set()
        self._origins: dict[str, str] = {}
        self._outputs = {value_info.name for value_info in model.graph.output}
        self.opset = max(
            (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
            default=1,
        )
        self.values: dict[str, Value] = {}
        for initializer in model.graph.initializer:
            self.values[initializer.name] = Constant(_array(initializer, source))

    # --- what operators ask for ----------------------------------------------------------------

    def value(self, node: onnx.NodeProto, position: int) -> Value:
        """Return an input of a node."""
        name = node.input[position]
        if name not in self.values:
            raise ModelFileError(f"{self.source}: {label(node)} reads {name!r}, which nothing sets")
        return self.values[name]

    def has_input(self, node: onnx.NodeProto, position: int) -> bool:
        """Tell whether an optional input is there."""
        return position < len(node.input) and node.input[position] != ""

    def quantised(self, node: onnx.NodeProto, position: int) -> Quantised:
        """Return an int8 activation that a node reads through ``DequantizeLinear``.

        It may be a constant, in a branch that no input reaches.
        """
        value = self.value(node, position)
        if isinstance(value, Flattened):
            return self.materialised(value, node.input[position])
        if isinstance(value, Constant) and value.array.dtype == np.int8:
            value = value.activation() or value
        if isinstance(value, Quantised) and value.scale is not None:
            return value
        raise UnsupportedOperatorError(
            f"{self.source}: {label(node)} reads {node.input[position]!r}, which is not quantised",
            hint="quantise every activation: tvm-patch quantize model.onnx --calibration data.npz",
        )

    def constant(self, node: onnx.NodeProto, position: int) -> Constant:
        """Return an input that has to be an initialiser."""
        value = self.value(node, position)
        if not isinstance(value, Constant):
            raise UnsupportedOperatorError(
                f"{self.source}: {label(node)} computes {node.input[position]!r}, "
                "which has to be a constant",
                hint="simplify the model (constant folding) before quantising it",
            )
        return value

    def integers(self, node: onnx.NodeProto, position: int) -> list[int]:
        """Return a constant input as Python integers."""
        return [int(number) for number in self.constant(node, position).array.reshape(-1)]

    def attribute(self, node: onnx.NodeProto, name: str, default: Any) -> Any:
        """Return an attribute of a node."""
        for attribute in node.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def refuse(self, node: onnx.NodeProto, reason: str) -> UnsupportedOperatorError:
        """Make the error for a form of an operator that cannot be imported."""
        return UnsupportedOperatorError(f"{self.source}: {label(node)} {reason}")

    # --- emitting ------------------------------------------------------------------------------

    def emit(self, expr: relax.Expr, name: str, suffix: str = "") -> relax.Var:
        """Bind an expression to a variable named after an ONNX tensor.

        What QuantizeLinear and DequantizeLinear yield goes by the name of what they read.
        """
        name = self._origins.get(name, name)
        variable = self.builder.emit(expr, self.names.claim(name + suffix))
        self.tensor_names[variable.name] = name
        return variable

    def same_tensor(self, node: onnx.NodeProto) -> None:
        """Note that a node's output is its input in another form; outputs keep their names."""
        if node.output[0] not in self._outputs:
            self._origins[node.output[0]] = self._origins.get(node.input[0], node.input[0])

    def real(self, expr: relax.Expr, order: Order) -> Real:
        """Wrap an expression whose type is needed at once."""
        return Real(self.builder.normalize(expr), order)

    def moved(self, value: Quantised, expr: relax.Expr, order: Order, name: str) -> Quantised:
        """Bind int8 bytes that were only moved: scale and zero point stay."""
        return Quantised(self.emit(expr, name), order, value.scale, value.zero_point)

    def ordered(self, value: Quantised, order: Order, name: str) -> Quantised:
        """Bring a value into an axis order."""
        expr = self.ordered_expr(value, order, name)
        return Quantised(expr, order, value.scale, value.zero_point)

    def ordered_expr(self, value: Activation, order: Order, name: str) -> relax.Expr:
        """Permute, or only reshape where no axis longer than one changes its place."""
        if value.order == order:
            return value.expr
        shape = value.shape
        target = tuple(shape[axis] for axis in order)
        if same_bytes(value.order, order, shape):
            return self.emit(relax.op.reshape(value.expr, target), name, "_reshaped")
        axes = [value.order.index(axis) for axis in order]
        return self.emit(relax.op.permute_dims(value.expr, axes), name, "_transposed")

    def image(self, node: onnx.NodeProto, position: int) -> Quantised:
        """Return an int8 activation in the order that operators want."""
        value = self.quantised(node, position)
        return self.ordered(value, image_order(len(value.order)), node.input[position])

    def reshaped(self, value: Quantised, shape: Sequence[int], name: str) -> Quantised:
        """Reshape with the file's own axis order."""
        plain = self.ordered(value, identity(len(value.order)), name)
        expr = relax.op.reshape(plain.expr, tuple(shape))
        return self.moved(value, expr, identity(len(shape)), name)

    def materialised(self, value: Flattened, name: str) -> Quantised:
        """Carry out a postponed flattening."""
        elements = int(np.prod(value.source.shape))
        return self.reshaped(value.source, (1, elements), name)

    def quantise(self, value: Real, scale: float, zero_point: int, name: str) -> Quantised:
        """Turn real numbers into int8, activation bounds into integer clamps."""
        expr = _quantize(value.expr, scale, zero_point)
        lowest = _steps(value.lowest, scale, zero_point, INT8_MIN)
        highest = _steps(value.highest, scale, zero_point, INT8_MAX)
        if (lowest, highest) != (INT8_MIN, INT8_MAX):
            expr = relax.op.clip(expr, lowest, highest)
        # The int8 form of an input stands beside the input itself.
        suffix = "_int8" if name in self.parameters else ""
        variable = self.emit(expr, name, suffix)
        return Quantised(variable, value.order, scale, zero_point)

    def requantised(self, value: Quantised, scale: float, zero_point: int, name: str) -> Quantised:
        """Bring a value to another scale; the same one costs nothing."""
        if (value.scale, value.zero_point) == (scale, zero_point):
            return value
        expr = _quantize(value.dequantised(), scale, zero_point)
        return Quantised(self.emit(expr, name), value.order, scale, zero_point)


def label(node: onnx.NodeProto) -> str:
    """Name a node for messages."""
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} -> {node.output[0]!r}"


def same_bytes(order: Order, other: Order, shape: Sequence[int]) -> bool:
    """Tell whether two orders of a shape lay the same bytes out alike."""
    return [axis for axis in order if shape[axis] != 1] == [
        axis for axis in other if shape[axis] != 1
    ]


def quantize_linear(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``QuantizeLinear``."""
    graph.same_tensor(node)
    scale, zero_point, _ = _parameters(graph, node)
    if scale.size != 1:
        raise graph.refuse(node, "quantises an activation per channel")
    step = float(scale.reshape(-1)[0])
    value = graph.value(node, 0)
    name = node.input[0]
    if isinstance(value, Real):
        return graph.quantise(value, step, zero_point, name)
    if isinstance(value, Flattened):
        if (value.source.scale, value.source.zero_point) == (step, zero_point):
            return value
        value = graph.materialised(value, name)
    if isinstance(value, Quantised) and value.scale is not None:
        return graph.requantised(value, step, zero_point, name)
    if isinstance(value, Constant) and value.scales is None:
        steps = np.rint(value.array.astype(np.float32) / np.float32(step)) + zero_point
        array = np.clip(steps, INT8_MIN, INT8_MAX).astype(np.int8)
        return Constant(array, np.array([step], np.float32), zero_point)
    raise graph.refuse(node, "quantises what is quantised already")


def dequantize_linear(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``DequantizeLinear``: the value stays int8 and its scale becomes known."""
    graph.same_tensor(node)
    scale, zero_point, unsigned = _parameters(graph, node)
    value = graph.value(node, 0)
    if isinstance(value, Constant):
        if value.scales is not None:
            return value
        array = value.array
        if array.dtype == np.uint8:
            array = (array.astype(np.int16) - _UINT8_OFFSET).astype(np.int8)
        if array.dtype not in (np.dtype(np.int8), np.dtype(np.int32)):
            raise graph.refuse(node, f"reads {array.dtype} weights; int8 and uint8 are supported")
        axis = int(graph.attribute(node, "axis", 1)) % max(array.ndim, 1)
        return Constant(array, scale.reshape(-1).astype(np.float32), zero_point, axis)
    if isinstance(value, Quantised) and value.scale is None and not unsigned:
        if scale.size != 1:
            raise graph.refuse(node, "dequantises an activation per channel")
        return Quantised(value.expr, value.order, float(scale.reshape(-1)[0]), zero_point)
    if isinstance(value, Quantised | Flattened):
        return value
    raise graph.refuse(node, "dequantises real numbers")


def _parameters(graph: Graph, node: onnx.NodeProto) -> tuple[npt.NDArray[np.float32], int, bool]:
    """Return scales, the zero point as of int8 numbers, and whether the file says uint8."""
    scale = graph.constant(node, 1).array
    if scale.dtype != np.float32:
        raise graph.refuse(node, f"has scales of type {scale.dtype}")
    if not np.all(np.isfinite(scale)):
        raise ModelFileError(f"{graph.source}: {label(node)} has a scale that is not finite")
    # Without a zero point the type is uint8 and the zero point 0 (ONNX, QuantizeLinear).
    points = graph.constant(node, 2).array if graph.has_input(node, 2) else None
    if points is None:
        value = graph.value(node, 0)
        known = isinstance(value, Constant) and value.array.dtype in (np.int8, np.int32)
        return scale, 0 if known else -_UINT8_OFFSET, not known
    if points.dtype == np.int32:
        return scale, 0, False
    if points.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
        raise graph.refuse(node, f"quantises to {points.dtype}; int8 and uint8 are supported")
    unsigned = points.dtype == np.uint8
    first = int(points.reshape(-1)[0])
    if np.any(points != first):
        raise graph.refuse(node, "has a zero point per channel")
    return scale, first - _UINT8_OFFSET if unsigned else first, unsigned


def _quantize(expr: relax.Expr, scale: float, zero_point: int) -> relax.Expr:
    return relax.op.quantize(
        expr, relax.const(scale, "float32"), relax.const(zero_point, "int32"), 0, "int8"
    )


def _steps(bound: float | None, scale: float, zero_point: int, limit: int) -> int:
    if bound is None or not np.isfinite(bound):
        return limit
    steps = int(np.rint(np.float32(bound) / np.float32(scale))) + zero_point
    return min(max(steps, INT8_MIN), INT8_MAX)


def _array(tensor: onnx.TensorProto, source: str) -> npt.NDArray[Any]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ModelFileError(
            f"{source}: initialiser {tensor.name!r} is stored in another file",
            hint="save the model with its weights inside (save_as_external_data=False)",
        )
    try:
        array: npt.NDArray[Any] = numpy_helper.to_array(tensor)
        return array
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(
            f"{source}: initialiser {tensor.name!r} is damaged ({error})"
        ) from error


Converter = Callable[[Graph, onnx.NodeProto], Value]


def shape_of(value: Value) -> tuple[int, ...]:
    """Return the shape of any value as the ONNX file has it."""
    if isinstance(value, Constant):
        return tuple(value.array.shape)
    if isinstance(value, Flattened):
        return (1, int(np.prod(value.source.shape)))
    return value.shape
