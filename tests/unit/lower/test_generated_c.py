"""Generated C against LiteRT: random networks under random plans, bit for bit."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support import EXAMPLES_FACTOR, plans
from tvm_patch.lower import lower_network
from tvm_patch.pipeline import Prepared, prepare
from tvm_patch.plan import Evaluator, InputMode, Plan
from tvm_patch.plan.segments import StreamSpace, segment_sequences
from tvm_patch.testing.native import NativeModel
from tvm_patch.testing.networks import RandomNetwork
from tvm_patch.testing.reference import random_inputs, run_reference
from tvm_patch.testing.strategies import networks, window_networks

TOLERANCE_BYTES = 64

thorough = settings(max_examples=40 * EXAMPLES_FACTOR)


def prepared(network: RandomNetwork) -> Prepared:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.tflite"
        path.write_bytes(network.model)
        return prepare(path)


def check(network: RandomNetwork, model: Prepared, plan: Plan) -> NativeModel:
    """Outputs equal LiteRT's, and the arena is used up to its end and not beyond."""
    inputs = random_inputs(network.model, network.seed)
    native = NativeModel(lower_network(model.network, plan, c_name="network"))
    computed = native.run(*inputs)
    expected = run_reference(network.model, *inputs)
    for name, value in zip(model.network.graph.outputs, expected, strict=True):
        np.testing.assert_array_equal(computed[name], value.reshape(computed[name].shape))
    untouched = plan.memory.arena_bytes - native.high_water_bytes()
    assert 0 <= untouched <= TOLERANCE_BYTES
    return native


@thorough
@given(st.data())
def test_any_network_under_any_plan(data: st.DataObject) -> None:
    network = data.draw(networks())
    model = prepared(network)
    check(network, model, data.draw(plans(model.network.graph)))


@thorough
@given(st.data())
def test_windows_in_patches_and_streams(data: st.DataObject) -> None:
    network = data.draw(window_networks())
    model = prepared(network)
    check(network, model, data.draw(plans(model.network.graph)))


@thorough
@given(st.data())
def test_an_input_fetched_by_rows(data: st.DataObject) -> None:
    network = data.draw(window_networks())
    model = prepared(network)
    space = StreamSpace(model.network.graph, InputMode.ROWS)
    sequences = list(segment_sequences(space, 12))
    assume(sequences)
    evaluator = Evaluator(model.network.graph)
    plan = evaluator.pack(evaluator.evaluate(data.draw(st.sampled_from(sequences))))
    assert plan.input_mode is InputMode.ROWS
    native = check(network, model, plan)
    # Each row once at most, from top to bottom; rows that nothing reads are left out.
    assert native.rows_fetched == sorted(set(native.rows_fetched))
