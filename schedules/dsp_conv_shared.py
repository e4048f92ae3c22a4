"""Convolution in little code: one C function for all layers whose windows agree."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from .dsp_conv import DspConvRow
from .micro_kernel import OtherWay, implement, micro_kernel_name

#: Fewest pixels of a row: what one block takes.
_BLOCK_PIXELS = 3
#: Instructions more than in a layer's own kernel for each pair of channels, and for each block.
_PER_PAIR, _PER_BLOCK = 20, 6


@dataclass(frozen=True)
class DspConvShared(OtherWay):
    """:class:`DspConvRow` whose width and output channels are arguments.

    Buffers as there. See ``tvmp_conv_shared`` in ``micro_project/kernels/conv.h``.

    Parameters
    ----------
    row : DspConvRow
        Shape, arithmetic and packing.
    halves : bool
        Rows that three pixels do not divide end in blocks of two; else they recompute some.
    """

    row: DspConvRow
    halves: bool = False

    @property
    def first(self) -> DspConvRow:
        """The kernel that this is another way of."""
        return self.row

    @property
    def name(self) -> str:
        """C identifier stem, without what layers need not agree in."""
        plain = self.row.plain
        stem = f"{plain.kernel_h}x{plain.kernel_w}_s{plain.stride_w}_c{plain.in_channels}"
        return micro_kernel_name(f"conv2d_shared_{stem}", self._numbers)

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return self.row.headers

    @property
    def instructions(self) -> int:
        """Instructions of one call on a Cortex-M, by a model of the blocks."""
        pixels = self.row.plain.out_width
        blocks = -(-pixels // _BLOCK_PIXELS)
        halves = _BLOCK_PIXELS * blocks - pixels if self.halves else 0
        made = self.row.instructions_in_blocks(blocks - halves)
        made += halves * self.row.instructions_in_blocks(0, 2)
        return made + self.row.plain.out_channels // 2 * (_PER_PAIR + blocks * _PER_BLOCK)

    @property
    def remark(self) -> str:
        """How sums are made and requantised."""
        return f"{self.row.remark}, code shared by layers"

    @property
    def arguments(self) -> tuple[int, ...]:
        """Arguments of a call behind its pointers."""
        return (self.row.plain.out_width, self.row.plain.out_channels)

    @property
    def _numbers(self) -> tuple[int, ...]:
        return (*self.row.window_numbers, int(self.halves))

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_conv_shared``."""
        names = ("pixels", "channel_count")
        return implement(self.description(), "tvmp_conv_shared", self._numbers, arguments=names)


def dsp_conv_shared(row: DspConvRow) -> DspConvShared | None:
    """The shared form of a micro-kernel; None where it has less than a block of pixels, an odd

    number of channels, or groups of them.
    """
    plain = row.plain
    if plain.groups != 1 or plain.out_channels % 2 or plain.out_width < _BLOCK_PIXELS:
        return None
    return DspConvShared(row)
