"""Per-channel requantisation parameters: their ranges, and channels whose output is constant.

Trained networks have dead channels (all weights zero), whose scale is arbitrary, and channels
whose multiplier underflowed to zero. Their biases reach 2**31 and their shifts span all of
[-31, 0], and so would cost all other channels of the layer the cheap arithmetic. But what they
output does not depend on the input, so they are written down again in moderate numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .fixed_point import SMALL_ACCUMULATOR, Requantisation

Array = npt.NDArray[np.generic]
Integers = npt.NDArray[np.int64]

#: Multiplier of one half in Q31, exact for even accumulators.
_HALF = 1 << 30
#: Any value beyond saturates int8 whatever the zero point.
_LARGEST = 256
#: Lowest shift at which ``_LARGEST`` can be written down within a small accumulator.
_LOWEST_SHIFT = -19


def requantisation_fields(constants: Mapping[str, Array], channel_axis: int) -> dict[str, int]:
    """The fields ``shift_min``, ``shift_max`` and ``small_accumulator`` of a layer's kernel.

    Parameters
    ----------
    constants : mapping
        weight int8 of any layout; bias, multiplier, shift int32 [channels].
    channel_axis : int
        The axis of the weight that counts output channels.

    Returns
    -------
    dict
        Keyword arguments for ``ConvRow``, ``DepthwiseRow`` and ``Dense``.
    """
    reach = _reach(constants, channel_axis)
    live = _live(constants, channel_axis)
    shifts = constants["shift"][live].astype(np.int64)
    low, high = (int(shifts.min()), int(shifts.max())) if live.any() else (-1, -1)
    if not live.all():
        home = max(min(high, 0), _LOWEST_SHIFT)
        low, high = min(low, home), max(high, home)
    small = bool(np.all(reach[live] < SMALL_ACCUMULATOR))
    return {"shift_min": low, "shift_max": high, "small_accumulator": small}


def is_small_accumulator(weight: Array, bias: Array, channel_axis: int) -> bool:
    """Whether no int8 input can drive any channel's accumulator to 2**30 in magnitude.

    :func:`requantisation_fields` asks this of the channels that matter only.
    """
    reach = _reach({"weight": weight, "bias": bias}, channel_axis)
    return bool(np.all(reach < SMALL_ACCUMULATOR))


def settle_constant_channels(
    constants: Mapping[str, Array],
    channel_axis: int,
    promised: Requantisation,
) -> dict[str, Array]:
    """Rewrite channels with constant output to shifts in range and small biases.

    Parameters
    ----------
    constants : mapping
        As in :func:`requantisation_fields`.
    promised : Requantisation
        The kernel's arithmetic, with the range of shifts and accumulators that it relies on.

    Returns
    -------
    dict
        ``constants`` with equivalent weight, bias, multiplier and shift.

    Raises
    ------
    ValueError
        If the other channels break the promise.
    """
    live = _live(constants, channel_axis)
    weight = constants["weight"].copy()
    bias, multiplier, shift = (
        constants[key].astype(np.int64) for key in ("bias", "multiplier", "shift")
    )
    home = min(promised.shift_max, 0)
    if home >= max(promised.shift_min, _LOWEST_SHIFT):
        for channel in np.flatnonzero(~live):
            value = _scaled(
                int(bias[channel]), int(multiplier[channel]), int(shift[channel]), promised.rounding
            )
            value = min(max(value, -_LARGEST), _LARGEST)
            bias[channel], multiplier[channel], shift[channel] = value << (1 - home), _HALF, home
            np.moveaxis(weight, channel_axis, 0)[channel] = 0
    settled: dict[str, Array] = {
        "weight": weight,
        "bias": bias.astype(np.int32),
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int32),
    }
    if promised.small_accumulator and not np.all(_reach(settled, channel_axis) < SMALL_ACCUMULATOR):
        raise ValueError("accumulators may reach 2**30: the kernel must not promise small ones")
    return settled


def _live(constants: Mapping[str, Array], channel_axis: int) -> npt.NDArray[np.bool_]:
    """Channels whose output depends on the input."""
    channels_first = np.moveaxis(constants["weight"], channel_axis, 0)
    weighted = np.any(channels_first.reshape(len(channels_first), -1) != 0, axis=1)
    live: npt.NDArray[np.bool_] = weighted & (constants["multiplier"] != 0)
    return live


def _reach(constants: Mapping[str, Array], channel_axis: int) -> Integers:
    """The largest magnitude that int8 inputs can drive each channel's accumulator to."""
    channels_first = np.moveaxis(constants["weight"], channel_axis, 0)
    flat = channels_first.reshape(len(channels_first), -1).astype(np.int64)
    reach: Integers = np.abs(flat).sum(axis=1) * 128 + np.abs(constants["bias"].astype(np.int64))
    return reach


def _scaled(total: int, multiplier: int, shift: int, rounding: str) -> int:
    """Requantise one accumulator as the kernels do, before zero point and clamp."""
    if rounding == "single":
        return (total * multiplier + (1 << (30 - shift))) >> (31 - shift)
    high = ((total << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    exponent = max(-shift, 0)
    if exponent == 0:
        return high
    return (high + (1 << (exponent - 1)) - (high < 0)) >> exponent
