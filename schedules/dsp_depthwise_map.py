"""Depthwise convolution of a whole small map, scaled by ``micro_project/kernels/pair.h``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from .channels import settle_constant_channels
from .depthwise_map import DepthwiseMap
from .dsp_pair import PairForm, PairScaling, sums_are_narrow
from .fixed_point import int32
from .kernel import Constants
from .micro_kernel import WithWeights, describe, micro_kernel_name


@dataclass(frozen=True)
class DspDepthwiseMap(WithWeights):
    """:class:`DepthwiseMap` whose sums become int8 by the instructions of the DSP extension.

    Buffers: as the plain kernel's, but channels int32 [C * M, 3] are bias, multiplier and what
    ``shifts`` of ``struct tvmp_pair`` is for one channel.

    Parameters
    ----------
    plain : DepthwiseMap
        Shape and arithmetic.
    narrow : bool
        Sums stay below 2**23. :func:`dsp_depthwise_map` finds out, :meth:`pack` checks.
    """

    plain: DepthwiseMap
    narrow: bool

    headers = ("dsp.h", "pair.h", "requantise.h")

    @property
    def name(self) -> str:
        """C identifier stem, without what is in the constants."""
        plain = self.plain
        size = (plain.in_height, plain.in_width, plain.in_channels, plain.depth_multiplier)
        window = (plain.kernel_h, plain.kernel_w, *plain.strides, *plain.padding, *plain.dilation)
        stem = plain.name.removeprefix("depthwise_").rsplit("_", 1)[0]
        numbers = (*size, *window, plain.input_zero_point, *self._scaling.numbers)
        return micro_kernel_name(f"depthwise_dsp_{stem}", numbers)

    @property
    def remark(self) -> str:
        """How sums are made and requantised."""
        return f"unrolled over all of a small map, {self._scaling.remark}"

    @property
    def _scaling(self) -> PairScaling:
        return PairScaling(self.plain.requantisation, self.narrow)

    @property
    def form(self) -> PairForm:
        """How sums are scaled."""
        return self._scaling.form

    def pack(self, constants: Constants) -> Constants:
        """As the plain kernel, but for what channels are shifted by.

        Parameters
        ----------
        constants : dict
            weight int8 [KH, KW, C * M]; bias, multiplier, shift int32 [C * M].
        """
        packed = self.plain.pack(constants)
        exponents, offset = self._scaling.pack(_settled(self.plain, constants))
        channels = packed["channels"].astype(np.int64)
        channels[:, 2] = (offset << 16) | (exponents & 0xFF)
        return {**packed, "channels": channels.astype(np.uint32).view(np.int32)}

    def description(self) -> tirx.PrimFunc:
        """The map as TE tensors over the packed constants."""

        def scaled(total: tirx.Expr, multiplier: tirx.Expr, shifts: tirx.Expr) -> tirx.Expr:
            # Arithmetic shifts: the byte with its sign.
            exponent = (shifts << int32(24)) >> int32(24)
            return self._scaling.apply(total, multiplier, exponent)

        return describe(self._compute(scaled))

    def prim_func(self) -> tirx.PrimFunc:
        """The plain kernel's loops, with calls of ``tvmp_scale_alone``."""
        numbers = [int32(number) for number in self._scaling.numbers]

        def scaled(*operands: tirx.Expr) -> tirx.Expr:
            value = tirx.call_pure_extern("int32", "tvmp_scale_alone", *operands, *numbers)
            return value.astype("int8")

        return self.plain.scheduled(self._compute(scaled))

    def _compute(
        self, scaled: Callable[[tirx.Expr, tirx.Expr, tirx.Expr], tirx.Expr]
    ) -> list[te.Tensor]:
        """The plain kernel's tensors; ``scaled`` is given a sum, a multiplier and ``shifts``."""

        def output(acc: tirx.Expr, channels: te.Tensor, channel: tirx.Expr) -> tirx.Expr:
            bias, multiplier, shifts = (channels[channel, number] for number in range(3))
            return scaled(acc + bias, multiplier, shifts)

        return self.plain.compute(output)


def dsp_depthwise_map(plain: DepthwiseMap, constants: Constants) -> DspDepthwiseMap | None:
    """The map with a fast form of scaling, if one is exact.

    Parameters
    ----------
    plain : DepthwiseMap
        Shape and arithmetic.
    constants : dict
        As for :meth:`DepthwiseMap.pack`.
    """
    kernel = DspDepthwiseMap(plain, sums_are_narrow(_settled(plain, constants)))
    return kernel if kernel.form <= PairForm.TIES else None


def _settled(plain: DepthwiseMap, constants: Constants) -> Constants:
    """Constants of channels whose output depends on the input, weights int8 [C * M, KH, KW].

    With the biases that they have where padding is in memory: the same sums.
    """
    settled = settle_constant_channels(constants, -1, plain.requantisation)
    settled["weight"] = np.ascontiguousarray(np.moveaxis(settled["weight"], -1, 0))
    return settled
