"""Convolution: one TE compute for rows and whole maps, and the row kernel's schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import s_tir, te, tirx

from .channels import settle_constant_channels
from .fixed_point import Requantisation
from .kernel import Constants, finish, kernel_name, largest_divisor

#: Reads the weight of (output channel, ky, kx, input channel within its group).
WeightReader = Callable[[tirx.Expr, tirx.Expr, tirx.Expr, tirx.Expr], tirx.Expr]

#: Register blocks (pixels, output channels), fastest first as measured on a Cortex-M7: operands,
#: accumulators and pointers should fit 14 registers, and a long side shares more loads.
_BLOCKS = (
    *((2, 4), (4, 2), (3, 2), (2, 3), (1, 6), (2, 2), (5, 2), (1, 7), (1, 4), (1, 5), (5, 1)),
    *((7, 1), (4, 1), (1, 3), (3, 1), (1, 2), (2, 1), (1, 1)),
)
#: Taps per iteration; with more of them compilers reorder the block and spill its registers.
_UNROLLED_TAPS = 4


def conv2d(
    data: te.Tensor,
    weight: WeightReader,
    channels: te.Tensor,
    *,
    out_shape: tuple[int, int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    requantisation: Requantisation,
) -> te.Tensor:
    """Quantised convolution over data whose padding is already in memory.

    Parameters
    ----------
    data : te.Tensor
        int8 [H, W, C], large enough for every window.
    weight : callable
        Reads an int8 weight whatever its layout.
    channels : te.Tensor
        int32 [O, 3] from :meth:`Requantisation.pack`.
    out_shape : tuple of int
        (out_height, out_width, O).

    Returns
    -------
    te.Tensor
        int8 [out_height, out_width, O]; the accumulator stage is named ``acc``.
    """
    group_in = int(data.shape[2]) // groups
    group_out = out_shape[2] // groups
    ky = te.reduce_axis((0, kernel[0]), "ky")
    kx = te.reduce_axis((0, kernel[1]), "kx")
    ci = te.reduce_axis((0, group_in), "ci")

    def tap(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
        channel = ci if groups == 1 else o // group_out * group_in + ci
        pixel = data[y * strides[0] + ky * dilation[0], x * strides[1] + kx * dilation[1], channel]
        product = pixel.astype("int32") * weight(o, ky, kx, ci).astype("int32")
        return te.sum(product, axis=[ky, kx, ci])

    acc = te.compute(out_shape, tap, name="acc")
    return te.compute(
        out_shape,
        lambda y, x, o: requantisation.apply(acc[y, x, o], channels, o),
        name="out",
    )


@dataclass(frozen=True)
class ConvRow:
    """One output row of a convolution, or a whole map of a 1x1 stride-1 one.

    Buffers: data int8 [(kernel_h - 1) * dilation_h + 1, in_row_pixels, in_channels], weight int8
    (packed), channels int32 [out_channels, 3], out int8 [1, out_width, out_channels].
    Of each data row the first (out_width - 1) * stride_w + (kernel_w - 1) * dilation_w + 1 pixels
    are read; padding among them holds the input zero point.

    Parameters
    ----------
    in_row_pixels : int
        Pixels from one data row to the next in memory.
    shift_min, shift_max : int
        Range of the channels' shifts.
    small_accumulator : bool
        Accumulators stay below 2**30 in magnitude. :func:`requantisation_fields` finds all three
        for a layer's constants; :meth:`pack` checks them.
    """

    in_row_pixels: int
    in_channels: int
    out_width: int
    out_channels: int
    kernel_h: int
    kernel_w: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    groups: int
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
            f"conv2d_{self.kernel_h}x{self.kernel_w}_s{self.stride_w}"
            f"_c{self.in_channels}_o{self.out_channels}_w{self.out_width}"
        )
        spelled = ("kernel_h", "kernel_w", "stride_w", "in_channels", "out_channels", "out_width")
        return kernel_name(stem, self, *spelled)

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("weight", "channels")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the row."""
        return self.out_width * self.out_channels * self._taps

    @property
    def _group_in(self) -> int:
        return self.in_channels // self.groups

    @property
    def _taps(self) -> int:
        return self.kernel_h * self.kernel_w * self._group_in

    @property
    def default_block(self) -> tuple[int, int]:
        """Pixels and output channels computed at once where nobody says otherwise."""
        return register_blocks(self)[0]

    @property
    def _block(self) -> tuple[int, int]:
        return self.default_block

    @property
    def _unrolled_taps(self) -> int:
        return _UNROLLED_TAPS

    def pack(self, constants: Constants) -> Constants:
        """Interleave the weights of each block of output channels.

        The block follows from ``out_width`` too: kernels of different widths may pack differently.

        Parameters
        ----------
        constants : dict
            weight int8 [O, KH, KW, C / groups]; bias, multiplier, shift int32 [O].

        Returns
        -------
        dict
            weight int8 [O / block, KH, KW, C / groups, block], flat; channels int32 [O, 3].
        """
        settled = settle_constant_channels(constants, 0, self.requantisation)
        blocks = settled["weight"].reshape(-1, self._block[1], self._taps)
        packed = np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(-1)
        return {"weight": packed, "channels": self.requantisation.pack(settled)}

    @property
    def requantisation(self) -> Requantisation:
        """How accumulators become int8."""
        return Requantisation(
            self.output_zero_point,
            self.clamp_min,
            self.clamp_max,
            self.rounding,
            self.shift_min,
            self.shift_max,
            self.small_accumulator,
        )

    def compute(self) -> list[te.Tensor]:
        """The row as TE tensors: parameters in order, output last."""
        rows = (self.kernel_h - 1) * self.dilation_h + 1
        data = te.placeholder((rows, self.in_row_pixels, self.in_channels), "int8", "data")
        weight = te.placeholder((self.out_channels * self._taps,), "int8", "weight")
        channels = te.placeholder((self.out_channels, 3), "int32", "channels")
        _, block = self._block

        def read(o: tirx.Expr, ky: tirx.Expr, kx: tirx.Expr, ci: tirx.Expr) -> tirx.Expr:
            tap = (ky * self.kernel_w + kx) * self._group_in + ci
            return weight[(o // block * self._taps + tap) * block + o % block]

        out = conv2d(
            data,
            read,
            channels,
            out_shape=(1, self.out_width, self.out_channels),
            kernel=(self.kernel_h, self.kernel_w),
            strides=(1, self.stride_w),
            dilation=(self.dilation_h, self.dilation_w),
            groups=self.groups,
            requantisation=self.requantisation,
        )
        return [data, weight, channels, out]

    def prim_func(self) -> tirx.PrimFunc:
        """Schedule: register block of pixels x outputs, reduction innermost and unrolled."""
        sch = s_tir.Schedule(te.create_prim_func(self.compute()))
        schedule_register_block(
            sch,
            block=self._block,
            contiguous_taps=self.dilation_w == 1 and self.groups == 1,
            taps=self._unrolled_taps,
        )
        return finish(sch)


@dataclass(frozen=True)
class ConvRowVariant(ConvRow):
    """:class:`ConvRow` with another register block.

    Parameters
    ----------
    block : tuple of int
        Pixels and output channels computed at once: divisors of the row's.
    unrolled_taps : int
        Most taps of an iteration.
    """

    block: tuple[int, int] = (1, 1)
    unrolled_taps: int = _UNROLLED_TAPS

    @property
    def _block(self) -> tuple[int, int]:
        return self.block

    @property
    def _unrolled_taps(self) -> int:
        return self.unrolled_taps


def register_blocks(row: ConvRow) -> tuple[tuple[int, int], ...]:
    """Register blocks that a row can be computed in, the default first."""
    group_out = row.out_channels // row.groups
    return tuple(
        (pixels, outputs)
        for pixels, outputs in _BLOCKS
        if row.out_width % pixels == 0 and group_out % outputs == 0
    )


def schedule_register_block(
    sch: s_tir.Schedule,
    *,
    block: tuple[int, int],
    contiguous_taps: bool,
    taps: int = _UNROLLED_TAPS,
) -> None:
    """Schedule blocks ``acc`` [1, W, O] over (ky, kx, ci) and ``out`` for scalar registers.

    Parameters
    ----------
    sch : tvm.s_tir.Schedule
        Changed in place.
    block : tuple of int
        Pixels and output channels computed at once: divisors of W and O.
    contiguous_taps : bool
        Pixels of a window row follow each other in memory, so (kx, ci) is one loop.
    taps : int
        Most of them in an iteration.
    """
    acc, out = sch.get_sblock("acc"), sch.get_sblock("out")
    _, x, o = sch.get_loops(out)
    x_outer, x_inner = sch.split(x, [None, block[0]])
    o_outer, o_inner = sch.split(o, [None, block[1]])
    # Outputs outside: a block's weights are read from flash once and stay in cache.
    sch.reorder(o_outer, x_outer, x_inner, o_inner)
    sch.unroll(x_inner)
    sch.unroll(o_inner)
    sch.compute_at(acc, x_outer, preserve_unit_loops=True)
    _, acc_x, acc_o, ky, kx, ci = sch.get_loops(acc)[-6:]
    sch.reorder(ky, kx, ci, acc_x, acc_o)
    sch.unroll(acc_x)
    sch.unroll(acc_o)
    inner = sch.fuse(kx, ci) if contiguous_taps else ci
    extent = int(sch.get(inner).extent)
    _, unrolled = sch.split(inner, [None, largest_divisor(extent, taps)])
    sch.unroll(unrolled)
    sch.decompose_reduction(acc, ky)
