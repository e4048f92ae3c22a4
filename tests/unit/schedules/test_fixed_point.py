"""Requantisation over its whole range, in isolation: accumulators fed directly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from tvm import te, tirx

from tvm_patch.schedules import Constants
from tvm_patch.schedules.fixed_point import Requantisation

from . import naive
from .execution import run_c, run_llvm

CHANNELS = 61


@dataclass(frozen=True)
class RequantiseOnly:
    """A kernel that requantises int32 [rows, channels]."""

    rows: int
    rounding: str
    shift_min: int
    shift_max: int
    small_accumulator: bool
    output_zero_point: int = -5
    clamp_min: int = -120
    clamp_max: int = 127
    name: str = "requantise"
    constants: tuple[str, ...] = ("channels",)
    macs: int = 0

    @property
    def requantisation(self) -> Requantisation:
        return Requantisation(
            self.output_zero_point,
            self.clamp_min,
            self.clamp_max,
            self.rounding,
            self.shift_min,
            self.shift_max,
            self.small_accumulator,
        )

    def pack(self, constants: Constants) -> Constants:
        return {"channels": self.requantisation.pack(constants)}

    def prim_func(self) -> tirx.PrimFunc:
        data = te.placeholder((self.rows, CHANNELS), "int32", "data")
        channels = te.placeholder((CHANNELS, 3), "int32", "channels")
        out = te.compute(
            data.shape,
            lambda r, c: self.requantisation.apply(data[r, c], channels, c),
            name="out",
        )
        return te.create_prim_func([data, channels, out])


def accumulators(rng: np.random.Generator, shift: naive.Array, limit: int) -> naive.Array:
    """int32 [rows, channels] whose images are spread over int8, ties and extremes among them."""
    reach = np.minimum(2.0 ** (8 - shift), limit - 1).astype(np.int64)
    spread = rng.integers(-reach, reach + 1, (400, CHANNELS))
    ties = (2 * rng.integers(-99, 99, (50, CHANNELS)) + 1) << np.maximum(-shift - 1, 0)
    edges = np.repeat([[1 - limit], [limit - 1], [0], [-1], [1]], CHANNELS, axis=1)
    return np.clip(np.concatenate([spread, ties, edges]), 1 - limit, limit - 1)


@pytest.mark.parametrize("run", [run_llvm, run_c])
@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize(
    "shifts",
    [(-9, -6), (-31, -1), (-31, -2), (-7, -7), (-1, -1), (0, 0), (-4, 0), (-31, 8), (3, 3)],
)
def test_requantisation_is_exact(run, rounding: str, small: bool, shifts: tuple[int, int]) -> None:
    rng = np.random.default_rng(15)
    shift = rng.integers(shifts[0], shifts[1] + 1, CHANNELS)
    shift[:2] = shifts
    multiplier = rng.integers(2**30, 2**31, CHANNELS)
    multiplier[::7] = rng.choice([0, 2**30, 2**31 - 1], len(multiplier[::7]))
    # Left shifts and the zero point must find room: LiteRT's own sums would wrap otherwise.
    limit = 2 ** (30 if small else 31) >> max(shifts[1] + 1, 0)
    acc = accumulators(rng, shift, limit)
    constants = {
        "bias": np.zeros(CHANNELS, np.int32),
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int32),
    }
    kernel = RequantiseOnly(len(acc), rounding, *shifts, small)
    expected = naive.requantise(acc, constants, kernel)
    assert len(np.unique(expected)) > 100
    np.testing.assert_array_equal(run(kernel, [acc.astype(np.int32)], constants), expected)


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="rounding"):
        Requantisation(0, -128, 127, "thrice", -5, -5, True)
    with pytest.raises(ValueError, match="shifts"):
        Requantisation(0, -128, 127, "double", -40, -5, True)
