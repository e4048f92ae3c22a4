"""What each operator of the dialect means to the planner: access, window, MACs, padding value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.plan import Access, Operator, Scratch, Tensor, Window
from tvm_patch.qnn.ops import attributes
from tvm_patch.schedules import (
    Arithmetic,
    RowRule,
    WindowAxis,
    depthwise_steps,
    direct_instructions,
    direct_scaling,
    dsp_depthwise_direct_objection,
    gathered_instructions,
    is_small_accumulator,
    nearest_indices,
    row_rule,
)

_INT8_MIN = -128

#: Output pixels, and taps inside the map over all of these, up to which a depthwise convolution
#: may be unrolled over both: some six kilobytes of code.
_UNROLLED_PIXELS, _UNROLLED_TAPS = 36, 700
#: Fields of :class:`Arithmetic`.
_ARITHMETIC = ("output_zero_point", "clamp_min", "clamp_max", "rounding")
#: Scratch memory is at most one part in this many of what is under a window, or what the least
#: number of blocks in a step takes.
_SCRATCH_SHARE, _LEAST_BLOCKS = 16, 2

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class OperatorDetail:
    """What code generation needs to know of an operator beyond the graph.

    Parameters
    ----------
    kind : str
        As :attr:`tvm_patch.plan.Operator.kind`.
    attributes : mapping of str
        Plain numbers, strings and lists, as in the dialect.
    constants : mapping of str to ndarray
        By role: ``weight``, ``bias``, ``multiplier``, ``shift``, ``table``, ``lhs``, ``rhs``.
    """

    kind: str
    attributes: Mapping[str, Any]
    constants: Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class _Call:
    """A call with its tensors and constants told apart."""

    kind: str
    attributes: dict[str, Any]
    inputs: tuple[Tensor, ...]
    output: Tensor
    constants: Arrays


_ROLES: Mapping[str, tuple[str, ...]] = {
    "conv2d": ("data", "weight", "bias", "multiplier", "shift"),
    "depthwise_conv2d": ("data", "weight", "bias", "multiplier", "shift"),
    "dense": ("data", "weight", "bias", "multiplier", "shift"),
    "lookup": ("data", "table"),
    "add": ("lhs", "rhs"),
    "subtract": ("lhs", "rhs"),
    "mul": ("lhs", "rhs"),
}


def describe_operator(
    call: Any,
    output: Tensor,
    arguments: Sequence[str | npt.NDArray[np.generic]],
    tensors: Mapping[str, Tensor],
) -> tuple[Operator, OperatorDetail]:
    """The planner's operator and the generator's detail of one call.

    Parameters
    ----------
    call : relax.Call
        To an operator of the dialect, or to a data movement operator of Relax.
    output : Tensor
        What it is bound to.
    arguments : sequence of str or ndarray
        Names of tensors, and constants, in the order of the call's arguments.
    tensors : mapping of str to Tensor
        All tensors so far.

    Raises
    ------
    UnsupportedOperatorError
        When the planner does not know the operator.
    """
    full_name = str(call.op.name)
    kind = full_name.removeprefix("qnn.").removeprefix("relax.")
    describe = _DESCRIBERS.get(full_name)
    if describe is None:
        raise UnsupportedOperatorError(
            f"{output.name}: operator {full_name} cannot be run on a device",
            hint="run tvm_patch.qnn.to_integer on the module first; docs/operators.md lists what "
            "there is",
        )
    attrs = _attributes_of(call, full_name)
    roles = _ROLES.get(kind, ())
    constants = {
        roles[i] if i < len(roles) else f"constant{i}": value
        for i, value in enumerate(arguments)
        if not isinstance(value, str)
    }
    inputs = tuple(tensors[value] for value in arguments if isinstance(value, str))
    description = _Call(kind, attrs, inputs, output, constants)
    operator = describe(description)
    return operator, OperatorDetail(operator.kind, attrs, constants)


def _attributes_of(call: Any, full_name: str) -> dict[str, Any]:
    if full_name == "relax.permute_dims":
        rank = len(call.args[0].ty.shape)
        axes = call.attrs.axes
        order = range(rank)[::-1] if axes is None else (int(axis) % rank for axis in axes)
        return {"axes": list(order)}
    if full_name == "relax.strided_slice":
        return _slice_attributes(call)
    if full_name == "relax.reshape":
        return {}
    return attributes(call)


def _slice_attributes(call: Any) -> dict[str, Any]:
    """First index and step along each axis of the input."""
    shape = [int(getattr(dim, "value", dim)) for dim in call.args[0].ty.shape]
    begins, steps = [0] * len(shape), [1] * len(shape)

    def numbers(expr: Any) -> list[int]:
        fields = expr.fields if isinstance(expr, relax.Tuple) else expr.values
        return [int(getattr(field, "value", field)) for field in fields]

    axes, begin = numbers(call.args[1]), numbers(call.args[2])
    step = numbers(call.args[4]) if len(call.args) > 4 else [1] * len(axes)
    for axis, first, stride in zip(axes, begin, step, strict=True):
        size = shape[axis]
        first = first + size if first < 0 else first
        begins[axis] = min(max(first, 0), size - 1 if stride < 0 else size)
        steps[axis] = stride
    return {"begin": begins, "strides": steps}


def _window(attrs: Mapping[str, Any], kernel: tuple[int, int]) -> Window:
    dilation = attrs.get("dilation", [1, 1])
    strides, padding = attrs["strides"], attrs["padding"]
    return Window(
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        stride_h=strides[0],
        stride_w=strides[1],
        dilation_h=dilation[0],
        dilation_w=dilation[1],
        pad_top=padding[0],
        pad_left=padding[1],
        pad_bottom=padding[2],
        pad_right=padding[3],
    )


def _convolution(call: _Call) -> Operator:
    weight = call.constants["weight"]
    if call.kind == "conv2d":
        kernel, taps = (weight.shape[1], weight.shape[2]), prod(weight.shape[1:])
    else:
        kernel, taps = (weight.shape[0], weight.shape[1]), prod(weight.shape[:2])
    window = _window(call.attributes, kernel)
    macs = prod(call.output.shape) * taps
    if call.kind == "depthwise_conv2d" and _is_best_unrolled(call, window):
        return _operator(call, Access.WHOLE, macs=macs)
    return _operator(
        call,
        Access.ROWS,
        window=window,
        macs=macs,
        pad_value=call.attributes["input_zero_point"] if window.has_padding else None,
        scratch=_scratch(call, window) if call.kind == "depthwise_conv2d" else None,
    )


def _scratch(call: _Call, window: Window) -> Scratch | None:
    """Memory for the steps of a depthwise micro-kernel along a row, where it is the fastest.

    Longer steps cost less, but never more than a small part of what is under the window.
    """
    arithmetic = Arithmetic(*(call.attributes[key] for key in _ARITHMETIC))
    size = (window.kernel_h, window.kernel_w)
    steps = depthwise_steps(size, window.stride_w, window.dilation_w, arithmetic, call.constants)
    if steps is None:
        return None
    least_columns = _least_gathered(call, window, arithmetic)
    if least_columns is None:
        return None
    source = call.inputs[0]
    limit_bytes = window.kernel_h * source.row_bytes // _SCRATCH_SHARE
    blocks = (limit_bytes - steps.fixed_bytes) // steps.block_bytes
    row_blocks = -(-call.output.width // steps.block_columns)
    return Scratch(
        fixed_bytes=steps.fixed_bytes,
        block_columns=steps.block_columns,
        block_bytes=steps.block_bytes,
        most_blocks=min(row_blocks, max(blocks, _LEAST_BLOCKS)),
        least_columns=least_columns,
    )


def _least_gathered(call: _Call, window: Window, arithmetic: Arithmetic) -> int | None:
    """Outputs of a row from which on gathering its input pays; None if it never does.

    By models of the two micro-kernels that there are.
    """
    channels = call.inputs[0].shape[3]
    size, multiplier = (window.kernel_h, window.kernel_w), call.attributes["depth_multiplier"]
    if dsp_depthwise_direct_objection(
        channels, multiplier, size, window.stride_w, window.dilation_w
    ):
        return 0
    scaling = direct_scaling(call.constants, arithmetic)

    def pays(width: int) -> bool:
        gathered = gathered_instructions(
            width, channels, window.kernel_w, window.stride_w, arithmetic
        )
        return gathered < direct_instructions(width, channels, size, window.stride_w, scaling)

    return next(filter(pays, range(1, call.output.width + 1)), None)


def _is_best_unrolled(call: _Call, window: Window) -> bool:
    """Whether a depthwise convolution's padded rows would take more memory than all of its map.

    So it is on the small maps of late layers. They are few enough pixels for a kernel that spells
    out every tap inside the map and thus needs no padding at all.
    """
    source, output = call.inputs[0], call.output
    row_window = window.span_h * window.columns_read(output.width) * source.pixel_bytes
    if not window.has_padding or row_window <= source.size_bytes:
        return False
    rows = WindowAxis(
        source.height,
        window.kernel_h,
        window.stride_h,
        window.dilation_h,
        window.pad_top,
        window.pad_bottom,
    )
    columns = WindowAxis(
        source.width,
        window.kernel_w,
        window.stride_w,
        window.dilation_w,
        window.pad_left,
        window.pad_right,
    )
    return (
        output.height * output.width <= _UNROLLED_PIXELS
        and 0 < rows.valid_taps * columns.valid_taps <= _UNROLLED_TAPS
        # Taking the zero point out of a bias adds no more to it than an input could.
        and is_small_accumulator(call.constants["weight"], call.constants["bias"], -1)
    )


def _dense(call: _Call) -> Operator:
    return _operator(call, Access.WHOLE, macs=prod(call.constants["weight"].shape))


def _elementwise(call: _Call) -> Operator:
    access = Access.ROWS if call.output.is_map else Access.WHOLE
    broadcast = tuple(t.name for t in call.inputs if t.shape != call.output.shape)
    if len(broadcast) == len(call.inputs):
        return _operator(call, Access.WHOLE)
    operator = _operator(call, access, elementwise=True, whole_inputs=broadcast)
    # Kernels of rows are given the same constant for every row.
    has_constant_map = any(value.size > call.output.shape[-1] for value in _operands(call))
    return replace(operator, streamable=False) if has_constant_map else operator


def _operands(call: _Call) -> list[npt.NDArray[np.generic]]:
    return [value for role, value in call.constants.items() if role in ("lhs", "rhs")]


def _pool(call: _Call) -> Operator:
    pool = call.attributes["pool_size"]
    window = _window(call.attributes, (pool[0], pool[1]))
    if call.kind == "avg_pool2d" and window.has_padding:
        # Its divisor changes along the border, which row kernels do not know.
        return _operator(call, Access.WHOLE)
    return _operator(
        call,
        Access.ROWS,
        window=window,
        pad_value=_INT8_MIN if window.has_padding else None,
    )


def _pad(call: _Call) -> Operator:
    pad = call.attributes["pad_width"]
    if any(pad[:2]) or any(pad[6:]):
        return _operator(call, Access.WHOLE)
    window = Window(pad_top=pad[2], pad_bottom=pad[3], pad_left=pad[4], pad_right=pad[5])
    return _operator(call, Access.ROWS, window=window, pad_value=call.attributes["pad_value"])


def _concatenate(call: _Call) -> Operator:
    """By rows where channels are joined, each input a part of every pixel."""
    if call.constants or not call.inputs:
        raise UnsupportedOperatorError(
            f"{call.output.name}: a constant is joined to a tensor",
            hint="add the constant's part behind the model, or fold it into what comes after",
        )
    shape = call.output.shape
    by_rows = call.output.is_map and call.attributes["axis"] % len(shape) == len(shape) - 1
    return _operator(call, Access.ROWS if by_rows else Access.WHOLE)


def _resize(call: _Call) -> Operator:
    """Row by row, each from one of the rows of a map that is there already."""
    if resized_rows(call.inputs[0], call.output, call.attributes) is None:
        return _operator(call, Access.WHOLE)
    whole = tuple(tensor.name for tensor in call.inputs)
    return _operator(call, Access.ROWS, whole_inputs=whole)


def resized_rows(source: Tensor, output: Tensor, attributes: Mapping[str, Any]) -> RowRule | None:
    """The rule by which a resize's output rows follow the source's, if there is one."""
    rows = nearest_indices(
        source.height,
        output.height,
        align_corners=bool(attributes["align_corners"]),
        half_pixel_centers=bool(attributes["half_pixel_centers"]),
    )
    return row_rule(rows.tolist(), source.height)


def _whole(call: _Call) -> Operator:
    return _operator(call, Access.WHOLE)


def _global_sum(call: _Call) -> Operator:
    return _operator(call, Access.ACCUMULATE)


def _finishing(call: _Call) -> Operator:
    return _operator(call, Access.WHOLE, elementwise=True)


def _view(call: _Call) -> Operator:
    return _operator(call, Access.VIEW)


def _transpose(call: _Call) -> Operator:
    """A permutation that moves only axes of size one is a view."""
    axes, shape = call.attributes["axes"], call.inputs[0].shape
    moved = [axis for axis in axes if shape[axis] != 1]
    return _view(call) if moved == sorted(moved) else _whole(call)


def _operator(
    call: _Call,
    access: Access,
    *,
    window: Window | None = None,
    macs: int = 0,
    pad_value: int | None = None,
    elementwise: bool = False,
    whole_inputs: tuple[str, ...] = (),
    scratch: Scratch | None = None,
) -> Operator:
    return Operator(
        name=call.output.name,
        kind=call.kind,
        inputs=tuple(tensor.name for tensor in call.inputs),
        output=call.output.name,
        access=access,
        window=window or Window(),
        macs=macs,
        pad_value=pad_value,
        elementwise=elementwise,
        whole_inputs=whole_inputs,
        streamable=access in (Access.ROWS, Access.ACCUMULATE),
        scratch=scratch,
    )


_DESCRIBERS: Mapping[str, Callable[[_Call], Operator]] = {
    "qnn.conv2d": _convolution,
    "qnn.depthwise_conv2d": _convolution,
    "qnn.dense": _dense,
    "qnn.add": _elementwise,
    "qnn.subtract": _elementwise,
    "qnn.mul": _elementwise,
    "qnn.lookup": _elementwise,
    "qnn.quantize": _elementwise,
    "qnn.dequantize": _elementwise,
    "qnn.max_pool2d": _pool,
    "qnn.avg_pool2d": _pool,
    "qnn.mean": _whole,
    "qnn.global_sum": _global_sum,
    "qnn.mean_of_sum": _finishing,
    "qnn.average_of_sum": _finishing,
    "qnn.pad": _pad,
    "qnn.resize_nearest": _resize,
    "qnn.softmax": _whole,
    "qnn.concatenate": _concatenate,
    "relax.reshape": _view,
    "relax.permute_dims": _transpose,
    "relax.strided_slice": _whole,
}
