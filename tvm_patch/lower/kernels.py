"""Which kernel makes an operator's output, given where and how wide its rows are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np

from tvm_patch import schedules
from tvm_patch.analysis import Network, OperatorDetail
from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.kernel_times import NO_TIMES, KernelTimes
from tvm_patch.lower.stage_loop import is_flat, row_pixels
from tvm_patch.plan.graph import Scratch, Tensor
from tvm_patch.plan.layout.group import Group, OperatorLayout
from tvm_patch.plan.layout.stage import FETCH
from tvm_patch.schedules import Instructions
from tvm_patch.schedules.kernel import Constants, Kernel


@dataclass(frozen=True)
class _Request:
    """What a kernel is wanted for.

    Parameters
    ----------
    detail : OperatorDetail
        Attributes and constants.
    inputs : tuple of Tensor
        Whole tensors that are read.
    output : Tensor
        Whole tensor that is written.
    columns : int
        Pixels made in one call: a row of a tile, or all of a map when nothing is tiled.
    in_row_pixels : int
        Pixels from one row of the first input to the next.
    is_whole : bool
        The call takes its inputs whole, not by rows.
    instructions : Instructions
        What the core has.
    scratch : Scratch or None
        Memory planned for the kernel.
    widest : int
        The most pixels that any of the operator's kernels makes in one call.
    """

    detail: OperatorDetail
    inputs: tuple[Tensor, ...]
    output: Tensor
    columns: int
    in_row_pixels: int
    is_whole: bool
    instructions: Instructions
    scratch: Scratch | None
    widest: int

    @property
    def attributes(self) -> Mapping[str, Any]:
        return self.detail.attributes

    @property
    def channels(self) -> int:
        return self.output.shape[-1]

    @property
    def elements(self) -> int:
        """Elements made in one call of an elementwise kernel."""
        return self.columns * self.channels


def choose_kernels(
    network: Network,
    group: Group,
    layout: OperatorLayout,
    instructions: Instructions = Instructions.PLAIN,
    *,
    times: KernelTimes = NO_TIMES,
) -> tuple[Kernel, ...]:
    """The kernels of one operator of a group, its own.

    Parameters
    ----------
    network : Network
        For attributes and constants.
    group : Group
        Where the operator runs.
    layout : OperatorLayout
        What it computes there.
    instructions : Instructions
        What the core has; plain kernels are what TVM itself can build.
    times : KernelTimes
        Measured; where there are any of a kernel, the fastest way of making it is taken.

    Returns
    -------
    tuple of Kernel
        One; none for an operator that only moves rows or of which no tile needs anything inside
        the image; one for each input of a concatenation; inside a column run one for each width
        that its steps have.

    Raises
    ------
    UnsupportedOperatorError
        When there is no kernel.
    """
    operator = layout.operator
    is_idle = group.tiling is not None and layout.is_idle
    moves_rows = operator.kind == FETCH or (operator.kind == "pad" and group.tiling is not None)
    if is_idle or moves_rows:
        return ()
    choose = _CHOICES.get(operator.kind)
    if choose is None:
        raise UnsupportedOperatorError(
            f"operator {operator.name}: no kernel for {operator.kind}",
            hint="docs/operators.md lists what there is",
        )
    tensor = network.graph.tensor
    output = tensor[operator.output]
    whole_pixels = prod(output.shape[:-1])
    flat = group.tiling is None or is_flat(group)
    source = group.blocks[operator.inputs[0]]
    calls = calls_by_columns(network, group, layout)
    chosen: list[Kernel] = []
    for columns in calls:
        request = _Request(
            detail=network.details[operator.name],
            inputs=tuple(tensor[name] for name in operator.inputs),
            output=output,
            columns=columns,
            in_row_pixels=whole_pixels if flat else row_pixels(source, layout.windows[0]),
            is_whole=group.tiling is None,
            instructions=instructions,
            scratch=operator.scratch,
            widest=max(calls),
        )
        kernels = choose(request)
        chosen.extend(kernels if isinstance(kernels, tuple) else (kernels,))
    return tuple(fastest_way(kernel, times, layout.scratch_bytes) for kernel in chosen)


def calls_by_columns(network: Network, group: Group, layout: OperatorLayout) -> dict[int, int]:
    """How often an operator's kernels are called, roughly, by the pixels that a call makes."""
    output = network.graph.tensor[layout.operator.output]
    if group.tiling is None or is_flat(group):
        return {prod(output.shape[:-1]): 1}
    if layout.steps is None:
        return {layout.columns: output.height}
    steps = Counter(end - begin for begin, end in layout.steps.new)
    return {width: steps[width] * output.height for width in layout.steps.widths}


