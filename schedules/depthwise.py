"""Depthwise convolution: TE compute for rows and whole maps, and the row kernel's schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import s_tir, te, tirx

from .channels import settle_constant_channels
from .fixed_point import Requantisation
from .kernel import Constants, finish, kernel_name, largest_divisor

#: Taps of a window up to which the window's rows are unrolled too.
_UNROLLED_TAPS = 9


def depthwise_conv2d(
    data: te.Tensor,
    weight: te.Tensor,
    channels: te.Tensor,
    *,
    out_shape: tuple[int, int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int],
    requantisation: Requantisation,
) -> te.Tensor:
    """Quantised depthwise convolution over data whose padding is already in memory.

    Parameters
    ----------
    data : te.Tensor
        int8 [H, W, C], large enough for every window.
    weight : te.Tensor
        int8 [KH, KW, C * M].
    channels : te.Tensor
        int32 [C * M, 3] from :meth:`Requantisation.pack`.
    out_shape : tuple of int
        (out_height, out_width, C * M).

    Returns
    -------
    te.Tensor
        int8 [out_height, out_width, C * M], channel c * M + m; the accumulator stage is ``acc``.
    """
    ky = te.reduce_axis((0, int(weight.shape[0])), "ky")
    kx = te.reduce_axis((0, int(weight.shape[1])), "kx")
    multiplicity = out_shape[2] // int(data.shape[2])

    def tap(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
        channel = o if multiplicity == 1 else o // multiplicity
        pixel = data[y * strides[0] + ky * dilation[0], x * strides[1] + kx * dilation[1], channel]
        return te.sum(pixel.astype("int32") * weight[ky, kx, o].astype("int32"), axis=[ky, kx])

    acc = te.compute(out_shape, tap, name="acc")
    return te.compute(
        out_shape, lambda y, x, o: requantisation.apply(acc[y, x, o], channels, o), name="out"
    )


@dataclass(frozen=True)
class DepthwiseRow:
    """One output row of a depthwise convolution.

    Buffers: data int8 [(kernel_h - 1) * dilation_h + 1, in_row_pixels, in_channels], weight int8
    [kernel_h, kernel_w, C * M], channels int32 [C * M, 3], out int8 [1, out_width, C * M], with
    M = ``depth_multiplier`` and the output channel c * M + m.
    """

    in_row_pixels: int
    in_channels: int
    out_width: int
    depth_multiplier: int
    kernel_h: int
    kernel_w: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    output_zero_point: int
    clamp_min: int
    clamp_max: int
    rounding: str
    shift_min: int
    shift_max: int
    small_accumulator: bool = True

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = (
            f"depthwise_{self.kernel_h}x{self.kernel_w}_s{self.stride_w}"
            f"_c{self.in_channels}_w{self.out_width}"
        )
        spelled = ("kernel_h", "kernel_w", "stride_w", "in_channels", "out_width")
        return kernel_name(stem, self, *spelled)

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("weight", "channels")

    @property
    def out_channels(self) -> int:
        """C * M."""
        return self.in_channels * self.depth_multiplier

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the row."""
        return self.out_width * self.out_channels * self.kernel_h * self.kernel_w

    @property
    def requantisation(self) -> Requantisation:
        """How accumulators become outputs."""
        return Requantisation(
            self.output_zero_point,
            self.clamp_min,
            self.clamp_max,
            self.rounding,
            self.shift_min,
            self.shift_max,
            self.small_accumulator,
        )

    def pack(self, constants: Constants) -> Constants:
        """Keep the weights, gather the channels' parameters.

        Parameters
        ----------
        constants : dict
            weight int8 [KH, KW, C * M]; bias, multiplier, shift int32 [C * M].
        """
        settled = settle_constant_channels(constants, -1, self.requantisation)
        weight = np.ascontiguousarray(settled["weight"])
        return {"weight": weight, "channels": self.requantisation.pack(settled)}

    def compute(self) -> list[te.Tensor]:
        """The row as TE tensors: parameters in order, output last."""
        rows = (self.kernel_h - 1) * self.dilation_h + 1
        data = te.placeholder((rows, self.in_row_pixels, self.in_channels), "int8", "data")
        window = (self.kernel_h, self.kernel_w, self.out_channels)
        weight = te.placeholder(window, "int8", "weight")
        channels = te.placeholder((self.out_channels, 3), "int32", "channels")
        out = depthwise_conv2d(
            data,
            weight,
            channels,
            out_shape=(1, self.out_width, self.out_channels),
            strides=(1, self.stride_w),
            dilation=(self.dilation_h, self.dilation_w),
            requantisation=self.requantisation,
        )
        return [data, weight, channels, out]

    @property
    def default_pixels(self) -> int:
        """Computed at once where nobody says otherwise."""
        return largest_divisor(self.out_width, 4)

    @property
    def _pixels(self) -> int:
        return self.default_pixels

    @property
    def _unrolls_rows(self) -> bool:
        return self.kernel_h * self.kernel_w <= _UNROLLED_TAPS

    def prim_func(self) -> tirx.PrimFunc:
        """Schedule: some pixels of one channel at once, sharing each weight; window unrolled."""
        sch = s_tir.Schedule(te.create_prim_func(self.compute()))
        acc, out = sch.get_sblock("acc"), sch.get_sblock("out")
        _, x, o = sch.get_loops(out)
        x_outer, x_inner = sch.split(x, [None, self._pixels])
        sch.reorder(x_outer, o, x_inner)
        sch.unroll(x_inner)
        sch.compute_at(acc, o, preserve_unit_loops=True)
        _, acc_x, _, ky, kx = sch.get_loops(acc)[-5:]
        sch.reorder(ky, kx, acc_x)
        sch.unroll(acc_x)
        sch.unroll(kx)
        if self._unrolls_rows:
            sch.unroll(ky)
        sch.decompose_reduction(acc, ky)
        return finish(sch)


@dataclass(frozen=True)
class DepthwiseRowVariant(DepthwiseRow):
    """:class:`DepthwiseRow` with other unrolled loops.

    Parameters
    ----------
    pixels : int
        Computed at once, a divisor of the row's.
    unrolls_rows : bool
        Whether all of the window is unrolled, or each of its rows.
    """

    pixels: int = 1
    unrolls_rows: bool = False

    @property
    def _pixels(self) -> int:
        return self.pixels

    @property
    def _unrolls_rows(self) -> bool:
        return self.unrolls_rows
