"""Checks that a module is what later layers count on: static, batch one, integers that fit."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import ir, relax

from tvm_patch.errors import FloatModelError, UnsupportedOperatorError, UnsupportedShapeError
from tvm_patch.qnn import ops
from tvm_patch.qnn.fold import source
from tvm_patch.qnn.fold.source import Source
from tvm_patch.qnn.sums import check_sums

#: Plain Relax operators that the dialect keeps, on int8.
MOVEMENT_OPS = ("relax.reshape", "relax.permute_dims", "relax.strided_slice")
_BOUNDARY_OPS = ("qnn.quantize", "qnn.dequantize")
_QUANTISE_HINT = "tvm-patch quantize model.onnx --calibration data.npz"
_SHOWN = 3


def verify(module: tvm.IRModule) -> None:
    """Check every Relax function of a folded module.

    Raises
    ------
    FloatModelError
        If nothing in the model is quantised.
    UnsupportedOperatorError
        If an operator outside the dialect is left, naming it and its tensor, or if the sums of
        one may leave the int32 range.
    UnsupportedShapeError
        For dynamic or zero-size dimensions and batches other than one.
    """
    verify_shapes(module)
    for function in _functions(module):
        src = Source(function)
        left = [f"{name} ({var.name})" for var, name in _foreign(src) if name is not None]
        if not left:
            for var, value in src.bindings:
                if ops.is_qnn_call(value):
                    check_sums(str(var.name), value)
            continue
        if not any(_is_integer_op(value) for _, value in src.bindings):
            raise FloatModelError(
                f"the model computes in floating point, first in {left[0]}",
                hint=_QUANTISE_HINT,
            )
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        raise UnsupportedOperatorError(
            f"no integer form for {', '.join(left[:_SHOWN])}{more}",
            hint="replace the operator, or quantise its input and output as int8",
        )


def verify_shapes(module: tvm.IRModule) -> None:
    """Check that every tensor of every Relax function is static, not empty and of batch one.

    Raises
    ------
    UnsupportedShapeError
        Naming the tensor.
    """
    for function in _functions(module):
        for param in function.params:
            _check_shape(param, is_boundary=True)
        src = Source(function)
        for var, _ in src.bindings:
            if isinstance(var.ty, relax.TensorType):
                _check_shape(var, is_boundary=src.is_output(var))


def _functions(module: tvm.IRModule) -> list[Any]:
    items = [f for _, f in module.functions_items() if isinstance(f, relax.Function)]
    if not items:
        raise UnsupportedOperatorError("the module holds no Relax function")
    return items


def _check_shape(var: Any, *, is_boundary: bool) -> None:
    shape = source.static_shape(var)
    if shape is None:
        raise UnsupportedShapeError(
            f"tensor {var.name} has a dynamic shape: {var.ty}",
            hint="export the model with fixed input shapes",
        )
    if any(size <= 0 for size in shape):
        raise UnsupportedShapeError(
            f"tensor {var.name} has a dimension of size zero: {shape}",
            hint="export the model with an input that is not empty",
        )
    if is_boundary and len(shape) > 1 and shape[0] != 1:
        raise UnsupportedShapeError(
            f"tensor {var.name} has batch {shape[0]}: {shape}",
            hint="export the model with batch size 1",
        )


def _foreign(src: Source) -> list[tuple[Any, str | None]]:
    """Bindings outside the dialect, with the name of their operator."""
    found: list[tuple[Any, str | None]] = []
    for var, value in src.bindings:
        if isinstance(value, (relax.Var, relax.Tuple, relax.TupleGetItem)):
            continue
        name = ops.op_name(value)
        is_movement = name in MOVEMENT_OPS and source.dtype_of(var) == "int8"
        if ops.is_qnn_call(value) or is_movement:
            continue
        if isinstance(value, ir.GenericConst):
            found.append((var, "constant"))
        else:
            found.append((var, name or type(value).__name__))
    return found


def _is_integer_op(value: Any) -> bool:
    return ops.is_qnn_call(value) and ops.op_name(value) not in _BOUNDARY_OPS