def fastest_way(kernel: Kernel, times: KernelTimes, scratch_bytes: int) -> Kernel:
    """The kernel, made in the fastest way that has been measured within so much scratch memory."""
    space = schedules.space_of(kernel)
    best = None if space is None else times.best(space.key, scratch_bytes)
    return kernel if best is None else schedules.make_variant(kernel, best.choice) or kernel


def _requantisation(request: _Request) -> dict[str, Any]:
    """The fields that all multiply-accumulate kernels share."""
    attributes, constants = request.attributes, request.detail.constants
    channel_axis = -1 if request.detail.kind == "depthwise_conv2d" else 0
    arithmetic = schedules.Arithmetic(
        output_zero_point=attributes["output_zero_point"],
        clamp_min=attributes["clamp_min"],
        clamp_max=attributes["clamp_max"],
        rounding=attributes["rounding"],
    )
    fields = schedules.requantisation_fields(constants, channel_axis, arithmetic)
    return {**asdict(arithmetic), **fields}


def _conv2d(request: _Request) -> Kernel:
    attributes = request.attributes
    _, kernel_h, kernel_w, _ = request.detail.constants["weight"].shape
    plain = schedules.ConvRow(
        in_row_pixels=request.in_row_pixels,
        in_channels=request.inputs[0].shape[3],
        out_width=request.columns,
        out_channels=request.channels,
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        stride_w=attributes["strides"][1],
        dilation_h=attributes["dilation"][0],
        dilation_w=attributes["dilation"][1],
        groups=attributes["groups"],
        **_requantisation(request),
    )
    if request.instructions is Instructions.DSP:
        if kernel_h == kernel_w == request.columns == request.output.height == 1:
            # One pixel in all: a vector times a matrix.
            return _dense(request)
        row = schedules.dsp_conv_row(plain, dict(request.detail.constants))
        return plain if row is None else row
    return plain


def _depthwise_conv2d(request: _Request) -> Kernel:
    attributes = request.attributes
    kernel_h, kernel_w, _ = request.detail.constants["weight"].shape
    if request.is_whole:
        _, in_height, in_width, in_channels = request.inputs[0].shape
        top, left, bottom, right = attributes["padding"]
        whole = schedules.DepthwiseMap(
            in_height=in_height,
            in_width=in_width,
            in_channels=in_channels,
            depth_multiplier=attributes["depth_multiplier"],
            kernel_h=kernel_h,
            kernel_w=kernel_w,
            strides=(attributes["strides"][0], attributes["strides"][1]),
            padding=(top, left, bottom, right),
            dilation=(attributes["dilation"][0], attributes["dilation"][1]),
            input_zero_point=attributes["input_zero_point"],
            **_requantisation(request),
        )
        if request.instructions is not Instructions.DSP:
            return whole
        return schedules.dsp_depthwise_map(whole, dict(request.detail.constants)) or whole
    plain = schedules.DepthwiseRow(
        in_row_pixels=request.in_row_pixels,
        in_channels=request.inputs[0].shape[3],
        out_width=request.columns,
        depth_multiplier=attributes["depth_multiplier"],
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        stride_w=attributes["strides"][1],
        dilation_h=attributes["dilation"][0],
        dilation_w=attributes["dilation"][1],
        **_requantisation(request),
    )
    if request.instructions is not Instructions.DSP:
        return plain
    constants = dict(request.detail.constants)
    row: schedules.DspDepthwiseRow | None = None
    if request.scratch is not None and request.scratch.is_for(request.widest):
        blocks = request.scratch.blocks(request.columns)
        row = schedules.dsp_depthwise_row(plain, constants, blocks)
        # A tuned kernel may need less than this one does.
        if row is not None and row.scratch_bytes > request.scratch.size_bytes(request.widest):
            row = None
    return row or schedules.dsp_depthwise_direct(plain, constants) or plain


