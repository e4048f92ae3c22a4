"""What the pass knows of Relay operators: how they read maps, and how they are made for a patch.

An operator belongs into a stage where each pixel of its output depends on a window of pixels of its
inputs. Windows are those of convolutions, pools and padding; operators that TVM itself knows as
elementwise or broadcasting read the pixel of the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import tvm
from tvm import relay

from tvm_patch.compat import zip_strict
from tvm_patch.plan import Window

_ELEMENTWISE_PATTERNS = (0, 1)  # TOpPattern kElemWise and kBroadcast

# Their output's shape is an attribute, which would be wrong for a patch.
_SHAPE_IS_ATTRIBUTE = frozenset({"broadcast_to", "full", "zeros", "ones", "tile", "repeat"})

_QNN_UNARY = frozenset(
    f"qnn.{name}"
    for name in (
        *("quantize", "dequantize", "requantize", "simulated_quantize", "simulated_dequantize"),
        *("relu", "leaky_relu", "hardswish", "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt"),
        *("erf", "abs"),
    )
)
_QNN_BINARY = frozenset({"qnn.add", "qnn.subtract", "qnn.mul"})
_CONVOLUTIONS = frozenset({"nn.conv2d", "qnn.conv2d"})
_POOLS = frozenset({"nn.max_pool2d", "nn.avg_pool2d"})
_CONCATENATIONS = frozenset({"concatenate", "qnn.concatenate"})
# The first argument is a map, all others are parameters.
_FIRST_ARGUMENT_ONLY = (
    _QNN_UNARY
    | _CONVOLUTIONS
    | {"nn.bias_add", "nn.pad", "nn.dense", "qnn.dense", "nn.prelu", "nn.batch_norm"}
    | {"fixed_point_multiply_per_axis"}
)


@dataclass(frozen=True)
class Layout:
    """Where a map has its axes, as Relay writes it.

    Parameters
    ----------
    axes : str
        ``NCHW`` or ``NHWC``.
    """

    axes: str

    @property
    def rows(self) -> int:
        """Axis of rows."""
        return self.axes.index("H")

    @property
    def cols(self) -> int:
        """Axis of columns."""
        return self.axes.index("W")

    @property
    def channels(self) -> int:
        """Axis of channels."""
        return self.axes.index("C")

    def nhwc(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape in the planner's order."""
        return tuple(shape[self.axes.index(axis)] for axis in "NHWC")


LAYOUTS = {axes: Layout(axes) for axes in ("NCHW", "NHWC")}


def op_name(call: Any) -> str:
    """Name of a call's operator; what is called instead where it is a function."""
    if isinstance(call.op, tvm.ir.Op):
        return str(call.op.name)
    if isinstance(call.op, relay.Function) and call.op.attrs and "Composite" in call.op.attrs:
        return f"composite function {call.op.attrs['Composite']}"
    return "a call of a function"


def data_arguments(call: Any) -> list[Any]:
    """Arguments that may hold activations; tuples are opened. The others are parameters."""
    name = op_name(call)
    if name in _FIRST_ARGUMENT_ONLY:
        arguments = call.args[:1]
    elif name in _QNN_BINARY:
        arguments = call.args[:2]
    elif name == "qnn.concatenate":
        arguments = call.args[:1]
    else:
        arguments = call.args
    opened = [field for argument in arguments for field in _opened(argument)]
    if any(_rank(argument) == 4 for argument in opened):
        # A vector beside a map is a parameter, also where it is not bound to its value yet.
        return [x for x in opened if not (isinstance(x, relay.Var) and _rank(x) < 4)]
    return opened


def _rank(argument: Any) -> int:
    kind = argument.checked_type
    return len(kind.shape) if isinstance(kind, relay.TensorType) else 0


def _opened(argument: Any) -> list[Any]:
    if isinstance(argument, relay.Tuple):
        return [field for item in argument.fields for field in _opened(item)]
    return [argument]


def layouts_of(call: Any) -> tuple[Layout | None, Layout | None]:
    """The layouts of an operator's input and output that its attributes tell, else None."""
    name = op_name(call)
    if name in _CONVOLUTIONS:
        axes = str(call.attrs.data_layout)
        output = str(call.attrs.out_layout) or axes
        return LAYOUTS.get(axes), LAYOUTS.get(output)
    if name in _POOLS:
        axes = str(call.attrs.layout)
        return LAYOUTS.get(axes), LAYOUTS.get(axes)
    if name == "layout_transform":
        return LAYOUTS.get(str(call.attrs.src_layout)), LAYOUTS.get(str(call.attrs.dst_layout))
    return None, None


def keeps_layout(call: Any) -> bool:
    """Whether input and output have one layout though the operator does not say which."""
    name = op_name(call)
    return name in _CONCATENATIONS or name == "nn.pad" or is_elementwise(call)


def is_elementwise(call: Any) -> bool:
    """Whether each pixel of the output depends on the inputs' pixels of the same place only."""
    name = op_name(call)
    if name in _QNN_UNARY or name in _QNN_BINARY:
        return True
    if not isinstance(call.op, tvm.ir.Op) or name in _SHAPE_IS_ATTRIBUTE:
        return False
    return name != "nn.dropout" and call.op.get_attr("TOpPattern") in _ELEMENTWISE_PATTERNS


def shape_of(expression: Any) -> tuple[int, ...] | None:
    """Static shape of an expression of tensor type, else None."""
    kind = expression.checked_type
    if not isinstance(kind, relay.TensorType):
        return None
    if not all(isinstance(extent, (int, tvm.tir.IntImm)) for extent in kind.shape):
        return None
    return tuple(int(extent) for extent in kind.shape)


