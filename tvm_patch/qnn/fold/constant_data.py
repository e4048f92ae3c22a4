"""Constants that stand where an operator takes an activation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from tvm import relax

from tvm_patch.qnn.fold import weighted
from tvm_patch.qnn.fold.quantized import is_biased
from tvm_patch.qnn.fold.values import Dequantized, FloatNode, QuantizedConst


class ConstantData:
    """Makes int8 tensors of the constants that the calls of one expression take for data.

    So these calls get their integer operator like any other; what depends on no input is computed
    afterwards, see :mod:`tvm_patch.qnn.constants`. Weights and biases stay what they are, and so
    do scalars that an int8 tensor is combined with: they make a table.
    """

    def __init__(self) -> None:
        self._tensors: dict[int, Dequantized] = {}

    def of(self, node: FloatNode) -> FloatNode:
        """The call over int8 tensors."""
        converted: FloatNode = self._converted(node, with_scalars=not _has_tensor(node))
        return converted

    def _converted(self, value: Any, *, with_scalars: bool) -> Any:
        if isinstance(value, tuple):
            return tuple(self._converted(field, with_scalars=True) for field in value)
        if isinstance(value, QuantizedConst):
            is_data = value.is_activation and (with_scalars or value.values.size > 1)
            return self._tensor(value) if is_data else value
        if not isinstance(value, FloatNode):
            return value
        if value.op in weighted.WEIGHTED_OPS:
            data = self._converted(value.args[0], with_scalars=True)
            return replace(value, args=(data, *value.args[1:]))
        calls = tuple(
            self._converted(arg, with_scalars=with_scalars) if isinstance(arg, FloatNode) else arg
            for arg in value.args
        )
        node = replace(value, args=calls)
        if node.op == "relax.add" and is_biased(node):
            return node
        args = tuple(self._converted(arg, with_scalars=with_scalars) for arg in node.args)
        return replace(node, args=args)

    def _tensor(self, const: QuantizedConst) -> Dequantized:
        """The same tensor for the same constant, since a table is of one tensor."""
        if id(const) not in self._tensors:
            integers = relax.const(np.ascontiguousarray(const.values), "int8")
            self._tensors[id(const)] = Dequantized(integers, const.quant)
        return self._tensors[id(const)]


def _has_tensor(value: Any) -> bool:
    """Whether an int8 tensor of the network goes into an expression."""
    if isinstance(value, FloatNode):
        # What else a clip takes are its bounds.
        args = value.args[:1] if value.op == "relax.clip" else value.args
        return any(_has_tensor(arg) for arg in args)
    if isinstance(value, tuple):
        return any(_has_tensor(field) for field in value)
    return isinstance(value, (Dequantized, relax.Expr))
