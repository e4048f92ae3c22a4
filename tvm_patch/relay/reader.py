"""From a Relay function to the planner's graph: one operator for each call on activations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import relay

from tvm_patch.errors import PlanError, UnsupportedShapeError
from tvm_patch.plan import Access, Graph, Operator, Tensor, Window
from tvm_patch.relay.operators import (
    Layout,
    Reading,
    data_arguments,
    keeps_layout,
    layouts_of,
    op_name,
    reading_of,
    shape_of,
)

# Types that the planner has no size for are taken at their own.
_PLANNER_DTYPES = frozenset({"int8", "uint8", "int16", "int32", "float32"})


@dataclass(frozen=True)
class Network:
    """A Relay function and what the planner knows of it.

    Parameters
    ----------
    graph : Graph
        Activations and the calls that make them, in the order in which an executor runs them.
    expressions : mapping of str to relay.Expr
        What makes each tensor: a call, or a parameter of the function.
    layouts : mapping of str to Layout
        Of each map whose layout is known.
    reasons : mapping of str to str
        Why an operator cannot be part of a stage, by its name; absent where it can.
    """

    graph: Graph
    expressions: Mapping[str, Any]
    layouts: Mapping[str, Layout]
    reasons: Mapping[str, str]


def read_function(function: Any, name: str = "main") -> Network:
    """Read a Relay function.

    Parameters
    ----------
    function : relay.Function
        In graph form (no ``let``), with types inferred.
    name : str
        For messages and the plan.

    Raises
    ------
    UnsupportedShapeError
        When an activation has a dynamic shape.
    PlanError
        When the function is no dataflow graph of tensors.
    """
    reader = _Reader(function, name)
    return reader.network()


class _Reader:
    def __init__(self, function: Any, name: str) -> None:
        self._name = name
        self._function = function
        self._names: dict[Any, str] = {}
        self._calls: list[tuple[str, Any]] = []
        self._inputs: list[str] = []

    def network(self) -> Network:
        outputs = [self._name_of(field) for field in self._visit(self._function.body)]
        if not outputs or not self._calls:
            raise PlanError(
                f"{self._name} computes nothing from its inputs",
                hint="give PatchPartition the network before weights are folded into it",
            )
        expressions = {name: expression for expression, name in self._names.items()}
        self._check_types(expressions)
        layouts = self._find_layouts(expressions)
        operators: list[Operator] = []
        reasons: dict[str, str] = {}
        for name, call in self._calls:
            operator, reason = self._operator(name, call, layouts)
            operators.append(operator)
            if reason is not None:
                reasons[operator.name] = reason
        tensors = tuple(_tensor(name, expressions[name], layouts) for name in expressions)
        graph = Graph(
            name=self._name,
            tensors=tensors,
            operators=tuple(operators),
            inputs=tuple(self._inputs),
            outputs=tuple(dict.fromkeys(outputs)),
            fingerprint=hashlib.sha256(_structure(operators, tensors).encode()).hexdigest(),
        )
        return Network(graph, expressions, layouts, reasons)

    def _visit(self, root: Any) -> list[Any]:
        """Names all activations that ``root`` needs, in execution order; its own tensors."""
        # A network may be deeper than Python's stack, so the walk keeps its own.
        stack: list[tuple[Any, Iterator[Any]]] = [(None, iter(_fields(root)))]
        entered: set[Any] = set()
        while stack:
            expression, waiting = stack[-1]
            following = next(waiting, None)
            if following is None:
                stack.pop()
                if expression is not None:
                    self._leave(expression)
            elif following not in self._names and following not in entered:
                entered.add(following)
                stack.append((following, iter(self._needs(following))))
        return _fields(root)

    def _needs(self, expression: Any) -> list[Any]:
        if isinstance(expression, relay.Call):
            return data_arguments(expression)
        if isinstance(expression, relay.TupleGetItem):
            return _fields(expression.tuple_value)
        if isinstance(expression, relay.Let):
            raise PlanError(
                f"{self._name} binds values with let",
                hint="apply relay.transform.ToGraphNormalForm() first",
            )
        if isinstance(expression, relay.If):
            raise PlanError(f"{self._name} has branches that depend on data")
        return []

    def _leave(self, expression: Any) -> None:
        if isinstance(expression, relay.Var):
            name = str(expression.name_hint)
            while name in self._inputs:
                name += "_"
            self._names[expression] = name
            self._inputs.append(name)
        elif isinstance(expression, (relay.Call, relay.TupleGetItem)):
            needs = self._needs(expression)
            if any(argument in self._names for argument in needs):
                kind = op_name(expression) if isinstance(expression, relay.Call) else "item"
                name = f"{kind.split('.')[-1].replace(' ', '_')}_{len(self._calls)}"
                self._names[expression] = name
                self._calls.append((name, expression))

    def _name_of(self, expression: Any) -> str:
        if expression not in self._names:
            raise PlanError(f"{self._name} hands out a value that depends on no input")
        return self._names[expression]

    def _check_types(self, expressions: Mapping[str, Any]) -> None:
        for name, expression in expressions.items():
            kind = expression.checked_type
            fields = kind.fields if isinstance(kind, tvm.ir.TupleType) else [kind]
            for field in fields:
                if isinstance(field, relay.TensorType) and not all(
                    isinstance(extent, (int, tvm.tir.IntImm)) for extent in field.shape
                ):
                    raise UnsupportedShapeError(
                        f"{name} of {self._name} has the dynamic shape {list(field.shape)}",
                        hint="import the network with the shape of its input fixed, or apply "
                        "relay.transform.DynamicToStatic()",
                    )

    def _find_layouts(self, expressions: Mapping[str, Any]) -> dict[str, Layout]:
        layouts: dict[str, Layout] = {}
        pending = True
        while pending:
            pending = False
            for name, call in self._calls:
                if not isinstance(call, relay.Call):
                    continue
                maps = [
                    self._names[argument]
                    for argument in data_arguments(call)
                    if argument in self._names and len(shape_of(argument) or ()) == 4
                ]
                told_in, told_out = layouts_of(call)
                if keeps_layout(call):
                    known = {layouts[n] for n in (*maps, name) if n in layouts}
                    told_in = told_out = known.pop() if len(known) == 1 else None
                for tensor, told in [*((n, told_in) for n in maps), (name, told_out)]:
                    is_map = len(shape_of(expressions[tensor]) or ()) == 4
                    if told is not None and is_map and tensor not in layouts:
                        layouts[tensor] = told
                        pending = True
        return layouts

    def _operator(
        self, name: str, call: Any, layouts: Mapping[str, Layout]
    ) -> tuple[Operator, str | None]:
        is_call = isinstance(call, relay.Call)
        inputs = tuple(dict.fromkeys(self._names[x] for x in self._needs(call) if x in self._names))
        kind = op_name(call) if is_call else "item"
        reading: Reading | str = "it takes a tuple apart"
        whole: tuple[str, ...] = ()
        if is_call:
            whole = self._whole_inputs(call, layouts)
            reading = self._reading(name, call, inputs, whole, layouts)
        if isinstance(reading, str):
            operator = Operator(name, kind, inputs, name, Access.WHOLE, streamable=False)
            return replace(operator, macs=_macs_of_dense(call)), reading
        return (
            Operator(
                name,
                kind,
                inputs,
                name,
                Access.ROWS,
                window=reading.window,
                macs=reading.macs,
                elementwise=reading.window == Window(),
                whole_inputs=whole,
            ),
            None,
        )

    def _whole_inputs(self, call: Any, layouts: Mapping[str, Layout]) -> tuple[str, ...]:
        """Activations of one pixel that are broadcast over a map."""
        output = shape_of(call)
        names = []
        for argument in data_arguments(call):
            name = self._names.get(argument)
            shape = shape_of(argument)
            layout = layouts.get(name) if name is not None else None
            if name is None or layout is None or shape is None or len(output or ()) != 4:
                continue
            pixel = shape[layout.rows] == shape[layout.cols] == 1
            assert output is not None
            if keeps_layout(call) and pixel and output[layout.rows] * output[layout.cols] > 1:
                names.append(name)
        return tuple(names)

    def _reading(
        self,
        name: str,
        call: Any,
        inputs: tuple[str, ...],
        whole: tuple[str, ...],
        layouts: Mapping[str, Layout],
    ) -> Reading | str:
        if op_name(call) in ("nn.batch_norm", "nn.dropout"):
            return "it is left from training: apply relay.transform.SimplifyInference() first"
        maps = [tensor for tensor in inputs if tensor not in whole]
        output = shape_of(call)
        if output is None or len(output) != 4 or output[0] != 1 or not maps:
            return "its output is no map of one image"
        if any(tensor not in layouts for tensor in (*maps, name)):
            return "the layout of a map is not known"
        if len({layouts[tensor] for tensor in maps}) > 1:
            return "its inputs have different layouts"
        layout_in, layout_out = layouts[maps[0]], layouts[name]
        activations = [x for x in data_arguments(call) if x in self._names]
        reading = reading_of(call, activations, layout_in, layout_out)
        if isinstance(reading, Reading) and reading.window.is_identity:
            size = (output[layout_out.rows], output[layout_out.cols])
            for argument in activations:
                shape = shape_of(argument)
                if self._names[argument] not in whole and (
                    shape is None
                    or len(shape) != 4
                    or (shape[layout_in.rows], shape[layout_in.cols]) != size
                ):
                    return "its inputs have different sizes"
        return reading


def _fields(root: Any) -> list[Any]:
    if isinstance(root, relay.Tuple):
        return [field for item in root.fields for field in _fields(item)]
    return [root]


def _macs_of_dense(call: Any) -> int:
    """Multiply-accumulates of the layers behind a stage, for the overhead F."""
    if not isinstance(call, relay.Call) or op_name(call) not in ("nn.dense", "qnn.dense"):
        return 0
    weight, data = shape_of(call.args[1]), shape_of(call.args[0])
    return weight[0] * weight[1] * data[0] if weight and data else 0


def _tensor(name: str, expression: Any, layouts: Mapping[str, Layout]) -> Tensor:
    shape = shape_of(expression)
    if shape is None:
        return Tensor(name, (1,), "int8")
    dtype = str(expression.checked_type.dtype)
    if dtype not in _PLANNER_DTYPES:
        size = (tvm.DataType(dtype).bits + 7) // 8
        return Tensor(name, (*shape, size) if len(shape) != 3 else (*shape, 1, size), "int8")
    return Tensor(name, layouts[name].nhwc(shape) if name in layouts else shape, dtype)


def _structure(operators: list[Operator], tensors: tuple[Tensor, ...]) -> str:
    """A digest's text: operators, windows, shapes and types; weights change no plan here."""
    return repr([(tensor.name, tensor.shape, tensor.dtype) for tensor in tensors]) + repr(operators)
