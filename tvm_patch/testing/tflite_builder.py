"""A writer of int8 TFLite models, operator by operator, without TensorFlow.

>>> b = TFLiteBuilder("tiny")
>>> x = b.input("x", (1, 8, 8, 1), scale=1 / 255, zero_point=-128)
>>> weight = np.ones((4, 3, 3, 1), np.int8)
>>> y = b.conv2d(x, weight, np.zeros(4, np.int32), 0.01, 0.05, 3, activation="RELU")
>>> y = b.output(b.softmax(b.reshape(y, (1, 256))))
>>> len(b.build()) > 0
True

Quantisation of an output is either given (`out_scale`, `out_zp`) or fixed by the operator:
pools and data movement keep their input's, softmax and logistic have 1/256 and -128, tanh 1/128
and 0. Leave scales out throughout for a float32 model. Version numbers are those of TFLite's
``tools/versioning/op_version.cc``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tvm_patch.testing.tflite_writer import TensorRef
from tvm_patch.testing.window_ops import WindowOps, activation_code

__all__ = ["TFLiteBuilder", "TensorRef"]


def _version(x: TensorRef, int8_version: int) -> int:
    return 1 if x.is_float else int8_version


class TFLiteBuilder(WindowOps):
    """Builds a TFLite model of one subgraph; see the module's example.

    Every operator method takes and returns :class:`TensorRef` and adds its tensors in order.
    ``name`` arguments name the output tensor; clashes get a suffix.
    """

    def add(
        self,
        lhs: TensorRef,
        rhs: TensorRef,
        out_scale: float | None = None,
        out_zp: int = 0,
        *,
        activation: str = "NONE",
        name: str = "add",
    ) -> TensorRef:
        """ADD with broadcasting; either side may come from :meth:`constant`."""
        options = schema.AddOptionsT()
        options.potScaleInt16 = False
        options.fusedActivationFunction = activation_code(activation)
        y = self._binary_output(lhs, rhs, out_scale, out_zp, name)
        self.operator("ADD", [lhs, rhs], [y], version=_version(lhs, 2), options=options)
        return y

    def sub(
        self,
        lhs: TensorRef,
        rhs: TensorRef,
        out_scale: float | None = None,
        out_zp: int = 0,
        *,
        activation: str = "NONE",
        name: str = "sub",
    ) -> TensorRef:
        """SUB with broadcasting."""
        options = schema.SubOptionsT()
        options.potScaleInt16 = False
        options.fusedActivationFunction = activation_code(activation)
        y = self._binary_output(lhs, rhs, out_scale, out_zp, name)
        self.operator("SUB", [lhs, rhs], [y], version=_version(lhs, 2), options=options)
        return y

    def mul(
        self,
        lhs: TensorRef,
        rhs: TensorRef,
        out_scale: float | None = None,
        out_zp: int = 0,
        *,
        activation: str = "NONE",
        name: str = "mul",
    ) -> TensorRef:
        """MUL with broadcasting, as in squeeze-and-excite with a [1, 1, 1, C] gate."""
        options = schema.MulOptionsT()
        options.fusedActivationFunction = activation_code(activation)
        y = self._binary_output(lhs, rhs, out_scale, out_zp, name)
        rescale = 0.0
        if lhs.scale and rhs.scale and y.scale:
            rescale = lhs.scale * rhs.scale / y.scale
        version = _version(lhs, 3 if rescale >= 1 else 2)
        self.operator("MUL", [lhs, rhs], [y], version=version, options=options)
        return y

    def pad(
        self, x: TensorRef, paddings: Sequence[Sequence[int]], *, name: str = "pad"
    ) -> TensorRef:
        """PAD with the zero point; `paddings` holds (before, after) per dimension."""
        shape = [n + before + after for n, (before, after) in zip(x.shape, paddings, strict=True)]
        y = self._same_quantisation(x, shape, name)
        amounts = self.constant(f"{y.name}/paddings", paddings, "int32")
        options = schema.PadOptionsT()
        self.operator("PAD", [x, amounts], [y], version=_version(x, 2), options=options)
        return y

    def mean(
        self,
        x: TensorRef,
        out_scale: float | None = None,
        out_zp: int | None = None,
        *,
        axes: Sequence[int] = (1, 2),
        keepdims: bool = False,
        name: str = "mean",
    ) -> TensorRef:
        """MEAN over `axes`; without `out_scale` the output is quantised as the input."""
        dropped = {axis % len(x.shape) for axis in axes}
        shape = [
            1 if axis in dropped else extent
            for axis, extent in enumerate(x.shape)
            if keepdims or axis not in dropped
        ]
        scale = x.scale if out_scale is None else out_scale
        zero_point = x.zero_point if out_zp is None else out_zp
        y = self.tensor(name, shape, x.dtype, scale, zero_point)
        indices = self.constant(f"{y.name}/axes", list(axes), "int32")
        options = schema.ReducerOptionsT()
        options.keepDims = keepdims
        self.operator("MEAN", [x, indices], [y], version=_version(x, 2), options=options)
        return y

    def concatenation(
        self,
        inputs: Sequence[TensorRef],
        out_scale: float | None = None,
        out_zp: int | None = None,
        *,
        axis: int = 3,
        activation: str = "NONE",
        name: str = "concat",
    ) -> TensorRef:
        """CONCATENATION; LiteRT wants int8 inputs and output quantised alike."""
        first = inputs[0]
        shape = list(first.shape)
        shape[axis] = sum(ref.shape[axis] for ref in inputs)
        scale = first.scale if out_scale is None else out_scale
        zero_point = first.zero_point if out_zp is None else out_zp
        y = self.tensor(name, shape, first.dtype, scale, zero_point)
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        options.fusedActivationFunction = activation_code(activation)
        version = _version(first, 2)
        self.operator("CONCATENATION", inputs, [y], version=version, options=options)
        return y

    def reshape(self, x: TensorRef, shape: Sequence[int], *, name: str = "reshape") -> TensorRef:
        """RESHAPE; one extent of `shape` may be -1."""
        known = int(np.prod([extent for extent in shape if extent != -1]))
        full = [int(np.prod(x.shape)) // known if extent == -1 else extent for extent in shape]
        y = self._same_quantisation(x, full, name)
        target = self.constant(f"{y.name}/shape", list(shape), "int32")
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        self.operator("RESHAPE", [x, target], [y], options=options)
        return y

    def transpose(self, x: TensorRef, axes: Sequence[int], *, name: str = "transpose") -> TensorRef:
        """TRANSPOSE: output dimension i is input dimension ``axes[i]``."""
        y = self._same_quantisation(x, [x.shape[axis] for axis in axes], name)
        order = self.constant(f"{y.name}/axes", list(axes), "int32")
        options = schema.TransposeOptionsT()
        self.operator("TRANSPOSE", [x, order], [y], version=_version(x, 2), options=options)
        return y

    def strided_slice(
        self,
        x: TensorRef,
        begin: Sequence[int],
        end: Sequence[int],
        strides: Sequence[int] | None = None,
        *,
        begin_mask: int = 0,
        end_mask: int = 0,
        name: str = "slice",
    ) -> TensorRef:
        """STRIDED_SLICE as Python slices per dimension; a mask's bit i frees that bound."""
        steps = [1] * len(begin) if strides is None else list(strides)
        shape = []
        for axis, extent in enumerate(x.shape):
            first = None if begin_mask >> axis & 1 else begin[axis]
            last = None if end_mask >> axis & 1 else end[axis]
            shape.append(len(range(*slice(first, last, steps[axis]).indices(extent))))
        y = self._same_quantisation(x, shape, name)
        bounds: list[TensorRef | None] = [
            self.constant(f"{y.name}/begin", list(begin), "int32"),
            self.constant(f"{y.name}/end", list(end), "int32"),
            self.constant(f"{y.name}/strides", steps, "int32"),
        ]
        options = schema.StridedSliceOptionsT()
        options.beginMask, options.endMask = begin_mask, end_mask
        version = _version(x, 2)
        self.operator("STRIDED_SLICE", [x, *bounds], [y], version=version, options=options)
        return y

    def resize_nearest_neighbor(
        self,
        x: TensorRef,
        size: Sequence[int],
        *,
        align_corners: bool = False,
        half_pixel: bool = False,
        name: str = "resize",
    ) -> TensorRef:
        """RESIZE_NEAREST_NEIGHBOR to `size` = (height, width)."""
        y = self._same_quantisation(x, (x.shape[0], *size, x.shape[3]), name)
        extents = self.constant(f"{y.name}/size", list(size), "int32")
        options = schema.ResizeNearestNeighborOptionsT()
        options.alignCorners, options.halfPixelCenters = align_corners, half_pixel
        version = 3 if align_corners or half_pixel else _version(x, 2)
        self.operator(
            "RESIZE_NEAREST_NEIGHBOR", [x, extents], [y], version=version, options=options
        )
        return y

    def softmax(self, x: TensorRef, beta: float = 1.0, *, name: str = "softmax") -> TensorRef:
        """SOFTMAX over the last dimension; int8 output has scale 1/256 and zero point -128."""
        options = schema.SoftmaxOptionsT()
        options.beta = beta
        y = self._fixed_output(x, 1 / 256, -128, name)
        self.operator("SOFTMAX", [x], [y], version=_version(x, 2), options=options)
        return y

    def logistic(self, x: TensorRef, *, name: str = "logistic") -> TensorRef:
        """LOGISTIC; int8 output has scale 1/256 and zero point -128."""
        y = self._fixed_output(x, 1 / 256, -128, name)
        self.operator("LOGISTIC", [x], [y], version=_version(x, 2))
        return y

    def tanh(self, x: TensorRef, *, name: str = "tanh") -> TensorRef:
        """TANH; int8 output has scale 1/128 and zero point 0."""
        y = self._fixed_output(x, 1 / 128, 0, name)
        self.operator("TANH", [x], [y], version=_version(x, 2))
        return y

    def hard_swish(
        self,
        x: TensorRef,
        out_scale: float | None = None,
        out_zp: int = 0,
        *,
        name: str = "hard_swish",
    ) -> TensorRef:
        """HARD_SWISH: x * relu6(x + 3) / 6."""
        y = self.tensor(name, x.shape, x.dtype, out_scale, out_zp)
        self.operator("HARD_SWISH", [x], [y], options=schema.HardSwishOptionsT())
        return y

    def leaky_relu(
        self,
        x: TensorRef,
        alpha: float,
        out_scale: float | None = None,
        out_zp: int = 0,
        *,
        name: str = "leaky_relu",
    ) -> TensorRef:
        """LEAKY_RELU: x where positive, else alpha * x."""
        options = schema.LeakyReluOptionsT()
        options.alpha = alpha
        y = self.tensor(name, x.shape, x.dtype, out_scale, out_zp)
        self.operator("LEAKY_RELU", [x], [y], version=_version(x, 2), options=options)
        return y

    def relu(
        self, x: TensorRef, out_scale: float | None = None, out_zp: int = 0, *, name: str = "relu"
    ) -> TensorRef:
        """RELU as an operator of its own; int8 rescales to `out_scale`."""
        y = self.tensor(name, x.shape, x.dtype, out_scale, out_zp)
        self.operator("RELU", [x], [y], version=_version(x, 2))
        return y

    def relu6(
        self, x: TensorRef, out_scale: float | None = None, out_zp: int = 0, *, name: str = "relu6"
    ) -> TensorRef:
        """RELU6 as an operator of its own; int8 rescales to `out_scale`."""
        y = self.tensor(name, x.shape, x.dtype, out_scale, out_zp)
        self.operator("RELU6", [x], [y], version=_version(x, 2))
        return y

    def quantize(
        self, x: TensorRef, out_scale: float, out_zp: int, *, name: str = "quantize"
    ) -> TensorRef:
        """QUANTIZE from float32 to int8, or from int8 to int8 with other parameters."""
        y = self.tensor(name, x.shape, "int8", out_scale, out_zp)
        options = schema.QuantizeOptionsT()
        self.operator("QUANTIZE", [x], [y], version=_version(x, 2), options=options)
        return y

    def dequantize(self, x: TensorRef, *, name: str = "dequantize") -> TensorRef:
        """DEQUANTIZE from int8 to float32."""
        y = self.tensor(name, x.shape, "float32")
        self.operator("DEQUANTIZE", [x], [y], version=2, options=schema.DequantizeOptionsT())
        return y

    def _same_quantisation(self, x: TensorRef, shape: Sequence[int], name: str) -> TensorRef:
        return self.tensor(name, shape, x.dtype, x.scale, x.zero_point)

    def _fixed_output(self, x: TensorRef, scale: float, zero_point: int, name: str) -> TensorRef:
        if x.is_float:
            return self.tensor(name, x.shape, x.dtype)
        return self.tensor(name, x.shape, x.dtype, scale, zero_point)

    def _binary_output(
        self, lhs: TensorRef, rhs: TensorRef, scale: float | None, zero_point: int, name: str
    ) -> TensorRef:
        shape = np.broadcast_shapes(lhs.shape, rhs.shape)
        return self.tensor(name, shape, lhs.dtype, scale, zero_point)
