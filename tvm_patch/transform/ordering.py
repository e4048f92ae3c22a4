"""Operators of ``main`` put into another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import IRModule, relax

from tvm_patch.plan import Operator
from tvm_patch.transform.stage_function import read_variables, rewrite


def reorder(mod: IRModule, operators: Sequence[Operator], entry: str = "main") -> IRModule:
    """Bind operators in a given order.

    Parameters
    ----------
    mod : IRModule
        Integer-only Relax without stages.
    operators : sequence of Operator
        All of ``mod[entry]``, in an order that their inputs allow.
    entry : str
        The function.
    """
    function = mod[entry]
    bindings = {
        binding.var: binding for block in function.body.blocks for binding in block.bindings
    }
    by_name = {str(variable.name): binding for variable, binding in bindings.items()}
    if len(by_name) != len(bindings):
        # Names tell operators apart; where they do not, the order stays.
        return mod
    builder = relax.BlockBuilder()
    remap: dict[Any, Any] = {}

    def emit(binding: Any) -> None:
        if binding.var in remap:
            return
        for variable in read_variables(binding.value):
            if variable in bindings:
                emit(bindings[variable])
        name = str(binding.var.name)
        remap[binding.var] = builder.emit(rewrite(binding.value, remap), name_hint=name)

    with builder.function(entry, list(function.params)):
        with builder.dataflow():
            for operator in operators:
                emit(by_name[operator.name])
            for binding in bindings.values():
                emit(binding)
            result = builder.emit_output(rewrite(function.body.body, remap))
        builder.emit_func_output(result)
    ordered = builder.get()
    if function.attrs is not None:
        ordered[entry] = ordered[entry].with_attrs(dict(function.attrs.items()))
    for variable, other in mod.functions.items():
        if variable.name_hint != entry:
            ordered[variable.name_hint] = other
    return ordered
