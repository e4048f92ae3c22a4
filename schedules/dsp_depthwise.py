"""Depthwise convolution by the micro-kernels of ``micro_project/kernels/depthwise.h``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from .channels import live_channels, reach_of, settled_value
from .depthwise import DepthwiseRow
from .fixed_point import Arithmetic, bind, int32, saturate
from .kernel import Constants, kernel_name
from .micro_kernel import WithWeights, describe, implement

_KERNELS = (3, 5, 7)
_STRIDES = (1, 2)
#: Outputs made at once.
_BLOCK = 4
#: The rounding term and the scaled accumulator fit in 32 bits together from this shift on.
_LOWEST_SHIFT = -23
#: A multiplier of one half and one place to the left leave an accumulator as it is.
_HALF = 1 << 30
_ROUNDS_TIES_AWAY = 1 << 31


@dataclass(frozen=True)
class DepthwiseSteps:
    """Memory that a step along the row takes; see ``struct tvmp_depthwise_window``.

    Parameters
    ----------
    kernel, stride : int
        Of the square window, along the row.
    """

    kernel: int
    stride: int

    block_columns = _BLOCK

    @property
    def fixed_bytes(self) -> int:
        """For the columns that a step has in common with the next."""
        shared = self.kernel - self.stride
        return (shared + shared % 2) * self._column_bytes

    @property
    def block_bytes(self) -> int:
        """For each block of outputs."""
        return _BLOCK * self.stride * self._column_bytes

    @property
    def _column_bytes(self) -> int:
        """Four channels of a column as int16, the last row's counted with its neighbour's."""
        return self.kernel // 2 * 16 + 8

    def size_bytes(self, blocks: int) -> int:
        """For a step of ``blocks`` blocks."""
        return self.fixed_bytes + blocks * self.block_bytes


def depthwise_steps(
    window: tuple[int, int],
    stride_w: int,
    dilation_w: int,
    arithmetic: Arithmetic,
    constants: Constants,
) -> DepthwiseSteps | None:
    """What a micro-kernel for a depthwise convolution needs; None where there is none.

    Parameters
    ----------
    window : tuple of int
        (kernel_h, kernel_w).
    stride_w, dilation_w : int
        Along the row; that of rows is the caller's business.
    arithmetic : Arithmetic
        What is done with scaled accumulators.
    constants : dict
        weight int8 [KH, KW, C * M]; bias, multiplier, shift int32 [C * M].
    """
    kernel_h, kernel_w = window
    if kernel_h != kernel_w or kernel_w not in _KERNELS or stride_w not in _STRIDES:
        return None
    if dilation_w != 1 or arithmetic.rounding != "double":
        return None
    if _parameters(constants, arithmetic) is None:
        return None
    return DepthwiseSteps(kernel_w, stride_w)


@dataclass(frozen=True)
class DspDepthwiseRow(WithWeights):
    """:class:`DepthwiseRow` with four channels gathered and four outputs made at a time.

    Buffers: as the plain kernel's, but weight int8 [C * M, bytes] and channels int32 [C * M, 3] as
    ``micro_project/kernels/depthwise.h`` says; then scratch int8 [scratch_bytes], whose address
    four divides.

    Parameters
    ----------
    plain : DepthwiseRow
        Shape and arithmetic, for which there must be :func:`depthwise_steps`.
    blocks : int
        Blocks of outputs in a step along the row.
    """

    plain: DepthwiseRow
    blocks: int

    headers = (
        *("depthwise.h", "depthwise_dsp.h", "depthwise_gather.h", "depthwise_products.h"),
        "dsp.h",
    )

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = self.plain.name.removeprefix("depthwise_").rsplit("_", 1)[0]
        return kernel_name(f"depthwise_dsp_{stem}", self)

    @property
    def scratch_bytes(self) -> int:
        """Memory for a step."""
        return DepthwiseSteps(self._kernel, self.plain.stride_w).size_bytes(self.blocks)

    @property
    def _kernel(self) -> int:
        return self.plain.kernel_w

    @property
    def instructions(self) -> int:
        """Instructions of one call on a Cortex-M, by a model of the blocks."""
        plain = self.plain
        arithmetic = plain.requantisation.arithmetic
        return gathered_instructions(
            plain.out_width, plain.out_channels, self._kernel, plain.stride_w, arithmetic
        )

    @property
    def remark(self) -> str:
        """How sums are made and requantised."""
        kind = "rectified" if _is_rectified(self.plain.requantisation.arithmetic) else "clamped"
        return f"4 pixels x 1 channel, gathered in steps of {self.blocks} blocks, {kind}"

    def pack(self, constants: Constants) -> Constants:
        """Pair the weights as they are multiplied.

        Parameters
        ----------
        constants : dict
            weight int8 [KH, KW, C * M]; bias, multiplier, shift int32 [C * M].

        Raises
        ------
        ValueError
            If a channel's parameters do not suit the micro-kernel.
        """
        found = _parameters(constants, self.plain.requantisation.arithmetic)
        if found is None:
            raise ValueError("scales or biases are too large for this kernel")
        weight, channels = found
        return {"weight": _paired(weight, self._kernel, self.plain.stride_w), "channels": channels}

    def description(self) -> tirx.PrimFunc:
        """The row as TE tensors over the packed constants."""
        plain, kernel = self.plain, self._kernel
        rows = (kernel - 1) * plain.dilation_h + 1
        data = te.placeholder((rows, plain.in_row_pixels, plain.in_channels), "int8", "data")
        weight_bytes = _weight_bytes(kernel, plain.stride_w)
        weight = te.placeholder((plain.out_channels, weight_bytes), "int8", "weight")
        channels = te.placeholder((plain.out_channels, 3), "int32", "channels")
        ky = te.reduce_axis((0, kernel), "ky")
        kx = te.reduce_axis((0, kernel), "kx")
        shape = (1, plain.out_width, plain.out_channels)
        at = _position(ky, kx, kernel, plain.stride_w)

        def tap(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
            del y
            channel = o if plain.depth_multiplier == 1 else o // plain.depth_multiplier
            pixel = data[ky * plain.dilation_h, x * plain.stride_w + kx, channel]
            return te.sum(pixel.astype("int32") * weight[o, at].astype("int32"), axis=[ky, kx])

        acc = te.compute(shape, tap, name="acc")
        out = te.compute(
            shape,
            lambda y, x, o: bind(
                "sum",
                acc[y, x, o] + channels[o, 0],
                lambda total: self._requantised(total, channels[o, 1], channels[o, 2]),
            ),
            name="out",
        )
        return describe([data, weight, channels, out])

    def _requantised(self, total: tirx.Expr, multiplier: tirx.Expr, shifts: tirx.Expr) -> tirx.Expr:
        """As FINISH of ``depthwise_dsp.h`` does it."""
        plain = self.plain

        def scale(right: tirx.Expr, left: tirx.Expr) -> tirx.Expr:
            product = tirx.shift_left(total, left).astype("int64") * multiplier.astype("int64")
            rounded = (product + tirx.const(1 << 31, "int64")) >> tirx.const(32, "int64")
            term = tirx.shift_left(int32(2 * plain.output_zero_point + 1), right) >> int32(1)
            away = tirx.Select(tirx.all(shifts < 0, total < 0), int32(-1), int32(0))
            value = (rounded.astype("int32") + term + away) >> right
            return saturate(value, plain.clamp_min, plain.clamp_max)

        return bind(
            "right",
            shifts & int32(255),
            lambda right: bind(
                "left", (shifts >> int32(8)) & int32(255), lambda left: scale(right, left)
            ),
        )

    def prim_func(self) -> tirx.PrimFunc:
        """One call of the window's C function."""
        plain = self.plain
        numbers = (
            self.blocks,
            plain.out_width,
            plain.in_channels,
            plain.depth_multiplier,
            plain.dilation_h * plain.in_row_pixels * plain.in_channels,
            plain.output_zero_point,
            plain.clamp_min,
            plain.clamp_max,
        )
        arithmetic = plain.requantisation.arithmetic
        kind = "rectified" if _is_rectified(arithmetic) else "any"
        function = f"tvmp_depthwise_{self._kernel}_{plain.stride_w}_{kind}"
        description = self.description()
        return implement(description, function, numbers, scratch_bytes=self.scratch_bytes)


