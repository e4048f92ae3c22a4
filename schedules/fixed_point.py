"""Fixed-point arithmetic of TFLite's reference kernels as TIR expressions.

All functions build expressions; nothing is computed here. ``multiplier`` is a Q31 int32 in
[2**30, 2**31) or 0, ``shift`` the exponent that goes with it (positive: left, negative: right),
as TFLite's ``QuantizeMultiplier`` gives them.

No division and no wide arithmetic but the 32x32 -> 64 bit product is ever emitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

#: Accumulators below this in magnitude may be doubled, and rounded, within 32 bits.
SMALL_ACCUMULATOR = 1 << 30


# Bound values must not have ranges that follow from their neighbours: unrolling copies the
# variable, and TVM's analyzer refuses one variable with two ranges.
def bind(name: str, value: tirx.Expr, body: Callable[[tirx.Var], tirx.Expr]) -> tirx.Expr:
    """Compute ``value`` once, under a name, for use in ``body``.

    Besides saving work this keeps the simplifier from moving a cast to int64 into a sum, which
    would turn a 32x32 bit multiply into a 64x64 bit one.
    """
    if isinstance(value, te.TensorSlice):
        value = value.asobject()
    variable = tirx.Var(name, value.ty)
    return tirx.Let(variable, value, body(variable))


def maximum_over(value: tirx.Expr, axes: list[tirx.IterVar]) -> tirx.Expr:
    """Maximum of an int32 over reduction axes.

    Not ``te.max``: TVM's C generator gives the operands of min and max names and reuses a name
    wherever the same text comes back, even if the accumulator in memory has changed meanwhile.
    """
    reducer = te.comm_reducer(
        lambda a, b: tirx.Select(a > b, a, b), lambda dtype: tirx.min_value(dtype), name="maximum"
    )
    return reducer(value, axis=axes)


def int32(value: int) -> tirx.Expr:
    """An int32 constant."""
    return tirx.const(value, "int32")


def clamp(value: tirx.Expr, low: int, high: int) -> tirx.Expr:
    """Limit an int32 to ``[low, high]``."""
    return tirx.max(tirx.min(value, int32(high)), int32(low))


def saturate(value: tirx.Expr, low: int, high: int) -> tirx.Expr:
    """Clamp an int32 and cast it to int8.

    Without names of their own C compilers pull the cast into the comparison and then miss the
    saturation instruction.
    """
    if low == high:
        # A constant in the end, but TVM must not see it: stages without readers cannot be
        # scheduled, and parameters without uses are warned about.
        return bind("shifted", value, lambda x: ((x ^ x) + int32(low)).astype("int8"))
    return bind(
        "shifted",
        value,
        lambda shifted: bind(
            "limited", clamp(shifted, low, high), lambda limited: limited.astype("int8")
        ),
    )


def rounding_doubling_high_multiply(
    value: tirx.Expr, multiplier: tirx.Expr, *, small: bool = False
) -> tirx.Expr:
    """Q31 product rounded to nearest, ties up: gemmlowp's SaturatingRoundingDoublingHighMul.

    Parameters
    ----------
    value, multiplier : tvm.tirx.Expr
        int32; never both -2**31.
    small : bool
        Promise that ``abs(value) < 2**30``, which saves shifting a register pair.
    """
    wide = multiplier.astype("int64")
    if small:
        return bind(
            "doubled",
            value * int32(2),
            lambda doubled: (
                (doubled.astype("int64") * wide + tirx.const(1 << 31, "int64"))
                >> tirx.const(32, "int64")
            ).astype("int32"),
        )
    return bind(
        "factor",
        value,
        lambda factor: (
            (factor.astype("int64") * wide + tirx.const(1 << 30, "int64"))
            >> tirx.const(31, "int64")
        ).astype("int32"),
    )


def rounding_right_shift(value: tirx.Expr, exponent: int) -> tirx.Expr:
    """Divide by ``2**exponent``, ties away from zero, for a static exponent in [0, 31].

    ``abs(value) + 2**(exponent - 1)`` must stay below 2**31.
    """
    if exponent == 0:
        return value
    return bind(
        "quotient",
        value,
        lambda x: (x + int32(1 << (exponent - 1)) + (x >> int32(31))) >> int32(exponent),
    )


def _rounding_right_shift_any(value: tirx.Expr, exponent: tirx.Expr) -> tirx.Expr:
    """gemmlowp's RoundingDivideByPOT as written: any int32, any exponent in [0, 31]."""

    def with_mask(x: tirx.Expr, mask: tirx.Expr) -> tirx.Expr:
        threshold = (mask >> int32(1)) - (x >> int32(31))
        return (x >> exponent) + ((x & mask) > threshold).astype("int32")

    # (1 << 31) - 1 would overflow: the mask of ones comes from the other side.
    mask = int32(2**31 - 1) >> (int32(31) - exponent)
    return bind("quotient", value, lambda x: with_mask(x, mask))


