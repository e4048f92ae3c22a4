"""ONNX operators with a window or a weight matrix: convolutions, pools, matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from tvm import relax

from tvm_patch.importer.onnx_graph import Graph
from tvm_patch.importer.onnx_values import (
    NHWC,
    Constant,
    Flattened,
    Quantised,
    Real,
    Value,
    identity,
)

Padding = list[int]


def conv(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Conv`` with constant int8 weights: ordinary, grouped or depthwise."""
    data = graph.image(node, 0)
    if len(data.order) != 4:
        raise graph.refuse(node, f"has {len(data.order)} axes; only 2-D convolution is supported")
    weight = _weights(graph, node, channel_axis=0)
    groups = int(graph.attribute(node, "group", 1))
    dilation = _pair(graph.attribute(node, "dilations", [1, 1]))
    strides = _pair(graph.attribute(node, "strides", [1, 1]))
    kernel = [int(size) for size in weight.array.shape[2:]]
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    channels = data.physical_shape[3]
    if weight.array.shape[1] * groups != channels:
        raise graph.refuse(node, "has weights for another number of input channels")
    depthwise = groups == channels and groups > 1
    expr = relax.op.nn.conv2d(
        data.dequantised(),
        _depthwise_kernel(weight) if depthwise else _kernel(weight),
        strides=strides,
        padding=_padding(graph, node, data.physical_shape[1:3], reach, strides),
        dilation=dilation,
        groups=groups,
        data_layout="NHWC",
        kernel_layout="HWOI" if depthwise else "HWIO",
    )
    return graph.real(_with_bias(graph, node, expr, data, weight), NHWC)


