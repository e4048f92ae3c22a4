"""Per-channel requantisation parameters: their ranges, and channels whose output is constant.

Trained networks have dead channels (all weights zero), whose scale is arbitrary, channels whose
multiplier underflowed to zero, and channels whose sums are lost in rounding or always saturate.
Their biases reach 2**31 and their shifts span all of [-31, 0], and so would cost all other channels
of the layer the cheap arithmetic. But what they output does not depend on the input, so they are
written down again in moderate numbers. Requantisation is monotone: a channel is constant if the
least and the largest sum that int8 inputs can give become the same output.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .fixed_point import SMALL_ACCUMULATOR, Arithmetic, Requantisation

Array = npt.NDArray[np.generic]
Integers = npt.NDArray[np.int64]

#: Multiplier of one half in Q31, exact for even accumulators.
_HALF = 1 << 30
#: Any value beyond saturates int8 whatever the zero point.
_LARGEST = 256
#: Lowest shift at which ``_LARGEST`` can be written down within a small accumulator.
_LOWEST_SHIFT = -19


def requantisation_fields(
    constants: Mapping[str, Array], channel_axis: int, arithmetic: Arithmetic
) -> dict[str, int]:
    """The fields ``shift_min``, ``shift_max`` and ``small_accumulator`` of a layer's kernel.

    Parameters
    ----------
    constants : mapping
        weight int8 of any layout; bias, multiplier, shift int32 [channels].
    channel_axis : int
        The axis of the weight that counts output channels.
    arithmetic : Arithmetic
        What the layer does with its accumulators.

    Returns
    -------
    dict
        Keyword arguments for ``ConvRow``, ``DepthwiseRow`` and ``Dense``.
    """
    reach = reach_of(constants, channel_axis)
    live = live_channels(constants, channel_axis, arithmetic)
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
    reach = reach_of({"weight": weight, "bias": bias}, channel_axis)
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
    live = live_channels(constants, channel_axis, promised.arithmetic)
    weight = constants["weight"].copy()
    bias, multiplier, shift = (
        constants[key].astype(np.int64) for key in ("bias", "multiplier", "shift")
    )
    home = min(promised.shift_max, 0)
    if home >= max(promised.shift_min, _LOWEST_SHIFT):
        for channel in np.flatnonzero(~live):
            value = settled_value(
                int(bias[channel]), int(multiplier[channel]), int(shift[channel]), promised.rounding
            )
            bias[channel], multiplier[channel], shift[channel] = value << (1 - home), _HALF, home
            np.moveaxis(weight, channel_axis, 0)[channel] = 0
    settled: dict[str, Array] = {
        "weight": weight,
        "bias": bias.astype(np.int32),
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int32),
    }
    if promised.small_accumulator and not np.all(
        reach_of(settled, channel_axis) < SMALL_ACCUMULATOR
    ):
        raise ValueError("accumulators may reach 2**30: the kernel must not promise small ones")
    return settled


def live_channels(
    constants: Mapping[str, Array], channel_axis: int, arithmetic: Arithmetic
) -> npt.NDArray[np.bool_]:
    """Channels whose output depends on the input; parameters as of :func:`channel_outputs`."""
    low, high = channel_outputs(constants, channel_axis, arithmetic)
    live: npt.NDArray[np.bool_] = low != high
    return live


def channel_outputs(
    constants: Mapping[str, Array], channel_axis: int, arithmetic: Arithmetic
) -> tuple[Integers, Integers]:
    """The least and the largest int8 output of each channel, over int8 inputs.

    Parameters
    ----------
    constants : mapping
        As in :func:`requantisation_fields`.
    channel_axis : int
        The axis of the weight that counts output channels.
    arithmetic : Arithmetic
        What the layer does with its accumulators.

    Returns
    -------
    (ndarray of int64, ndarray of int64)
        Both of shape [channels].
    """
    scales = list(zip(constants["multiplier"], constants["shift"], strict=True))

    def outputs(totals: Integers) -> Integers:
        scaled = [
            _scaled(int(total), int(multiplier), int(shift), arithmetic.rounding)
            for total, (multiplier, shift) in zip(totals, scales, strict=True)
        ]
        return np.asarray([arithmetic.output(value) for value in scaled], np.int64)

    low, high = accumulator_range(constants, channel_axis)
    return outputs(low), outputs(high)


def accumulator_range(
    constants: Mapping[str, Array], channel_axis: int
) -> tuple[Integers, Integers]:
    """The least and the largest accumulator of each channel, bias included, over int8 inputs.

    Parameters
    ----------
    constants : mapping
        weight int8 of any layout; bias int32 [channels].
    channel_axis : int
        The axis of the weight that counts output channels.

    Returns
    -------
    (ndarray of int64, ndarray of int64)
        Both of shape [channels].
    """
    channels_first = np.moveaxis(constants["weight"], channel_axis, 0)
    flat = channels_first.reshape(len(channels_first), -1).astype(np.int64)
    bias = constants["bias"].astype(np.int64)
    low: Integers = bias + np.minimum(flat * -128, flat * 127).sum(axis=1)
    high: Integers = bias + np.maximum(flat * -128, flat * 127).sum(axis=1)
    return low, high


def reach_of(constants: Mapping[str, Array], channel_axis: int) -> Integers:
    """The largest magnitude that int8 inputs can drive each channel's accumulator to.

    Partial sums stay below it in any order.

    Parameters
    ----------
    constants : mapping
        weight int8 of any layout; bias int32 [channels].
    channel_axis : int
        The axis of the weight that counts output channels.
    """
    channels_first = np.moveaxis(constants["weight"], channel_axis, 0)
    flat = channels_first.reshape(len(channels_first), -1).astype(np.int64)
    reach: Integers = np.abs(flat).sum(axis=1) * 128 + np.abs(constants["bias"].astype(np.int64))
    return reach


def settled_value(total: int, multiplier: int, shift: int, rounding: str) -> int:
    """What a constant channel's accumulator is requantised to, before zero point and clamp.

    Values that saturate whatever the zero point are cut off.
    """
    return min(max(_scaled(total, multiplier, shift, rounding), -_LARGEST), _LARGEST)


def _scaled(total: int, multiplier: int, shift: int, rounding: str) -> int:
    """Requantise one accumulator as the kernels do, before zero point and clamp."""
    if rounding == "single":
        return (total * multiplier + (1 << (30 - shift))) >> (31 - shift)
    high = ((total << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    exponent = max(-shift, 0)
    if exponent == 0:
        return high
    return (high + (1 << (exponent - 1)) - (high < 0)) >> exponent
