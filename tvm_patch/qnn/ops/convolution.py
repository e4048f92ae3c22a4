"""``qnn.conv2d``, ``qnn.depthwise_conv2d`` and ``qnn.dense``: integer multiply-accumulate layers.

All of them compute ``acc = bias + sum(weight * data)`` in int32, where the bias already holds
``-input_zero_point * sum(weight)``, requantise ``acc`` with one multiplier and shift per output
channel, add ``output_zero_point`` and clamp. Padding elements read as ``input_zero_point``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from tvm_patch.qnn.ops import registry


def conv2d(
    data: Any,
    weight: Any,
    bias: Any,
    multiplier: Any,
    shift: Any,
    *,
    strides: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0, 0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    input_zero_point: int,
    output_zero_point: int,
    clamp_min: int = registry.INT8_MIN,
    clamp_max: int = registry.INT8_MAX,
    rounding: str = "double",
) -> relax.Call:
    """Two-dimensional convolution.

    Parameters
    ----------
    data : Expr
        ``[1, H, W, C]`` int8, NHWC.
    weight : Expr or ndarray
        ``[O, KH, KW, C / groups]`` int8, OHWI, symmetric.
    bias : Expr or ndarray
        ``[O]`` int32, the input zero point folded in.
    multiplier, shift : Expr or ndarray
        ``[O]`` int32: Q31 multiplier and exponent (positive shifts left).
    strides, dilation : sequence of int
        (y, x).
    padding : sequence of int
        (top, left, bottom, right); padding reads as ``input_zero_point``.
    groups : int
        Divides both C and O.
    input_zero_point, output_zero_point : int
        int8 values.
    clamp_min, clamp_max : int
        Range of the result, within int8.
    rounding : str
        ``"double"`` or ``"single"``.

    Returns
    -------
    relax.Call
        ``[1, OH, OW, O]`` int8.
    """
    return registry.make_call(
        "qnn.conv2d",
        [
            data,
            registry.constant(weight, "int8"),
            registry.constant(bias, "int32"),
            registry.constant(multiplier, "int32"),
            registry.constant(shift, "int32"),
        ],
        strides=list(strides),
        padding=list(padding),
        dilation=list(dilation),
        groups=int(groups),
        input_zero_point=int(input_zero_point),
        output_zero_point=int(output_zero_point),
        clamp_min=int(clamp_min),
        clamp_max=int(clamp_max),
        rounding=rounding,
    )


def depthwise_conv2d(
    data: Any,
    weight: Any,
    bias: Any,
    multiplier: Any,
    shift: Any,
    *,
    strides: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0, 0, 0),
    dilation: Sequence[int] = (1, 1),
    depth_multiplier: int = 1,
    input_zero_point: int,
    output_zero_point: int,
    clamp_min: int = registry.INT8_MIN,
    clamp_max: int = registry.INT8_MAX,
    rounding: str = "double",
) -> relax.Call:
    """Depthwise convolution; output channel ``c * depth_multiplier + m`` reads input channel c.

    Parameters are those of :func:`conv2d`, except

    Parameters
    ----------
    weight : Expr or ndarray
        ``[KH, KW, C * depth_multiplier]`` int8.
    depth_multiplier : int
        Output channels per input channel.

    Returns
    -------
    relax.Call
        ``[1, OH, OW, C * depth_multiplier]`` int8.
    """
    return registry.make_call(
        "qnn.depthwise_conv2d",
        [
            data,
            registry.constant(weight, "int8"),
            registry.constant(bias, "int32"),
            registry.constant(multiplier, "int32"),
            registry.constant(shift, "int32"),
        ],
        strides=list(strides),
        padding=list(padding),
        dilation=list(dilation),
        depth_multiplier=int(depth_multiplier),
        input_zero_point=int(input_zero_point),
        output_zero_point=int(output_zero_point),
        clamp_min=int(clamp_min),
        clamp_max=int(clamp_max),
        rounding=rounding,
    )


def dense(
    data: Any,
    weight: Any,
    bias: Any,
    multiplier: Any,
    shift: Any,
    *,
    input_zero_point: int,
    output_zero_point: int,
    clamp_min: int = registry.INT8_MIN,
    clamp_max: int = registry.INT8_MAX,
    rounding: str = "single",
) -> relax.Call:
    """Fully connected layer: data ``[1, K]`` int8, weight ``[N, K]`` int8, result ``[1, N]`` int8.

    ``bias``, ``multiplier`` and ``shift`` are ``[N]`` int32; the attributes are those of
    :func:`conv2d`. LiteRT's reference kernel rounds once, hence the default.
    """
    return registry.make_call(
        "qnn.dense",
        [
            data,
            registry.constant(weight, "int8"),
            registry.constant(bias, "int32"),
            registry.constant(multiplier, "int32"),
            registry.constant(shift, "int32"),
        ],
        input_zero_point=int(input_zero_point),
        output_zero_point=int(output_zero_point),
        clamp_min=int(clamp_min),
        clamp_max=int(clamp_max),
        rounding=rounding,
    )


def _check_per_channel(call: relax.Call, attrs: dict[str, Any], channels: int) -> None:
    for index, role in ((2, "bias"), (3, "multiplier"), (4, "shift")):
        registry.expect_shape(call, index, role, "int32", (channels,))
    registry.check_clamp(call, attrs)
    registry.check_zero_points(call, attrs)
    registry.check_rounding(call, attrs)


def _window_output(
    call: relax.Call, attrs: dict[str, Any], data: registry.Shape, kernel: tuple[int, int]
) -> tuple[int, int]:
    registry.check_ints(call, attrs, "strides", 2, 1)
    registry.check_ints(call, attrs, "dilation", 2, 1)
    registry.check_ints(call, attrs, "padding", 4, 0)
    top, left, bottom, right = attrs["padding"]
    reach = [(kernel[axis] - 1) * attrs["dilation"][axis] + 1 for axis in range(2)]
    out_h = registry.window_extent(data[1], top, bottom, reach[0], attrs["strides"][0])
    out_w = registry.window_extent(data[2], left, right, reach[1], attrs["strides"][1])
    if out_h <= 0 or out_w <= 0:
        raise ValueError(
            f"{registry.op_name(call)}: a kernel of {reach[0]}x{reach[1]} does not fit into "
            f"{data[1]}x{data[2]} with padding {attrs['padding']}"
        )
    return out_h, out_w


def _infer_conv2d(call: relax.Call) -> Any:
    attrs = registry.attributes(call)
    data = registry.tensor_type(call, 0, "data", "int8", 4)
    weight = registry.tensor_type(call, 1, "weight", "int8", 4)
    groups = attrs["groups"]
    if groups < 1 or data[3] % groups or weight[0] % groups or weight[3] * groups != data[3]:
        raise ValueError(
            f"qnn.conv2d: weight {list(weight)} (OHWI) with {groups} groups does not match "
            f"data {list(data)} (NHWC)"
        )
    _check_per_channel(call, attrs, weight[0])
    out_h, out_w = _window_output(call, attrs, data, (weight[1], weight[2]))
    return registry.int8_tensor((data[0], out_h, out_w, weight[0]))


def _infer_depthwise_conv2d(call: relax.Call) -> Any:
    attrs = registry.attributes(call)
    data = registry.tensor_type(call, 0, "data", "int8", 4)
    weight = registry.tensor_type(call, 1, "weight", "int8", 3)
    if weight[2] != data[3] * attrs["depth_multiplier"]:
        raise ValueError(
            f"qnn.depthwise_conv2d: weight {list(weight)} (HWC) does not match data {list(data)} "
            f"with depth multiplier {attrs['depth_multiplier']}"
        )
    _check_per_channel(call, attrs, weight[2])
    out_h, out_w = _window_output(call, attrs, data, (weight[0], weight[1]))
    return registry.int8_tensor((data[0], out_h, out_w, weight[2]))


def _infer_dense(call: relax.Call) -> Any:
    attrs = registry.attributes(call)
    data = registry.tensor_type(call, 0, "data", "int8", 2)
    weight = registry.tensor_type(call, 1, "weight", "int8", 2)
    if data[1] != weight[1]:
        raise ValueError(
            f"qnn.dense: weight {list(weight)} does not match data {list(data)}: "
            f"{weight[1]} inputs against {data[1]}"
        )
    _check_per_channel(call, attrs, weight[0])
    return registry.int8_tensor((data[0], weight[0]))


registry.register("qnn.conv2d", "int8 convolution, NHWC x OHWI", _infer_conv2d)
registry.register("qnn.depthwise_conv2d", "int8 depthwise convolution", _infer_depthwise_conv2d)
registry.register("qnn.dense", "int8 fully connected layer", _infer_dense)
