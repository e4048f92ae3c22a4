"""Every way of making a kernel computes the same integers."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.schedules import (
    ConvRow,
    Dense,
    DepthwiseRow,
    Kernel,
    dsp_conv_row,
    dsp_conv_shared,
    dsp_dense,
    dsp_depthwise_direct,
    dsp_depthwise_row,
    make_variant,
    space_of,
)

from . import naive
from .execution import run_c
from .test_windowed import channel_constants, int8


def convolution(
    rng: np.random.Generator, *, width: int, channels: int, outputs: int, kernel: int
) -> tuple[ConvRow, naive.Array, dict[str, naive.Array]]:
    plain = ConvRow(
        width + kernel - 1, channels, width, outputs, kernel, kernel, 1, 1, 1, 1,
        -7, -128, 127, "double", -9, -6,
    )  # fmt: skip
    data = int8(rng, kernel, width + kernel - 1, channels)
    constants = channel_constants(rng, outputs, (-9, -6), wide=False)
    constants["weight"] = np.maximum(int8(rng, outputs, kernel, kernel, channels), np.int8(-127))
    constants["bias"] %= 2**17
    return plain, data, constants


def depthwise(
    rng: np.random.Generator, *, width: int, channels: int, kernel: int
) -> tuple[DepthwiseRow, naive.Array, dict[str, naive.Array]]:
    plain = DepthwiseRow(
        width + kernel - 1, channels, width, 1, kernel, kernel, 1, 1, 1,
        -128, -128, 127, "double", -9, -6,
    )  # fmt: skip
    data = int8(rng, kernel, width + kernel - 1, channels)
    constants = channel_constants(rng, channels, (-9, -6), wide=False)
    constants["weight"] = int8(rng, kernel, kernel, channels)
    constants["bias"] %= 2**17
    return plain, data, constants


def check_some(
    kernel: Kernel, data: naive.Array, constants: dict[str, naive.Array], every: int
) -> None:
    space = space_of(kernel)
    assert space is not None
    found = [(choice, make_variant(kernel, choice)) for choice in space.choices()]
    kernels = [(choice, made) for choice, made in found if made is not None]
    assert kernels[0] == (space.default, kernel), "the first candidate is the default"
    names = [made.name for _, made in kernels]
    assert len(set(names)) == len(names), "no two candidates are the same"
    expected = run_c(kernel, [data], constants)
    for choice, made in islice(kernels, every % 3 + 1, None, every):
        np.testing.assert_array_equal(run_c(made, [data], constants), expected, str(choice))


@settings(max_examples=4)
@given(
    width=st.integers(3, 8),
    channels=st.integers(4, 40),
    outputs=st.integers(1, 6),
    kernel=st.sampled_from([1, 3]),
    shared=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_ways_of_a_micro_convolution(
    width: int, channels: int, outputs: int, kernel: int, shared: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plain, data, constants = convolution(
        rng, width=width, channels=channels, outputs=outputs, kernel=kernel
    )
    row = dsp_conv_row(plain, constants)
    assert row is not None
    check_some((shared and dsp_conv_shared(row)) or row, data, constants, 4)


@settings(max_examples=4)
@given(
    inputs=st.integers(4, 150),
    outputs=st.integers(1, 20),
    narrow=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_ways_of_a_micro_dense(inputs: int, outputs: int, narrow: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plain = Dense(inputs, outputs, 3, -128, 127, "double", -9, -6)
    constants = channel_constants(rng, outputs, (-9, -6), wide=False)
    constants["weight"] = int8(rng, outputs, inputs)
    if narrow:
        constants["weight"] = np.maximum(constants["weight"], np.int8(-127))
        constants["bias"] %= 2**17
    layer = dsp_dense(plain, constants)
    assert layer is not None and (layer.joint or not narrow)
    check_some(layer, int8(rng, inputs), constants, 3)


@settings(max_examples=3)
@given(
    width=st.integers(1, 12),
    channels=st.integers(1, 9),
    micro=st.booleans(),
    kernel=st.sampled_from([3, 5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_ways_of_a_depthwise_row(
    width: int, channels: int, micro: bool, kernel: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plain, data, constants = depthwise(rng, width=width, channels=channels, kernel=kernel)
    direct = dsp_depthwise_direct(plain, constants)
    row = dsp_depthwise_row(plain, constants, 1) if micro else direct or plain
    assert row is not None
    check_some(row, data, constants, 3)


def test_ways_of_a_plain_convolution() -> None:
    rng = np.random.default_rng(1)
    plain, data, constants = convolution(rng, width=8, channels=8, outputs=4, kernel=3)
    check_some(plain, data, constants, 9)


def test_choices_of_other_versions_amount_to_nothing() -> None:
    plain, _, constants = convolution(
        np.random.default_rng(2), width=4, channels=8, outputs=2, kernel=1
    )
    row = dsp_conv_row(plain, constants)
    assert row is not None
    assert make_variant(row, {"form": "gathered"}) is None
    assert make_variant(row, {"form": "winograd", "turn": "2", "weights": "joint"}) is None


@pytest.mark.parametrize("other", [(3, 8, 2, 1), (4, 12, 2, 1), (4, 8, 4, 1)])
def test_keys_tell_shapes_apart_and_constants_not(other: tuple[int, int, int, int]) -> None:
    def key(seed: int, width: int, channels: int, outputs: int, kernel: int) -> str:
        plain, _, constants = convolution(
            np.random.default_rng(seed),
            width=width, channels=channels, outputs=outputs, kernel=kernel,
        )  # fmt: skip
        row = dsp_conv_row(plain, constants)
        space = None if row is None else space_of(row)
        assert space is not None
        return space.key

    assert key(1, 4, 8, 2, 1) == key(2, 4, 8, 2, 1)
    assert key(1, 4, 8, 2, 1) != key(1, *other)
