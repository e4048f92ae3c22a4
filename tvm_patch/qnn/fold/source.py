"""Reading the QDQ function: bindings, uses, results, attributes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from tvm import ir, relax

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn.fold.values import Array
from tvm_patch.qnn.ops import registry


class Source:
    """A straight-line Relax function in A-normal form.

    Raises
    ------
    UnsupportedOperatorError
        If the function has control flow.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        self.bindings: list[tuple[Any, Any]] = []
        self._users: dict[Any, list[Any]] = defaultdict(list)
        self._values: dict[Any, Any] = {}
        body = function.body
        if isinstance(body, relax.SeqExpr):
            self._read(body)
            body = body.body
        self.results, self.is_tuple = self._results(body)
        self._output_roots = {self.root(result) for result in self.results}

    def _read(self, body: Any) -> None:
        for block in body.blocks:
            for binding in block.bindings:
                value = binding.value
                if isinstance(value, (relax.If, relax.Function)):
                    raise UnsupportedOperatorError(
                        f"{binding.var.name}: control flow has no place in an int8 network",
                        hint="export the network without conditionals and loops",
                    )
                self.bindings.append((binding.var, value))
                self._values[binding.var] = value
                for used in _variables(value):
                    self._users[used].append(binding.var)

    def _results(self, body: Any) -> tuple[list[Any], bool]:
        root = self.root(body)
        if isinstance(self._values.get(root), relax.Tuple):
            root = self._values[root]
        if isinstance(root, relax.Tuple):
            return list(root.fields), True
        return [body], False

    def root(self, expr: Any) -> Any:
        """Follow plain aliases ``y = x`` back to the variable that was computed."""
        while isinstance(self._values.get(expr), relax.Var):
            expr = self._values[expr]
        return expr

    def is_output(self, var: Any) -> bool:
        """Whether the function returns ``var``, perhaps by another name."""
        return var in self._output_roots

    def sole_user(self, var: Any) -> tuple[Any, Any] | None:
        """The one binding that uses ``var``, or None with several uses or as a result."""
        users = self._users.get(var, [])
        if len(users) != 1 or self.is_output(var):
            return None
        return users[0], self._values[users[0]]


def _variables(expr: Any) -> list[Any]:
    found: list[Any] = []
    relax.analysis.post_order_visit(
        expr, lambda node: found.append(node) if isinstance(node, relax.Var) else None
    )
    return found


def ints(value: Any) -> list[int]:
    """Integers of an attribute, a shape or a tuple of integer expressions."""
    items = value
    if isinstance(value, relax.ShapeExpr):
        items = value.values
    elif isinstance(value, relax.Tuple):
        items = value.fields
    return [int(getattr(item, "value", item)) for item in items]


def number(value: Any) -> float:
    """A scalar attribute or scalar constant argument."""
    if isinstance(value, ir.GenericConst):
        return float(value.value.numpy())
    return float(getattr(value, "value", value))


def static_shape(expr: Any) -> list[int] | None:
    """Static shape of a tensor expression, None where it is not known."""
    ty = expr.ty
    if not isinstance(ty, relax.TensorType) or ty.shape is None:
        return None
    sizes = [getattr(dim, "value", dim) for dim in ty.shape]
    return sizes if all(isinstance(size, int) for size in sizes) else None


def dtype_of(expr: Any) -> str | None:
    """Element type of a tensor expression, None for anything else."""
    return str(expr.ty.dtype) if isinstance(expr.ty, relax.TensorType) else None


def constant_array(expr: Any) -> Array:
    """Value of a constant expression."""
    return np.asarray(expr.value.numpy())


def clip_bounds(call: Any) -> tuple[float | None, float | None] | None:
    """Interval of a clipping operator, None if ``call`` is none."""
    name = registry.op_name(call)
    if name == "relax.clip":
        return number(call.args[1]), number(call.args[2])
    if name == "relax.nn.relu":
        return 0.0, None
    if name == "relax.nn.relu6":
        return 0.0, 6.0
    return None


def spread(values: Array, parameter: Array, axis: int) -> Array:
    """Broadcast a scalar or per-channel parameter to the shape of ``values``."""
    if parameter.size > 1:
        shape = [1] * values.ndim
        shape[axis % values.ndim] = parameter.size
        parameter = parameter.reshape(shape)
    else:
        parameter = parameter.reshape(())
    return np.broadcast_to(parameter, values.shape)