def _parameters(
    constants: Constants, arithmetic: Arithmetic
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]] | None:
    """Weights and parameters of each channel as the C reads them; None if some channel cannot be.

    Channels whose output does not depend on the input get weights of zero, and for a bias what
    comes out before the zero point.
    """
    weight = constants["weight"].astype(np.int8).copy()
    reach = reach_of(constants, -1)
    live = live_channels(constants, -1, arithmetic)
    rows = []
    for channel in range(weight.shape[-1]):
        bias, multiplier, shift = (
            int(constants[role][channel]) for role in ("bias", "multiplier", "shift")
        )
        if not live[channel]:
            weight[..., channel] = 0
            value = settled_value(bias, multiplier, shift, arithmetic.rounding)
            rows.append((value, _HALF, 2 << 8))
            continue
        reached = int(reach[channel])
        left, right = 1 + max(shift, 0), max(-shift, 0)
        if shift < _LOWEST_SHIFT or reached << left >= 1 << 31 or reached >= 1 << 30:
            return None
        flags = left << 8 | right | (_ROUNDS_TIES_AWAY if right else 0)
        rows.append((bias, multiplier, flags))
    return weight, np.array(rows, np.int64).astype(np.uint32).view(np.int32)


def gathered_instructions(
    width: int, channels: int, kernel: int, stride: int, arithmetic: Arithmetic
) -> int:
    """A model of the micro-kernel, for rows of one step.

    Parameters
    ----------
    width : int
        Outputs of the row.
    channels : int
        Of each.
    kernel, stride : int
        Of the window.
    arithmetic : Arithmetic
        What is done with scaled accumulators.
    """
    half = kernel // 2
    columns = (width - 1) * stride + kernel
    gathered = (columns + 1) // 2 * (24 * half + 17) + 60
    words = (_pairs(kernel, stride) + 1) // 2
    scaled = 4 if _is_rectified(arithmetic) else 11

    def block(outputs: int) -> int:
        products = outputs * (kernel * half + half + 1)
        pairs = ((outputs - 1) * stride + kernel + 1) // 2
        return products + pairs * (half + 1) + 2 * half + outputs * (scaled + 4) + 21

    fours, rest = divmod(width, _BLOCK)
    sums = 30 + 3 * words + fours * block(_BLOCK)
    sums += 0 if rest == 0 else block(2 if rest < 3 else _BLOCK)
    return -(-channels // 4) * gathered + channels * sums


def _is_rectified(arithmetic: Arithmetic) -> bool:
    """Whether the clamp only saturates, and nothing negative is told from zero."""
    limits = (arithmetic.output_zero_point, arithmetic.clamp_min, arithmetic.clamp_max)
    return limits == (-128, -128, 127)


def _pairs(kernel: int, stride: int) -> int:
    """Pairs of weights of a channel."""
    return kernel // 2 * kernel + (kernel - 1 if stride == 1 else kernel // 2 + 1)


def _weight_bytes(kernel: int, stride: int) -> int:
    """Bytes of a channel's weights: whole words of two pairs."""
    return (_pairs(kernel, stride) + 1) // 2 * 4


def _paired(weight: npt.NDArray[np.int8], kernel: int, stride: int) -> npt.NDArray[np.int8]:
    """[KH, KW, O] to [O, bytes]."""
    half = kernel // 2
    pairs = [(weight[2 * i, x], weight[2 * i + 1, x]) for i in range(half) for x in range(kernel)]
    last = weight[kernel - 1]
    pairs += [(last[x], last[x + 1]) for x in range(0, kernel - 1, 2)]
    if stride == 1:
        pairs += [(last[x], last[x + 1]) for x in range(1, kernel - 1, 2)]
    else:
        pairs.append((last[kernel - 1], np.zeros_like(last[0])))
    if len(pairs) % 2:
        pairs.append((np.zeros_like(last[0]),) * 2)
    # Two pairs to a word: both low halves, then both high ones.
    words = np.array(pairs).reshape(-1, 2, 2, weight.shape[-1]).transpose(3, 0, 2, 1)
    return np.ascontiguousarray(words).reshape(weight.shape[-1], -1)


def _position(ky: tirx.Expr, kx: tirx.Expr, kernel: int, stride: int) -> tirx.Expr:
    """Where a channel's packed weights have the one of row ``ky`` and column ``kx``."""
    half = kernel // 2
    above = ky < 2 * half
    pair = tirx.Select(above, ky // 2 * kernel + kx, half * kernel + kx // 2)
    high = tirx.Select(above, ky % 2, kx % 2)
    if stride == 1:
        ends = tirx.all(ky == 2 * half, kx == kernel - 1)
        pair = tirx.Select(ends, int32(half * kernel + kernel - 2), pair)
        high = tirx.Select(ends, int32(1), high)
    return pair // 2 * 4 + pair % 2 + 2 * high


def dsp_depthwise_row(
    plain: DepthwiseRow, constants: Constants, blocks: int
) -> DspDepthwiseRow | None:
    """The micro-kernel for a row, if there is one.

    Parameters
    ----------
    plain : DepthwiseRow
        Shape and arithmetic.
    constants : dict
        As for :meth:`DepthwiseRow.pack`.
    blocks : int
        Blocks of outputs in a step along the row.
    """
    window = (plain.kernel_h, plain.kernel_w)
    steps = depthwise_steps(
        window, plain.stride_w, plain.dilation_w, plain.requantisation.arithmetic, constants
    )
    return None if steps is None else DspDepthwiseRow(plain, blocks)
