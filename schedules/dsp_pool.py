"""Pools over windows by the micro-kernels of ``micro_project/kernels/pool.h``."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from .kernel import Constantless
from .micro_kernel import describe, implement, micro_kernel_name
from .pool import AvgPoolPadded, PoolRow

_HEADERS = ("dsp.h", "pool.h")
#: Channels in a word.
_WORD = 4
#: Elements of int8 whose sum is a halfword.
_MOST_SUMMED = 256


@dataclass(frozen=True)
class DspPoolRow(Constantless):
    """:class:`PoolRow` with four channels at a time.

    Buffers: as the plain kernel's.

    Parameters
    ----------
    plain : PoolRow
        Shape and arithmetic; :func:`dsp_pool_row` tells whether there is a micro-kernel for it.
    """

    plain: PoolRow

    @property
    def name(self) -> str:
        """C identifier stem."""
        plain = self.plain
        window = f"{plain.pool_h}x{plain.pool_w}_s{plain.stride_w}"
        stem = f"{plain.kind}_pool_dsp_{window}_c{plain.channels}_w{plain.out_width}"
        return micro_kernel_name(stem, self._numbers)

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return _HEADERS

    @property
    def remark(self) -> str:
        """How it works."""
        how = "halfwords" if self.plain.kind == "avg" else "bytes"
        return f"four channels at a time, {how}"

    def description(self) -> tirx.PrimFunc:
        """The row as TE tensors."""
        return describe(self.plain.compute())

    @property
    def _numbers(self) -> tuple[int, ...]:
        """Arguments of ``tvmp_pool_row``."""
        plain = self.plain
        count = plain.pool_h * plain.pool_w
        is_average = plain.kind == "avg" and count > 1
        # Multipliers are below 2**31.
        shift = 16 if count > 2 else 14
        multiplier = (1 << (16 + shift)) // count + 1 if is_average else 0
        return (
            *(int(is_average), plain.out_width, plain.channels),
            *(plain.in_row_pixels * plain.channels, plain.pool_h, plain.pool_w, plain.stride_w),
            *(multiplier, shift, plain.clamp_min, plain.clamp_max),
        )

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_pool_row``."""
        return implement(self.description(), "tvmp_pool_row", self._numbers)


@dataclass(frozen=True)
class DspAvgPoolPadded(Constantless):
    """:class:`AvgPoolPadded` with four channels at a time.

    Buffers: as the plain kernel's.

    Parameters
    ----------
    plain : AvgPoolPadded
        Shape and arithmetic; :func:`dsp_avg_pool_padded` tells whether there is a micro-kernel.
    """

    plain: AvgPoolPadded

    @property
    def name(self) -> str:
        """C identifier stem."""
        plain = self.plain
        window = f"{plain.pool_h}x{plain.pool_w}_c{plain.channels}_w{plain.out_width}"
        return micro_kernel_name(f"avg_pool_padded_dsp_{window}", self._numbers)

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return _HEADERS

    @property
    def remark(self) -> str:
        """How it works."""
        return "four channels at a time, halfwords, the divisor by window"

    def description(self) -> tirx.PrimFunc:
        """The map as TE tensors."""
        return describe(self.plain.compute())

    @property
    def _numbers(self) -> tuple[int, ...]:
        """Arguments of ``tvmp_average_padded``."""
        plain = self.plain
        return (
            *(plain.in_height, plain.in_width, plain.channels, plain.out_height, plain.out_width),
            *(plain.pool_h, plain.pool_w, plain.stride_h, plain.stride_w),
            *(plain.pad_top, plain.pad_left, plain.clamp_min, plain.clamp_max),
        )

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_average_padded``."""
        return implement(self.description(), "tvmp_average_padded", self._numbers)


def dsp_pool_objection(plain: PoolRow | AvgPoolPadded) -> str | None:
    """Why a pool has no micro-kernel; None if it has."""
    if plain.channels < _WORD:
        return "its pixels are shorter than a word"
    is_average = isinstance(plain, AvgPoolPadded) or plain.kind == "avg"
    if is_average and plain.pool_h * plain.pool_w > _MOST_SUMMED:
        return "the sum of its window is more than a halfword"
    return None


def dsp_pool_row(plain: PoolRow) -> DspPoolRow | None:
    """The micro-kernel for a row of a pool, unless :func:`dsp_pool_objection` has something."""
    return None if dsp_pool_objection(plain) else DspPoolRow(plain)


def dsp_avg_pool_padded(plain: AvgPoolPadded) -> DspAvgPoolPadded | None:
    """The same for an average pool with padding."""
    return None if dsp_pool_objection(plain) else DspAvgPoolPadded(plain)
