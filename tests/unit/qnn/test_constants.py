"""Branches that no input reaches are computed at compile time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from tests.unit.qnn.qdq import operators
from tvm_patch.analysis import read_network
from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.importer.tflite import load_tflite
from tvm_patch.qnn import run_outputs, to_integer
from tvm_patch.testing.networks import NetworkLimits, RandomNetwork
from tvm_patch.testing.reference import random_inputs, run_reference
from tvm_patch.testing.strategies import networks
from tvm_patch.testing.tflite_builder import TensorRef, TFLiteBuilder

RNG = np.random.default_rng(5)
SHAPE = (1, 6, 5, 4)


def builder() -> tuple[TFLiteBuilder, TensorRef, TensorRef]:
    """A network with an input and a constant of the same shape."""
    b = TFLiteBuilder("constant_branch")
    values = RNG.integers(-128, 128, SHAPE).astype(np.int8)
    return b, b.input("x", SHAPE, 0.05, 3), b.constant("values", values, "int8", 0.04, -2)


def convolved(b: TFLiteBuilder, x: TensorRef) -> TensorRef:
    weight = RNG.integers(-127, 128, (4, 3, 3, 4)).astype(np.int8)
    return b.conv2d(x, weight, np.arange(4, dtype=np.int32), 0.01, 0.05, 3, activation="RELU")


def hard_swished(b: TFLiteBuilder, x: TensorRef) -> TensorRef:
    return b.hard_swish(x, 0.03, -4)


def pooled(b: TFLiteBuilder, x: TensorRef) -> TensorRef:
    return b.max_pool2d(x, (3, 3), (1, 1), padding="SAME")


def doubled(b: TFLiteBuilder, x: TensorRef) -> TensorRef:
    return b.add(x, x, 0.1, 0)


def joined(b: TFLiteBuilder, x: TensorRef) -> TensorRef:
    both = b.concatenation([x, x])
    weight = RNG.integers(-127, 128, (4, 1, 1, 8)).astype(np.int8)
    return b.conv2d(both, weight, np.zeros(4, np.int32), 0.01, 0.05, 3)


@pytest.mark.parametrize("operator", [convolved, hard_swished, pooled, doubled, joined])
def test_a_branch_of_constants_leaves_a_constant(operator) -> None:
    b, x, values = builder()
    branch = operator(b, operator(b, values))
    b.output(b.add(x, branch, 0.1, 0, name="sum"))
    model = b.build()
    module = to_integer(load_tflite(model, name="model").module)
    assert operators(module) == [("qnn.add", "sum")]
    inputs = random_inputs(model)
    expected = run_reference(model, *inputs)
    for ours, theirs in zip(run_outputs(module, inputs), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(networks(NetworkLimits(blocks=("constant_branch", "conv"), max_blocks=3)))
def test_constant_branches_are_computed_as_litert_does(network: RandomNetwork) -> None:
    module = to_integer(load_tflite(network.model, name="model").module)
    inputs = random_inputs(network.model)
    expected = run_reference(network.model, *inputs)
    for ours, theirs in zip(run_outputs(module, inputs), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 5, 4), (1, 6, 1, 4), (1, 6, 5, 1), SHAPE])
def test_constants_of_rows_and_columns_are_spread(
    shape: tuple[int, ...], *, is_first: bool
) -> None:
    b = TFLiteBuilder("spread")
    x = b.input("x", SHAPE, 0.05, 3)
    values = b.constant("values", RNG.integers(-128, 128, shape).astype(np.int8), "int8", 0.04, -2)
    b.output(b.mul(*((values, x) if is_first else (x, values)), 0.1, 0))
    model = b.build()
    module = to_integer(load_tflite(model, name="model").module)
    inputs = random_inputs(model)
    np.testing.assert_array_equal(run_outputs(module, inputs)[0], run_reference(model, *inputs)[0])
    (operator,) = read_network(module, name="spread").graph.operators
    assert not operator.streamable


def test_an_output_that_never_changes_is_refused() -> None:
    b, x, values = builder()
    b.output(b.add(x, x, 0.1, 0))
    b.output(b.add(values, values, 0.1, 0, name="always"))
    with pytest.raises(UnsupportedOperatorError, match="always is the same for every input"):
        to_integer(load_tflite(b.build(), name="model").module)