def _dense(request: _Request) -> Kernel:
    out_features, *in_shape = request.detail.constants["weight"].shape
    in_features = prod(in_shape)
    plain = schedules.Dense(
        in_features=in_features, out_features=out_features, **_requantisation(request)
    )
    if request.instructions is Instructions.DSP:
        return schedules.dsp_dense(plain, dict(request.detail.constants)) or plain
    return plain


def _pool(request: _Request) -> Kernel:
    attributes = request.attributes
    pool_h, pool_w = attributes["pool_size"]
    clamp = {"clamp_min": attributes["clamp_min"], "clamp_max": attributes["clamp_max"]}
    kind = request.detail.kind.removesuffix("_pool2d")
    is_micro = request.instructions is Instructions.DSP
    if kind == "avg" and any(attributes["padding"]):
        _, in_height, in_width, channels = request.inputs[0].shape
        top, left, bottom, right = attributes["padding"]
        padded = schedules.AvgPoolPadded(
            in_height=in_height,
            in_width=in_width,
            channels=channels,
            out_height=request.output.height,
            out_width=request.output.width,
            pool_h=pool_h,
            pool_w=pool_w,
            stride_h=attributes["strides"][0],
            stride_w=attributes["strides"][1],
            pad_top=top,
            pad_left=left,
            pad_bottom=bottom,
            pad_right=right,
            **clamp,
        )
        return (schedules.dsp_avg_pool_padded(padded) if is_micro else None) or padded
    row = schedules.PoolRow(
        kind=kind,
        in_row_pixels=request.in_row_pixels,
        channels=request.channels,
        out_width=request.columns,
        pool_h=pool_h,
        pool_w=pool_w,
        stride_w=attributes["strides"][1],
        **clamp,
    )
    return (schedules.dsp_pool_row(row) if is_micro else None) or row


def _mean(request: _Request) -> Kernel:
    attributes, shape = request.attributes, request.inputs[0].shape
    if sorted(axis % 4 for axis in attributes["axes"]) != [1, 2]:
        raise UnsupportedOperatorError(
            f"operator {request.output.name}: mean over axes {attributes['axes']}",
            hint="only the mean over rows and columns (axes 1 and 2) has a kernel",
        )
    mean = schedules.MeanSpatial(
        pixels=shape[1] * shape[2],
        channels=shape[3],
        input_zero_point=attributes["input_zero_point"],
        output_zero_point=attributes["output_zero_point"],
        multiplier=attributes["multiplier"],
        shift=attributes["shift"],
    )
    return schedules.DspMean(mean) if request.instructions is Instructions.DSP else mean


def _global_sum(request: _Request) -> Kernel:
    row = schedules.AccumulateRow(width=request.columns, channels=request.channels)
    return schedules.DspAccumulateRow(row) if request.instructions is Instructions.DSP else row


def _mean_of_sum(request: _Request) -> Kernel:
    parameters = {k: v for k, v in request.attributes.items() if k != "keepdims"}
    mean = schedules.MeanOfSum(channels=request.channels, **parameters)
    return schedules.DspMean(mean) if request.instructions is Instructions.DSP else mean


def _average_of_sum(request: _Request) -> Kernel:
    average = schedules.AverageOfSum(channels=request.channels, **request.attributes)
    if request.instructions is Instructions.DSP:
        return schedules.dsp_average_of_sum(average) or average
    return average


@dataclass(frozen=True)
class WithConstantOperand:
    """A two-operand kernel whose second operand is a constant of the model.

    Parameters
    ----------
    kernel : Kernel
        Takes lhs, rhs, out; a constant stands where rhs does.
    """

    kernel: Kernel

    @property
    def name(self) -> str:
        """The kernel's own."""
        return self.kernel.name

    @property
    def constants(self) -> tuple[str, ...]:
        """The second operand."""
        return ("rhs",)

    @property
    def macs(self) -> int:
        """The kernel's own."""
        return self.kernel.macs

    def pack(self, constants: Constants) -> Constants:
        """The operand, flat."""
        return {"rhs": np.ascontiguousarray(constants["rhs"]).reshape(-1)}

    def prim_func(self) -> Any:
        """The kernel's own."""
        return self.kernel.prim_func()


