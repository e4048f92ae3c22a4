"""Requantisation of pairs of channels, as ``micro_project/kernels/pair.h`` does it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
from tvm import tirx

from .channels import accumulator_range
from .fixed_point import (
    Requantisation,
    bind,
    int32,
    rounding_doubling_high_multiply,
    saturate,
)
from .kernel import Constants

Integers = npt.NDArray[np.int64]

#: Sums below this may be multiplied by 256, and told from another sum in their low byte.
NARROW_SUM = 1 << 23
#: Shifts for which rounding term and product fit in 32 bits together.
_FLOOR_SHIFTS = {"single": (-15, 5), "double": (-15, -1)}
_TIES_SHIFTS = (-22, -1)


class PairForm(IntEnum):
    """``enum tvmp_pair_form``."""

    FLOOR = 0
    FLOOR_TWICE = 1
    TIES = 2
    TWICE_ANY = 3
    ONCE_ANY = 4


@dataclass(frozen=True)
class PairScaling:
    """How a layer's sums become int8.

    Parameters
    ----------
    requantisation : Requantisation
        The arithmetic, with the ranges of shifts and accumulators that it may rely on.
    narrow : bool
        All sums stay below ``NARROW_SUM``. :func:`sums_are_narrow` finds out, :meth:`pack` checks.
    """

    requantisation: Requantisation
    narrow: bool

    @property
    def form(self) -> PairForm:
        """The cheapest form that is exact."""
        r = self.requantisation
        ties_are_clamped = r.rounding == "single" or r.output_zero_point <= r.clamp_min
        if self.narrow and ties_are_clamped and self._shifts_in(_FLOOR_SHIFTS[r.rounding]):
            return PairForm.FLOOR if r.rounding == "single" else PairForm.FLOOR_TWICE
        if r.rounding == "double" and r.small_accumulator and self._shifts_in(_TIES_SHIFTS):
            return PairForm.TIES
        return PairForm.TWICE_ANY if r.rounding == "double" else PairForm.ONCE_ANY

    @property
    def instructions(self) -> float:
        """Instructions for one output, its store included, by a model of ``pair.h``."""
        shared = self.numbers[1] >= 0
        cost = {PairForm.FLOOR: 5.0, PairForm.FLOOR_TWICE: 5.0, PairForm.TIES: 6.5}
        return cost.get(self.form, 30.0) - (1.0 if shared else 0.0)

    @property
    def remark(self) -> str:
        """The form in words; of the general ones, why no fast one will do."""
        if self.form < PairForm.TIES:
            return "scaled by one floor"
        if self.form == PairForm.TIES:
            return "scaled with ties away from zero"
        r = self.requantisation
        if not self.narrow and (r.rounding == "single" or not r.small_accumulator):
            return "scaled in general: sums are too large"
        return f"scaled in general: shifts in [{r.shift_min}, {r.shift_max}]"

    def _shifts_in(self, limits: tuple[int, int]) -> bool:
        return (
            limits[0] <= self.requantisation.shift_min <= self.requantisation.shift_max <= limits[1]
        )

    @property
    def numbers(self) -> tuple[int, ...]:
        """Arguments form, exponent, clamp_min, clamp_max of the C functions."""
        r = self.requantisation
        common = -1
        if self.form <= PairForm.TIES and r.shift_min == r.shift_max:
            common = int(self._exponents(np.asarray([r.shift_min]))[0])
        return (int(self.form), common, r.clamp_min, r.clamp_max)

    def _exponents(self, shift: npt.NDArray[np.generic]) -> Integers:
        """What each channel is shifted by, as the C reads it."""
        shifts = shift.astype(np.int64)
        if self.form < PairForm.TIES:
            return 6 - shifts
        return -1 - shifts if self.form == PairForm.TIES else shifts

    def pack(self, constants: Constants) -> tuple[Integers, int]:
        """What each channel is shifted by, and the offset that all have.

        Parameters
        ----------
        constants : dict
            weight int8 [channels, ...]; bias, shift int32 [channels].

        Returns
        -------
        (ndarray of int64, int)
            The bytes and the upper half of ``shifts`` in ``struct tvmp_pair``.
        """
        r = self.requantisation
        shift = constants["shift"]
        if int(shift.min()) < r.shift_min or int(shift.max()) > r.shift_max:
            raise ValueError(f"shifts exceed [{r.shift_min}, {r.shift_max}]")
        if self.narrow and not sums_are_narrow(constants):
            raise ValueError(
                "accumulators may reach 2**23: the kernel must not promise narrow ones"
            )
        fast = self.form <= PairForm.TIES
        offset = 2 * r.output_zero_point + 1 if fast else r.output_zero_point
        return self._exponents(shift), offset

    def apply(self, total: tirx.Expr, multiplier: tirx.Expr, exponent: tirx.Expr) -> tirx.Expr:
        """The int8 output of a sum with its bias, as an expression.

        Parameters
        ----------
        total, multiplier, exponent : tvm.tirx.Expr
            int32; the last from :meth:`pack`.
        """
        r = self.requantisation
        if self.form > PairForm.TIES:
            return bind("total", total, lambda x: r.scale(x, multiplier, exponent))
        half = 64 if self.form == PairForm.FLOOR_TWICE else 0
        offset = int32(2 * r.output_zero_point + 1)
        rounding = tirx.shift_left(offset, exponent) + int32(half)

        def scaled(x: tirx.Expr) -> tirx.Expr:
            if self.form == PairForm.TIES:
                high = rounding_doubling_high_multiply(x, multiplier, small=True)
                return bind("high", high, lambda h: h + (h >> int32(31)))
            wide = (x * int32(256)).astype("int64") * multiplier.astype("int64")
            return (wide >> tirx.const(32, "int64")).astype("int32")

        def shifted(x: tirx.Expr) -> tirx.Expr:
            return ((scaled(x) + rounding) >> exponent) >> int32(1)

        return bind("total", total, lambda x: saturate(shifted(x), r.clamp_min, r.clamp_max))


def sums_are_narrow(constants: Constants) -> bool:
    """Whether no int8 inputs drive a channel's sum, bias included, to ``NARROW_SUM``.

    Parameters
    ----------
    constants : dict
        weight int8 [channels, ...]; bias int32 [channels].
    """
    low, high = accumulator_range(constants, 0)
    return int(max(-low.min(), high.max())) < NARROW_SUM
