"""Other ways to make :class:`DspDense`, by ``micro_project/kernels/dense_variants.h``."""

from __future__ import annotations

from dataclasses import dataclass

from .dsp_dense import DspDense
from .micro_kernel import TurnedWay, micro_kernel_name

#: A gathered word of four inputs.
_WORD_BYTES = 8


@dataclass(frozen=True)
class DspDenseVariant(TurnedWay):
    """:class:`DspDense` with joint weights loaded in threes and another inner loop.

    Buffers as there; then, if it gathers, scratch int8 [scratch_bytes], whose address four divides.

    Parameters
    ----------
    layer : DspDense
        Shape, arithmetic and packing.
    turn : int
        Words of four inputs in a turn of the inner loop: 2, 4, 8 or 16.
    """

    layer: DspDense
    turn: int

    _function = "tvmp_dense_unrolled"

    @property
    def first(self) -> DspDense:
        """The kernel that this is another way of."""
        return self.layer

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = self.layer.name.removeprefix("dense_dsp_").rsplit("_", 1)[0]
        kind = self._function.removeprefix("tvmp_dense_")
        return micro_kernel_name(f"dense_{kind}_{stem}", (self.turn, *self.layer.numbers))

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return tuple(sorted({*self.layer.headers, "conv.h", "conv_variants.h", "dense_variants.h"}))


@dataclass(frozen=True)
class DspDenseGathered(DspDenseVariant):
    """:class:`DspDenseVariant` that expands its vector to halfwords first."""

    _function = "tvmp_dense_gathered"

    @property
    def scratch_bytes(self) -> int:
        """The gathered vector."""
        return self.layer.words * _WORD_BYTES
