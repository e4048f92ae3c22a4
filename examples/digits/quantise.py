"""Post-training int8 quantisation in NumPy: folded float layers in, a TFLite file out.

Weights are symmetric per output channel (per tensor for the classifier), activations asymmetric per
tensor with ranges from a calibration batch, as the TFLite quantisation specification has it. Each
layer is calibrated on what the quantised layers before it produce.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.testing import float_ops
from tvm_patch.testing.calibrated import quantisation_of
from tvm_patch.testing.tflite_builder import TensorRef, TFLiteBuilder

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """A convolution with bias: weight [O, KH, KW, C], or [KH, KW, C] if depthwise; SAME padding."""

    name: str
    weight: Array
    bias: Array
    depthwise: bool
    stride: int
    activation: str


@dataclass(frozen=True)
class Block:
    """Layers in a row; the block's input is added to the last one's output if `adds_input`."""

    name: str
    layers: tuple[Layer, ...]
    adds_input: bool


@dataclass(frozen=True)
class Classifier:
    """Fully connected layer: weight [N, K], bias [N]."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Network:
    """Blocks, global mean, classifier, softmax."""

    blocks: tuple[Block, ...]
    classifier: Classifier


@dataclass(frozen=True)
class _Map:
    """A tensor of the file with its real values for the calibration batch."""

    ref: TensorRef
    values: Array

    @property
    def scale(self) -> float:
        if self.ref.scale is None:
            raise ValueError(f"tensor {self.ref.name!r} has no scale")
        return self.ref.scale


def quantise(
    network: Network, calibration: Array, input_scale: float, input_zero_point: int, name: str
) -> bytes:
    """Quantise `network` on int8 `calibration` images [N, H, W, C] and return the TFLite file."""
    builder = TFLiteBuilder(name)
    ref = builder.input("image", (1, *calibration.shape[1:]), input_scale, input_zero_point)
    x = _Map(ref, (calibration.astype(np.float64) - input_zero_point) * input_scale)
    for block in network.blocks:
        entry = x
        for layer in block.layers:
            x = _convolution(builder, x, layer)
        if block.adds_input:
            x = _add(builder, entry, x, f"{block.name}/add")
    x = _mean(builder, x)
    x = _dense(builder, x, network.classifier)
    builder.output(builder.softmax(x.ref, name="probabilities"))
    return builder.build()


def _convolution(builder: TFLiteBuilder, x: _Map, layer: Layer) -> _Map:
    channel_axis = 2 if layer.depthwise else 0
    weight, scales = _quantise_weights(layer.weight, channel_axis)
    compute: Callable[..., Array]
    if layer.depthwise:
        real, compute, add = weight * scales, float_ops.depthwise_conv2d, builder.depthwise_conv2d
    else:
        real, compute, add = weight * scales[:, None, None, None], float_ops.conv2d, builder.conv2d
    bias = _quantise_bias(layer.bias, x, scales)
    strides = (layer.stride, layer.stride)
    result = compute(x.values, real, strides) + bias * scales * x.scale
    result = np.clip(result, 0, 6) if layer.activation == "RELU6" else result
    scale, zero_point = quantisation_of(result)
    ref = add(
        x.ref, weight, bias, scales, scale, zero_point,
        strides=strides, activation=layer.activation, name=layer.name,
    )  # fmt: skip
    return _on_grid(ref, result)


def _add(builder: TFLiteBuilder, lhs: _Map, rhs: _Map, name: str) -> _Map:
    result = lhs.values + rhs.values
    return _on_grid(builder.add(lhs.ref, rhs.ref, *quantisation_of(result), name=name), result)


def _mean(builder: TFLiteBuilder, x: _Map) -> _Map:
    result = x.values.mean(axis=(1, 2))
    return _on_grid(builder.mean(x.ref, *quantisation_of(result), name="mean"), result)


def _dense(builder: TFLiteBuilder, x: _Map, classifier: Classifier) -> _Map:
    scale = np.full(1, np.abs(classifier.weight).max() / 127, dtype=np.float32)
    weight = np.round(classifier.weight / scale).astype(np.int8)
    bias = _quantise_bias(classifier.bias, x, scale)
    result = x.values @ (weight * scale).T + bias * scale * x.scale
    ref = builder.fully_connected(
        x.ref, weight, bias, scale, *quantisation_of(result), name="logits"
    )
    return _on_grid(ref, result)


def _quantise_weights(weight: Array, channel_axis: int) -> tuple[Array, Array]:
    """Weights in -127..127 and float32 scales per output channel."""
    others = tuple(axis for axis in range(weight.ndim) if axis != channel_axis)
    peaks = np.abs(weight).max(axis=others, keepdims=True)
    scales = np.maximum(peaks / 127, 1e-6).astype(np.float32)
    steps = np.clip(np.round(weight / scales), -127, 127)
    return steps.astype(np.int8), scales.ravel()


def _quantise_bias(bias: Array, x: _Map, scales: Array) -> Array:
    """Bias in steps of input scale times weight scale."""
    steps: Array = np.round(bias / (scales.astype(np.float64) * x.scale)).astype(np.int32)
    return steps


def _on_grid(ref: TensorRef, result: Array) -> _Map:
    """What the int8 tensor makes of real values."""
    if ref.scale is None:
        raise ValueError(f"tensor {ref.name!r} has no scale")
    steps = np.clip(np.round(result / ref.scale) + ref.zero_point, -128, 127)
    return _Map(ref, (steps - ref.zero_point) * ref.scale)