def multiply_by_quantized_multiplier(
    value: tirx.Expr, multiplier: int, shift: int, *, small: bool = False
) -> tirx.Expr:
    """TFLite's MultiplyByQuantizedMultiplier (two roundings) for static parameters.

    Parameters
    ----------
    value : tvm.tirx.Expr
        int32, small enough that ``value * 2**max(shift, 0)`` fits in 32 bits.
    small : bool
        Promise that this product is below 2**30 in magnitude.
    """
    scaled = value * int32(1 << shift) if shift > 0 else value
    high = rounding_doubling_high_multiply(scaled, int32(multiplier), small=small)
    return rounding_right_shift(high, max(-shift, 0))


@dataclass(frozen=True)
class Arithmetic:
    """What a layer does with its scaled accumulators, whatever its channels' scales are.

    Parameters
    ----------
    output_zero_point, clamp_min, clamp_max : int
        In [-128, 127].
    rounding : str
        As in :class:`Requantisation`.
    """

    output_zero_point: int
    clamp_min: int
    clamp_max: int
    rounding: str

    def output(self, scaled: int) -> int:
        """The int8 value of a scaled accumulator."""
        return min(max(scaled + self.output_zero_point, self.clamp_min), self.clamp_max)


@dataclass(frozen=True)
class Requantisation:
    """How int32 accumulators become int8.

    Parameters
    ----------
    output_zero_point, clamp_min, clamp_max : int
        In [-128, 127].
    rounding : str
        ``"double"``: SaturatingRoundingDoublingHighMul then RoundingDivideByPOT (CONV_2D,
        DEPTHWISE_CONV_2D, ...); ``"single"``: one rounding in 64 bits (FULLY_CONNECTED).
    shift_min, shift_max : int
        Range of the channels' shifts, in [-31, 30]. Right shifts alone are cheaper, one common
        shift cheaper still.
    small_accumulator : bool
        ``abs(accumulator) < 2**30`` holds for every channel and any input.
    """

    output_zero_point: int
    clamp_min: int
    clamp_max: int
    rounding: str
    shift_min: int
    shift_max: int
    small_accumulator: bool

    def __post_init__(self) -> None:
        if self.rounding not in ("double", "single"):
            raise ValueError(f"rounding must be 'double' or 'single', not {self.rounding!r}")
        if not -31 <= self.shift_min <= self.shift_max <= 30:
            raise ValueError(f"shifts [{self.shift_min}, {self.shift_max}] not in [-31, 30]")

    @property
    def arithmetic(self) -> Arithmetic:
        """The part that does not depend on the channels."""
        return Arithmetic(self.output_zero_point, self.clamp_min, self.clamp_max, self.rounding)

    @property
    def _halving(self) -> bool:
        """All channels shift right, by different amounts, within 32 bits: the common case."""
        return (
            self.rounding == "double"
            and self.small_accumulator
            and self.shift_min < self.shift_max <= -1
        )

    def pack(self, constants: Mapping[str, npt.NDArray[np.generic]]) -> npt.NDArray[np.int32]:
        """Lay the channels' parameters out in the order in which :meth:`apply` reads them.

        Parameters
        ----------
        constants : mapping
            bias, multiplier, shift int32 [channels].

        Returns
        -------
        ndarray of int32, shape [channels, 3]
            bias, multiplier and what is shifted by.
        """
        shift = constants["shift"]
        if int(shift.min()) < self.shift_min or int(shift.max()) > self.shift_max:
            raise ValueError(f"shifts exceed [{self.shift_min}, {self.shift_max}]")
        exponent = -1 - shift if self._halving else shift
        columns = [constants["bias"], constants["multiplier"], exponent]
        return np.stack(columns, axis=1).astype(np.int32)

    def apply(self, acc: tirx.Expr, channels: te.Tensor, channel: tirx.Expr) -> tirx.Expr:
        """Build the int8 output of an accumulator that lacks its bias.

        Parameters
        ----------
        acc : tvm.tirx.Expr
            int32.
        channels : te.Tensor
            int32 [channels, 3] from :meth:`pack`.
        channel : tvm.tirx.Expr
            Row of ``channels``.
        """
        multiplier, exponent = channels[channel, 1], channels[channel, 2]

        def finish(total: tirx.Expr) -> tirx.Expr:
            if not self._halving:
                return self.scale(total, multiplier, exponent)
            return saturate(
                self._halve(total, multiplier, exponent), self.clamp_min, self.clamp_max
            )

        return bind("total", acc + channels[channel, 0], finish)

    def scale(self, total: tirx.Expr, multiplier: tirx.Expr, shift: tirx.Expr) -> tirx.Expr:
        """Build the int8 output of an accumulator, bias included, for any shifts in range."""
        if self.shift_min == self.shift_max:
            shift = int32(self.shift_min)
        rounded = self._round_twice if self.rounding == "double" else self._round_once
        scaled = rounded(total, multiplier, shift) + int32(self.output_zero_point)
        return saturate(scaled, self.clamp_min, self.clamp_max)

    def _halve(
        self, acc: tirx.Expr, multiplier: tirx.Expr, exponent_less_one: tirx.Expr
    ) -> tirx.Expr:
        """The second rounding as (((x - (x < 0)) >> (e - 1)) + 1) >> 1, zero point folded in."""
        offset = int32(1 + 2 * self.output_zero_point)
        return bind(
            "high",
            rounding_doubling_high_multiply(acc, multiplier, small=True),
            lambda x: (((x + (x >> int32(31))) >> exponent_less_one) + offset) >> int32(1),
        )

    def _round_twice(self, acc: tirx.Expr, multiplier: tirx.Expr, shift: tirx.Expr) -> tirx.Expr:
        small = self.small_accumulator
        if self.shift_min == self.shift_max:
            left = max(self.shift_min, 0)
            scaled = acc * int32(1 << left) if left else acc
            high = rounding_doubling_high_multiply(scaled, multiplier, small=small and not left)
            exponent = max(-self.shift_min, 0)
            if small or exponent == 0:
                return rounding_right_shift(high, exponent)
            return _rounding_right_shift_any(high, int32(exponent))
        left_shift = tirx.max(shift, int32(0))
        # The upper limit is never reached; without it TVM's analyzer takes shifts by 31 less this
        # for shifts by perhaps negative amounts, finds the value always zero and drops terms.
        right_shift = tirx.min(tirx.max(int32(0) - shift, int32(0)), int32(31))
        scaled = acc * tirx.shift_left(int32(1), left_shift) if self.shift_max > 0 else acc
        high = rounding_doubling_high_multiply(scaled, multiplier)
        return _rounding_right_shift_any(high, right_shift)

    def _round_once(self, acc: tirx.Expr, multiplier: tirx.Expr, shift: tirx.Expr) -> tirx.Expr:
        product = acc.astype("int64") * multiplier.astype("int64")
        if self.shift_max <= -2:
            # The rounding term and the result lie in the product's upper half alone.
            high = (product >> tirx.const(32, "int64")).astype("int32")
            exponent = int32(-1) - shift
            return (high + (int32(1) << (exponent - int32(1)))) >> exponent
        one = tirx.const(1, "int64")
        total = tirx.const(31, "int64") - shift.astype("int64")
        return tirx.shift_right(product + tirx.shift_left(one, total - one), total).astype("int32")
