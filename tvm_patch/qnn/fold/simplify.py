"""Exact merging of neighbours in a folded function."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from tvm_patch.qnn import ops
from tvm_patch.qnn.fold import source
from tvm_patch.qnn.fold.source import Source
from tvm_patch.qnn.fold.values import Array, narrow
from tvm_patch.qnn.ops import registry
from tvm_patch.qnn.writer import FunctionWriter, substitute

_DOMAIN = np.arange(-128, 128)


def simplify(function: Any) -> Any:
    """Merge operators whose intermediate tensor nothing else reads.

    A table behind a table becomes one table, a table that only clips goes into the clamp of the
    operator before it, and a reshape behind a reshape replaces it. Results are the same integers
    under the same names; the intermediate tensors are gone.
    """
    src = Source(function)
    params = {param: relax.Var(param.name, param.ty) for param in function.params}
    writer = FunctionWriter(list(params.values()))
    env: dict[Any, Any] = dict(params)
    calls: dict[Any, Any] = {}
    for var, value in src.bindings:
        if isinstance(value, relax.Var):
            env[var] = env[value]
            continue
        expr = substitute(value, env)
        if isinstance(value, relax.Call) and _is_only_reader(src, var, value):
            expr = _merged(calls.get(expr.args[0]), expr)
        env[var] = writer.emit(expr, var.name, is_output=src.is_output(var))
        calls[env[var]] = expr
    results = [writer.exported(env[src.root(result)], result.name) for result in src.results]
    attrs = dict(function.attrs) if function.attrs else {}
    return writer.finish(results, is_tuple=src.is_tuple, attrs=attrs)


def _is_only_reader(src: Source, var: Any, call: Any) -> bool:
    if not call.args or not isinstance(call.args[0], relax.Var):
        return False
    user = src.sole_user(call.args[0])
    return user is not None and bool(user[0].same_as(var))


def _merged(before: Any, call: Any) -> Any:
    """``call`` taken together with the operator that feeds it, or ``call`` itself."""
    names = ops.op_name(before), ops.op_name(call)
    if names == ("relax.reshape", "relax.reshape"):
        return relax.op.reshape(before.args[0], call.args[1])
    if names[1] != "qnn.lookup" or before is None:
        return call
    table = _table(call)
    if names[0] == "qnn.lookup":
        return ops.lookup(before.args[0], table[_table(before).astype(np.int64) + 128])
    attrs = registry.attributes(before) if ops.is_qnn_call(before) else {}
    low, high = int(table[0]), int(table[-1])
    if "clamp_min" in attrs and np.array_equal(table, np.clip(_DOMAIN, low, high)):
        clamp = narrow((low, high), attrs["clamp_min"], attrs["clamp_max"])
        attrs["clamp_min"], attrs["clamp_max"] = clamp
        return registry.make_call(str(names[0]), list(before.args), **attrs)
    return call


def _table(call: Any) -> Array:
    return source.constant_array(call.args[1])
