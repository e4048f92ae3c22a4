"""Networks in Relay with random weights, as frontends write them, for tests and benchmarks.

Layouts are those of the frontends: ONNX and PyTorch make NCHW with OIHW weights, TFLite makes NHWC
with HWIO weights (HWOI for depthwise ones) and QNN operators with a scale for each channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import tvm
from tvm import relay

from tvm_patch.compat import zip_strict

Layout = Literal["NCHW", "NHWC"]
Precision = Literal["float32", "int8"]

# What quantised maps look like here: values around the zero point with this deviation.
_DEVIATION = 40.0
_ZERO_POINT = -7


class Builder:
    """Writes layers of a Relay function, one call each.

    Parameters
    ----------
    layout : {"NCHW", "NHWC"}
        Of maps; weights follow.
    precision : {"float32", "int8"}
        ``int8``: QNN operators, as a TFLite file is imported.
    seed : int
        Of the weights.
    """

    def __init__(self, layout: Layout, precision: Precision, seed: int = 0) -> None:
        self.layout = layout
        self.precision = precision
        self._random = np.random.default_rng(seed)
        self._input: Any = None

    @property
    def channel_axis(self) -> int:
        """Where maps have their channels."""
        return self.layout.index("C")

    def input(self, height: int, width: int, channels: int) -> Any:
        """The network's input."""
        shape = (
            (1, channels, height, width) if self.layout == "NCHW" else (1, height, width, channels)
        )
        self._input = relay.var("data", shape=shape, dtype=self.precision)
        return self._input

    def module(self, output: Any) -> tvm.IRModule:
        """The finished network, its types inferred."""
        mod = tvm.IRModule.from_expr(relay.Function([self._input], output))
        return relay.transform.InferType()(mod)

    def channels(self, x: Any) -> int:
        """Channels of a map."""
        return int(self._shape(x)[self.channel_axis])

    def size(self, x: Any) -> tuple[int, int]:
        """Rows and columns of a map."""
        shape = self._shape(x)
        return int(shape[self.layout.index("H")]), int(shape[self.layout.index("W")])

    def conv(
        self,
        x: Any,
        channels: int,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        *,
        groups: int = 1,
        dilation: tuple[int, int] = (1, 1),
        padding: Sequence[int] | Literal["same"] = "same",
        activation: Literal["relu6", "relu", "none"] = "relu6",
    ) -> Any:
        """Convolution with bias and activation; depthwise where groups equal the channels."""
        inputs = self.channels(x)
        depthwise = groups == inputs and groups == channels and groups > 1
        if padding == "same":
            padding = self._same_padding(x, kernel, stride, dilation)
        weight = self._random.integers(-127, 128, (channels, inputs // groups, *kernel))
        kernel_layout = "OIHW"
        if self.layout == "NHWC":
            kernel_layout = "HWOI" if depthwise else "HWIO"
            weight = weight.transpose([("OIHW").index(axis) for axis in kernel_layout])
        attributes = {
            "strides": stride,
            "padding": tuple(padding),
            "dilation": dilation,
            "groups": groups,
            "channels": channels,
            "kernel_size": kernel,
            "data_layout": self.layout,
            "kernel_layout": kernel_layout,
        }
        taps = inputs // groups * kernel[0] * kernel[1]
        if self.precision == "float32":
            scaled = (weight / 73.0 / np.sqrt(taps)).astype("float32")
            y = relay.nn.conv2d(x, relay.const(scaled), **attributes)
            bias = self._random.normal(0, 0.3, channels).astype("float32")
            y = relay.nn.bias_add(y, relay.const(bias), axis=self.channel_axis)
            if activation == "relu6":
                return relay.clip(y, 0.0, 6.0)
            return relay.nn.relu(y) if activation == "relu" else y
        y = relay.qnn.op.conv2d(
            x,
            relay.const(weight.astype("int8")),
            input_zero_point=relay.const(_ZERO_POINT, "int32"),
            kernel_zero_point=relay.const(0, "int32"),
            input_scale=relay.const(0.02, "float32"),
            kernel_scale=relay.const(self._channel_scales(channels)),
            out_dtype="int32",
            **attributes,
        )
        bias = self._random.integers(-3000, 3000, channels).astype("int32")
        y = relay.nn.bias_add(y, relay.const(bias), axis=self.channel_axis)
        y = self._requantize(y, taps, channels)
        low = -128 if activation == "none" else _ZERO_POINT
        return relay.clip(y, low, 127)

    def add(self, x: Any, y: Any) -> Any:
        """A residual sum."""
        if self.precision == "float32":
            return relay.add(x, y)
        scale, zero_point = relay.const(0.02, "float32"), relay.const(_ZERO_POINT, "int32")
        return relay.qnn.op.add(
            x, y, scale, zero_point, scale, zero_point, relay.const(0.03, "float32"), zero_point
        )

    def pool(
        self,
        x: Any,
        kind: Literal["max", "avg"],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: Sequence[int] = (0, 0, 0, 0),
        *,
        count_include_pad: bool = False,
    ) -> Any:
        """Pooling; averages of integers are taken in int32, as the TFLite frontend does."""
        common = {
            "pool_size": kernel,
            "strides": stride,
            "padding": tuple(padding),
            "layout": self.layout,
        }
        if kind == "max":
            return relay.nn.max_pool2d(x, **common)
        wide = x if self.precision == "float32" else relay.cast(x, "int32")
        y = relay.nn.avg_pool2d(wide, count_include_pad=count_include_pad, **common)
        return y if self.precision == "float32" else relay.cast(y, "int8")

    def pad(self, x: Any, top: int, left: int, bottom: int, right: int) -> Any:
        """Explicit padding with the value that stands for zero."""
        widths = {"N": (0, 0), "C": (0, 0), "H": (top, bottom), "W": (left, right)}
        value = 0.0 if self.precision == "float32" else _ZERO_POINT
        pad_value = relay.const(value, self.precision)
        return relay.nn.pad(x, tuple(widths[axis] for axis in self.layout), pad_value)

    def concatenate(self, maps: Sequence[Any]) -> Any:
        """Maps side by side along channels."""
        return relay.concatenate(list(maps), axis=self.channel_axis)

    def classifier(self, x: Any, classes: int) -> Any:
        """Global average, dense layer, and softmax where values are floats."""
        channels = self.channels(x)
        weight = self._random.integers(-127, 128, (classes, channels))
        wide = x if self.precision == "float32" else relay.cast(x, "int32")
        y = relay.nn.global_avg_pool2d(wide, layout=self.layout)
        if self.precision == "float32":
            y = relay.reshape(y, (1, channels))
            scaled = (weight / 73.0 / np.sqrt(channels)).astype("float32")
            return relay.nn.softmax(relay.nn.dense(y, relay.const(scaled)))
        y = relay.reshape(relay.cast(y, "int8"), (1, channels))
        y = relay.qnn.op.dense(
            y,
            relay.const(weight.astype("int8")),
            relay.const(_ZERO_POINT, "int32"),
            relay.const(0, "int32"),
            relay.const(0.02, "float32"),
            relay.const(0.01, "float32"),
            units=classes,
            out_dtype="int32",
        )
        return self._requantize(y, channels, classes, per_channel=False)

    def _requantize(self, x: Any, taps: int, channels: int, *, per_channel: bool = True) -> Any:
        scales = self._channel_scales(channels) * 0.02 if per_channel else np.float32(2e-4)
        return relay.qnn.op.requantize(
            x,
            relay.const(scales),
            relay.const(0, "int32"),
            # The accumulator's deviation becomes that of an int8 map.
            relay.const(float(2e-4 * 50 * 73 * np.sqrt(taps) / _DEVIATION), "float32"),
            relay.const(_ZERO_POINT, "int32"),
            axis=self.channel_axis if per_channel else -1,
            out_dtype="int8",
        )

    def _channel_scales(self, channels: int) -> Any:
        spread = 1.0 + 0.25 * np.sin(np.arange(channels))
        return (0.01 * spread).astype("float32")

    def _same_padding(
        self, x: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
    ) -> tuple[int, int, int, int]:
        before, after = [], []
        for size, k, s, d in zip_strict(self.size(x), kernel, stride, dilation):
            total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            before.append(total // 2)
            after.append(total - total // 2)
        return (before[0], before[1], after[0], after[1])

    @staticmethod
    def _shape(x: Any) -> Any:
        return relay.transform.InferTypeLocal(x).shape


def mobilenet_v2(
    size: int, alpha: float, precision: Precision, layout: Layout | None = None, classes: int = 1000
) -> tvm.IRModule:
    """MobileNetV2 (arXiv 1801.04381) for images of ``size`` x ``size`` x 3.

    NHWC where ``precision`` is int8, as a TFLite file has it, NCHW otherwise.
    """
    net = Builder(layout or ("NHWC" if precision == "int8" else "NCHW"), precision)

    def width(channels: int) -> int:
        rounded = max(8, int(channels * alpha + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * channels * alpha else rounded

    x = net.conv(net.input(size, size, 3), width(32), stride=(2, 2))
    blocks = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    blocks += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, channels, repeats, first_stride in blocks:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            inputs = net.channels(x)
            y = x
            if expansion > 1:
                y = net.conv(y, inputs * expansion, (1, 1))
            y = net.conv(y, net.channels(y), stride=(stride, stride), groups=net.channels(y))
            y = net.conv(y, width(channels), (1, 1), activation="none")
            x = net.add(x, y) if stride == 1 and inputs == width(channels) else y
    x = net.conv(x, max(1280, width(1280)), (1, 1))
    return net.module(net.classifier(x, classes))


def resnet8(precision: Precision, layout: Layout | None = None) -> tvm.IRModule:
    """ResNet-8 for 32 x 32 x 3 images, the image classifier of MLPerf Tiny."""
    net = Builder(layout or ("NHWC" if precision == "int8" else "NCHW"), precision)
    x = net.conv(net.input(32, 32, 3), 16, activation="relu")
    for channels, step in ((16, 1), (32, 2), (64, 2)):
        y = net.conv(x, channels, stride=(step, step), activation="relu")
        y = net.conv(y, channels, activation="none")
        if step > 1:
            x = net.conv(x, channels, (1, 1), (step, step), activation="none")
        x = net.add(x, y)
        x = relay.nn.relu(x) if precision == "float32" else relay.clip(x, _ZERO_POINT, 127)
    return net.module(net.classifier(x, 10))
