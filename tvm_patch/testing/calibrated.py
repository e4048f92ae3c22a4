"""A builder that invents weights and picks scales so that activations use their int8 range.

Each tensor carries the real values that a small calibration batch takes there. A layer computes its
real-valued result from them, takes its output scale from that result's range, and passes on the
values rounded to the int8 grid: post-training quantisation of a network that was never trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.testing import float_ops
from tvm_patch.testing.tflite_builder import TensorRef, TFLiteBuilder

Array = npt.NDArray[Any]
_BATCH = 2
_CLAMPS = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


@dataclass(frozen=True)
class Traced:
    """A tensor and the real values that the calibration batch takes there.

    Parameters
    ----------
    ref : TensorRef
        The int8 tensor in the file.
    values : array
        float64, the tensor's shape with the calibration batch as first dimension.
    """

    ref: TensorRef
    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in the file, batch 1."""
        return self.ref.shape


def quantisation_of(values: Array) -> tuple[float, int]:
    """Asymmetric int8 scale and zero point that cover `values` and zero, as TFLite chooses them.

    A map that is zero throughout gets the scale 1/255.
    """
    low = min(0.0, float(values.min()))
    high = max(0.0, float(values.max()))
    # Tiny scales would make requantisation shift left beyond 32 bits.
    scale = float(np.float32(max((high - low) / 255, 1e-4))) if high > low else 1 / 255
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


