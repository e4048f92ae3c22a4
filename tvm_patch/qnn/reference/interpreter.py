"""Runs a module of the dialect on numpy arrays and keeps every intermediate tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import IRModule, ir, relax

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn.ops import registry
from tvm_patch.qnn.reference.kernels import KERNELS

Array = npt.NDArray[Any]


def run_reference(
    module: IRModule,
    inputs: Mapping[str, Array] | Sequence[Array],
    *,
    entry: str = "main",
) -> dict[str, Array]:
    """Interpret a function of the integer-only dialect.

    Parameters
    ----------
    module : IRModule
        Holds straight-line Relax of ``qnn.*`` operators and int8 data movement.
    inputs : mapping or sequence of ndarray
        One array per parameter, by name or in order; dtype as declared.
    entry : str
        Name of the function.

    Returns
    -------
    dict of str to ndarray
        Every tensor by the name of the variable bound to it, inputs first, in program order.
        :func:`output_names` tells which of them the function returns.

    Raises
    ------
    UnsupportedOperatorError
        If the function contains anything else.
    """
    function = module[entry]
    names = [param.name for param in function.params]
    values = inputs if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
    env: dict[Any, Any] = {}
    tensors: dict[str, Array] = {}
    for param in function.params:
        env[param] = tensors[param.name] = np.asarray(values[param.name])
    for binding in bindings(function):
        value = _evaluate(binding.value, env)
        env[binding.var] = value
        if isinstance(value, np.ndarray):
            tensors[binding.var.name] = value
    return tensors


def bindings(function: Any) -> list[Any]:
    """All bindings of a function in program order."""
    if not isinstance(function.body, relax.SeqExpr):
        return []
    return [binding for block in function.body.blocks for binding in block.bindings]


def output_names(function: Any) -> list[str]:
    """Names of the variables that hold the function's results, in order."""
    by_var = {binding.var: binding.value for binding in bindings(function)}
    body = function.body.body if isinstance(function.body, relax.SeqExpr) else function.body
    while body in by_var and isinstance(by_var[body], relax.Var):
        body = by_var[body]
    if body in by_var and isinstance(by_var[body], relax.Tuple):
        body = by_var[body]
    if isinstance(body, relax.Tuple):
        return [field.name for field in body.fields]
    return [body.name]


def run_outputs(
    module: IRModule,
    inputs: Mapping[str, Array] | Sequence[Array],
    *,
    entry: str = "main",
) -> list[Array]:
    """The function's results alone, in order; see :func:`run_reference`."""
    tensors = run_reference(module, inputs, entry=entry)
    return [tensors[name] for name in output_names(module[entry])]


def evaluate(expr: Any) -> Any:
    """The value of one operator of the dialect whose arguments are constants."""
    return _evaluate(expr, {})


def _evaluate(expr: Any, env: Mapping[Any, Any]) -> Any:
    if isinstance(expr, ir.GenericConst):
        return expr.value.numpy()
    if isinstance(expr, relax.Var):
        return env[expr]
    if isinstance(expr, relax.Tuple):
        return tuple(_evaluate(field, env) for field in expr.fields)
    if isinstance(expr, relax.TupleGetItem):
        return _evaluate(expr.tuple_value, env)[expr.index]
    name = registry.op_name(expr)
    if name is not None and name in KERNELS:
        args: list[Any] = []
        for argument in (_evaluate(arg, env) for arg in expr.args):
            args.extend(argument if isinstance(argument, tuple) else (argument,))
        return KERNELS[name](*args, **registry.attributes(expr))
    if name in ("relax.reshape", "relax.permute_dims", "relax.strided_slice"):
        return _move(name, expr, _evaluate(expr.args[0], env))
    raise UnsupportedOperatorError(
        f"the reference interpreter has no operator {name or type(expr).__name__}",
        hint="lower the module with tvm_patch.qnn.to_integer first",
    )


def _move(name: str, call: Any, data: Array) -> Array:
    """Plain Relax data movement."""
    if name == "relax.reshape":
        return data.reshape([int(dim) for dim in call.ty.shape])
    if name == "relax.permute_dims":
        axes = call.attrs["axes"]
        return np.transpose(data, None if axes is None else [int(axis) for axis in axes])
    slices = [slice(None)] * data.ndim
    begin, end, stride = strided_slice_bounds(call, data.shape)
    for axis, window in enumerate(zip(begin, end, stride, strict=True)):
        slices[axis] = slice(*window)
    return data[tuple(slices)]


def strided_slice_bounds(call: Any, shape: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Begin, end and stride of a ``relax.strided_slice`` for every axis, normalised."""
    axes, starts, ends = ([int(item) for item in _primitives(arg)] for arg in call.args[1:4])
    steps = [int(item) for item in _primitives(call.args[4])] if len(call.args) > 4 else []
    begin, end, stride = [0] * len(shape), list(shape), [1] * len(shape)
    for index, axis in enumerate(axes):
        step = steps[index] if steps else 1
        if step < 1:
            raise UnsupportedOperatorError(
                "strided_slice with a stride below one is not supported",
                hint="slice forwards only",
            )
        first, last, _ = slice(starts[index], ends[index], step).indices(shape[axis])
        begin[axis], end[axis], stride[axis] = first, last, step
    return begin, end, stride


def _primitives(argument: Any) -> list[Any]:
    """Integers of a tuple or shape argument."""
    fields = argument.values if isinstance(argument, relax.ShapeExpr) else argument.fields
    return [getattr(field, "value", field) for field in fields]