def gemm(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Gemm`` with a constant second matrix."""
    if float(graph.attribute(node, "alpha", 1.0)) != 1.0 or (
        graph.has_input(node, 2) and float(graph.attribute(node, "beta", 1.0)) != 1.0
    ):
        raise graph.refuse(node, "has factors alpha or beta other than one")
    if int(graph.attribute(node, "transA", 0)):
        raise graph.refuse(node, "transposes its input")
    return _dense(graph, node, transposed=bool(graph.attribute(node, "transB", 0)))


def matmul(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``MatMul`` with a constant second matrix."""
    return _dense(graph, node, transposed=False)


def max_pool(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``MaxPool``: bytes that only move."""
    data = graph.image(node, 0)
    if any(step != 1 for step in graph.attribute(node, "dilations", [1, 1])):
        raise graph.refuse(node, "is dilated")
    window = _pool_window(graph, node, data)
    expr = relax.op.nn.max_pool2d(data.expr, **window)
    return graph.moved(data, expr, NHWC, node.output[0])


def average_pool(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``AveragePool``; where padding counts, it is made of zero points beforehand."""
    data = graph.image(node, 0)
    if any(step != 1 for step in graph.attribute(node, "dilations", [1, 1])):
        raise graph.refuse(node, "is dilated")
    window = _pool_window(graph, node, data)
    if graph.attribute(node, "count_include_pad", 0) and any(window["padding"]):
        if graph.attribute(node, "ceil_mode", 0):
            raise graph.refuse(node, "counts padding and rounds its size up")
        top, left, bottom, right = window["padding"]
        widths = [0, 0, top, bottom, left, right, 0, 0]
        padded = relax.op.nn.pad(data.expr, widths, "constant", data.zero_point)
        data = graph.moved(data, padded, NHWC, f"{node.output[0]}_padded")
        window["padding"] = [0, 0, 0, 0]
    assert data.scale is not None
    pooled = relax.op.nn.avg_pool2d(data.dequantised(), count_include_pad=False, **window)
    # The integer kernel keeps its input's scale; another one is a step of its own.
    return graph.quantise(graph.real(pooled, NHWC), data.scale, data.zero_point, node.output[0])


def global_average_pool(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``GlobalAveragePool`` to a mean, which may rescale."""
    data = graph.image(node, 0)
    if len(data.order) != 4:
        raise graph.refuse(node, f"has {len(data.order)} axes instead of four")
    return graph.real(relax.op.mean(data.dequantised(), [1, 2], True), NHWC)


def _weights(graph: Graph, node: onnx.NodeProto, channel_axis: int) -> Constant:
    weight = graph.constant(node, 1)
    if weight.scales is None:
        raise graph.refuse(node, "has weights in floating point")
    if weight.per_channel and weight.axis != channel_axis:
        raise graph.refuse(node, f"has scales along axis {weight.axis} of its weights")
    return weight


def _dequantized_constant(
    array: npt.NDArray[Any], constant: Constant, axis: int, dtype: str = "int8"
) -> relax.Expr:
    assert constant.scales is not None
    scales = constant.scales if constant.per_channel else constant.scales[0]
    return relax.op.dequantize(
        relax.const(np.ascontiguousarray(array), dtype),
        relax.const(scales, "float32"),
        relax.const(constant.zero_point, "int32"),
        axis if constant.per_channel else 0,
    )


def _kernel(weight: Constant) -> relax.Expr:
    return _dequantized_constant(weight.array.transpose(2, 3, 1, 0), weight, 3)


def _depthwise_kernel(weight: Constant) -> relax.Expr:
    # As the TFLite front end writes it: scales along the last axis of [1, KH, KW, C*M], then HWOI.
    outputs, _, height, width = weight.array.shape
    flat = weight.array.transpose(1, 2, 3, 0)
    real = _dequantized_constant(flat, weight, 3)
    return relax.op.reshape(real, (height, width, outputs, 1))


def _with_bias(
    graph: Graph, node: onnx.NodeProto, expr: relax.Expr, data: Quantised, weight: Constant
) -> relax.Expr:
    if not graph.has_input(node, 2):
        return expr
    bias = graph.constant(node, 2)
    assert weight.scales is not None and data.scale is not None
    scales = np.float32(data.scale) * weight.scales
    if bias.scales is None or bias.array.dtype != np.int32:
        real = bias.array.astype(np.float64)
        if bias.scales is not None:
            real = (real - bias.zero_point) * bias.scales
        steps = np.rint(real / np.where(scales == 0, np.float32(1), scales))
        limits = np.iinfo(np.int32)
        bias = Constant(np.clip(steps, limits.min, limits.max).astype(np.int32), scales)
    flat = bias.array.reshape(-1)
    return relax.op.add(expr, _dequantized_constant(flat, bias, 0, "int32"))


def _dense(graph: Graph, node: onnx.NodeProto, transposed: bool) -> Value:
    weight = _weights(graph, node, channel_axis=0 if transposed else 1)
    if weight.array.ndim != 2:
        raise graph.refuse(node, f"has weights with {weight.array.ndim} axes instead of two")
    matrix = weight.array.T if transposed else weight.array
    value = graph.value(node, 0)
    if isinstance(value, Flattened):
        # The image stays as it lies in memory; the rows of the matrix follow it.
        source, matrix = value.source, matrix[value.columns]
        shape = (1, matrix.shape[0])
        expr = graph.emit(relax.op.reshape(source.expr, shape), node.input[0])
        data = Quantised(expr, identity(2), source.scale, source.zero_point)
        result_shape: tuple[int, ...] = (1, matrix.shape[1])
    else:
        data = graph.quantised(node, 0)
        logical = data.shape
        result_shape = (*logical[:-1], matrix.shape[1])
        if int(np.prod(logical)) != matrix.shape[0]:
            raise graph.refuse(node, f"multiplies a tensor of shape {list(logical)}, not one row")
        data = (
            graph.ordered(data, identity(2), node.input[0])
            if len(logical) == 2
            else graph.reshaped(data, (1, matrix.shape[0]), f"{node.input[0]}_row")
        )
    product = relax.op.matmul(data.dequantised(), _dequantized_constant(matrix, weight, 1))
    expr = _with_bias(graph, node, product, data, weight)
    if len(result_shape) != 2:
        raise graph.refuse(node, f"multiplies a tensor of {len(result_shape)} axes, not two")
    return Real(graph.builder.normalize(expr), identity(2))


def _pool_window(graph: Graph, node: onnx.NodeProto, data: Quantised) -> dict[str, Any]:
    if len(data.order) != 4:
        raise graph.refuse(node, f"has {len(data.order)} axes; only 2-D pools are supported")
    pool = _pair(graph.attribute(node, "kernel_shape", [1, 1]))
    strides = _pair(graph.attribute(node, "strides", [1, 1]))
    sizes = data.physical_shape[1:3]
    padding = _padding(graph, node, sizes, pool, strides)
    if graph.attribute(node, "ceil_mode", 0):
        # One more window at the end is the same as padding that it just fills.
        for axis in (0, 1):
            space = sizes[axis] + padding[axis] + padding[axis + 2] - pool[axis]
            rest = -space % strides[axis]
            # A window that would start in the padding behind the image is left out (ONNX, PyTorch).
            start = space + rest
            if rest and start < sizes[axis] + padding[axis]:
                padding[axis + 2] += rest
    return {"pool_size": pool, "strides": strides, "padding": padding, "layout": "NHWC"}


def _padding(
    graph: Graph, node: onnx.NodeProto, sizes: tuple[int, ...], reach: list[int], strides: list[int]
) -> Padding:
    """Return padding as top, left, bottom, right."""
    mode = graph.attribute(node, "auto_pad", "NOTSET")
    if mode == "NOTSET":
        return [int(width) for width in graph.attribute(node, "pads", [0, 0, 0, 0])]
    if mode == "VALID":
        return [0, 0, 0, 0]
    before, after = [], []
    for size, window, stride in zip(sizes, reach, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + window - size)
        small, large = total // 2, total - total // 2
        before.append(large if mode == "SAME_LOWER" else small)
        after.append(small if mode == "SAME_LOWER" else large)
    return before + after


def _pair(values: Any) -> list[int]:
    return [int(value) for value in values]
