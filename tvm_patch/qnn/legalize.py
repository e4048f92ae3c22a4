"""``FLegalize`` of the dialect: any Relax build runs it on the host.

Every operator becomes a PrimFunc from the very TE computes that the device kernels are scheduled
from, over whole maps instead of rows: padding is made real first, as the device's callers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, te, tirx, topi
from tvm.ir import op as ir_op

from tvm_patch.qnn.ops import registry
from tvm_patch.schedules import AddFlat, MulFlat, nearest_indices
from tvm_patch.schedules.boundary import dequantize_element, quantize_element
from tvm_patch.schedules.conv import conv2d
from tvm_patch.schedules.depthwise import depthwise_conv2d
from tvm_patch.schedules.elementwise import elementwise, lookup
from tvm_patch.schedules.fixed_point import Requantisation
from tvm_patch.schedules.pool import (
    average_of_sum,
    avg_pool2d,
    global_sum,
    max_pool2d,
    mean_of_sum,
    mean_spatial,
)
from tvm_patch.schedules.softmax import exponentials, softmax

Attributes = dict[str, Any]
Legalizer = Callable[[relax.BlockBuilder, relax.Call, Attributes], relax.Expr]

#: Lowest int8 value: what the padding of a maximum reads as.
_LOWEST = -128


def _shape(tensor: te.Tensor) -> tuple[int, ...]:
    return tuple(int(extent) for extent in tensor.shape)


def _requantisation(attrs: Attributes) -> Requantisation:
    """Any shifts and any accumulators: on the host nothing is known of the constants."""
    return Requantisation(
        attrs["output_zero_point"],
        attrs["clamp_min"],
        attrs["clamp_max"],
        attrs["rounding"],
        shift_min=-31,
        shift_max=30,
        small_accumulator=False,
    )


def _channels(bias: te.Tensor, multiplier: te.Tensor, shift: te.Tensor) -> te.Tensor:
    """Per-channel parameters side by side, as :meth:`Requantisation.pack` lays them out."""

    def element(channel: tirx.Var, column: tirx.Var) -> tirx.Expr:
        scale = tirx.Select(column == 1, multiplier[channel], shift[channel])
        return tirx.Select(column == 0, bias[channel], scale)

    return te.compute((bias.shape[0], 3), element, name="channels")


def _padded(data: te.Tensor, padding: list[int], value: int) -> te.Tensor:
    """[1, H, W, C] with (top, left, bottom, right) made real, as [H, W, C]."""
    _, height, width, channels = _shape(data)
    top, left, bottom, right = padding

    def element(y: tirx.Var, x: tirx.Var, c: tirx.Var) -> tirx.Expr:
        inside = tirx.all(y >= top, y < top + height, x >= left, x < left + width)
        return tirx.if_then_else(inside, data[0, y - top, x - left, c], tirx.const(value, "int8"))

    shape = (height + top + bottom, width + left + right, channels)
    if not any(padding):
        return te.compute(shape, lambda y, x, c: data[0, y, x, c], name="map")
    return te.compute(shape, element, name="padded")


def _batched(out: te.Tensor) -> te.Tensor:
    """Put the batch dimension back."""
    return te.compute((1, *_shape(out)), lambda _, *at: out[at], name="batched")


def _out_size(call: relax.Call) -> tuple[int, int, int]:
    """(H, W, C) of a call's result."""
    _, height, width, channels = (int(extent) for extent in call.ty.shape)
    return height, width, channels


