"""Taking the float32 boundary off a folded module."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn import ops
from tvm_patch.qnn.fold.source import Source
from tvm_patch.qnn.writer import FunctionWriter, substitute


@tvm.transform.module_pass(opt_level=0, name="StripBoundary")
class StripBoundary:
    """Module pass that makes float32 inputs and outputs of ``main`` int8.

    Each input keeps its name and takes the integers that ``qnn.quantize`` would make; each
    output loses its ``qnn.dequantize`` and takes its name.

    Raises
    ------
    UnsupportedOperatorError
        If a float32 input goes elsewhere than into one quantisation, or a float32 output does
        not come from ``qnn.dequantize``.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Strip the function ``main``."""
        return strip_boundary(module)


def strip_boundary(module: tvm.IRModule) -> tvm.IRModule:
    """Make float32 inputs and outputs of ``main`` int8; see :class:`StripBoundary`."""
    result = module.clone()
    for global_var, function in module.functions_items():
        if global_var.name_hint == "main":
            result.update_func(global_var, _strip(function))
    return result


def _strip(function: Any) -> Any:
    src = Source(function)
    quantised = _quantised_inputs(src)
    stripped = _stripped_outputs(src)
    env: dict[Any, Any] = {}
    params = []
    for param in function.params:
        is_int8 = param in quantised
        ty = relax.TensorType(param.ty.shape, "int8") if is_int8 else param.ty
        env[param] = relax.Var(param.name, ty)
        params.append(env[param])
    writer = FunctionWriter(params)
    names = {data: output.name for output, data in stripped.items()}
    for var, value in src.bindings:
        if var in stripped:
            continue
        if ops.op_name(value) == "qnn.quantize" and value.args[0] in quantised:
            env[var] = env[value.args[0]]
        elif isinstance(value, relax.Var):
            env[var] = env[value]
        else:
            is_output = var in names or src.is_output(var)
            env[var] = writer.emit(
                substitute(value, env), names.get(var, var.name), is_output=is_output
            )
    results = []
    for result in src.results:
        root = src.root(result)
        results.append(writer.exported(env[stripped.get(root, root)], result.name))
    attrs = dict(function.attrs) if function.attrs else {}
    return writer.finish(results, is_tuple=src.is_tuple, attrs=attrs)


def _quantised_inputs(src: Source) -> set[Any]:
    """Float32 parameters of which nothing but one set of quantised integers is needed."""
    found: set[Any] = set()
    for param in src.function.params:
        if str(param.ty.dtype) != "float32":
            continue
        uses = [value for _, value in src.bindings if param in _inputs(value)]
        kinds = {
            (ops.op_name(value), str(ops.attributes(value)) if ops.is_qnn_call(value) else "")
            for value in uses
        }
        if len(kinds) != 1 or next(iter(kinds))[0] != "qnn.quantize":
            raise UnsupportedOperatorError(
                f"input {param.name} cannot be int8: it is not simply quantised",
                hint="keep the model's own input type (--io model)",
            )
        found.add(param)
    return found


def _stripped_outputs(src: Source) -> dict[Any, Any]:
    """Each float32 output and the int8 tensor that it is dequantised from."""
    values = dict(src.bindings)
    found: dict[Any, Any] = {}
    for result in src.results:
        root = src.root(result)
        if str(root.ty.dtype) != "float32":
            continue
        value = values.get(root)
        if value is None or ops.op_name(value) != "qnn.dequantize":
            raise UnsupportedOperatorError(
                f"output {result.name} cannot be int8: it is not simply dequantised",
                hint="keep the model's own output type (--io model)",
            )
        found[root] = value.args[0]
    return found


def _inputs(value: Any) -> list[Any]:
    return list(value.args) if isinstance(value, relax.Call) else [value]
