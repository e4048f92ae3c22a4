"""Moving a stage of ``main`` into a private function, and the operator that calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import IRModule, ir, relax

from tvm_patch.analysis import STAGE_OP
from tvm_patch.qnn.ops import registry

STAGE_ATTRIBUTE = "tvm_patch.stage"
PLAN_ATTRIBUTE = "tvm_patch.plan"


def _infer_stage(call: Any) -> Any:
    function_type = call.args[0].ty
    if not isinstance(function_type, relax.FuncType):
        raise ValueError(f"{STAGE_OP}: the first argument must be a stage function")
    return function_type.ret


registry.register(STAGE_OP, "a stage run tile by tile", _infer_stage)


class StageExtractor:
    """Rebuilds a function with some runs of bindings moved into functions of their own.

    Parameters
    ----------
    mod : IRModule
        Holds the function.
    entry : str
        Its name.
    """

    def __init__(self, mod: IRModule, entry: str = "main") -> None:
        self._mod = mod
        self._function = mod[entry]
        self._entry = entry

    def extract(self, stages: Sequence[tuple[str, Sequence[str], str]]) -> IRModule:
        """Extract stages.

        Parameters
        ----------
        stages : sequence of (str, sequence of str, str)
            Name of the new function, names of the variables bound in it, and its description as
            JSON.

        Returns
        -------
        IRModule
            ``main`` calls each stage by the operator ``qnn.patch_stage``.
        """
        builder = relax.BlockBuilder()
        stage_of = {name: stage for stage in stages for name in stage[1]}
        remap: dict[Any, Any] = {}
        params = list(self._function.params)
        with builder.function(self._entry, params):
            with builder.dataflow():
                pending: list[Any] = []
                for binding in self._bindings():
                    stage = stage_of.get(str(binding.var.name))
                    if stage is None:
                        remap[binding.var] = builder.emit(
                            rewrite(binding.value, remap), name_hint=str(binding.var.name)
                        )
                        continue
                    pending.append(binding)
                    if str(binding.var.name) == stage[1][-1]:
                        call = self._make_stage(builder, stage, pending, remap)
                        remap[binding.var] = builder.emit(call, name_hint=str(binding.var.name))
                        pending = []
                result = builder.emit_output(rewrite(self._function.body.body, remap))
            builder.emit_func_output(result)
        mod = builder.get()
        attrs = self._function.attrs
        if attrs is not None:
            mod[self._entry] = mod[self._entry].with_attrs(dict(attrs.items()))
        for variable, function in self._mod.functions.items():
            if variable.name_hint != self._entry:
                mod[variable.name_hint] = function
        return mod

    def _bindings(self) -> list[Any]:
        return [b for block in self._function.body.blocks for b in block.bindings]

    def _make_stage(
        self,
        builder: Any,
        stage: tuple[str, Sequence[str], str],
        bindings: Sequence[Any],
        remap: Mapping[Any, Any],
    ) -> Any:
        """Add the stage's function to the module and call it."""
        inner: dict[Any, Any] = {}
        outer: list[Any] = []
        bound = {binding.var for binding in bindings}
        for binding in bindings:
            for variable in read_variables(binding.value):
                if variable not in bound and variable not in inner:
                    inner[variable] = relax.Var(str(variable.name), variable.ty)
                    outer.append(remap.get(variable, variable))
        body = relax.BlockBuilder()
        with body.function(stage[0], list(inner.values()), private=True):
            with body.dataflow():
                for binding in bindings:
                    inner[binding.var] = body.emit(
                        rewrite(binding.value, inner), name_hint=str(binding.var.name)
                    )
                result = body.emit_output(inner[bindings[-1].var])
            body.emit_func_output(result)
        function = body.get()[stage[0]].with_attr(STAGE_ATTRIBUTE, stage[2])
        variable = builder.add_func(function, stage[0])
        return relax.Call(ir.Op.get(STAGE_OP), [variable, relax.Tuple(outer)])


def read_variables(expr: Any) -> list[Any]:
    """Variables that an expression of one binding reads."""
    if isinstance(expr, relax.Var):
        return [expr]
    if isinstance(expr, relax.Tuple):
        return [v for field in expr.fields for v in read_variables(field)]
    if isinstance(expr, relax.TupleGetItem):
        return read_variables(expr.tuple_value)
    if isinstance(expr, relax.Call):
        return [v for argument in expr.args for v in read_variables(argument)]
    return []


def rewrite(expr: Any, remap: Mapping[Any, Any]) -> Any:
    """The expression with variables replaced."""
    if isinstance(expr, relax.Var):
        return remap.get(expr, expr)
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([rewrite(field, remap) for field in expr.fields])
    if isinstance(expr, relax.TupleGetItem):
        return relax.TupleGetItem(rewrite(expr.tuple_value, remap), expr.index)
    if isinstance(expr, relax.Call):
        arguments = [rewrite(argument, remap) for argument in expr.args]
        return relax.Call(expr.op, arguments, expr.attrs, expr.ty_args)
    return expr
