"""Operators with weights or a window: convolutions, fully connected, pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tvm_patch.testing.tflite_writer import TensorRef, TFLiteWriter

Scales = float | Sequence[float] | npt.NDArray[Any]


def window_output(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Output extent of a window along one axis, by TFLite's rule for SAME and VALID."""
    if padding == "SAME":
        return -(-size // stride)
    reach = (kernel - 1) * dilation + 1
    return max(0, -(-(size - reach + 1) // stride))


def activation_code(name: str) -> int:
    """Number of a fused activation: NONE, RELU, RELU6 or RELU_N1_TO_1."""
    return int(getattr(schema.ActivationFunctionType, name))


class WindowOps(TFLiteWriter):
    """The weighted and windowed operators of the builder."""

    def conv2d(
        self,
        x: TensorRef,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None,
        weight_scales: Scales | None = None,
        out_scale: float | None = None,
        out_zp: int = 0,
        *,
        strides: Sequence[int] = (1, 1),
        padding: str = "SAME",
        dilation: Sequence[int] = (1, 1),
        activation: str = "NONE",
        name: str = "conv2d",
    ) -> TensorRef:
        """CONV_2D on NHWC.

        Parameters
        ----------
        x : TensorRef
            [1, H, W, C], int8 or float32.
        weight : array
            [O, KH, KW, C / groups] int8, -127..127; float32 for a float model. Fewer input channels
            than `x` has make a grouped convolution.
        bias : array or None
            [O] int32 in units of input scale times weight scale; float32 for a float model; None
            stands for zeros, since LiteRT insists on a bias.
        weight_scales : float or sequence of float or None
            One for all, or one per output channel.
        out_scale, out_zp
            Quantisation of the output; None for a float model.
        strides, dilation : (int, int)
            Along height and width.
        padding : str
            ``"SAME"`` or ``"VALID"``.
        activation : str
            ``"NONE"``, ``"RELU"``, ``"RELU6"`` or ``"RELU_N1_TO_1"``.
        """
        kernel = np.asarray(weight)
        outputs, kernel_h, kernel_w, kernel_c = kernel.shape
        height = window_output(x.shape[1], kernel_h, strides[0], dilation[0], padding)
        width = window_output(x.shape[2], kernel_w, strides[1], dilation[1], padding)
        options = schema.Conv2DOptionsT()
        _set_window(options, strides, padding, activation)
        options.dilationHFactor, options.dilationWFactor = int(dilation[0]), int(dilation[1])
        grouped = kernel_c != x.shape[3]
        version = 6 if grouped else (1 if x.is_float else 3)
        y = self.tensor(name, (x.shape[0], height, width, outputs), x.dtype, out_scale, out_zp)
        bias = np.zeros(outputs) if bias is None else bias
        inputs = self._weighted_inputs(x, kernel, bias, weight_scales, 0, y.name)
        self.operator("CONV_2D", inputs, [y], version=version, options=options)
        return y

    def depthwise_conv2d(
        self,
        x: TensorRef,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None,
        weight_scales: Scales | None = None,
        out_scale: float | None = None,
        out_zp: int = 0,
        *,
        strides: Sequence[int] = (1, 1),
        padding: str = "SAME",
        dilation: Sequence[int] = (1, 1),
        activation: str = "NONE",
        name: str = "depthwise",
    ) -> TensorRef:
        """DEPTHWISE_CONV_2D; `weight` is [KH, KW, C * M], output channel c * M + m.

        The multiplier M is what the shapes say. Everything else as in :meth:`conv2d`.

        Raises
        ------
        ValueError
            If the channels of `weight` are no multiple of those of `x`.
        """
        kernel = np.asarray(weight)
        kernel = kernel.reshape(1, *kernel.shape[-3:])
        _, kernel_h, kernel_w, outputs = kernel.shape
        if outputs % x.shape[3]:
            raise ValueError(f"{name}: {outputs} channels are no multiple of {x.shape[3]}")
        height = window_output(x.shape[1], kernel_h, strides[0], dilation[0], padding)
        width = window_output(x.shape[2], kernel_w, strides[1], dilation[1], padding)
        options = schema.DepthwiseConv2DOptionsT()
        _set_window(options, strides, padding, activation)
        options.depthMultiplier = outputs // x.shape[3]
        options.dilationHFactor, options.dilationWFactor = int(dilation[0]), int(dilation[1])
        dilated = tuple(dilation) != (1, 1)
        version = (2 if dilated else 1) if x.is_float else 3
        y = self.tensor(name, (x.shape[0], height, width, outputs), x.dtype, out_scale, out_zp)
        bias = np.zeros(outputs) if bias is None else bias
        inputs = self._weighted_inputs(x, kernel, bias, weight_scales, 3, y.name)
        self.operator("DEPTHWISE_CONV_2D", inputs, [y], version=version, options=options)
        return y

    def fully_connected(
        self,
        x: TensorRef,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None,
        weight_scales: Scales | None = None,
        out_scale: float | None = None,
        out_zp: int = 0,
        *,
        activation: str = "NONE",
        name: str = "fully_connected",
    ) -> TensorRef:
        """FULLY_CONNECTED; `weight` is [N, K], the result [elements of x / K, N].

        Without a bias the file has none.
        """
        kernel = np.asarray(weight)
        outputs, depth = kernel.shape
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = activation_code(activation)
        version = 1 if x.is_float else 4
        if bias is None:
            version = max(version, 6)
        if weight_scales is not None and np.size(weight_scales) > 1:
            version = 12
        rows = int(np.prod(x.shape)) // depth
        y = self.tensor(name, (rows, outputs), x.dtype, out_scale, out_zp)
        inputs = self._weighted_inputs(x, kernel, bias, weight_scales, 0, y.name)
        self.operator("FULLY_CONNECTED", inputs, [y], version=version, options=options)
        return y

    def max_pool2d(
        self,
        x: TensorRef,
        pool_size: Sequence[int],
        strides: Sequence[int] | None = None,
        *,
        padding: str = "VALID",
        activation: str = "NONE",
        name: str = "max_pool",
    ) -> TensorRef:
        """MAX_POOL_2D; strides default to the window. Output quantised as the input."""
        return self._pool("MAX_POOL_2D", x, pool_size, strides, padding, activation, name)

    def average_pool2d(
        self,
        x: TensorRef,
        pool_size: Sequence[int],
        strides: Sequence[int] | None = None,
        *,
        padding: str = "VALID",
        activation: str = "NONE",
        name: str = "average_pool",
    ) -> TensorRef:
        """AVERAGE_POOL_2D; strides default to the window. Output quantised as the input."""
        return self._pool("AVERAGE_POOL_2D", x, pool_size, strides, padding, activation, name)

    def _pool(
        self,
        kind: str,
        x: TensorRef,
        pool_size: Sequence[int],
        strides: Sequence[int] | None,
        padding: str,
        activation: str,
        name: str,
    ) -> TensorRef:
        strides = pool_size if strides is None else strides
        options = schema.Pool2DOptionsT()
        _set_window(options, strides, padding, activation)
        options.filterHeight, options.filterWidth = int(pool_size[0]), int(pool_size[1])
        height = window_output(x.shape[1], pool_size[0], strides[0], 1, padding)
        width = window_output(x.shape[2], pool_size[1], strides[1], 1, padding)
        shape = (x.shape[0], height, width, x.shape[3])
        y = self.tensor(name, shape, x.dtype, x.scale, x.zero_point)
        self.operator(kind, [x], [y], version=1 if x.is_float else 2, options=options)
        return y

    def _weighted_inputs(
        self,
        x: TensorRef,
        kernel: npt.NDArray[Any],
        bias: npt.ArrayLike | None,
        weight_scales: Scales | None,
        channel_axis: int,
        name: str,
    ) -> list[TensorRef | None]:
        if x.is_float:
            weight = self.constant(f"{name}/weight", kernel, "float32")
            if bias is None:
                return [x, weight]
            return [x, weight, self.constant(f"{name}/bias", bias, "float32")]
        if x.scale is None or weight_scales is None:
            raise ValueError(f"{name}: an int8 operator needs scales for its input and weights")
        scales = np.atleast_1d(np.asarray(weight_scales, dtype=np.float32))
        weight = self.constant(
            f"{name}/weight", kernel, "int8", scales, quantized_dimension=channel_axis
        )
        if bias is None:
            return [x, weight]
        bias_scales = scales * np.float32(x.scale)
        return [x, weight, self.constant(f"{name}/bias", bias, "int32", bias_scales)]


def _set_window(options: Any, strides: Sequence[int], padding: str, activation: str) -> None:
    options.padding = getattr(schema.Padding, padding)
    options.strideH, options.strideW = int(strides[0]), int(strides[1])
    options.fusedActivationFunction = activation_code(activation)
