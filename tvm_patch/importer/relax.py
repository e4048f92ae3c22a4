"""Relax modules in QDQ form, handed over in Python."""

from __future__ import annotations

import hashlib
from typing import Any

import tvm
from tvm import relax

from tvm_patch.errors import FloatModelError, UnsupportedOperatorError, UnsupportedShapeError
from tvm_patch.importer.model import TENSOR_NAMES_ATTR, ImportedModel, TensorInfo
from tvm_patch.importer.names import sanitise

_IO_DTYPES = ("int8", "float32")


def load_relax(module: tvm.IRModule, *, name: str) -> ImportedModel:
    """Check a Relax module in QDQ form and describe its inputs and outputs.

    Parameters
    ----------
    module : tvm.IRModule
        One Relax function ``main`` in NHWC with static shapes, batch one, constants in place
        of parameters, and ``quantize``/``dequantize`` around what computes.
    name : str
        What to call the model.

    Returns
    -------
    ImportedModel
        ``module`` itself. The scale of an int8 input or output is read off the operators next
        to it and None where there are none (a boundary that only moves bytes).

    Raises
    ------
    FloatModelError
        No ``quantize`` in it.
    UnsupportedOperatorError
        No ``main``, inputs or outputs of another type than int8 and float32, or operators
        outside of a dataflow block (control flow).
    UnsupportedShapeError
        Dynamic, zero-size, or of a batch other than one.
    """
    function = _main(module, name)
    bindings = _bindings(function, name)
    values = {variable: value for variable, value in bindings if isinstance(value, relax.Call)}
    operators = {_operator(value) for value in values.values()}
    if "relax.quantize" not in operators and not any(op.startswith("qnn.") for op in operators):
        raise FloatModelError(
            f"{name}: the Relax module has no quantize operator, it computes in floating point",
            hint="bring it into QDQ form (relax.op.quantize and relax.op.dequantize) first",
        )
    inputs = tuple(
        _describe(parameter, _consumer_parameters(parameter, bindings), name)
        for parameter in function.params
    )
    outputs = tuple(
        _describe(variable, _producer_parameters(variable, dict(bindings)), name)
        for variable in _results(function)
    )
    attributes = function.attrs
    names: dict[str, str] = {}
    if attributes is not None and TENSOR_NAMES_ATTR in attributes:
        names = {str(key): str(value) for key, value in attributes[TENSOR_NAMES_ATTR].items()}
    else:
        names = {variable.name: variable.name for variable, _ in bindings}
    return ImportedModel(
        name=name,
        c_name=sanitise(name, fallback="model"),
        format="relax",
        module=module,
        inputs=inputs,
        outputs=outputs,
        source_path=None,
        sha256=hashlib.sha256(tvm.ir.save_json(module).encode()).hexdigest(),
        tensor_names=names,
        tensor_indices={},
    )


def _main(module: tvm.IRModule, name: str) -> relax.Function:
    names = [variable.name_hint for variable in module.get_global_vars()]
    if "main" not in names or not isinstance(module["main"], relax.Function):
        raise UnsupportedOperatorError(
            f"{name}: the module has no Relax function 'main' (it has {', '.join(names) or 'none'})"
        )
    return module["main"]


def _bindings(function: relax.Function, name: str) -> list[tuple[relax.Var, Any]]:
    body = function.body
    if not isinstance(body, relax.SeqExpr):
        raise UnsupportedOperatorError(f"{name}: main is not a sequence of bindings")
    found = []
    for block in body.blocks:
        for binding in block.bindings:
            value = binding.value if isinstance(binding, relax.VarBinding) else None
            if value is None or isinstance(value, relax.If | relax.Function):
                raise UnsupportedOperatorError(
                    f"{name}: {binding.var.name!r} is control flow or a cast, not an operator"
                )
            found.append((binding.var, value))
    return found


def _operator(value: relax.Call) -> str:
    return str(value.op.name) if isinstance(value.op, tvm.ir.Op) else "call"


def _results(function: relax.Function) -> list[relax.Var]:
    values = {
        binding.var: binding.value for block in function.body.blocks for binding in block.bindings
    }
    result = function.body.body
    while isinstance(result, relax.Var) and isinstance(values.get(result), relax.Var | relax.Tuple):
        result = values[result]
    return list(result.fields) if isinstance(result, relax.Tuple) else [result]


