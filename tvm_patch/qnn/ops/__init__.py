"""The operators of the integer-only dialect; importing this package registers them with TVM."""

from __future__ import annotations

from tvm_patch.qnn.ops.boundary import dequantize, quantize
from tvm_patch.qnn.ops.convolution import conv2d, dense, depthwise_conv2d
from tvm_patch.qnn.ops.elementwise import add, lookup, mul, softmax, subtract
from tvm_patch.qnn.ops.movement import concatenate, pad
from tvm_patch.qnn.ops.pooling import (
    average_of_sum,
    avg_pool2d,
    global_sum,
    max_pool2d,
    mean,
    mean_of_sum,
    resize_nearest,
)
from tvm_patch.qnn.ops.registry import attributes, is_qnn_call, op_name, registered_names

__all__ = [
    "add",
    "attributes",
    "average_of_sum",
    "avg_pool2d",
    "concatenate",
    "conv2d",
    "dense",
    "depthwise_conv2d",
    "dequantize",
    "global_sum",
    "is_qnn_call",
    "lookup",
    "max_pool2d",
    "mean",
    "mean_of_sum",
    "mul",
    "op_name",
    "pad",
    "quantize",
    "registered_names",
    "resize_nearest",
    "softmax",
    "subtract",
]
