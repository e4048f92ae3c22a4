"""Other ways to make a row of :class:`DspConvRow`, by ``micro_project/kernels/conv_variants.h``."""

from __future__ import annotations

from dataclasses import dataclass

from .dsp_conv import DspConvRow
from .micro_kernel import TurnedWay, micro_kernel_name

#: Words of four inputs that a turn of the inner loop may have.
TURNS = (2, 4, 8, 16)
#: Pixels of a block.
_BLOCK_PIXELS = 3
#: A gathered word of four inputs.
_WORD_BYTES = 8


@dataclass(frozen=True)
class DspConvVariant(TurnedWay):
    """:class:`DspConvRow` with another inner loop, or with its inputs gathered first.

    Buffers as there; then, if it gathers, scratch int8 [scratch_bytes], whose address four divides.

    Parameters
    ----------
    row : DspConvRow
        Shape, arithmetic and packing.
    turn : int
        One of :data:`TURNS`.
    """

    row: DspConvRow
    turn: int

    _function = "tvmp_conv_unrolled"

    @property
    def first(self) -> DspConvRow:
        """The kernel that this is another way of."""
        return self.row

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = self.row.name.removeprefix("conv2d_dsp_").rsplit("_", 1)[0]
        kind = self._function.removeprefix("tvmp_conv_")
        return micro_kernel_name(f"conv2d_{kind}_{stem}", (self.turn, *self.row.numbers))

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return (*self.row.headers, "conv_variants.h")


@dataclass(frozen=True)
class DspConvGathered(DspConvVariant):
    """:class:`DspConvVariant` that expands the windows of three pixels to halfwords first."""

    _function = "tvmp_conv_gathered"

    @property
    def scratch_bytes(self) -> int:
        """The gathered windows of a block."""
        return gathered_bytes(self.row)


def gathered_bytes(row: DspConvRow) -> int:
    """Scratch memory of :class:`DspConvGathered`, for rows of a block and more."""
    return min(row.plain.out_width, _BLOCK_PIXELS) * row.window_words * _WORD_BYTES
