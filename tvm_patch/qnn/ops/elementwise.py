"""``qnn.add``, ``qnn.subtract``, ``qnn.mul``, ``qnn.lookup`` and ``qnn.softmax``."""

from __future__ import annotations

from typing import Any

from tvm import relax

from tvm_patch.qnn.ops import registry

TABLE_SIZE = 256


def add(
    lhs: Any,
    rhs: Any,
    *,
    lhs_zero_point: int,
    rhs_zero_point: int,
    output_zero_point: int,
    left_shift: int,
    lhs_multiplier: int,
    lhs_shift: int,
    rhs_multiplier: int,
    rhs_shift: int,
    output_multiplier: int,
    output_shift: int,
    clamp_min: int = registry.INT8_MIN,
    clamp_max: int = registry.INT8_MAX,
) -> relax.Call:
    """Quantised addition.

    Both inputs, less their zero points, are shifted left by ``left_shift`` and scaled to a common
    scale; their sum is scaled to the output's.

    Parameters
    ----------
    lhs : Expr
        ``[1, ...]`` int8.
    rhs : Expr or ndarray
        int8 of the same shape, or broadcast from one value per channel or one value.
    left_shift : int
        Bits of headroom, 20 in LiteRT.
    lhs_multiplier, rhs_multiplier, output_multiplier : int
        Q31 int32.
    lhs_shift, rhs_shift, output_shift : int
        Exponents, zero or negative.

    Returns
    -------
    relax.Call
        int8 of the shape of ``lhs``.
    """
    return registry.make_call(
        "qnn.add",
        [registry.constant(lhs, "int8"), registry.constant(rhs, "int8")],
        lhs_zero_point=int(lhs_zero_point),
        rhs_zero_point=int(rhs_zero_point),
        output_zero_point=int(output_zero_point),
        left_shift=int(left_shift),
        lhs_multiplier=int(lhs_multiplier),
        lhs_shift=int(lhs_shift),
        rhs_multiplier=int(rhs_multiplier),
        rhs_shift=int(rhs_shift),
        output_multiplier=int(output_multiplier),
        output_shift=int(output_shift),
        clamp_min=int(clamp_min),
        clamp_max=int(clamp_max),
    )


def subtract(
    lhs: Any,
    rhs: Any,
    *,
    lhs_zero_point: int,
    rhs_zero_point: int,
    output_zero_point: int,
    left_shift: int,
    lhs_multiplier: int,
    lhs_shift: int,
    rhs_multiplier: int,
    rhs_shift: int,
    output_multiplier: int,
    output_shift: int,
    clamp_min: int = registry.INT8_MIN,
    clamp_max: int = registry.INT8_MAX,
) -> relax.Call:
    """Quantised subtraction ``lhs - rhs``; arguments and attributes as in :func:`add`."""
    return registry.make_call(
        "qnn.subtract",
        [registry.constant(lhs, "int8"), registry.constant(rhs, "int8")],
        lhs_zero_point=int(lhs_zero_point),
        rhs_zero_point=int(rhs_zero_point),
        output_zero_point=int(output_zero_point),
        left_shift=int(left_shift),
        lhs_multiplier=int(lhs_multiplier),
        lhs_shift=int(lhs_shift),
        rhs_multiplier=int(rhs_multiplier),
        rhs_shift=int(rhs_shift),
        output_multiplier=int(output_multiplier),
        output_shift=int(output_shift),
        clamp_min=int(clamp_min),
        clamp_max=int(clamp_max),
    )


def mul(
    lhs: Any,
    rhs: Any,
    *,
    lhs_zero_point: int,
    rhs_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
    clamp_min: int = registry.INT8_MIN,
    clamp_max: int = registry.INT8_MAX,
) -> relax.Call:
    """Quantised product: ``(lhs - lhs_zp) * (rhs - rhs_zp)`` requantised; shapes as :func:`add`."""
    return registry.make_call(
        "qnn.mul",
        [registry.constant(lhs, "int8"), registry.constant(rhs, "int8")],
        lhs_zero_point=int(lhs_zero_point),
        rhs_zero_point=int(rhs_zero_point),
        output_zero_point=int(output_zero_point),
        multiplier=int(multiplier),
        shift=int(shift),
        clamp_min=int(clamp_min),
        clamp_max=int(clamp_max),
    )


def lookup(data: Any, table: Any) -> relax.Call:
    """Apply a unary function given as a table: ``result = table[data + 128]``.

    Parameters
    ----------
    data : Expr
        int8 of any shape.
    table : Expr or ndarray
        ``[256]`` int8.
    """
    return registry.make_call("qnn.lookup", [data, registry.constant(table, "int8")])


def softmax(data: Any, *, input_multiplier: int, input_left_shift: int, diff_min: int) -> Any:
    """Softmax over the last axis; the result has scale 1/256 and zero point -128.

    Parameters
    ----------
    data : Expr
        ``[..., N]`` int8.
    input_multiplier, input_left_shift : int
        Scale (times beta) of differences to the row maximum, to Q5.26.
    diff_min : int
        Differences below it contribute nothing.
    """
    return registry.make_call(
        "qnn.softmax",
        [data],
        input_multiplier=int(input_multiplier),
        input_left_shift=int(input_left_shift),
        diff_min=int(diff_min),
    )


def _is_broadcast(lhs: registry.Shape, rhs: registry.Shape) -> bool:
    """Whether ``rhs`` is one value, or one value per channel (last axis) of ``lhs``."""
    size = 1
    for dim in rhs:
        size *= dim
    return size == 1 or (len(rhs) <= len(lhs) and rhs[-1] == lhs[-1] == size)


def _infer_binary(call: relax.Call) -> Any:
    attrs = registry.attributes(call)
    lhs = registry.tensor_type(call, 0, "lhs", "int8", None)
    rhs = registry.tensor_type(call, 1, "rhs", "int8", None)
    if lhs != rhs and not _is_broadcast(lhs, rhs):
        raise ValueError(
            f"{registry.op_name(call)}: cannot broadcast {list(rhs)} to {list(lhs)}; "
            "the second operand may have the same shape, one value per channel, or one value"
        )
    registry.check_clamp(call, attrs)
    registry.check_zero_points(call, attrs)
    return registry.int8_tensor(lhs)


def _infer_lookup(call: relax.Call) -> Any:
    data = registry.tensor_type(call, 0, "data", "int8", None)
    registry.expect_shape(call, 1, "table", "int8", (TABLE_SIZE,))
    return registry.int8_tensor(data)


def _infer_softmax(call: relax.Call) -> Any:
    data = registry.tensor_type(call, 0, "data", "int8", None)
    if not data:
        raise ValueError("qnn.softmax: data must have at least one dimension")
    return registry.int8_tensor(data)


registry.register("qnn.add", "int8 addition with rescaling", _infer_binary)
registry.register("qnn.subtract", "int8 subtraction with rescaling", _infer_binary)
registry.register("qnn.mul", "int8 product with rescaling", _infer_binary)
registry.register("qnn.lookup", "unary int8 function by table", _infer_lookup)
registry.register("qnn.softmax", "int8 softmax over the last axis", _infer_softmax)
