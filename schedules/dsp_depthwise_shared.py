"""Depthwise convolution in little flash, by ``micro_project/kernels/depthwise_shared.h``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from .channels import settle_constant_channels
from .depthwise import DepthwiseRow
from .dsp_depthwise_direct import (
    GROUP,
    DspDepthwiseDirect,
    channels_of_groups,
    multiplied_places,
    scaled_sum,
)
from .dsp_pair import PairForm, PairScaling
from .fixed_point import int32
from .kernel import Constants
from .micro_kernel import WithWeights, describe, implement, micro_kernel_name

#: Most rows of a window, and most taps.
_MOST_ROWS, _MOST_TAPS = 3, 9
#: Most columns under two neighbouring windows.
_MOST_COLUMNS = 11
#: int32 numbers of a group: starts, multipliers, a word of shifts.
_NUMBERS = 2 * GROUP + 1


@dataclass(frozen=True)
class DspDepthwiseShared(WithWeights):
    """:class:`DspDepthwiseDirect` whose width, channels and zero point are arguments.

    Buffers: data int8 and out int8 as the plain kernel's; weight int8 [groups, taps, 4] and
    channels int32 [groups, 9] as ``micro_project/kernels/depthwise_shared.h`` says.

    Parameters
    ----------
    plain : DepthwiseRow
        Shape and arithmetic, to which :func:`dsp_depthwise_shared` has no objection.
    narrow : bool
        As of :class:`DspDepthwiseDirect`.
    """

    plain: DepthwiseRow
    narrow: bool

    headers = ("depthwise_shared.h", "depthwise_window.h", "dsp.h", "pair.h", "requantise.h")

    @property
    def name(self) -> str:
        """C identifier stem, without what layers need not agree in."""
        plain = self.plain
        stem = f"{plain.kernel_h}x{plain.kernel_w}_s{plain.stride_w}"
        return micro_kernel_name(f"depthwise_shared_{stem}", self._numbers)

    @property
    def remark(self) -> str:
        """How sums are made and requantised."""
        return f"2 pixels x 4 channels, {self._scaling.remark}, code shared by layers"

    @property
    def instructions(self) -> int:
        """Instructions of one call on a Cortex-M, by a model of the blocks."""
        plain = self.plain
        taps = plain.kernel_h * plain.kernel_w
        columns = min(plain.kernel_w + plain.stride_w, 2 * plain.kernel_w)
        scaling = self._scaling.instructions - 1
        two = plain.kernel_h * (3.5 * columns + 10 * plain.kernel_w) + 35 + 8 * scaling
        one = plain.kernel_h * (8.5 * plain.kernel_w + 7) + 35 + 4 * scaling
        expanded = 84 + taps * (4 if self._scaling.form < PairForm.TIES else 6)
        pairs, rest = divmod(plain.out_width, 2)
        return round(self._groups * (expanded + pairs * two + rest * one))

    @property
    def constant_bytes(self) -> int:
        """Flash of a layer's weights and channels."""
        taps = self.plain.kernel_h * self.plain.kernel_w
        return self._groups * (GROUP * taps + 4 * _NUMBERS)

    @property
    def _scaling(self) -> PairScaling:
        return PairScaling(self.plain.requantisation, self.narrow)

    @property
    def _groups(self) -> int:
        return -(-self.plain.in_channels // GROUP)

    def pack(self, constants: Constants) -> Constants:
        """Arrange weights and parameters by groups of four channels.

        Parameters
        ----------
        constants : dict
            weight int8 [KH, KW, C]; bias, multiplier, shift int32 [C].

        Returns
        -------
        dict
            weight int8 [groups, taps, 4], channels int32 [groups, 9].
        """
        settled = settle_constant_channels(constants, -1, self.plain.requantisation)
        settled["weight"] = np.ascontiguousarray(np.moveaxis(settled["weight"], -1, 0))
        exponents, _ = self._scaling.pack(settled)
        members = channels_of_groups(self.plain.in_channels)
        start = settled["bias"].astype(np.int64) << multiplied_places(self._scaling.form)
        places = np.arange(0, 8 * GROUP, 8)
        shifts = ((exponents[members] & 0xFF) << places).sum(axis=1, keepdims=True)
        multiplier = settled["multiplier"].astype(np.int64)
        numbers = np.concatenate([start[members], multiplier[members], shifts], axis=1)
        taps = settled["weight"].reshape(len(exponents), -1)[members].transpose(0, 2, 1)
        return {
            "weight": np.ascontiguousarray(taps).astype(np.int8),
            "channels": numbers.astype(np.uint32).view(np.int32),
        }

    def description(self) -> tirx.PrimFunc:
        """The row as TE tensors over the packed constants."""
        plain = self.plain
        rows = (plain.kernel_h - 1) * plain.dilation_h + 1
        data = te.placeholder((rows, plain.in_row_pixels, plain.in_channels), "int8", "data")
        taps = plain.kernel_h * plain.kernel_w
        weight = te.placeholder((self._groups, taps, GROUP), "int8", "weight")
        channels = te.placeholder((self._groups, _NUMBERS), "int32", "channels")
        ky = te.reduce_axis((0, plain.kernel_h), "ky")
        kx = te.reduce_axis((0, plain.kernel_w), "kx")
        shape = (1, plain.out_width, plain.in_channels)
        # The last group overlaps the one before; any of the two may give a channel that both have.
        overlap = self._groups * GROUP - plain.in_channels
        first_of_last = (self._groups - 1) * GROUP
        factor = int32(1 << multiplied_places(self._scaling.form))

        def place(o: tirx.Var) -> tirx.Expr:
            return o + tirx.Select(o >= first_of_last, overlap, 0)

        def tap(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
            del y
            at = place(o)
            byte = weight[at // GROUP, ky * plain.kernel_w + kx, at % GROUP].astype("int32")
            pixel = data[ky * plain.dilation_h, x * plain.stride_w + kx, o].astype("int32")
            return te.sum(pixel * (byte * factor), axis=[ky, kx])

        acc = te.compute(shape, tap, name="acc")

        def scaled(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
            at = place(o)
            group, inner = at // GROUP, at % GROUP
            byte = channels[group, 2 * GROUP] << (int32(8 * (GROUP - 1)) - 8 * inner)
            shift = byte >> int32(24)
            total = acc[y, x, o] + channels[group, inner]
            return scaled_sum(
                self._scaling, total, channels[group, GROUP + inner], self._rounding(shift), shift
            )

        return describe([data, weight, channels, te.compute(shape, scaled, name="out")])

    def _rounding(self, shift: tirx.Expr) -> tirx.Expr:
        """``rounding`` of ``struct tvmp_channel``."""
        form = self._scaling.form
        if form > PairForm.TIES:
            return int32(self._offset)
        half = int32(64 if form == PairForm.FLOOR_TWICE else 0)
        return tirx.shift_left(int32(self._offset), shift) + half

    @property
    def _offset(self) -> int:
        zero_point = self.plain.output_zero_point
        return zero_point if self._scaling.form > PairForm.TIES else 2 * zero_point + 1

    @property
    def arguments(self) -> tuple[int, ...]:
        """Arguments of a call behind its pointers."""
        plain = self.plain
        row_bytes = plain.dilation_h * plain.in_row_pixels * plain.in_channels
        return (plain.out_width, plain.in_channels, row_bytes, self._offset)

    @property
    def _numbers(self) -> tuple[int, ...]:
        plain = self.plain
        form, _, clamp_min, clamp_max = self._scaling.numbers
        return (plain.stride_w, plain.kernel_h, plain.kernel_w, form, clamp_min, clamp_max)

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_depthwise_shared``."""
        names = ("width", "pixel_bytes", "row_bytes", "offset")
        return implement(
            self.description(), "tvmp_depthwise_shared", self._numbers, arguments=names
        )


def dsp_depthwise_shared(direct: DspDepthwiseDirect) -> DspDepthwiseShared | None:
    """The shared form of a micro-kernel; None where its window is too large for it."""
    plain = direct.plain
    if plain.kernel_h > _MOST_ROWS or plain.kernel_h * plain.kernel_w > _MOST_TAPS:
        return None
    if plain.kernel_w + plain.stride_w > _MOST_COLUMNS:
        return None
    return DspDepthwiseShared(plain, direct.narrow)