def _shape(variable: relax.Var, name: str) -> tuple[int, ...]:
    shape = getattr(variable.ty, "shape", None)
    sizes = [getattr(size, "value", None) for size in shape] if shape is not None else [None]
    if any(size is None for size in sizes):
        raise UnsupportedShapeError(
            f"{name}: {variable.name!r} has a dynamic shape",
            hint="bind it to fixed sizes before importing",
        )
    fixed = tuple(int(size) for size in sizes if size is not None)
    if 0 in fixed:
        raise UnsupportedShapeError(f"{name}: {variable.name!r} has a dimension of size zero")
    if fixed and fixed[0] != 1:
        raise UnsupportedShapeError(f"{name}: {variable.name!r} has a batch of {fixed[0]}, not one")
    return fixed


def _describe(variable: relax.Var, parameters: tuple[float, int] | None, name: str) -> TensorInfo:
    shape = _shape(variable, name)
    dtype = str(variable.ty.dtype)
    if dtype not in _IO_DTYPES:
        raise UnsupportedOperatorError(
            f"{name}: {variable.name!r} is {dtype}; inputs and outputs are int8 or float32"
        )
    scale, zero_point = parameters if parameters and dtype == "int8" else (None, None)
    layout = "NHWC" if len(shape) == 4 else "as_is"
    return TensorInfo(
        variable.name, sanitise(variable.name), shape, dtype, scale, zero_point, layout, layout
    )


def _constants(call: relax.Call) -> tuple[float, int] | None:
    scale, zero_point = (argument for argument in call.args[1:3])
    if not hasattr(scale, "value") or not hasattr(zero_point, "value"):
        return None
    step = scale.value.numpy()
    return (float(step), int(zero_point.value.numpy())) if step.ndim == 0 else None


def _consumer_parameters(
    parameter: relax.Var, bindings: list[tuple[relax.Var, Any]]
) -> tuple[float, int] | None:
    """Find the parameters of the first ``dequantize`` that a value reaches unchanged."""
    same = [parameter]
    for variable, value in bindings:
        if isinstance(value, relax.Var) and any(value.same_as(known) for known in same):
            same.append(variable)
        if not isinstance(value, relax.Call) or not value.args:
            continue
        if not any(value.args[0].same_as(known) for known in same):
            continue
        if _operator(value) in ("relax.dequantize", "qnn.dequantize"):
            return _constants(value)
        if _moves_bytes(value):
            same.append(variable)
    return None


def first_quantisation(module: tvm.IRModule, var_name: str) -> tuple[float, int] | None:
    """Return scale and zero point of the ``quantize`` that reads a float32 input, if one does.

    Parameters
    ----------
    module : tvm.IRModule
        In QDQ or integer form.
    var_name : str
        A parameter of ``main``.
    """
    function = module["main"]
    (parameter,) = (variable for variable in function.params if variable.name == var_name)
    for block in function.body.blocks:
        for binding in block.bindings:
            value = getattr(binding, "value", None)
            if not isinstance(value, relax.Call) or not value.args:
                continue
            if _operator(value) == "relax.quantize" and value.args[0].same_as(parameter):
                return _constants(value)
    return None


def _producer_parameters(
    variable: relax.Var, values: dict[relax.Var, Any]
) -> tuple[float, int] | None:
    """Find the parameters of the ``quantize`` that an output comes from."""
    value = values.get(variable)
    while value is not None:
        if isinstance(value, relax.Var):
            value = values.get(value)
        elif not isinstance(value, relax.Call) or not value.args:
            return None
        elif _operator(value) in ("relax.quantize", "qnn.quantize"):
            return _constants(value)
        elif _moves_bytes(value):
            value = values.get(value.args[0])
        else:
            return None
    return None


def _moves_bytes(call: relax.Call) -> bool:
    """Tell operators that keep the scale of their int8 input."""
    return (
        _operator(call)
        in (
            "relax.clip",
            "relax.image.resize2d",
            "relax.nn.max_pool2d",
            "relax.nn.pad",
            "relax.permute_dims",
            "relax.reshape",
            "relax.squeeze",
            "relax.expand_dims",
            "relax.strided_slice",
        )
        and str(call.ty.dtype) == "int8"
    )
