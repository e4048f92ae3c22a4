"""The forward pass over a QDQ function that writes its integer-only twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import ir, relax

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn import ops, tables
from tvm_patch.qnn.fold import movement, quantized, source
from tvm_patch.qnn.fold.constant_data import ConstantData
from tvm_patch.qnn.fold.emitter import Emitter, clamp_table
from tvm_patch.qnn.fold.source import Source
from tvm_patch.qnn.fold.values import (
    Dequantized,
    FloatNode,
    Padded,
    Quant,
    QuantizedConst,
    Target,
    narrow,
)
from tvm_patch.qnn.reference import kernels

#: For int8 operators whose clamp matters but whose scale does not.
_NO_QUANT = Quant(1.0, 0)
_CONSTANT_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "relax.add": np.add,
    "relax.subtract": np.subtract,
    "relax.multiply": np.multiply,
    "relax.divide": np.divide,
}


class Folder:
    """Folds one function.

    Every source variable stands for a value of :mod:`tvm_patch.qnn.fold.values`, an emitted
    expression, or a constant array. Real-valued operators wait until a ``quantize`` tells
    which integer operator they are.
    """

    def __init__(self, src: Source, emitter: Emitter) -> None:
        self._source = src
        self._emitter = emitter
        self._values: dict[Any, Any] = {}
        self._absorbed: set[Any] = set()

    def run(self, params: dict[Any, Any]) -> list[Any]:
        """Fold all bindings; return the results as expressions to hand out.

        Parameters
        ----------
        params : dict
            New parameter for each of the source's.
        """
        self._values.update(params)
        for var, value in self._source.bindings:
            self._values[var] = self._evaluate(var, value)
        return [self._result(var) for var in self._source.results]

    def _result(self, var: Any) -> Any:
        value = self._evaluate(var, var)
        if isinstance(value, Dequantized):
            data, quant = self._emitter.integer(value.data), value.quant
            value = self._emitter.emit(
                ops.dequantize(data, scale=quant.scale, zero_point=quant.zero_point),
                self._source.root(var).name,
                is_output=True,
            )
        return self._emitter.exported(self._materialise(value), var.name)

    def _evaluate(self, var: Any, expr: Any) -> Any:
        if isinstance(expr, relax.Var):
            return self._values[expr]
        if isinstance(expr, ir.GenericConst):
            return expr.value.numpy()
        if isinstance(expr, relax.Tuple):
            return tuple(self._evaluate(var, field) for field in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            tensors = self._evaluate(var, expr.tuple_value)
            return tensors[expr.index] if isinstance(tensors, tuple) else expr
        if isinstance(expr, relax.Call):
            return self._call(var, expr)
        return expr

    def _call(self, var: Any, call: Any) -> Any:
        name = ops.op_name(call)
        if name is None:
            raise UnsupportedOperatorError(
                f"{var.name}: calls another function",
                hint="inline all functions into main",
            )
        args = [self._evaluate(var, arg) for arg in call.args]
        if ops.is_qnn_call(call):
            return self._left_as_it_is(var, call, args)
        if name == "relax.dequantize":
            return self._dequantize(var, call, args)
        if name == "relax.quantize":
            return self._quantize(var, call, args)
        if name in _CONSTANT_ARITHMETIC and all(isinstance(arg, np.ndarray) for arg in args):
            return _CONSTANT_ARITHMETIC[name](*args)
        if name == "relax.nn.pad":
            return self._pad(var, call, args)
        if movement.is_movement(name):
            return self._move(var, call, args)
        if source.dtype_of(call) == "float32":
            return FloatNode(name, tuple(args), call, var.name)
        return self._integer_call(var, call, args)

    # --- boundaries between integers and reals --------------------------------------------------

    def _dequantize(self, var: Any, call: Any, args: list[Any]) -> Any:
        data, scale, zero_point = args
        if not isinstance(scale, np.ndarray) or not isinstance(zero_point, np.ndarray):
            raise UnsupportedOperatorError(
                f"{var.name}: quantisation parameters are not constant",
                hint="export the network with static quantisation",
            )
        axis = int(call.attrs.axis)
        if isinstance(data, np.ndarray):
            return QuantizedConst(
                data,
                source.spread(data, scale.astype(np.float32), axis),
                source.spread(data, zero_point.astype(np.int64), axis),
                per_channel=scale.size > 1,
            )
        dtype = source.dtype_of(call.args[0])
        return Dequantized(data, self._quant(var, scale, zero_point, dtype))

    def _quant(self, var: Any, scale: Any, zero_point: Any, dtype: str | None) -> Quant:
        if dtype != "int8":
            raise UnsupportedOperatorError(
                f"{var.name}: {dtype} activations are not supported",
                hint="quantise the activations as int8",
            )
        if scale.size != 1 or zero_point.size != 1:
            raise UnsupportedOperatorError(
                f"{var.name}: activations are quantised per channel",
                hint="quantise the activations per tensor",
            )
        return Quant(float(scale.reshape(-1)[0]), int(zero_point.reshape(-1)[0]))

    def _quantize(self, var: Any, call: Any, args: list[Any]) -> Any:
        data, scale, zero_point = args
        if not isinstance(scale, np.ndarray) or not isinstance(zero_point, np.ndarray):
            raise UnsupportedOperatorError(
                f"{var.name}: quantisation parameters are not constant",
                hint="export the network with static quantisation",
            )
        quant = self._quant(var, scale, zero_point, source.dtype_of(call))
        if isinstance(data, QuantizedConst):
            return _requantized_array(data, quant)
        if isinstance(data, np.ndarray):
            return _quantized_array(data, quant)
        target = self._target(var, quant)
        if isinstance(data, FloatNode):
            data = ConstantData().of(data)
        result = quantized.lower(self._emitter, data, target)
        if result is None:
            result = quantized.lower(self._emitter, self._materialise(data), target)
        return result

    def _target(self, var: Any, quant: Quant) -> Target:
        """The tensor to make for ``var``, with the clips that follow it taken in."""
        clamp = (-128, 127)
        user = self._source.sole_user(var)
        while user is not None:
            user_var, call = user
            bounds = source.clip_bounds(call) if isinstance(call, relax.Call) else None
            if bounds is None or source.dtype_of(call) != "int8":
                break
            clamp = narrow(_int8_bounds(*bounds), *clamp)
            self._absorbed.add(user_var)
            var = user_var
            user = self._source.sole_user(var)
        return Target(quant, var.name, self._source.is_output(var), clamp)

    # --- operators on integers ------------------------------------------------------------------

    def _integer_call(self, var: Any, call: Any, args: list[Any]) -> Any:
        name = str(ops.op_name(call))
        bounds = source.clip_bounds(call)
        if bounds is not None and source.dtype_of(call) == "int8":
            return self._clip(var, args[0], _int8_bounds(*bounds))
        if name == "relax.astype":
            return self._astype(var, call, args[0])
        if name == "relax.nn.avg_pool2d":
            return FloatNode(name, tuple(args), call, var.name)
        if name == "relax.concat" and source.dtype_of(call) == "int8":
            return self._concat(var, call, args[0])
        return self._left_as_it_is(var, call, args)

    def _clip(self, var: Any, data: Any, bounds: tuple[int, int]) -> Any:
        if var in self._absorbed or bounds == (-128, 127):
            return data
        if isinstance(data, np.ndarray):
            return np.clip(data, *bounds)
        target = self._target(var, _NO_QUANT)
        table = np.clip(clamp_table(*bounds), *target.clamp)
        return self._emitter.emit_target(ops.lookup(self._emitter.integer(data), table), target)

    def _astype(self, var: Any, call: Any, data: Any) -> Any:
        """int8 averages are written ``astype(avg_pool2d(astype(x, int32)), int8)`` by TVM."""
        dtype = source.dtype_of(call)
        if isinstance(data, np.ndarray):
            return data.astype(dtype)
        if dtype == "int32" and source.dtype_of(call.args[0]) == "int8":
            return Dequantized(data, _NO_QUANT)
        if dtype == "int8" and isinstance(data, FloatNode):
            result = quantized.lower(self._emitter, data, self._target(var, _NO_QUANT))
            if result is not None:
                return result
        rebuilt = relax.op.astype(self._materialise(data), dtype)
        return self._emitter.emit(rebuilt, var.name, is_output=self._source.is_output(var))

    def _concat(self, var: Any, call: Any, fields: Any) -> Any:
        parts = [self._materialise(field) for field in fields]
        shape = source.static_shape(call) or []
        target = self._target(var, _NO_QUANT)
        axis = int(call.attrs.axis) % max(len(shape), 1)
        return self._emitter.emit_clamped(ops.concatenate(parts, axis=axis), target)

    # --- movement -------------------------------------------------------------------------------

    def _pad(self, var: Any, call: Any, args: list[Any]) -> Any:
        data, width = args[0], source.ints(call.attrs.pad_width)
        value, mode = float(call.attrs.pad_value), str(call.attrs.pad_mode)
        if not any(width):
            return data
        name, is_output = self._moved_name(var, data)
        if mode != "constant" or len(width) != 8:
            return self._left_alone(var, call, args)
        if isinstance(data, Dequantized):
            filling = _quantized_array(np.float32(value), data.quant)
            inner = self._emitter.integer(data.data)
            padded = Padded(inner, tuple(width), int(filling), name, is_output)
            return Dequantized(padded, data.quant)
        if source.dtype_of(call) == "int8" and isinstance(data, (relax.Expr, Padded)):
            inner = self._emitter.integer(data)
            return Padded(inner, tuple(width), int(value), name, is_output)
        return self._left_alone(var, call, args)

    def _move(self, var: Any, call: Any, args: list[Any]) -> Any:
        data = args[0]
        moved: Any = None
        if isinstance(data, np.ndarray):
            moved = movement.move_array(call, data)
            if moved is None and data.dtype == np.int8:
                moved = self._moved(var, call, data, relax.const(data, "int8"))
        elif isinstance(data, QuantizedConst):
            moved = movement.move_const(call, data)
        elif isinstance(data, Dequantized):
            integers = self._moved(var, call, data, data.data)
            moved = None if integers is None else Dequantized(integers, data.quant)
        elif source.dtype_of(call) == "int8":
            moved = self._moved(var, call, data, data)
        return self._left_alone(var, call, args) if moved is None else moved

    def _moved(self, var: Any, call: Any, value: Any, integers: Any) -> Any:
        """Emit a movement on int8; the input itself where nothing moves."""
        data = self._emitter.integer(integers)
        if isinstance(value, Dequantized):
            target = Target(value.quant, *self._moved_name(var, value))
        else:
            target = self._target(var, _NO_QUANT)
        can_clamp = ops.op_name(call) == "relax.nn.max_pool2d"
        try:
            expr = movement.rebuild(call, data, target.clamp if can_clamp else (-128, 127))
        except UnsupportedOperatorError as error:
            raise UnsupportedOperatorError(
                f"{target.name}: {error.message}", hint=error.hint
            ) from error
        if expr is None:
            return None
        if can_clamp or target.is_full_range:
            return data if expr is data else self._emitter.emit_target(expr, target)
        return self._emitter.emit_clamped(expr, target)

    def _moved_name(self, var: Any, data: Any) -> tuple[str, bool]:
        """Name for moved integers: that of the quantised tensor, where one follows directly."""
        user = self._source.sole_user(var)
        if user is not None and isinstance(data, Dequantized):
            user_var, call = user
            if isinstance(call, relax.Call) and ops.op_name(call) == "relax.quantize":
                scale, zero_point = (self._evaluate(user_var, arg) for arg in call.args[1:3])
                quant = self._quant(user_var, scale, zero_point, source.dtype_of(call))
                if quant == data.quant:
                    return user_var.name, self._source.is_output(user_var)
        return var.name, self._source.is_output(var) and not isinstance(data, Dequantized)

    # --- what stays as it is --------------------------------------------------------------------

    def _left_alone(self, var: Any, call: Any, args: list[Any]) -> Any:
        """An operator without an integer form: a real one waits, another is emitted as it is."""
        if source.dtype_of(call) == "float32":
            return FloatNode(str(ops.op_name(call)), tuple(args), call, var.name)
        return self._left_as_it_is(var, call, args)

    def _left_as_it_is(self, var: Any, call: Any, args: list[Any]) -> Any:
        rebuilt = relax.Call(
            call.op, [self._materialise(arg) for arg in args], call.attrs, call.ty_args
        )
        return self._emitter.emit(rebuilt, var.name, is_output=self._source.is_output(var))

    def _materialise(self, value: Any) -> Any:
        """An expression for any value, in floating point if need be."""
        if isinstance(value, tuple):
            return relax.Tuple([self._materialise(field) for field in value])
        if isinstance(value, np.ndarray):
            return relax.const(value, str(value.dtype))
        if isinstance(value, QuantizedConst):
            return relax.const(value.real(), "float32")
        if isinstance(value, Dequantized):
            return self._float_boundary(value)
        if isinstance(value, FloatNode):
            if not value.cache:
                args = [self._materialise(arg) for arg in value.args]
                call = relax.Call(value.call.op, args, value.call.attrs, value.call.ty_args)
                value.cache.append(self._emitter.emit(call, value.name))
            return value.cache[0]
        return self._emitter.integer(value)

    def _float_boundary(self, value: Dequantized) -> Any:
        data = self._emitter.integer(value.data)
        return self._emitter.emit(
            ops.dequantize(data, scale=value.quant.scale, zero_point=value.quant.zero_point),
            f"{data.name}_dequantized",
        )


def _quantized_array(real: Any, quant: Quant) -> Any:
    return kernels.quantize(
        np.asarray(real, np.float32), scale=quant.scale, zero_point=quant.zero_point
    )


def _requantized_array(const: QuantizedConst, quant: Quant) -> Any:
    if not const.is_activation:
        return _quantized_array(const.real(), quant)
    given = const.quant
    table = tables.requantize(given.scale, given.zero_point, quant.scale, quant.zero_point)
    return table[const.values.astype(np.int64) + 128]


def _int8_bounds(low: float | None, high: float | None) -> tuple[int, int]:
    """Bounds of a clip on int8 values."""
    clamp_min = -128 if low is None else max(-128, min(127, int(np.ceil(low))))
    clamp_max = 127 if high is None else max(-128, min(127, int(np.floor(high))))
    return clamp_min, clamp_max
