"""Running a QDQ module on the host with every named variable kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax

from tvm_patch.importer import ImportedModel


def run_relax(model: ImportedModel, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return every named tensor of a QDQ module computed by ``relax.build(..., "llvm")``."""
    function = relax.transform.ToNonDataflow()(model.module)["main"]
    bindings = _bindings(function)
    kept = [binding.var for binding in bindings if binding.var.name in model.tensor_names]
    return _run(bindings, list(function.params), kept, inputs)


def run_relax_apart(model: ImportedModel, golden: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return every named tensor, each computed from *golden* inputs, so that nothing adds up."""
    function = relax.transform.ToNonDataflow()(model.module)["main"]
    parameters = list(function.params)
    known: dict[str, relax.Var] = {}
    kept, bindings = [], []
    for binding in _bindings(function):
        bindings.append(relax.VarBinding(binding.var, _substitute(binding.value, known)))
        if binding.var.name in model.tensor_names:
            kept.append(binding.var)
            stand_in = relax.Var(f"{binding.var.name}_golden", binding.var.ty)
            known[binding.var.name] = stand_in
            parameters.append(stand_in)
    feeds = dict(golden)
    feeds.update({f"{name}_golden": golden[name] for name in known})
    return _run(bindings, parameters, kept, feeds)


def _bindings(function: relax.Function) -> list[Any]:
    return [binding for block in function.body.blocks for binding in block.bindings]


def _substitute(value: Any, known: Mapping[str, relax.Var]) -> Any:
    if isinstance(value, relax.Var):
        return known.get(value.name, value)
    if isinstance(value, relax.Tuple):
        return relax.Tuple([_substitute(field, known) for field in value.fields])
    if isinstance(value, relax.Call):
        arguments = [_substitute(argument, known) for argument in value.args]
        return relax.Call(value.op, arguments, value.attrs, value.ty_args)
    return value


def _run(
    bindings: list[Any],
    parameters: list[relax.Var],
    kept: list[relax.Var],
    feeds: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    body = relax.SeqExpr([relax.BindingBlock(bindings)], relax.Tuple(kept))
    function = relax.Function(parameters, body, relax.TupleType([v.ty for v in kept]))
    function = function.with_attr("global_symbol", "main")
    module = relax.transform.Normalize()(tvm.IRModule({"main": function}))
    executable = relax.build(module, tvm.target.Target("llvm"))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    results = machine["main"](*(tvm.runtime.tensor(feeds[p.name]) for p in parameters))
    return {variable.name: result.numpy() for variable, result in zip(kept, results, strict=True)}
