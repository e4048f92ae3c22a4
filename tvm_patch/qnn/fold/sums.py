"""Sums that must fit 32 bits: those of pools, means and softmax know their bounds from shapes."""

from __future__ import annotations

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn import arithmetic
from tvm_patch.qnn.fold.values import Target

#: Exponentials are at most one, which is 2**19 where softmax adds them up (Q12.19).
_SOFTMAX_ONE = 1 << 19


def check_average(elements: int, target: Target) -> None:
    """Refuse an average whose sum, with the half of a divisor for rounding, may leave int32.

    Raises
    ------
    UnsupportedOperatorError
        With the name of ``target``.
    """
    _check(elements * arithmetic.INT8_MIN - elements // 2, target)


def check_mean(elements: int, zero_point: int, shift: int, target: Target) -> None:
    """Refuse a mean whose sum of values less their zero point, shifted left, may leave int32."""
    left = max(shift, 0)
    _check(elements * (arithmetic.INT8_MIN - zero_point) << left, target)
    _check(elements * (arithmetic.INT8_MAX - zero_point) << left, target)


def check_softmax(length: int, target: Target) -> None:
    """Refuse a softmax over so many values that its sum of exponentials may leave int32."""
    _check(length * _SOFTMAX_ONE, target)


def _check(extreme: int, target: Target) -> None:
    if not arithmetic.INT32_MIN <= extreme <= arithmetic.INT32_MAX:
        raise UnsupportedOperatorError(
            f"layer {target.name}: its sums may leave the int32 range",
            hint="split the layer, make its map smaller, or quantise its output with a larger "
            "scale",
        )
