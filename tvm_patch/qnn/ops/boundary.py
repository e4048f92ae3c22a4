"""``qnn.quantize`` and ``qnn.dequantize``: the float32 boundary of a model that has one."""

from __future__ import annotations

from typing import Any

from tvm import relax

from tvm_patch.qnn.ops import registry


def quantize(data: Any, *, scale: float, zero_point: int) -> relax.Call:
    """float32 to int8: ``clamp(round_half_away(x / scale) + zero_point)``, division in float32.

    Parameters
    ----------
    data : Expr
        float32 of any shape.
    scale : float
        Exactly a float32 value, positive.
    zero_point : int
        int8 value.
    """
    return registry.make_call(
        "qnn.quantize", [data], scale=float(scale), zero_point=int(zero_point)
    )


def dequantize(data: Any, *, scale: float, zero_point: int) -> relax.Call:
    """int8 to float32: ``scale * (x - zero_point)``; parameters as :func:`quantize`."""
    return registry.make_call(
        "qnn.dequantize", [data], scale=float(scale), zero_point=int(zero_point)
    )


def _check(call: relax.Call) -> None:
    attrs = registry.attributes(call)
    registry.check_zero_points(call, attrs)
    if not attrs["scale"] > 0:
        raise ValueError(f"{registry.op_name(call)}: scale must be positive, got {attrs['scale']}")


def _infer_quantize(call: relax.Call) -> Any:
    _check(call)
    return registry.int8_tensor(registry.tensor_type(call, 0, "data", "float32", None))


def _infer_dequantize(call: relax.Call) -> Any:
    _check(call)
    shape = registry.tensor_type(call, 0, "data", "int8", None)
    return relax.TensorType(list(shape), "float32")


registry.register("qnn.quantize", "float32 to int8", _infer_quantize)
registry.register("qnn.dequantize", "int8 to float32", _infer_dequantize)