def _binary(request: _Request) -> Kernel:
    attributes = dict(request.attributes)
    constants = request.detail.constants
    if "lhs" in constants or request.inputs[0].shape != request.output.shape:
        raise UnsupportedOperatorError(
            f"operator {request.output.name}: the first operand of {request.detail.kind} is "
            "constant or broadcast",
            hint="put the full-size operand first",
        )
    rhs = constants["rhs"].shape if "rhs" in constants else request.inputs[-1].shape
    attributes["length"] = request.elements
    full = rhs == request.output.shape and len(request.inputs) == 2
    attributes["rhs_length"] = request.elements if full else prod(rhs)
    is_micro = request.instructions is Instructions.DSP and "rhs" not in constants
    kernel: Kernel
    if request.detail.kind == "mul":
        product = schedules.MulFlat(**attributes)
        kernel = (schedules.dsp_mul(product) if is_micro else None) or product
    else:
        total = schedules.AddFlat(**attributes, subtract=request.detail.kind == "subtract")
        kernel = (schedules.dsp_add(total) if is_micro else None) or total
    return WithConstantOperand(kernel) if "rhs" in constants else kernel


def _lookup(request: _Request) -> Kernel:
    plain = schedules.LookupFlat(length=request.elements)
    return schedules.dsp_lookup(plain) if request.instructions is Instructions.DSP else plain


def _quantize(request: _Request) -> Kernel:
    zero_point = request.attributes["zero_point"]
    plain = schedules.QuantizeFlat(length=request.elements, zero_point=zero_point)
    if request.instructions is Instructions.DSP:
        return schedules.dsp_quantize(plain, request.attributes["scale"]) or plain
    return plain


def _dequantize(request: _Request) -> Kernel:
    zero_point = request.attributes["zero_point"]
    plain = schedules.DequantizeFlat(length=request.elements, zero_point=zero_point)
    return schedules.dsp_dequantize(plain) if request.instructions is Instructions.DSP else plain


def _softmax(request: _Request) -> Kernel:
    shape = request.output.shape
    plain = schedules.SoftmaxRows(rows=prod(shape[:-1]), length=shape[-1], **request.attributes)
    return schedules.dsp_softmax(plain) if request.instructions is Instructions.DSP else plain


def _resize_nearest(request: _Request) -> Kernel:
    attributes = request.attributes
    row = schedules.ResizeNearestRow(
        in_width=request.inputs[0].width,
        out_width=request.output.width,
        channels=request.channels,
        align_corners=bool(attributes["align_corners"]),
        half_pixel_centers=bool(attributes["half_pixel_centers"]),
    )
    return schedules.dsp_resize_row(row) if request.instructions is Instructions.DSP else row


def _concatenate(request: _Request) -> tuple[Kernel, ...]:
    axis = request.attributes["axis"] % len(request.output.shape)
    pixels = prod(request.output.shape[:axis]) if request.is_whole else request.columns
    stride = prod(request.output.shape[axis:])
    return tuple(
        schedules.CopyRow(
            pixels=pixels,
            channels=prod(tensor.shape[axis:]),
            in_stride=prod(tensor.shape[axis:]),
            out_stride=stride,
        )
        for tensor in request.inputs
    )


def _transpose(request: _Request) -> Kernel:
    axes = tuple(request.attributes["axes"])
    return schedules.Transpose(shape=request.inputs[0].shape, axes=axes)


def _strided_slice(request: _Request) -> Kernel:
    begin, strides = request.attributes["begin"], request.attributes["strides"]
    spans = zip(begin, strides, request.output.shape, strict=True)
    end = [first + (size - 1) * step + (1 if step > 0 else -1) for first, step, size in spans]
    return schedules.StridedSlice(
        shape=request.inputs[0].shape, begin=tuple(begin), end=tuple(end), strides=tuple(strides)
    )


_CHOICES: Mapping[str, Callable[[_Request], Kernel | tuple[Kernel, ...]]] = {
    "add": _binary,
    "average_of_sum": _average_of_sum,
    "avg_pool2d": _pool,
    "concatenate": _concatenate,
    "conv2d": _conv2d,
    "dense": _dense,
    "depthwise_conv2d": _depthwise_conv2d,
    "dequantize": _dequantize,
    "global_sum": _global_sum,
    "lookup": _lookup,
    "max_pool2d": _pool,
    "mean": _mean,
    "mean_of_sum": _mean_of_sum,
    "mul": _binary,
    "permute_dims": _transpose,
    "quantize": _quantize,
    "resize_nearest": _resize_nearest,
    "softmax": _softmax,
    "strided_slice": _strided_slice,
    "subtract": _binary,
}
