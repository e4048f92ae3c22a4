"""Means and global pools by the micro-kernels of ``micro_project/kernels/sums.h``."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from .dsp_scaling import DspScaling
from .fixed_point import SMALL_ACCUMULATOR, Requantisation
from .kernel import Constantless
from .micro_kernel import describe, implement, micro_kernel_name
from .pool import AccumulateRow, AverageOfSum, MeanOfSum, MeanSpatial

_HEADERS = ("dsp.h", "requantise.h", "sums.h")
#: Pixels whose average is exact as one rounded product of 32 bits.
_AVERAGED = range(3, 4096)
#: The most that an int8 is away from a zero point.
_MOST_FROM_ZERO = 255


@dataclass(frozen=True)
class _Sums(Constantless):
    """What these kernels share."""

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return _HEADERS


@dataclass(frozen=True)
class DspAccumulateRow(_Sums):
    """:class:`AccumulateRow` with eight channels at a time; buffers as there."""

    plain: AccumulateRow

    @property
    def name(self) -> str:
        """C identifier stem."""
        return f"accumulate_dsp_w{self.plain.width}_c{self.plain.channels}"

    @property
    def remark(self) -> str:
        """How it works."""
        return "sums of eight channels as halfwords"

    def description(self) -> tirx.PrimFunc:
        """The sums as TE tensors."""
        return describe(self.plain.compute()).with_attr("tirx.noalias", False)

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_accumulate``."""
        numbers = (self.plain.width, self.plain.channels)
        func = implement(self.description(), "tvmp_accumulate", numbers)
        return func.with_attr("tirx.noalias", False)


@dataclass(frozen=True)
class DspMean(_Sums):
    """:class:`MeanSpatial` or :class:`MeanOfSum`; buffers as there."""

    plain: MeanSpatial | MeanOfSum

    @property
    def name(self) -> str:
        """C identifier stem."""
        plain = self.plain
        what = f"mean_dsp_p{plain.pixels}" if self._is_whole else "mean_of_sum_dsp"
        return micro_kernel_name(f"{what}_c{plain.channels}", self._numbers)

    @property
    def remark(self) -> str:
        """How it works."""
        return "sums of four channels as halfwords" if self._is_whole else "one by one"

    @property
    def _is_whole(self) -> bool:
        return isinstance(self.plain, MeanSpatial)

    @property
    def _numbers(self) -> tuple[int, ...]:
        """Arguments of ``tvmp_mean`` and ``tvmp_mean_of_sum`` from the channels on."""
        plain = self.plain
        is_small = plain.pixels * _MOST_FROM_ZERO < SMALL_ACCUMULATOR
        requantisation = Requantisation(
            plain.output_zero_point, -128, 127, "double", plain.shift, plain.shift, is_small
        )
        scaling, exponent, *rest = DspScaling(requantisation).numbers
        if exponent < 0:
            exponent = plain.shift
        start = -plain.pixels * plain.input_zero_point
        return (plain.channels, start, plain.multiplier, scaling, exponent, *rest)

    def description(self) -> tirx.PrimFunc:
        """The means as TE tensors."""
        return describe(self.plain.compute())

    def prim_func(self) -> tirx.PrimFunc:
        """One call."""
        if self._is_whole:
            numbers = (self.plain.pixels, *self._numbers)
            return implement(self.description(), "tvmp_mean", numbers)
        return implement(self.description(), "tvmp_mean_of_sum", self._numbers)


@dataclass(frozen=True)
class DspAverageOfSum(_Sums):
    """:class:`AverageOfSum` without a division; buffers as there."""

    plain: AverageOfSum

    @property
    def name(self) -> str:
        """C identifier stem."""
        return micro_kernel_name(f"average_of_sum_dsp_c{self.plain.channels}", self._numbers)

    @property
    def remark(self) -> str:
        """How it works."""
        return "one product instead of a division"

    @property
    def _numbers(self) -> tuple[int, ...]:
        """Arguments of ``tvmp_average_of_sum``."""
        plain = self.plain
        multiplier = (1 << 32) // plain.pixels + 1
        return (plain.channels, multiplier, plain.clamp_min, plain.clamp_max)

    def description(self) -> tirx.PrimFunc:
        """The averages as TE tensors."""
        return describe(self.plain.compute())

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_average_of_sum``."""
        return implement(self.description(), "tvmp_average_of_sum", self._numbers)


def dsp_average_objection(plain: AverageOfSum) -> str | None:
    """Why an average has no micro-kernel; None if it has."""
    if plain.pixels in _AVERAGED:
        return None
    return f"{plain.pixels} pixels, of which no single product is the average"


def dsp_average_of_sum(plain: AverageOfSum) -> DspAverageOfSum | None:
    """The micro-kernel, unless :func:`dsp_average_objection` has something against it."""
    return None if dsp_average_objection(plain) else DspAverageOfSum(plain)