def _conv2d(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    def compute(data: te.Tensor, weight: te.Tensor, *parameters: te.Tensor) -> te.Tensor:
        out = conv2d(
            _padded(data, attrs["padding"], attrs["input_zero_point"]),
            lambda o, ky, kx, ci: weight[o, ky, kx, ci],
            _channels(*parameters),
            out_shape=_out_size(call),
            kernel=(int(weight.shape[1]), int(weight.shape[2])),
            strides=attrs["strides"],
            dilation=attrs["dilation"],
            groups=attrs["groups"],
            requantisation=_requantisation(attrs),
        )
        return _batched(out)

    return builder.call_te(compute, *call.args, primfunc_name_hint="qnn_conv2d")


def _depthwise_conv2d(
    builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes
) -> relax.Expr:
    def compute(data: te.Tensor, weight: te.Tensor, *parameters: te.Tensor) -> te.Tensor:
        out = depthwise_conv2d(
            _padded(data, attrs["padding"], attrs["input_zero_point"]),
            weight,
            _channels(*parameters),
            out_shape=_out_size(call),
            strides=attrs["strides"],
            dilation=attrs["dilation"],
            requantisation=_requantisation(attrs),
        )
        return _batched(out)

    return builder.call_te(compute, *call.args, primfunc_name_hint="qnn_depthwise_conv2d")


def _dense(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    def compute(data: te.Tensor, weight: te.Tensor, *parameters: te.Tensor) -> te.Tensor:
        outputs, features = _shape(weight)
        pixel = te.compute((1, 1, features), lambda _, __, k: data[0, k], name="pixel")
        out = conv2d(
            pixel,
            lambda o, _, __, ci: weight[o, ci],
            _channels(*parameters),
            out_shape=(1, 1, outputs),
            kernel=(1, 1),
            strides=(1, 1),
            dilation=(1, 1),
            groups=1,
            requantisation=_requantisation(attrs),
        )
        return te.compute((1, outputs), lambda _, o: out[0, 0, o], name="vector")

    return builder.call_te(compute, *call.args, primfunc_name_hint="qnn_dense")


def _binary(name: str, element_of: Callable[[Attributes], Any]) -> Legalizer:
    """Legaliser of a two-operand operator from the device kernel's element function."""

    def legalize(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
        def compute(lhs: te.Tensor, rhs: te.Tensor) -> te.Tensor:
            return elementwise(_shape(lhs), lhs, rhs, element_of(attrs))

        return builder.call_te(compute, *call.args, primfunc_name_hint=name)

    return legalize


def _lookup(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    return builder.call_te(lookup, *call.args, primfunc_name_hint="qnn_lookup")


def _softmax(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    def compute(data: te.Tensor, table: te.Tensor) -> te.Tensor:
        shape = _shape(data)
        rows = topi.reshape(data, (int(np.prod(shape[:-1])), shape[-1]))
        return topi.reshape(softmax(rows, table), shape)

    table = relax.const(exponentials(**attrs), "int32")
    return builder.call_te(compute, call.args[0], table, primfunc_name_hint="qnn_softmax")


def _max_pool2d(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    def compute(data: te.Tensor) -> te.Tensor:
        out = max_pool2d(
            _padded(data, attrs["padding"], _LOWEST),
            out_shape=_out_size(call),
            pool_size=attrs["pool_size"],
            strides=attrs["strides"],
            clamp=(attrs["clamp_min"], attrs["clamp_max"]),
        )
        return _batched(out)

    return builder.call_te(compute, *call.args, primfunc_name_hint="qnn_max_pool2d")


def _avg_pool2d(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    def compute(data: te.Tensor) -> te.Tensor:
        out = avg_pool2d(
            _padded(data, [0, 0, 0, 0], 0),
            out_shape=_out_size(call),
            pool_size=attrs["pool_size"],
            strides=attrs["strides"],
            padding=attrs["padding"],
            clamp=(attrs["clamp_min"], attrs["clamp_max"]),
        )
        return _batched(out)

    return builder.call_te(compute, *call.args, primfunc_name_hint="qnn_avg_pool2d")


def _mean(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    result = tuple(int(extent) for extent in call.ty.shape)

    def compute(data: te.Tensor) -> te.Tensor:
        _, height, width, channels = _shape(data)
        out = mean_spatial(
            topi.reshape(data, (height * width, channels)),
            input_zero_point=attrs["input_zero_point"],
            output_zero_point=attrs["output_zero_point"],
            multiplier=attrs["multiplier"],
            shift=attrs["shift"],
        )
        return topi.reshape(out, result)

    return builder.call_te(compute, *call.args, primfunc_name_hint="qnn_mean")


def _global_sum(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    def compute(data: te.Tensor) -> te.Tensor:
        _, height, width, channels = _shape(data)
        total = global_sum(topi.reshape(data, (height * width, channels)))
        return topi.reshape(total, (1, 1, 1, channels))

    return builder.call_te(compute, *call.args, primfunc_name_hint="qnn_global_sum")


def _finishing(name: str, finish: Callable[..., te.Tensor]) -> Legalizer:
    """Legaliser of an operator that makes int8 [C] of a map's sums."""

    def legalize(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
        result = tuple(int(extent) for extent in call.ty.shape)
        parameters = {key: value for key, value in attrs.items() if key != "keepdims"}

        def compute(total: te.Tensor) -> te.Tensor:
            sums = topi.reshape(total, (_shape(total)[3],))
            return topi.reshape(finish(sums, **parameters), result)

        return builder.call_te(compute, *call.args, primfunc_name_hint=name)

    return legalize


def _pad(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    before, after = attrs["pad_width"][0::2], attrs["pad_width"][1::2]

    def compute(data: te.Tensor) -> te.Tensor:
        return topi.nn.pad(data, before, after, tirx.const(attrs["pad_value"], "int8"))

    return builder.call_te(compute, *call.args, primfunc_name_hint="qnn_pad")


def _resize_nearest(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    def mapping(in_size: int, out_size: int) -> relax.Expr:
        indices = nearest_indices(
            in_size,
            out_size,
            align_corners=bool(attrs["align_corners"]),
            half_pixel_centers=bool(attrs["half_pixel_centers"]),
        )
        return relax.const(indices, "int32")

    def compute(data: te.Tensor, rows: te.Tensor, columns: te.Tensor) -> te.Tensor:
        out_h, out_w, channels = _out_size(call)
        return te.compute(
            (1, out_h, out_w, channels),
            lambda n, y, x, c: data[n, rows[y], columns[x], c],
            name="resized",
        )

    data = call.args[0]
    in_h, in_w = (int(extent) for extent in list(data.ty.shape)[1:3])
    rows = mapping(in_h, attrs["out_height"])
    columns = mapping(in_w, attrs["out_width"])
    return builder.call_te(compute, data, rows, columns, primfunc_name_hint="qnn_resize_nearest")


def _concatenate(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
    joined = call.args[0]
    if isinstance(joined, relax.Tuple):
        fields = list(joined.fields)
    else:
        count = len(joined.ty.fields)
        fields = [builder.emit(relax.TupleGetItem(joined, index)) for index in range(count)]

    def compute(*tensors: te.Tensor) -> te.Tensor:
        return topi.concatenate(tensors, axis=attrs["axis"])

    return builder.call_te(compute, *fields, primfunc_name_hint="qnn_concatenate")


def _boundary(name: str, element: Callable[[Any, Any, int], Any]) -> Legalizer:
    """Legaliser of a conversion from or to float32."""

    def legalize(builder: relax.BlockBuilder, call: relax.Call, attrs: Attributes) -> relax.Expr:
        scale = tirx.const(attrs["scale"], "float32")

        def compute(data: te.Tensor) -> te.Tensor:
            return te.compute(
                data.shape, lambda *at: element(data[at], scale, attrs["zero_point"]), name="out"
            )

        return builder.call_te(compute, *call.args, primfunc_name_hint=name)

    return legalize


def _addition(attrs: Attributes, *, subtract: bool) -> Any:
    return AddFlat(1, 1, **attrs, subtract=subtract).element


_LEGALIZERS: dict[str, Legalizer] = {
    "qnn.conv2d": _conv2d,
    "qnn.depthwise_conv2d": _depthwise_conv2d,
    "qnn.dense": _dense,
    "qnn.add": _binary("qnn_add", lambda attrs: _addition(attrs, subtract=False)),
    "qnn.subtract": _binary("qnn_subtract", lambda attrs: _addition(attrs, subtract=True)),
    "qnn.mul": _binary("qnn_mul", lambda attrs: MulFlat(1, 1, **attrs).element),
    "qnn.lookup": _lookup,
    "qnn.softmax": _softmax,
    "qnn.max_pool2d": _max_pool2d,
    "qnn.avg_pool2d": _avg_pool2d,
    "qnn.mean": _mean,
    "qnn.global_sum": _global_sum,
    "qnn.mean_of_sum": _finishing("qnn_mean_of_sum", mean_of_sum),
    "qnn.average_of_sum": _finishing("qnn_average_of_sum", average_of_sum),
    "qnn.pad": _pad,
    "qnn.resize_nearest": _resize_nearest,
    "qnn.concatenate": _concatenate,
    "qnn.quantize": _boundary("qnn_quantize", quantize_element),
    "qnn.dequantize": _boundary("qnn_dequantize", dequantize_element),
}


def legalized_names() -> tuple[str, ...]:
    """Names of the operators with a host legalisation, sorted."""
    return tuple(sorted(_LEGALIZERS))


def _register(name: str, legalizer: Legalizer) -> None:
    def legalize(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        return legalizer(builder, call, registry.attributes(call))

    ir_op.register_op_attr(name, "FLegalize", legalize)


for _name, _legalizer in _LEGALIZERS.items():
    _register(_name, _legalizer)