class CalibratedBuilder:
    """Adds layers with invented weights to a :class:`TFLiteBuilder`.

    Parameters
    ----------
    name : str
        Name of the model.
    seed : int
        Of weights and calibration batch; the same calls with the same seed give the same bytes.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.tflite = TFLiteBuilder(name)
        self._rng = np.random.default_rng(seed)

    def input(
        self, shape: Sequence[int], scale: float, zero_point: int, *, as_float: bool = False
    ) -> Traced:
        """Add an input filled with noise; `as_float` puts a QUANTIZE behind a float32 input."""
        if as_float:
            source = self.tflite.input("input", shape)
            ref = self.tflite.quantize(source, scale, zero_point, name="input_int8")
        else:
            ref = self.tflite.input("input", shape, scale, zero_point)
        steps = self._rng.integers(-128, 128, (_BATCH, *shape[1:]))
        return Traced(ref, (steps - zero_point) * float(np.float32(scale)))

    def conv2d(
        self,
        x: Traced,
        outputs: int,
        kernel: Sequence[int],
        *,
        strides: Sequence[int] = (1, 1),
        padding: str = "SAME",
        dilation: Sequence[int] = (1, 1),
        groups: int = 1,
        activation: str = "NONE",
        per_channel: bool = True,
    ) -> Traced:
        """Convolution with `outputs` channels; the rest as in :meth:`TFLiteBuilder.conv2d`."""
        depth = x.shape[3] // groups
        weight, scales = self._weights(x, (outputs, *kernel, depth), 0, per_channel)
        real = weight * scales[:, None, None, None]
        result = float_ops.conv2d(x.values, real, strides, dilation, padding)
        bias, result, scale, zero_point = self._finish(x, result, scales, activation)
        ref = self.tflite.conv2d(
            x.ref, weight, bias, scales if per_channel else scales[0], scale, zero_point,
            strides=strides, padding=padding, dilation=dilation, activation=activation,
        )  # fmt: skip
        return self._trace(ref, result)

    def depthwise_conv2d(
        self,
        x: Traced,
        kernel: Sequence[int],
        *,
        multiplier: int = 1,
        strides: Sequence[int] = (1, 1),
        padding: str = "SAME",
        dilation: Sequence[int] = (1, 1),
        activation: str = "NONE",
        per_channel: bool = True,
    ) -> Traced:
        """Depthwise convolution with `multiplier` outputs for each input channel."""
        outputs = x.shape[3] * multiplier
        weight, scales = self._weights(x, (*kernel, outputs), 2, per_channel)
        result = float_ops.depthwise_conv2d(x.values, weight * scales, strides, dilation, padding)
        bias, result, scale, zero_point = self._finish(x, result, scales, activation)
        ref = self.tflite.depthwise_conv2d(
            x.ref, weight, bias, scales if per_channel else scales[0], scale, zero_point,
            strides=strides, padding=padding, dilation=dilation, activation=activation,
        )  # fmt: skip
        return self._trace(ref, result)

    def fully_connected(
        self, x: Traced, outputs: int, *, activation: str = "NONE", per_channel: bool = False
    ) -> Traced:
        """Fully connected layer on [1, K]; TFLite's older converters made one scale for all."""
        weight, scales = self._weights(x, (outputs, x.shape[1]), 0, per_channel)
        result = x.values @ (weight * scales[:, None]).T
        bias, result, scale, zero_point = self._finish(x, result, scales, activation)
        ref = self.tflite.fully_connected(
            x.ref, weight, bias, scales if per_channel else scales[0], scale, zero_point,
            activation=activation,
        )  # fmt: skip
        return self._trace(ref, result)

    def binary(self, kind: str, lhs: Traced, rhs: Traced, *, activation: str = "NONE") -> Traced:
        """``"add"``, ``"sub"`` or ``"mul"`` with broadcasting."""
        operation = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[kind]
        result = np.clip(operation(lhs.values, rhs.values), *_CLAMPS[activation])
        scale, zero_point = quantisation_of(result)
        method = getattr(self.tflite, kind)
        ref = method(lhs.ref, rhs.ref, scale, zero_point, activation=activation)
        return self._trace(ref, result)

    def constant(self, shape: Sequence[int]) -> Traced:
        """An int8 constant, for the right-hand side of :meth:`binary`."""
        values = self._rng.normal(0, 1, tuple(shape))
        scale, zero_point = quantisation_of(values)
        steps = np.clip(np.round(values / scale) + zero_point, -128, 127).astype(np.int8)
        ref = self.tflite.constant("constant", steps, "int8", scale, zero_point)
        return Traced(ref, (steps.astype(np.float64) - zero_point) * scale)

    def pool2d(
        self,
        kind: str,
        x: Traced,
        pool_size: Sequence[int],
        strides: Sequence[int],
        padding: str,
        *,
        activation: str = "NONE",
    ) -> Traced:
        """``"max"`` or ``"average"`` pool."""
        pool = {"max": float_ops.max_pool2d, "average": float_ops.average_pool2d}[kind]
        result = np.clip(pool(x.values, pool_size, strides, padding), *_CLAMPS[activation])
        method = self.tflite.max_pool2d if kind == "max" else self.tflite.average_pool2d
        ref = method(x.ref, pool_size, strides, padding=padding, activation=activation)
        return self._trace(ref, result)

    def mean(self, x: Traced, *, keepdims: bool) -> Traced:
        """Mean over height and width, rescaled to its own range."""
        result = x.values.mean(axis=(1, 2), keepdims=keepdims)
        scale, zero_point = quantisation_of(result)
        return self._trace(self.tflite.mean(x.ref, scale, zero_point, keepdims=keepdims), result)

    def unary(self, kind: str, x: Traced, *, alpha: float = 0.1) -> Traced:
        """``relu``, ``relu6``, ``hard_swish``, ``leaky_relu`` or ``quantize``, rescaled."""
        result = {
            "relu": lambda v: np.maximum(v, 0),
            "relu6": lambda v: np.clip(v, 0, 6),
            "hard_swish": lambda v: v * np.clip(v + 3, 0, 6) / 6,
            "leaky_relu": lambda v: np.where(v > 0, v, alpha * v),
            "quantize": lambda v: v,
        }[kind](x.values)
        # A range of its own, else requantising would be the identity.
        scale, zero_point = quantisation_of(result * 1.1 if kind == "quantize" else result)
        arguments = (alpha,) if kind == "leaky_relu" else ()
        ref = getattr(self.tflite, kind)(x.ref, *arguments, scale, zero_point)
        return self._trace(ref, result)

    def squash(self, kind: str, x: Traced) -> Traced:
        """``"logistic"``, ``"tanh"`` or ``"softmax"``, whose output quantisation is fixed."""
        if kind == "softmax":
            powers = np.exp(x.values - x.values.max(axis=-1, keepdims=True))
            result = powers / powers.sum(axis=-1, keepdims=True)
        else:
            result = np.tanh(x.values) if kind == "tanh" else 1 / (1 + np.exp(-x.values))
        return self._trace(getattr(self.tflite, kind)(x.ref), result)

    def concatenation(self, inputs: Sequence[Traced]) -> Traced:
        """Concatenation of channels; inputs quantised otherwise than the widest are requantised."""
        scale, zero_point = quantisation_of(np.concatenate([x.values.ravel() for x in inputs]))
        aligned = [
            x.ref
            if (x.ref.scale, x.ref.zero_point) == (scale, zero_point)
            else self.tflite.quantize(x.ref, scale, zero_point)
            for x in inputs
        ]
        ref = self.tflite.concatenation(aligned)
        # A constant is the same for every image of the calibration.
        images = max(len(x.values) for x in inputs)
        parts = [np.broadcast_to(x.values, (images, *x.values.shape[1:])) for x in inputs]
        return self._trace(ref, np.concatenate(parts, axis=3))

    def pad(self, x: Traced, rows: Sequence[int], columns: Sequence[int]) -> Traced:
        """PAD of (before, after) rows and columns."""
        amounts = [(0, 0), (rows[0], rows[1]), (columns[0], columns[1]), (0, 0)]
        return Traced(self.tflite.pad(x.ref, amounts), np.pad(x.values, amounts))

    def resize_nearest(
        self, x: Traced, size: Sequence[int], *, align_corners: bool, half_pixel: bool
    ) -> Traced:
        """Nearest-neighbour resize to `size` = (height, width)."""
        ref = self.tflite.resize_nearest_neighbor(
            x.ref, size, align_corners=align_corners, half_pixel=half_pixel
        )
        values = float_ops.resize_nearest(
            x.values, size, align_corners=align_corners, half_pixel=half_pixel
        )
        return Traced(ref, values)

    def crop(self, x: Traced, begin: Sequence[int], steps: Sequence[int]) -> Traced:
        """STRIDED_SLICE from `begin` = (row, column) to the end by `steps`."""
        ref = self.tflite.strided_slice(
            x.ref,
            (0, begin[0], begin[1], 0),
            (0, 0, 0, 0),
            (1, steps[0], steps[1], 1),
            begin_mask=0b1001,
            end_mask=0b1111,
        )
        return Traced(ref, x.values[:, begin[0] :: steps[0], begin[1] :: steps[1]])

    def transpose(self, x: Traced, axes: Sequence[int]) -> Traced:
        """TRANSPOSE."""
        return Traced(self.tflite.transpose(x.ref, axes), x.values.transpose(axes))

    def reshape(self, x: Traced, shape: Sequence[int]) -> Traced:
        """RESHAPE to `shape`, whose first extent is the batch of 1."""
        values = x.values.reshape(_BATCH, *shape[1:])
        return Traced(self.tflite.reshape(x.ref, shape), values)

    def output(self, x: Traced, *, as_float: bool = False) -> None:
        """Make `x` an output; `as_float` puts a DEQUANTIZE in front."""
        self.tflite.output(self.tflite.dequantize(x.ref) if as_float else x.ref)

    def build(self) -> bytes:
        """Pack the file."""
        return self.tflite.build()

    def _weights(
        self, x: Traced, shape: tuple[int, ...], channel_axis: int, per_channel: bool
    ) -> tuple[Array, Array]:
        """Weights -127..127 of uneven channels and float32 scales, one per channel.

        Sized so that the layer's results spread by about 1.5: RELU6 then clips at both ends and
        a softmax behind it does not saturate.
        """
        outputs = shape[channel_axis]
        fan_in = np.prod(shape) / outputs
        magnitude = max(float(np.sqrt(np.mean(x.values**2))), 1e-2)
        gain = 1.5 / (magnitude * np.sqrt(fan_in))
        spread = np.exp(self._rng.normal(0, 0.5, outputs)) * gain
        broadcast = [outputs if axis == channel_axis else 1 for axis in range(len(shape))]
        real = self._rng.normal(0, 1, shape) * spread.reshape(broadcast)
        others = tuple(axis for axis in range(len(shape)) if axis != channel_axis)
        peaks = np.abs(real).max(axis=others)
        if not per_channel:
            peaks = np.full(outputs, peaks.max())
        scales = np.maximum(peaks / 127, 1e-6).astype(np.float32)
        steps = np.round(real / scales.reshape(broadcast))
        return np.clip(steps, -127, 127).astype(np.int8), scales

    def _finish(
        self, x: Traced, result: Array, scales: Array, activation: str
    ) -> tuple[Array, Array, float, int]:
        """Bias in steps, the clamped result with it, and the output's quantisation."""
        if x.ref.scale is None:
            raise ValueError(f"tensor {x.ref.name!r} has no scale")
        unit = scales.astype(np.float64) * x.ref.scale
        spread = max(float(result.std()), 1e-3)
        limit = 2**30 * unit
        bias = np.clip(self._rng.normal(0.2, 0.5, len(scales)) * spread, -limit, limit)
        steps = np.round(bias / unit).astype(np.int32)
        result = np.clip(result + steps * unit, *_CLAMPS[activation])
        scale, zero_point = quantisation_of(result)
        return steps, result, scale, zero_point

    def _trace(self, ref: TensorRef, result: Array) -> Traced:
        if ref.scale is None:
            raise ValueError(f"tensor {ref.name!r} has no scale")
        steps = np.clip(np.round(result / ref.scale) + ref.zero_point, -128, 127)
        return Traced(ref, (steps - ref.zero_point) * ref.scale)
