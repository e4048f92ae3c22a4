"""Splitting global pools: a sum that takes rows as they are made, and what finishes it."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from tvm_patch.qnn import ops
from tvm_patch.qnn.fold.source import Source, static_shape
from tvm_patch.qnn.writer import FunctionWriter, substitute


@tvm.transform.module_pass(opt_level=0, name="SplitGlobalPools")
class SplitGlobalPools:
    """Module pass that makes two operators of each global pool.

    ``qnn.mean`` and ``qnn.avg_pool2d`` whose window is the whole map become ``qnn.global_sum`` and
    ``qnn.mean_of_sum`` or ``qnn.average_of_sum``. The latter keeps the pool's name, the sum is
    called ``<name>_sum``. The integers are the same; but a sum can be the end of a stage, which
    then never holds the map whole. Maps of one row stay as they are.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Split the pools of every Relax function."""
        return split_global_pools(module)


def split_global_pools(module: tvm.IRModule) -> tvm.IRModule:
    """Split the global pools of a folded module; see :class:`SplitGlobalPools`."""
    result = module.clone()
    for global_var, function in module.functions_items():
        if isinstance(function, relax.Function):
            result.update_func(global_var, _split(function))
    return result


def _split(function: Any) -> Any:
    source = Source(function)
    if not any(_pixels(value) for _, value in source.bindings):
        return function
    writer = FunctionWriter(function.params)
    env = {param: param for param in function.params}
    taken = {str(var.name) for var in (*function.params, *(var for var, _ in source.bindings))}
    for var, value in source.bindings:
        if isinstance(value, relax.Var):
            env[var] = env[value]
            continue
        expr = substitute(value, env)
        pixels = _pixels(value)
        if pixels:
            total = writer.emit(ops.global_sum(expr.args[0]), _free(f"{var.name}_sum", taken))
            expr = _finish(value, total, pixels)
        env[var] = writer.emit(expr, var.name, is_output=source.is_output(var))
    results = [env.get(result, result) for result in source.results]
    attrs = dict(function.attrs) if function.attrs else {}
    return writer.finish(results, is_tuple=source.is_tuple, attrs=attrs)


def _pixels(value: Any) -> int:
    """Pixels that a global pool takes; none where ``value`` is something else."""
    name = ops.op_name(value)
    if name not in ("qnn.mean", "qnn.avg_pool2d"):
        return 0
    shape = static_shape(value.args[0])
    if shape is None or shape[1] == 1:
        return 0
    attributes = ops.attributes(value)
    is_whole = name == "qnn.mean" or attributes["pool_size"] == shape[1:3]
    return shape[1] * shape[2] if is_whole and not any(attributes.get("padding", ())) else 0


def _finish(pool: Any, total: Any, pixels: int) -> relax.Call:
    """The operator that makes the pool's output of its sums."""
    attributes = ops.attributes(pool)
    if ops.op_name(pool) == "qnn.mean":
        del attributes["axes"]
        return ops.mean_of_sum(total, pixels=pixels, **attributes)
    clamp = {key: attributes[key] for key in ("clamp_min", "clamp_max")}
    return ops.average_of_sum(total, pixels=pixels, **clamp)


def _free(name: str, taken: set[str]) -> str:
    """``name``, with a number behind it where the function has it already; taken from now on."""
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    taken.add(free)
    return free
