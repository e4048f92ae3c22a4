"""Fully connected layers by micro-kernel: C and description against matrix products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.schedules import Dense, dsp_dense

from . import naive
from .execution import run_c, run_description
from .test_windowed import CLAMPS, ROUNDINGS, SEEDS, SHIFTS, channel_constants, int8, weights


@settings(max_examples=15)
@given(
    in_features=st.integers(4, 40),
    out_features=st.integers(1, 20),
    clamp=CLAMPS,
    rounding=ROUNDINGS,
    shifts=SHIFTS,
    narrow=st.booleans(),
    seed=SEEDS,
)
def test_any_layer_equals_the_matrix_product(
    in_features: int,
    out_features: int,
    clamp: tuple[int, int],
    rounding: str,
    shifts: tuple[int, int],
    narrow: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    plain = Dense(in_features, out_features, 3, *clamp, rounding, *shifts)
    data = int8(rng, in_features)
    constants = channel_constants(rng, out_features, shifts, wide=False)
    constants["weight"] = weights(rng, shifts, out_features, in_features)
    if narrow:
        constants["weight"] = np.maximum(constants["weight"], np.int8(-127))
        constants["bias"] %= 2**20
    layer = dsp_dense(plain, constants)
    assert layer is not None
    acc = constants["weight"].astype(np.int64) @ data.astype(np.int64)
    expected = naive.requantise(acc, constants, plain)
    np.testing.assert_array_equal(run_description(layer, [data], constants), expected)
    np.testing.assert_array_equal(run_c(layer, [data], constants), expected)


def test_a_vector_shorter_than_a_word_has_no_micro_kernel() -> None:
    rng = np.random.default_rng(1)
    constants = channel_constants(rng, 5, (-8, -8), wide=False)
    constants["weight"] = int8(rng, 5, 3)
    assert dsp_dense(Dense(3, 5, 0, -128, 127, "single", -8, -8), constants) is None


@pytest.mark.parametrize("out_features", [6, 7, 12])
def test_every_weight_is_packed_once(out_features: int) -> None:
    rng = np.random.default_rng(2)
    constants = channel_constants(rng, out_features, (-8, -8), wide=False)
    constants["bias"][:], constants["multiplier"][:] = 0, 2**30
    constants["weight"] = rng.integers(1, 100, (out_features, 10)).astype(np.int8)
    layer = dsp_dense(Dense(10, out_features, 0, -128, 127, "single", -8, -8), constants)
    assert layer is not None and layer.joint
    packed = layer.pack(constants)["weight"]
    # Twelve inputs in three words, two of them zeros; an odd channel is paired with zeros.
    assert packed.size == 12 * (out_features + out_features % 2)
    assert sorted(packed[packed != 0]) == sorted(constants["weight"].reshape(-1))
