"""Random networks: LiteRT takes them all, they keep their limits and use their int8 range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tvm_patch.testing.blocks import BLOCKS, NetworkLimits
from tvm_patch.testing.networks import RandomNetwork, mobilenet_like, random_network
from tvm_patch.testing.reference import (
    random_inputs,
    reference_interpreter,
    reference_tensors,
    run_reference,
)
from tvm_patch.testing.strategies import networks, window_networks

EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.data_too_large]
)


@EXAMPLES
@given(network=networks(), input_seed=st.integers(0, 100))
def test_litert_runs_every_network(network: RandomNetwork, input_seed: int) -> None:
    outputs = run_reference(network.model, *random_inputs(network.model, input_seed))
    assert all(output.size and np.isfinite(output).all() for output in outputs)


@EXAMPLES
@given(network=window_networks(max_size=12))
def test_window_networks_are_int8_and_keep_their_limits(network: RandomNetwork) -> None:
    interpreter = reference_interpreter(network.model)
    details = interpreter.get_input_details() + interpreter.get_output_details()
    assert [detail["dtype"] for detail in details] == [np.int8, np.int8]
    assert max(network.input_shape[1:3]) <= 12
    for label in network.blocks:
        kind, shape = label.split()
        if kind in BLOCKS:
            height, width, channels = map(int, shape.split("x"))
            assert min(height, width) >= 1
            assert max(height, width) <= 12
            assert channels <= NetworkLimits().max_channels


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_block_alone(kind: str) -> None:
    limits = NetworkLimits(blocks=(kind,), heads=("none",), float_io=False, side_outputs=False)
    for seed in range(5):
        network = random_network(seed, limits)
        (output,) = run_reference(network.model, *random_inputs(network.model))
        final = network.blocks[-1].split()[1]
        assert "x".join(str(extent) for extent in output.shape[1:]) == final


def test_same_seed_same_bytes() -> None:
    assert random_network(7).model == random_network(7).model
    assert random_network(7).model != random_network(8).model


def test_feature_maps_use_their_range() -> None:
    used = []
    for seed in range(30):
        model = random_network(seed).model
        tensors = reference_tensors(model, *random_inputs(model, seed))
        used += [
            np.ptp(values.astype(int))
            for name, values in tensors.items()
            if values.dtype == np.int8 and values.ndim == 4 and values.size > 256
            if not name.endswith("/weight")
        ]
    assert np.median(used) > 200


def test_failures_shrink_to_one_simple_block() -> None:
    tried: list[RandomNetwork] = []

    @settings(database=None, deadline=None, derandomize=True, report_multiple_bugs=False)
    @given(network=networks())
    def refuses_tall_inputs(network: RandomNetwork) -> None:
        tried.append(network)
        assert network.input_shape[1] < 3

    with pytest.raises(AssertionError):
        refuses_tall_inputs()
    assert tried[-1].input_shape == (1, 3, 1, 1)
    assert len(tried[-1].blocks) == 1


def test_mobilenet_like_is_dominated_by_its_first_maps() -> None:
    network = mobilenet_like(0, (1, 32, 32, 3))
    tensors = reference_tensors(network.model, *random_inputs(network.model))
    sizes = [
        values.size
        for name, values in tensors.items()
        if values.dtype == np.int8 and not name.endswith("/weight")
    ]
    half = len(sizes) // 2
    assert max(sizes[:half]) >= 2 * max(sizes[half:])
    assert tensors["softmax"].shape == (1, 10)
