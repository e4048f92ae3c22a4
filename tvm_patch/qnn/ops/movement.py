"""``qnn.pad`` and ``qnn.concatenate``; other data movement is plain Relax on int8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from tvm_patch.qnn.ops import registry


def pad(data: Any, *, pad_width: Sequence[int], pad_value: int) -> relax.Call:
    """Pad with a constant.

    Parameters
    ----------
    data : Expr
        ``[1, H, W, C]`` int8.
    pad_width : sequence of int
        (n0, n1, h0, h1, w0, w1, c0, c1), not negative.
    pad_value : int
        int8 value of the new elements.
    """
    return registry.make_call(
        "qnn.pad", [data], pad_width=[int(width) for width in pad_width], pad_value=int(pad_value)
    )


def concatenate(tensors: Sequence[Any], *, axis: int) -> relax.Call:
    """Join int8 tensors of equal quantisation along ``axis`` (not negative)."""
    return registry.make_call("qnn.concatenate", [relax.Tuple(list(tensors))], axis=int(axis))


def _infer_pad(call: relax.Call) -> Any:
    attrs = registry.attributes(call)
    data = registry.tensor_type(call, 0, "data", "int8", 4)
    registry.check_ints(call, attrs, "pad_width", 8, 0)
    if not registry.INT8_MIN <= attrs["pad_value"] <= registry.INT8_MAX:
        raise ValueError(f"qnn.pad: pad_value = {attrs['pad_value']} is no int8 value")
    width = attrs["pad_width"]
    return registry.int8_tensor(
        tuple(size + width[2 * axis] + width[2 * axis + 1] for axis, size in enumerate(data))
    )


def _infer_concatenate(call: relax.Call) -> Any:
    axis = registry.attributes(call)["axis"]
    ty = call.args[0].ty
    if not isinstance(ty, relax.TupleType) or len(ty.fields) == 0:
        raise ValueError("qnn.concatenate: the argument must be a tuple of tensors")
    shapes = [
        registry.check_tensor(field, f"qnn.concatenate: input {index}", "int8", None)
        for index, field in enumerate(ty.fields)
    ]
    first = shapes[0]
    if not 0 <= axis < len(first):
        raise ValueError(f"qnn.concatenate: axis {axis} is none of {list(first)}")
    for shape in shapes:
        if len(shape) != len(first) or any(
            a != b for index, (a, b) in enumerate(zip(shape, first, strict=False)) if index != axis
        ):
            raise ValueError(
                f"qnn.concatenate: {list(shape)} and {list(first)} differ outside axis {axis}"
            )
    total = sum(shape[axis] for shape in shapes)
    return registry.int8_tensor((*first[:axis], total, *first[axis + 1 :]))


registry.register("qnn.pad", "int8 constant padding", _infer_pad)
registry.register("qnn.concatenate", "int8 concatenation", _infer_concatenate)
