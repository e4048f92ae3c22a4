"""A Relax module of the integer dialect, read into the planner's graph.

The graph says what runs and how much it reads; :class:`Network` keeps beside it what only code
generation needs: attributes and constants.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import IRModule, ir, relax

from tvm_patch.analysis.operators import OperatorDetail, describe_operator
from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.plan import Graph, Operator, Tensor

STAGE_OP = "qnn.patch_stage"


@dataclass(frozen=True)
class Network:
    """A graph together with attributes and constants of its operators.

    Parameters
    ----------
    graph : Graph
        For the planner.
    details : mapping of str to OperatorDetail
        By operator name.
    """

    graph: Graph
    details: Mapping[str, OperatorDetail]


def read_network(mod: IRModule, *, name: str, entry: str = "main") -> Network:
    """Read ``mod[entry]``; stages that a pass has made are read through.

    Parameters
    ----------
    mod : IRModule
        Integer-only Relax, partitioned or not.
    name : str
        The model's name.
    entry : str
        The function to read.

    Raises
    ------
    UnsupportedOperatorError
        When an operator is none of the dialect's.
    """
    reader = _Reader(mod)
    function = mod[entry]
    inputs = tuple(reader.add_input(param) for param in function.params)
    outputs = reader.read_body(function)
    graph = Graph(
        name=name,
        tensors=tuple(reader.tensors.values()),
        operators=tuple(reader.operators),
        inputs=inputs,
        outputs=outputs,
        fingerprint=_fingerprint(reader.tensors, reader.operators, reader.details),
    )
    return Network(graph, reader.details)


class _Reader:
    """Walks functions in execution order and collects tensors and operators."""

    def __init__(self, mod: IRModule) -> None:
        self._mod = mod
        self.tensors: dict[str, Tensor] = {}
        self.operators: list[Operator] = []
        self.details: dict[str, OperatorDetail] = {}
        self._names: dict[Any, tuple[str, ...]] = {}

    def add_input(self, param: Any) -> str:
        return self._new_tensor(param)

    def _new_tensor(self, var: Any) -> str:
        base, name, count = str(var.name), str(var.name), 1
        while name in self.tensors:
            name, count = f"{base}_{count}", count + 1
        shape = tuple(int(getattr(dim, "value", dim)) for dim in var.ty.shape)
        self.tensors[name] = Tensor(name, shape, str(var.ty.dtype))
        self._names[var] = (name,)
        return name

    def read_body(self, function: Any) -> tuple[str, ...]:
        body = function.body
        for block in body.blocks:
            for binding in block.bindings:
                self._read_binding(binding.var, binding.value)
        return self._names_of(body.body)

    def _names_of(self, expr: Any) -> tuple[str, ...]:
        if isinstance(expr, relax.Tuple):
            return tuple(name for field in expr.fields for name in self._names_of(field))
        if isinstance(expr, relax.TupleGetItem):
            return (self._names_of(expr.tuple_value)[expr.index],)
        return self._names[expr]

    def _read_binding(self, var: Any, value: Any) -> None:
        if isinstance(value, (relax.Var, relax.Tuple, relax.TupleGetItem)):
            self._names[var] = self._names_of(value)
        elif _operator_name(value) == STAGE_OP:
            self._read_stage(var, value)
        elif isinstance(value, relax.Call):
            self._read_call(var, value)
        else:
            raise UnsupportedOperatorError(
                f"{var.name}: a {type(value).__name__} cannot be run on a device",
                hint="run tvm_patch.qnn.to_integer on the module first",
            )

    def _holds_tensors(self, expr: Any) -> bool:
        """Whether an argument is a tensor or a tuple of tensors, and not numbers or a shape."""
        if isinstance(expr, relax.Tuple):
            return all(self._holds_tensors(field) for field in expr.fields)
        return isinstance(expr, relax.TupleGetItem) or expr in self._names

    def _read_stage(self, var: Any, call: Any) -> None:
        function = self._mod[call.args[0]]
        for param, argument in zip(function.params, call.args[1].fields, strict=True):
            self._names[param] = self._names_of(argument)
        self._names[var] = self.read_body(function)

    def _read_call(self, var: Any, call: Any) -> None:
        arguments: list[str | npt.NDArray[np.generic]] = []
        for argument in call.args:
            if isinstance(argument, ir.Constant):
                arguments.append(argument.value.numpy())
            elif self._holds_tensors(argument):
                arguments.extend(self._names_of(argument))
        name = self._new_tensor(var)
        output = self.tensors[name]
        operator, detail = describe_operator(call, output, arguments, self.tensors)
        self.operators.append(operator)
        self.details[name] = detail


def _operator_name(value: Any) -> str | None:
    if isinstance(value, relax.Call) and isinstance(value.op, ir.Op):
        return str(value.op.name)
    return None


def _fingerprint(
    tensors: Mapping[str, Tensor],
    operators: list[Operator],
    details: Mapping[str, OperatorDetail],
) -> str:
    digest = hashlib.sha256()
    for tensor in tensors.values():
        digest.update(repr(tensor).encode())
    for operator in operators:
        detail = details[operator.name]
        digest.update(repr(operator).encode())
        digest.update(json.dumps(detail.attributes, sort_keys=True).encode())
        for role, value in sorted(detail.constants.items()):
            digest.update(f"{role}{value.dtype}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
