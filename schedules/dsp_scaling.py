"""Requantisation as ``micro_project/kernels/requantise.h`` does it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tvm import tirx

from .fixed_point import (
    Requantisation,
    bind,
    int32,
    rounding_doubling_high_multiply,
    saturate,
)

#: ``enum tvmp_scaling``.
_SCALINGS = {"double_fast": 0, "single_fast": 1, "double_any": 2, "single_any": 3}
#: Lowest shift at which the rounding term and the scaled accumulator fit in 32 bits together.
_LOWEST_SHIFT = {"double": -22, "single": -23}
#: The exponent of the fast forms is this less the shift.
_EXPONENT_BASE = {"double": -1, "single": -2}


@dataclass(frozen=True)
class DspScaling:
    """How a layer's accumulators become int8 on cores with DSP instructions.

    Parameters
    ----------
    requantisation : Requantisation
        The arithmetic, with the ranges of shifts and accumulators that it may rely on.
    """

    requantisation: Requantisation

    @property
    def is_fast(self) -> bool:
        """Whether all channels shift right by an amount for which the fast form is exact."""
        r = self.requantisation
        base = _EXPONENT_BASE[r.rounding]
        in_range = _LOWEST_SHIFT[r.rounding] <= r.shift_min and r.shift_max <= base
        return in_range and r.small_accumulator

    @property
    def _common_exponent(self) -> int:
        """The exponent that all channels share; -1 where they don't."""
        r = self.requantisation
        if not self.is_fast or r.shift_min != r.shift_max:
            return -1
        return _EXPONENT_BASE[r.rounding] - r.shift_min

    @property
    def numbers(self) -> tuple[int, ...]:
        """Arguments scaling, shift, zero_point, clamp_min, clamp_max of the C functions."""
        r = self.requantisation
        scaling = _SCALINGS[f"{r.rounding}_{'fast' if self.is_fast else 'any'}"]
        return (scaling, self._common_exponent, r.output_zero_point, r.clamp_min, r.clamp_max)

    def exponents(self, shift: npt.NDArray[np.generic]) -> npt.NDArray[np.int32]:
        """What each channel is shifted by, as the C reads it."""
        r = self.requantisation
        if int(shift.min()) < r.shift_min or int(shift.max()) > r.shift_max:
            raise ValueError(f"shifts exceed [{r.shift_min}, {r.shift_max}]")
        return (_EXPONENT_BASE[r.rounding] - shift if self.is_fast else shift).astype(np.int32)

    def apply(self, total: tirx.Expr, multiplier: tirx.Expr, exponent: tirx.Expr) -> tirx.Expr:
        """The int8 output of an accumulator with its bias, as an expression.

        Parameters
        ----------
        total, multiplier, exponent : tvm.tirx.Expr
            int32; exponent from :meth:`exponents`.
        """
        r = self.requantisation
        if not self.is_fast:
            return bind("total", total, lambda x: r.scale(x, multiplier, exponent))
        offset = int32(2 * r.output_zero_point + 1)

        def scaled(x: tirx.Expr) -> tirx.Expr:
            if r.rounding == "double":
                high = rounding_doubling_high_multiply(x, multiplier, small=True)
                return bind("high", high, lambda h: h + (h >> int32(31)))
            wide = x.astype("int64") * multiplier.astype("int64")
            return (wide >> tirx.const(32, "int64")).astype("int32")

        def shifted(x: tirx.Expr) -> tirx.Expr:
            return ((scaled(x) + tirx.shift_left(offset, exponent)) >> exponent) >> int32(1)

        return bind("total", total, lambda x: saturate(shifted(x), r.clamp_min, r.clamp_max))
