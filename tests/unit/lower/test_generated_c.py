"""Generated C against LiteRT: random networks under random plans, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from tests.support import EXAMPLES_FACTOR, plans, stage_ends, stage_sequences
from tvm_patch.errors import PlanError
from tvm_patch.lower import lower_network, sharing
from tvm_patch.pipeline import Prepared, prepare
from tvm_patch.plan import (
    Access,
    Evaluator,
    Graph,
    InputMode,
    Plan,
    StagePlan,
    patch_stage,
    row_stage,
)
from tvm_patch.plan.layout.stage import stage_group
from tvm_patch.plan.search.streams import StreamSpace, segment_sequences
from tvm_patch.testing.blocks import NetworkLimits
from tvm_patch.testing.native import NativeModel
from tvm_patch.testing.networks import RandomNetwork
from tvm_patch.testing.reference import random_inputs, run_reference
from tvm_patch.testing.strategies import WINDOW_BLOCKS, networks, window_networks

TOLERANCE_BYTES = 64

thorough = settings(max_examples=40 * EXAMPLES_FACTOR)


def prepared(network: RandomNetwork) -> Prepared:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.tflite"
        path.write_bytes(network.model)
        return prepare(path)


def check(
    network: RandomNetwork, model: Prepared, plan: Plan, tolerance_bytes: int = TOLERANCE_BYTES
) -> NativeModel:
    """Outputs equal LiteRT's, and the arena is used up to its end and not beyond."""
    inputs = random_inputs(network.model, network.seed)
    # In half of the examples all kernels are shared that can be, however slow that is.
    with mock.patch.object(sharing, "_SMALL_CODE", 10**9):
        lowered = lower_network(
            model.network, plan, c_name="network", small_code=network.seed % 2 == 1
        )
    native = NativeModel(lowered)
    computed = native.run(*inputs)
    expected = run_reference(network.model, *inputs)
    for name, value in zip(model.network.graph.outputs, expected, strict=True):
        np.testing.assert_array_equal(computed[name], value.reshape(computed[name].shape))
    untouched = plan.memory.arena_bytes - native.high_water_bytes()
    assert 0 <= untouched <= max(tolerance_bytes, TOLERANCE_BYTES)
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


SHORTCUTS = NetworkLimits(
    max_size=12,
    max_channels=6,
    max_blocks=2,
    blocks=("shortcut",),
    float_io=False,
    side_outputs=False,
)


@settings(max_examples=25 * EXAMPLES_FACTOR)
@given(st.data())
def test_strided_shortcuts_in_streams(data: st.DataObject) -> None:
    network = data.draw(networks(SHORTCUTS))
    model = prepared(network)
    space = StreamSpace(model.network.graph, data.draw(st.sampled_from(InputMode)))
    sequences = list(segment_sequences(space, space.limits(space.least_peak_bytes), 12))
    assume(sequences)
    evaluator = Evaluator(model.network.graph)
    stages = data.draw(st.sampled_from(sequences))
    check(network, model, evaluator.pack(evaluator.evaluate(stages)))


@thorough
@given(st.data())
def test_any_scratch_memory_in_streams(data: st.DataObject) -> None:
    network = data.draw(window_networks())
    model = prepared(network)
    graph = model.network.graph
    # Less than a kernel wants that has scratch memory anyhow is no plan.
    wanting = [op.name for op in graph.operators if op.access is Access.ROWS and op.scratch is None]
    assume(wanting)
    sizes = data.draw(st.dictionaries(st.sampled_from(wanting), st.integers(1, 600), min_size=1))
    graph = graph.with_scratch(sizes)
    space = StreamSpace(graph)
    sequences = list(segment_sequences(space, space.limits(space.least_peak_bytes), 12))
    assume(sequences)
    evaluator = Evaluator(graph)
    plan = evaluator.pack(evaluator.evaluate(data.draw(st.sampled_from(sequences))))
    # What a kernel has no use for is written to all the same.
    check(network, model, replace(plan, scratch_bytes=sizes), tolerance_bytes=max(sizes.values()))


@thorough
@given(st.data())
def test_an_input_fetched_by_rows(data: st.DataObject) -> None:
    network = data.draw(window_networks())
    model = prepared(network)
    space = StreamSpace(model.network.graph, InputMode.ROWS)
    sequences = list(segment_sequences(space, space.limits(space.least_peak_bytes), 12))
    assume(sequences)
    evaluator = Evaluator(model.network.graph)
    plan = evaluator.pack(evaluator.evaluate(data.draw(st.sampled_from(sequences))))
    assert plan.input_mode is InputMode.ROWS
    native = check(network, model, plan)
    # Each row once at most, from top to bottom; rows that nothing reads are left out.
    assert native.rows_fetched == sorted(set(native.rows_fetched))


@st.composite
def stages_with_a_pool(draw: st.DrawFn, graph: Graph) -> tuple[StagePlan, ...]:
    """Any stages, with one at the end in which a global pool takes the rows as they are made."""
    (end,) = (i for i, op in enumerate(graph.operators) if op.access is Access.ACCUMULATE)
    begins = [begin for begin in range(end + 1) if end + 1 in stage_ends(graph, begin)]
    begin = draw(st.sampled_from(begins))
    tiled = graph.tensor[graph.operators[end].paced_by]
    make = draw(st.sampled_from([row_stage, row_stage, patch_stage]))
    tile_h = draw(st.integers(1, tiled.height))
    last = make(graph.operators[begin : end + 1], tile_h, tiled.width)
    try:
        stage_group(graph, last, "stage")
    except PlanError:
        reject()
    return (*draw(stage_sequences(graph, begin)), last)


@settings(max_examples=15 * EXAMPLES_FACTOR)
@given(st.data())
def test_a_global_pool_at_the_end_of_a_stage(data: st.DataObject) -> None:
    limits = NetworkLimits(max_size=14, blocks=WINDOW_BLOCKS, heads=("mean", "pool"))
    network = data.draw(networks(limits))
    model = prepared(network)
    graph = model.network.graph
    assume(any(op.access is Access.ACCUMULATE for op in graph.operators))
    evaluator = Evaluator(graph)
    check(network, model, evaluator.pack(evaluator.evaluate(data.draw(stages_with_a_pool(graph)))))
