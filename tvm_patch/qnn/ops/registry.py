"""Registration of the dialect's operators, and the helpers that every operator shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import ir, relax
from tvm.ir import op as ir_op

PREFIX = "qnn."
#: The integer range that every activation of the dialect lives in.
INT8_MIN, INT8_MAX = -128, 127
#: Requantisation arithmetics of the accumulating operators, see :mod:`tvm_patch.qnn.arithmetic`.
ROUNDINGS = ("double", "single")

Shape = tuple[int, ...]
InferType = Callable[[Any], Any]

_registered: set[str] = set()


def register(name: str, description: str, infer_type: InferType) -> None:
    """Register one pure Relax operator; doing it twice is harmless.

    Parameters
    ----------
    name : str
        Full operator name, for example ``"qnn.conv2d"``.
    description : str
        One line for TVM's operator registry.
    infer_type : callable
        Takes the ``relax.Call`` and returns its ``relax.Type``; raises ``ValueError`` on
        ill-formed arguments.
    """
    if name in _registered:
        return
    ir_op._ffi_api.RegisterOp(name, description)
    ir_op.register_op_attr(name, "FInferType", lambda call, _builder: infer_type(call))
    ir_op.register_op_attr(name, "FPurity", True)
    _registered.add(name)


def registered_names() -> tuple[str, ...]:
    """Names of all operators of the dialect, sorted."""
    return tuple(sorted(_registered))


def make_call(name: str, args: Sequence[Any], **attributes: Any) -> relax.Call:
    """Build a call to a dialect operator with its attributes as plain numbers and strings."""
    # Empty attributes rather than none: that is what printed modules parse back to.
    attrs = ir.make_node("ir.DictAttrs", **attributes)
    return relax.Call(ir.Op.get(name), list(args), attrs=attrs)


def constant(value: Any, dtype: str) -> Any:
    """Wrap an array as a constant of ``dtype``; expressions pass through unchanged."""
    if isinstance(value, relax.Expr):
        return value
    return relax.const(np.ascontiguousarray(value, dtype=dtype), dtype)


def attributes(call: relax.Call) -> dict[str, Any]:
    """Attributes of a dialect call as plain Python ints, floats, strings and lists of ints."""
    if call.attrs is None:
        return {}
    result: dict[str, Any] = {}
    for key in call.attrs.keys():  # noqa: SIM118 - an FFI map, not a dict
        value = call.attrs[key]
        if isinstance(value, str):
            result[str(key)] = str(value)
        elif isinstance(value, (bool, int, float)):
            result[str(key)] = value
        else:
            result[str(key)] = [int(item) for item in value]
    return result


def op_name(expr: Any) -> str | None:
    """Name of the operator that ``expr`` calls, or None where it is no operator call."""
    if isinstance(expr, relax.Call) and isinstance(expr.op, ir.Op):
        return str(expr.op.name)
    return None


def is_qnn_call(expr: Any) -> bool:
    """Whether ``expr`` is a call to an operator of this dialect."""
    name = op_name(expr)
    return name is not None and name in _registered


def tensor_type(call: relax.Call, index: int, role: str, dtype: str, rank: int | None) -> Shape:
    """Check argument ``index`` of ``call`` and return its static shape."""
    name = op_name(call)
    if index >= len(call.args):
        raise ValueError(f"{name}: argument {index} ({role}) is missing")
    return check_tensor(call.args[index].ty, f"{name}: {role}", dtype, rank)


def check_tensor(ty: Any, what: str, dtype: str, rank: int | None) -> Shape:
    """Check that ``ty`` is a static tensor of ``dtype`` and ``rank``; return its shape."""
    if not isinstance(ty, relax.TensorType) or ty.shape is None:
        raise ValueError(f"{what} must be a tensor of known shape, got {ty}")
    if str(ty.dtype) != dtype:
        raise ValueError(f"{what} must be {dtype}, got {ty.dtype}")
    sizes = [getattr(dim, "value", dim) for dim in ty.shape]
    for size in sizes:
        if not isinstance(size, int):
            raise ValueError(f"{what} has the dynamic dimension {size}")
    shape = tuple(sizes)
    if any(dim <= 0 for dim in shape):
        raise ValueError(f"{what} has a dimension of size zero: {list(shape)}")
    if rank is not None and len(shape) != rank:
        raise ValueError(f"{what} must have {rank} dimensions, got {list(shape)}")
    return shape


def expect_shape(call: relax.Call, index: int, role: str, dtype: str, expected: Shape) -> None:
    """Check that argument ``index`` has exactly the ``expected`` shape."""
    shape = tensor_type(call, index, role, dtype, len(expected))
    if shape != expected:
        raise ValueError(
            f"{op_name(call)}: {role} must have shape {list(expected)}, got {list(shape)}"
        )


def check_clamp(call: relax.Call, attrs: dict[str, Any]) -> None:
    """Check that ``clamp_min <= clamp_max`` lie in the int8 range."""
    low, high = attrs["clamp_min"], attrs["clamp_max"]
    if not INT8_MIN <= low <= high <= INT8_MAX:
        raise ValueError(f"{op_name(call)}: clamp [{low}, {high}] is no range within int8")


def check_zero_points(call: relax.Call, attrs: dict[str, Any]) -> None:
    """Check that every attribute ``*_zero_point`` or ``zero_point`` is an int8 value."""
    for key, value in attrs.items():
        if key.endswith("zero_point") and not INT8_MIN <= value <= INT8_MAX:
            raise ValueError(f"{op_name(call)}: {key} = {value} is no int8 value")


def check_rounding(call: relax.Call, attrs: dict[str, Any]) -> None:
    """Check that ``rounding`` names a known arithmetic."""
    if attrs["rounding"] not in ROUNDINGS:
        raise ValueError(f"{op_name(call)}: rounding must be one of {ROUNDINGS}")


def check_ints(call: relax.Call, attrs: dict[str, Any], key: str, count: int, low: int) -> None:
    """Check that ``attrs[key]`` holds ``count`` integers not below ``low``."""
    values = attrs[key]
    if len(values) != count or any(value < low for value in values):
        raise ValueError(f"{op_name(call)}: {key} must be {count} integers >= {low}, got {values}")


def window_extent(size: int, before: int, after: int, window: int, stride: int) -> int:
    """Output extent of a sliding window over one padded axis (zero or less: it does not fit)."""
    return (size + before + after - window) // stride + 1


def int8_tensor(shape: Sequence[int]) -> Any:
    """Type of an int8 tensor."""
    return relax.TensorType([int(dim) for dim in shape], "int8")
