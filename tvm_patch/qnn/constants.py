"""Computing at compile time what depends on no input."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import ir, relax

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn.fold.source import Source
from tvm_patch.qnn.reference.interpreter import evaluate
from tvm_patch.qnn.writer import FunctionWriter, substitute


@tvm.transform.module_pass(opt_level=0, name="FoldConstantBranches")
class FoldConstantBranches:
    """Module pass that computes every tensor that is the same for all inputs.

    A network may have whole branches of constants, as position embeddings, or masks that another
    branch is multiplied by. Their operators run once here, in LiteRT's arithmetic, and leave a
    constant to their readers.

    Raises
    ------
    UnsupportedOperatorError
        When an output of the network is such a tensor.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Rewrite every Relax function."""
        return fold_constant_branches(module)


def fold_constant_branches(module: tvm.IRModule) -> tvm.IRModule:
    """Compute the constant tensors of a folded module; see :class:`FoldConstantBranches`."""
    result = module.clone()
    for global_var, function in module.functions_items():
        if isinstance(function, relax.Function):
            result.update_func(global_var, _fold(function))
    return result


def _fold(function: Any) -> Any:
    source = Source(function)
    writer = FunctionWriter(function.params)
    env: dict[Any, Any] = {param: param for param in function.params}
    is_changed = False
    for var, value in source.bindings:
        expr = substitute(value, env)
        if isinstance(expr, (relax.Var, ir.GenericConst)):
            env[var] = expr
        elif not _is_constant(expr):
            env[var] = writer.emit(expr, var.name, is_output=source.is_output(var))
        else:
            is_changed = True
            env[var] = _computed(expr)
        if isinstance(env[var], ir.GenericConst) and source.is_output(var):
            raise UnsupportedOperatorError(
                f"output {var.name} is the same for every input",
                hint="take it out of the model's outputs",
            )
    if not is_changed:
        return function
    results = [writer.exported(env[result], result.name) for result in source.results]
    attrs = dict(function.attrs) if function.attrs else {}
    return writer.finish(results, is_tuple=source.is_tuple, attrs=attrs)


def _is_constant(expr: Any) -> bool:
    """Whether nothing but constants goes into an operator."""
    return isinstance(expr, relax.Call) and not relax.analysis.free_vars(expr)


def _computed(expr: Any) -> Any:
    value = np.ascontiguousarray(evaluate(expr))
    return relax.const(value, str(value.dtype))
