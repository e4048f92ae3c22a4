"""Writing a straight-line Relax function binding by binding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tvm
from tvm import relax

from tvm_patch.errors import UnsupportedOperatorError


class FunctionWriter:
    """Collects bindings of one dataflow block and makes a function of them.

    ``relax.BlockBuilder`` warns on stderr when an error leaves it half-way, and a model that is
    refused is no accident here; so only its type inference is used.
    """

    def __init__(self, params: Sequence[Any]) -> None:
        self._builder = relax.BlockBuilder()
        self._params = list(params)
        self._bindings: list[Any] = []
        self._names = {param.name for param in params}
        self._exported = {*params}

    def emit(self, expr: Any, name: str, *, is_output: bool = False) -> Any:
        """Bind ``expr`` to a variable called ``name``.

        Parameters
        ----------
        expr : Expr
            A call whose arguments are variables and constants, or a variable.
        name : str
            Gets a suffix if it is taken.
        is_output : bool
            Whether the variable may be a result of the function.

        Raises
        ------
        UnsupportedOperatorError
            If the operator does not take these arguments, naming ``name``.
        """
        try:
            value = self._builder.normalize(expr)
        except (ValueError, RuntimeError, tvm.error.InternalError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise UnsupportedOperatorError(f"layer {name}: {reason}") from error
        kind = relax.Var if is_output else relax.DataflowVar
        var = kind(self._unique(name), value.ty)
        self._bindings.append(relax.VarBinding(var, value))
        if is_output:
            self._exported.add(var)
        return var

    def exported(self, expr: Any, name: str) -> Any:
        """The expression as something that a dataflow block may hand out, under ``name``."""
        if expr in self._params:
            # An input handed through is copied: inputs and outputs are buffers of their own.
            expr = relax.op.reshape(expr, expr.ty.shape)
        elif expr in self._exported:
            return expr
        return self.emit(expr, name, is_output=True)

    def finish(self, results: Sequence[Any], *, is_tuple: bool, attrs: Mapping[str, Any]) -> Any:
        """The function that returns ``results``; bindings that nothing needs are left out."""
        needed = set(results)
        kept: list[Any] = []
        for binding in reversed(self._bindings):
            if binding.var in needed:
                kept.append(binding)
                needed.update(relax.analysis.free_vars(binding.value))
        body = relax.Tuple(list(results)) if is_tuple else results[0]
        ret_ty = relax.TupleType([result.ty for result in results]) if is_tuple else results[0].ty
        block = relax.DataflowBlock(kept[::-1])
        function = relax.Function(self._params, relax.SeqExpr([block], body), ret_ty)
        function = function.with_attrs(dict(attrs)) if attrs else function
        # Gives the body and inner tuples their types.
        return self._builder.normalize(function)

    def _unique(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._names:
            count += 1
            unique = f"{name}_{count}"
        self._names.add(unique)
        return unique


def substitute(expr: Any, env: Mapping[Any, Any]) -> Any:
    """``expr`` with its variables replaced, one operator call deep as A-normal form has it."""
    if isinstance(expr, relax.Var):
        return env[expr]
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([substitute(field, env) for field in expr.fields])
    if isinstance(expr, relax.TupleGetItem):
        return relax.TupleGetItem(substitute(expr.tuple_value, env), expr.index)
    if isinstance(expr, relax.Call):
        args = [substitute(arg, env) for arg in expr.args]
        return relax.Call(expr.op, args, expr.attrs, expr.ty_args)
    return expr
