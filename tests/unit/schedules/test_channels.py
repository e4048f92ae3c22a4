"""Dead channels and vanished multipliers: written down again without changing any output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tvm_patch.schedules import (
    Arithmetic,
    ConvRow,
    DepthwiseRow,
    is_small_accumulator,
    requantisation_fields,
)

from . import naive
from .execution import run_llvm

ARITHMETIC = Arithmetic(-7, -128, 127, "double")
#: Placeholders for the fields that depend on the constants.
CONV = ConvRow(6, 4, 6, 12, 1, 1, 1, 1, 1, 1, -7, -128, 127, "double", -1, -1)
DEPTHWISE = DepthwiseRow(8, 12, 6, 1, 3, 3, 1, 1, 1, -7, -128, 127, "double", -1, -1)


def layer(
    seed: int, shape: tuple[int, ...], axis: int, live_shifts: range
) -> dict[str, naive.Array]:
    """Twelve channels: four dead with huge biases, two without multiplier, the rest as usual."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-128, 128, shape).astype(np.int8)
    np.moveaxis(weight, axis, 0)[:4] = 0
    shift = rng.choice(live_shifts, 12)
    shift[:4] = [-31, -28, 0, -23]
    shift[4:6] = 0
    multiplier = rng.integers(2**30, 2**31, 12)
    multiplier[4:6] = 0
    bias = rng.integers(-5000, 5000, 12)
    bias[:4] = [2**31 - 1, -(2**31), 77, -(2**30) - 1]
    return {
        "weight": weight,
        "bias": bias.astype(np.int32),
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int32),
    }


@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize(
    "live_shifts", [range(-11, -7), range(-9, -8), range(-28, -24), range(-6, 2), range(1, 3)]
)
def test_layer_with_constant_channels_keeps_its_outputs(rounding: str, live_shifts: range) -> None:
    constants = layer(16, (12, 1, 1, 4), 0, live_shifts)
    fields = requantisation_fields(constants, 0, replace(ARITHMETIC, rounding=rounding))
    kernel = replace(CONV, rounding=rounding, **fields)
    data = np.random.default_rng(17).integers(-128, 128, (1, 6, 4)).astype(np.int8)
    weight = constants["weight"].reshape(12, 4).astype(np.int64)
    acc = data.astype(np.int64) @ weight.T
    expected = naive.requantise(acc, constants, kernel)
    np.testing.assert_array_equal(run_llvm(kernel, [data], constants), expected)


def test_constant_channels_do_not_widen_the_ranges() -> None:
    constants = layer(18, (12, 1, 1, 4), 0, range(-11, -7))
    fields = requantisation_fields(constants, 0, ARITHMETIC)
    assert -11 <= fields["shift_min"] <= fields["shift_max"] <= -8
    assert fields["small_accumulator"]
    assert not is_small_accumulator(constants["weight"], constants["bias"], 0)


def test_depthwise_channels_are_counted_along_the_last_axis() -> None:
    constants = layer(19, (3, 3, 12), -1, range(-11, -7))
    kernel = replace(DEPTHWISE, **requantisation_fields(constants, -1, ARITHMETIC))
    data = np.random.default_rng(20).integers(-128, 128, (3, 8, 12)).astype(np.int8)
    window = naive.windows(data, (3, 3), 1, (1, 1), 6)
    acc = (window * constants["weight"].astype(np.int64)).sum(axis=(1, 2))[None]
    expected = naive.requantise(acc, constants, kernel)
    np.testing.assert_array_equal(run_llvm(kernel, [data], constants), expected)


def test_layer_of_constant_channels_alone() -> None:
    constants = layer(21, (12, 1, 1, 4), 0, range(-11, -7))
    constants["weight"][:] = 0
    assert requantisation_fields(constants, 0, ARITHMETIC) == {
        "shift_min": -1,
        "shift_max": -1,
        "small_accumulator": True,
    }


@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize("bias", [0, 130_000, -130_000, 5_000_000, -(2**28)])
def test_channels_whose_sums_vanish_or_saturate_are_constant(rounding: str, bias: int) -> None:
    """Weights that cannot change the output do not widen the range of shifts."""
    constants = layer(22, (12, 1, 1, 4), 0, range(-11, -7))
    constants["weight"][:] = np.maximum(constants["weight"], 1)
    constants["multiplier"][:] = 2**30 + 12345
    constants["bias"][:] = 100
    constants["shift"][:] = -9
    constants["bias"][:2] = bias
    constants["shift"][:2] = [-20, -8 if abs(bias) > 2**17 else -31]
    arithmetic = replace(ARITHMETIC, rounding=rounding)
    fields = requantisation_fields(constants, 0, arithmetic)
    kernel = replace(CONV, rounding=rounding, **fields)
    assert fields["shift_min"] == fields["shift_max"] == -9
    data = np.random.default_rng(23).integers(-128, 128, (1, 6, 4)).astype(np.int8)
    data[0, 0], data[0, 1] = -128, 127
    acc = data.astype(np.int64) @ constants["weight"].reshape(12, 4).astype(np.int64).T
    expected = naive.requantise(acc, constants, kernel)
    np.testing.assert_array_equal(run_llvm(kernel, [data], constants), expected)
