"""TVM's TFLite operator converter, extended to int8 networks as LiteRT runs them.

The front end of TVM turns a quantised operator into ``quantize(op(dequantize(x)))``. This subclass
keeps that style and puts right what integer arithmetic would lose on the way:

============================  ====================================================================
what LiteRT needs             how the QDQ module says it
============================  ====================================================================
scales as float32             ``relax.const`` of the file's own float32, never recomputed
fused activations             ``clip(quantize(...), lo, hi)`` on int8, with LiteRT's own integer
                              bounds (float32 division, halves away from zero)
FULLY_CONNECTED, not CONV     ``matmul`` of two 2-D tensors; only it rounds once
MEAN, not AVERAGE_POOL_2D     ``mean`` against ``nn.avg_pool2d``
softmax's beta                ``nn.softmax(multiply(dequantize(x), beta))`` where beta is not 1
nearest neighbour             ``image.resize2d`` on int8: ``asymmetric``/``floor``,
                              ``half_pixel``/``round_prefer_ceil``, ``align_corners``/``round``;
                              the last stands for LiteRT's halves away from zero, while Relax
                              run as it is takes exact halves to even
bytes that only move          PAD, TRANSPOSE, RESHAPE, STRIDED_SLICE, RESIZE_NEAREST_NEIGHBOR and
                              MAX_POOL_2D act on int8 without QDQ around them
============================  ====================================================================

Tensors are told apart by index: TFLite allows two tensors of one name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tflite
from tvm import relax
from tvm.relax.frontend.tflite.tflite_frontend import OperatorConverter, get_tensor_name

from tvm_patch.errors import TvmPatchError, UnsupportedOperatorError
from tvm_patch.importer.names import UniqueNames
from tvm_patch.importer.refusal import REFUSALS, reason

INT8_MIN, INT8_MAX = -128, 127

#: TFLite operators that the importer takes, in their int8 form.
SUPPORTED_OPERATORS = frozenset(
    {
        "ADD",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "DEQUANTIZE",
        "EXPAND_DIMS",
        "FULLY_CONNECTED",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "MAX_POOL_2D",
        "MEAN",
        "MUL",
        "PAD",
        "PADV2",
        "QUANTIZE",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RESHAPE",
        "RESIZE_NEAREST_NEIGHBOR",
        "SOFTMAX",
        "SQUEEZE",
        "STRIDED_SLICE",
        "SUB",
        "TANH",
        "TRANSPOSE",
    }
)


@dataclass
class TensorRecord:
    """Filled during a conversion: which Relax variable holds which TFLite tensor.

    ``unfinished`` is the builder of a conversion that failed.
    """

    names: dict[str, str] = field(default_factory=dict)
    indices: dict[str, int] = field(default_factory=dict)
    unfinished: relax.BlockBuilder | None = None

    def add(self, variable: str, name: str, index: int) -> None:
        """Note that ``variable`` holds tensor ``index``, called ``name`` in the file."""
        self.names[variable] = name
        self.indices[variable] = index


def activation_bounds(activation: int, scale: float, zero_point: int) -> tuple[int, int]:
    """Return the int8 range of a fused activation (TFLite's CalculateActivationRangeQuantized).

    Parameters
    ----------
    activation : int
        A ``tflite.ActivationFunctionType``.
    scale, zero_point : float, int
        Quantisation of the output tensor.

    Returns
    -------
    tuple of int
        Smallest and largest value, both inside [-128, 127].

    Raises
    ------
    UnsupportedOperatorError
        For TANH and SIGN_BIT, which no int8 kernel fuses.
    """

    def quantised(real: float) -> int:
        steps = float(np.float32(real) / np.float32(scale))
        rounded = np.copysign(np.floor(np.abs(steps) + 0.5), steps)
        return zero_point + int(rounded)

    kinds = tflite.ActivationFunctionType
    if activation == kinds.NONE:
        return INT8_MIN, INT8_MAX
    if activation == kinds.RELU:
        return max(INT8_MIN, quantised(0.0)), INT8_MAX
    if activation == kinds.RELU6:
        return max(INT8_MIN, quantised(0.0)), min(INT8_MAX, quantised(6.0))
    if activation == kinds.RELU_N1_TO_1:
        return max(INT8_MIN, quantised(-1.0)), min(INT8_MAX, quantised(1.0))
    raise UnsupportedOperatorError(f"fused activation number {activation} has no int8 form")


class QuantizedConverter(OperatorConverter):  # type: ignore[misc]
    """Converts the operators of one int8 TFLite subgraph.

    Parameters
    ----------
    model, subgraph, exp_tab, ctx, conversion_state
        As the base class takes them from ``from_tflite``.
    record : TensorRecord
        Filled with the name and index of every tensor that was bound to a variable.
    """

    _SUPPORTED_QUANTIZED_OPS = SUPPORTED_OPERATORS

    def __init__(
        self,
        model: Any,
        subgraph: Any,
        exp_tab: Any,
        ctx: relax.BlockBuilder,
        conversion_state: Any = None,
        *,
        record: TensorRecord,
    ) -> None:
        super().__init__(model, subgraph, exp_tab, ctx, conversion_state)
        self._record = record
        self._names = UniqueNames()
        self._exprs: dict[int, relax.Expr] = {}
        for position in range(subgraph.InputsLength()):
            index = int(subgraph.Inputs(position))
            variable = exp_tab.get_expr(get_tensor_name(subgraph, index))
            self._exprs[index] = variable
            self._names.claim(variable.name)
        inherited: dict[str, Callable[..., relax.Expr]] = {
            name: convert
            for name, convert in vars(self)["convert_map"].items()
            if name in SUPPORTED_OPERATORS
        }
        own: dict[str, Callable[..., relax.Expr]] = {
            "ADD": functools.partial(self._convert_binary, relax_op=relax.op.add),
            "SUB": functools.partial(self._convert_binary, relax_op=relax.op.subtract),
            "MUL": functools.partial(self._convert_binary, relax_op=relax.op.multiply),
            "AVERAGE_POOL_2D": functools.partial(self._convert_pool, average=True),
            "MAX_POOL_2D": functools.partial(self._convert_pool, average=False),
            "FULLY_CONNECTED": self.convert_fully_connected,
            "MEAN": self._convert_mean,
            "PAD": self.convert_pad,
            "PADV2": self.convert_pad,
            "RESHAPE": self._convert_to_output_shape,
            "SQUEEZE": self._convert_to_output_shape,
            "EXPAND_DIMS": self._convert_to_output_shape,
            "RESIZE_NEAREST_NEIGHBOR": self.convert_resize_nearest_neighbor,
            "STRIDED_SLICE": self.convert_strided_slice,
        }
        self.convert_map: dict[str, Callable[..., relax.Expr]] = {**inherited, **own}

    # --- how tensors are found and named -------------------------------------------------------

    def get_expr(self, input_tensor_idx: int) -> relax.Expr:
        """Return the variable that holds an activation, or its values where they are constant."""
        index = int(input_tensor_idx)
        if index in self._exprs:
            return self._exprs[index]
        (tensor,) = self.get_tensors([index])
        if tensor.buffer.DataLength() == 0:
            name = get_tensor_name(self.subgraph, index)
            raise UnsupportedOperatorError(f"it reads tensor {name!r}, which nothing writes")
        return relax.const(
            self.get_tensor_value(tensor), self.get_tensor_type_str(tensor.tensor.Type())
        )

    def has_expr(self, input_tensor_idx: int) -> bool:
        """Tell whether a tensor is an activation that exists by now."""
        return int(input_tensor_idx) in self._exprs

    def get_tensors(self, tensors_idx_list: Iterable[int]) -> list[Any]:
        """Wrap tensors; absent optional ones at the end (a bias of -1) are left out."""
        tensors: list[Any] = super().get_tensors(tensors_idx_list)
        while tensors and tensors[-1].tensor_idx < 0:
            tensors.pop()
        for wrapper in tensors:
            # One scale needs no axis; a one-channel "per channel" weight names one all the same.
            if wrapper.qnn_params and wrapper.qnn_params["scale"].value.numpy().ndim == 0:
                wrapper.qnn_params["axis"] = 0
        return tensors

    def has_same_qnn_params(self, lhs_tensor: Any, rhs_tensor: Any) -> bool:
        """Compare exactly: scales of real networks are smaller than any tolerance."""
        return _parameters(lhs_tensor) == _parameters(rhs_tensor)

    def check_unsupported_ops(self) -> None:
        """Leave nothing to the base class: the caller has gone through the operators."""

    def convert_op_to_relax(self) -> None:
        """Convert every operator and bind each output to a variable of the tensor's name.

        Raises
        ------
        UnsupportedOperatorError
            Naming the operator's index and its output tensor.
        """
        for position in range(self.subgraph.OperatorsLength()):
            operator = self.subgraph.Operators(position)
            code = self.get_op_code_str(operator)
            output = int(operator.Outputs(0))
            source_name = get_tensor_name(self.subgraph, output)
            where = f"operator {position} ({code}, output {source_name!r})"
            try:
                expression = self.bb.normalize(self.convert_map[code](op=operator))
                self._check_type(expression, output)
            except TvmPatchError as error:
                self._record.unfinished = self.bb
                raise UnsupportedOperatorError(
                    f"{where}: {error.message}", hint=error.hint
                ) from error
            except REFUSALS as error:
                self._record.unfinished = self.bb
                raise UnsupportedOperatorError(f"{where}: {reason(error)}") from error
            variable = self.bb.emit(expression, self._names.claim(source_name))
            self._exprs[output] = variable
            self._record.add(variable.name, source_name, output)

    def _check_type(self, expression: relax.Expr, output: int) -> None:
        """Compare what Relax infers with what the file says."""
        tensor = self.subgraph.Tensors(output)
        declared = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
        inferred = tuple(int(n) for n in expression.ty.shape)
        dtype = self.get_tensor_type_str(tensor.Type())
        if inferred != declared or str(expression.ty.dtype) != dtype:
            raise UnsupportedOperatorError(
                f"yields {expression.ty.dtype}{list(inferred)}, "
                f"the file says {dtype}{list(declared)}"
            )

    # --- helpers -------------------------------------------------------------------------------

    def _options(self, op: Any, kind: Any) -> Any:
        options = kind()
        table = op.BuiltinOptions()
        if table is None:
            raise UnsupportedOperatorError(f"its {kind.__name__} are missing from the file")
        options.Init(table.Bytes, table.Pos)
        return options

    def _constant(self, tensor: Any) -> np.ndarray[Any, Any]:
        if self.has_expr(tensor.tensor_idx) or tensor.buffer.DataLength() == 0:
            name = get_tensor_name(self.subgraph, tensor.tensor_idx)
            raise UnsupportedOperatorError(f"tensor {name!r} has to be a constant")
        value: np.ndarray[Any, Any] = self.get_tensor_value(tensor)
        return value

    def _int_list(self, tensor: Any) -> list[int]:
        return [int(value) for value in self._constant(tensor).reshape(-1)]

    def _dequantized(self, tensor: Any) -> relax.Expr:
        return self.dequantize(self.get_tensor_expr(tensor), tensor)

    def _activate(self, quantized: relax.Expr, activation: int, output: Any) -> relax.Expr:
        scale, zero_point = _parameters(output)
        return self.convert_qnn_fused_activation_function(
            quantized, activation, scale, zero_point, "int8"
        )

    def convert_qnn_fused_activation_function(
        self,
        expr: relax.Expr,
        fused_activation_fn: int,
        scale: float,
        zero_point: int,
        dtype: str,
    ) -> relax.Expr:
        """Clamp int8 values to the range that LiteRT computes for a fused activation."""
        lowest, highest = activation_bounds(fused_activation_fn, float(scale), int(zero_point))
        if (lowest, highest) == (INT8_MIN, INT8_MAX):
            return expr
        return relax.op.clip(expr, lowest, highest)

    def _same_parameters(self, tensor: Any, output: Any) -> None:
        # LiteRT's own test in its pooling kernels: it never rescales there.
        (scale, zero_point), (out_scale, out_zero_point) = _parameters(tensor), _parameters(output)
        if abs(scale - out_scale) > 1.0e-6 or zero_point != out_zero_point:
            raise UnsupportedOperatorError("input and output have different scales")

    # --- operators -----------------------------------------------------------------------------

    def _convert_binary(self, op: Any, relax_op: Callable[..., relax.Expr]) -> relax.Expr:
        lhs, rhs = self.get_input_tensors(op)
        (output,) = self.get_output_tensors(op)
        kind = {
            relax.op.add: tflite.AddOptions,
            relax.op.subtract: tflite.SubOptions,
            relax.op.multiply: tflite.MulOptions,
        }[relax_op]
        activation = self._options(op, kind).FusedActivationFunction() if _has_options(op) else 0
        result = self.quantize(relax_op(self._dequantized(lhs), self._dequantized(rhs)), output)
        return self._activate(result, activation, output)

    def _convert_pool(self, op: Any, average: bool) -> relax.Expr:
        (data,) = self.get_input_tensors(op)
        (output,) = self.get_output_tensors(op)
        self._same_parameters(data, output)
        options = self._options(op, tflite.Pool2DOptions)
        pool = (options.FilterHeight(), options.FilterWidth())
        strides = (options.StrideH(), options.StrideW())
        _, height, width, _ = (int(size) for size in self.get_tensor_shape(data))
        padding = [0, 0, 0, 0]
        if options.Padding() == tflite.Padding.SAME:
            top, bottom = same_padding(height, pool[0], strides[0])
            left, right = same_padding(width, pool[1], strides[1])
            padding = [top, left, bottom, right]
        window = {"pool_size": pool, "strides": strides, "padding": padding, "layout": "NHWC"}
        if average:
            pooled = relax.op.nn.avg_pool2d(
                self._dequantized(data), count_include_pad=False, **window
            )
            pooled = self.quantize(pooled, output)
        else:
            pooled = relax.op.nn.max_pool2d(self.get_expr(data.tensor_idx), **window)
        return self._activate(pooled, options.FusedActivationFunction(), output)

    def convert_fully_connected(self, op: Any) -> relax.Expr:
        """Convert FULLY_CONNECTED to ``matmul`` of [1, K] and a constant [K, N]."""
        data, weight, *rest = self.get_input_tensors(op)
        (output,) = self.get_output_tensors(op)
        options = self._options(op, tflite.FullyConnectedOptions)
        if options.WeightsFormat() != tflite.FullyConnectedOptionsWeightsFormat.DEFAULT:
            raise UnsupportedOperatorError("its weights are shuffled")
        matrix = self._constant(weight)
        depth = matrix.shape[1]
        in_expr = self.get_expr(data.tensor_idx)
        in_shape = [int(size) for size in self.get_tensor_shape(data)]
        out_shape = [int(size) for size in self.get_tensor_shape(output)]
        if int(np.prod(in_shape)) != depth:
            raise UnsupportedOperatorError(
                f"it multiplies {int(np.prod(in_shape)) // depth} rows; only one is supported"
            )
        if in_shape != [1, depth]:
            in_expr = relax.op.reshape(in_expr, (1, depth))
        weights = relax.op.dequantize(
            relax.const(np.ascontiguousarray(matrix.T), "int8"),
            weight.qnn_params["scale"],
            weight.qnn_params["zero_point"],
            axis=1,
        )
        result = relax.op.matmul(self.dequantize(in_expr, data), weights)
        if rest:
            result = relax.op.add(result, self._dequantized_bias(rest[0], data, weight))
        result = self._activate(
            self.quantize(result, output), options.FusedActivationFunction(), output
        )
        if out_shape != [1, matrix.shape[0]]:
            result = relax.op.reshape(result, tuple(out_shape))
        return result

    def _dequantized_bias(self, bias: Any, data: Any, weight: Any) -> relax.Expr:
        if bias.qnn_params:
            return self.dequantize(relax.const(self._constant(bias), "int32"), bias)
        scale = data.qnn_params["scale"].value.numpy() * weight.qnn_params["scale"].value.numpy()
        return relax.op.dequantize(
            relax.const(self._constant(bias), "int32"),
            relax.const(scale, "float32"),
            relax.const(0, "int32"),
            axis=0,
        )

    def convert_conv(self, op: Any, conv_type: str) -> relax.Expr:
        """Convert CONV_2D and DEPTHWISE_CONV_2D after checking that the weights are constant."""
        weight = self.get_input_tensors(op)[1]
        self._constant(weight)
        return super().convert_conv(op, conv_type)

    def _convert_mean(self, op: Any) -> relax.Expr:
        data, axes = self.get_input_tensors(op)
        (output,) = self.get_output_tensors(op)
        keep = (
            bool(self._options(op, tflite.ReducerOptions).KeepDims()) if _has_options(op) else False
        )
        rank = len(self.get_tensor_shape(data))
        axis = sorted({value % rank for value in self._int_list(axes)})
        return self.quantize(relax.op.mean(self._dequantized(data), axis, keep), output)

    def convert_pad(self, op: Any) -> relax.Expr:
        """Convert PAD and PADV2 to ``nn.pad`` of int8; PAD writes the output's zero point."""
        data, widths, *value = self.get_input_tensors(op)
        (output,) = self.get_output_tensors(op)
        pad_value = self._int_list(value[0])[0] if value else _parameters(output)[1]
        pad_width = self._int_list(widths)
        return relax.op.nn.pad(self.get_expr(data.tensor_idx), pad_width, "constant", pad_value)

    def _convert_to_output_shape(self, op: Any) -> relax.Expr:
        data = self.get_input_tensors(op)[0]
        (output,) = self.get_output_tensors(op)
        shape = tuple(int(size) for size in output.tensor.ShapeAsNumpy())
        return relax.op.reshape(self.get_expr(data.tensor_idx), shape)

    def convert_strided_slice(self, op: Any) -> relax.Expr:
        """Convert STRIDED_SLICE to one ``strided_slice`` of int8, reshaped where axes shrink."""
        data, *bounds = self.get_input_tensors(op)
        (output,) = self.get_output_tensors(op)
        begin, end, strides = (self._int_list(bound) for bound in bounds)
        options = self._options(op, tflite.StridedSliceOptions)
        if options.EllipsisMask() or options.NewAxisMask():
            raise UnsupportedOperatorError("it has an ellipsis or a new axis")
        if any(stride < 1 for stride in strides):
            raise UnsupportedOperatorError("it walks backwards (a stride below one)")
        sizes = [int(size) for size in self.get_tensor_shape(data)]
        for axis, size in enumerate(sizes[: len(begin)]):
            start = None if options.BeginMask() >> axis & 1 else begin[axis]
            stop = None if options.EndMask() >> axis & 1 else end[axis]
            if options.ShrinkAxisMask() >> axis & 1:
                start = begin[axis] % size
                stop = start + 1
            begin[axis], end[axis], _ = slice(start, stop, strides[axis]).indices(size)
        axes = list(range(len(begin)))
        sliced = relax.op.strided_slice(self.get_expr(data.tensor_idx), axes, begin, end, strides)
        if not options.ShrinkAxisMask():
            return sliced
        return relax.op.reshape(sliced, tuple(int(n) for n in output.tensor.ShapeAsNumpy()))

    def convert_softmax(self, op: Any) -> relax.Expr:
        """Convert SOFTMAX; its beta becomes a factor of the dequantised input."""
        (data,) = self.get_input_tensors(op)
        (output,) = self.get_output_tensors(op)
        logits = self._dequantized(data)
        beta = float(self._options(op, tflite.SoftmaxOptions).Beta()) if _has_options(op) else 1.0
        if beta != 1.0:
            logits = relax.op.multiply(logits, relax.const(beta, "float32"))
        return self.quantize(relax.op.nn.softmax(logits, axis=-1), output)

    def convert_resize_nearest_neighbor(self, op: Any) -> relax.Expr:
        """Convert RESIZE_NEAREST_NEIGHBOR to ``image.resize2d`` of int8."""
        data, size = self.get_input_tensors(op)
        options = self._options(op, tflite.ResizeNearestNeighborOptions)
        align_corners, half_pixel = options.AlignCorners(), options.HalfPixelCenters()
        if align_corners and half_pixel:
            raise UnsupportedOperatorError("align_corners excludes half_pixel_centers")
        mode = ("asymmetric", "floor")
        if align_corners:
            mode = ("align_corners", "round")
        elif half_pixel:
            mode = ("half_pixel", "round_prefer_ceil")
        return relax.op.image.resize2d(
            self.get_expr(data.tensor_idx),
            tuple(self._int_list(size)),
            layout="NHWC",
            method="nearest_neighbor",
            coordinate_transformation_mode=mode[0],
            rounding_method=mode[1],
        )


def _has_options(op: Any) -> bool:
    return op.BuiltinOptions() is not None


def _parameters(tensor: Any) -> tuple[float, int]:
    if tensor.qnn_params is None:
        raise UnsupportedOperatorError("an int8 tensor has no scale")
    scale = tensor.qnn_params["scale"].value.numpy()
    return float(scale), int(tensor.qnn_params["zero_point"].value.numpy())


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TFLite's SAME padding before and after one axis."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2