@dataclass(frozen=True)
class Reading:
    """How an operator of a stage reads its inputs.

    Parameters
    ----------
    window : Window
        Without padding behind the last row and column, which follows from sizes.
    macs : int
        Multiply-accumulates of the whole operator.
    """

    window: Window
    macs: int = 0


def reading_of(
    call: Any, activations: Sequence[Any], layout_in: Layout, layout_out: Layout
) -> Reading | str:
    """How an operator reads maps, or why it cannot be part of a stage.

    Parameters
    ----------
    call : relay.Call
        With types inferred; all its maps have rank 4 and static shapes.
    activations : sequence of relay.Expr
        Those of its arguments that depend on the network's input.
    layout_in, layout_out : Layout
        Of its inputs and its output.
    """
    name = op_name(call)
    if name in _CONVOLUTIONS:
        return _convolution(call, layout_out)
    if name in _POOLS:
        return _pool(call)
    if name == "nn.pad":
        return _padding(call, layout_in)
    if name == "layout_transform":
        return Reading(Window())
    if name in _CONCATENATIONS:
        axis = int(call.attrs.axis) % 4
        return Reading(Window()) if axis == layout_in.channels else "it joins rows or columns"
    if is_elementwise(call):
        return _elementwise(call, activations, layout_in)
    return "the pass does not know it"


def _convolution(call: Any, layout_out: Layout) -> Reading | str:
    attrs = call.attrs
    output, weight = shape_of(call), shape_of(call.args[1])
    if output is None or weight is None or len(weight) != 4:
        return "its weights have a shape that the pass does not know"
    window = window_from(attrs.kernel_size, attrs.strides, attrs.dilation, padding_of(attrs))
    # Each weight is used once for each output pixel.
    pixels = output[layout_out.rows] * output[layout_out.cols]
    return Reading(window, macs=prod(weight) * pixels)


def _pool(call: Any) -> Reading | str:
    attrs = call.attrs
    average = op_name(call) == "nn.avg_pool2d"
    if average and bool(attrs.ceil_mode) and bool(attrs.count_include_pad):
        return "ceil_mode counts rows beyond its padding"
    dilation = attrs.dilation if "dilation" in attribute_names(attrs) else (1, 1)
    return Reading(window_from(attrs.pool_size, attrs.strides, dilation, padding_of(attrs)))


def _padding(call: Any, layout: Layout) -> Reading | str:
    if str(call.attrs.pad_mode) != "constant":
        return f"its mode is {call.attrs.pad_mode}"
    widths = [[int(width) for width in pair] for pair in call.attrs.pad_width]
    if any(width < 0 for pair in widths for width in pair):
        return "it crops"
    if any(widths[axis] != [0, 0] for axis in (0, layout.channels)):
        return "it pads channels"
    (top, bottom), (left, right) = widths[layout.rows], widths[layout.cols]
    return Reading(Window(pad_top=top, pad_left=left, pad_bottom=bottom, pad_right=right))


def _elementwise(call: Any, activations: Sequence[Any], layout: Layout) -> Reading | str:
    for argument in call.args:
        if isinstance(argument, relay.Tuple):
            return "it takes a tuple"
        shape = shape_of(argument)
        if shape is None:
            return "an input has a dynamic shape"
        if prod(shape) == 1 or any(argument.same_as(x) for x in activations):
            continue
        axes = _axes_of_parameter(call, len(shape))
        if any(
            extent > 1 and axis in (layout.rows, layout.cols)
            for axis, extent in zip_strict(axes, shape)
        ):
            return "a parameter differs from pixel to pixel"
    return Reading(Window())


def _axes_of_parameter(call: Any, rank: int) -> list[int]:
    """The map's axes that a parameter lies along."""
    has_axis = "axis" in attribute_names(call.attrs)
    if rank == 1 and has_axis:
        return [int(call.attrs.axis) % 4]
    if rank == 1 and "axes" in attribute_names(call.attrs):
        return [int(call.attrs.axes[0]) % 4]
    return list(range(4 - rank, 4))


def attribute_names(attrs: Any) -> list[str]:
    """Names of an operator's attributes, which differ between versions of TVM."""
    return [] if attrs is None else [str(key) for key in attrs.keys()]  # noqa: SIM118  # no dict


def window_from(
    kernel: Sequence[Any],
    strides: Sequence[Any],
    dilation: Sequence[Any],
    padding: tuple[int, int, int, int],
) -> Window:
    """A window from an operator's attributes, in TVM's integers."""
    (kernel_h, kernel_w), (stride_h, stride_w) = map(int, kernel), map(int, strides)
    dilation_h, dilation_w = map(int, dilation)
    top, left, bottom, right = padding
    return Window(
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        stride_h=stride_h,
        stride_w=stride_w,
        dilation_h=dilation_h,
        dilation_w=dilation_w,
        pad_top=top,
        pad_left=left,
        pad_bottom=bottom,
        pad_right=right,
    )


def padding_of(attrs: Any) -> tuple[int, int, int, int]:
    """Padding in the order top, left, bottom, right, however short it is written."""
    padding = [int(width) for width in attrs.padding]
    if len(padding) == 1:
        padding = padding * 4
    elif len(padding) == 2:
        padding = padding * 2
    return (padding[0], padding[1], padding[2], padding[3])
