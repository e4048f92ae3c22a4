"""Marks: a profiling build computes the same, and everything that runs belongs to somebody."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import DIGITS, EXAMPLES_FACTOR, plans
from tests.unit.lower.test_generated_c import prepared
from tvm_patch.lower import LoweredModel, lower_network
from tvm_patch.lower.marks import RUN, Part
from tvm_patch.lower.model import LoweredGroup
from tvm_patch.pipeline import make_plan, prepare
from tvm_patch.plan import Requirements
from tvm_patch.testing.native import NativeModel
from tvm_patch.testing.reference import random_inputs, run_reference
from tvm_patch.testing.strategies import networks, window_networks


def check_marks(model: LoweredModel, native: NativeModel) -> None:
    """What the marks that a run has passed must look like."""
    for group, passed in zip(model.groups, native.marks_passed, strict=True):
        marks = [model.marks[number] for number in passed]
        # A profile books what follows the last mark to the first one's number.
        assert marks[-1] == RUN
        assert RUN not in marks[:-1]
        assert {mark.group for mark in marks[:-1]} == {group.name}
        for mark, after in pairwise(marks):
            if mark.part is Part.KERNEL:
                assert (after.part, after.operator) == (Part.DATA, mark.operator)
        calls = Counter(mark.operator for mark in marks if mark.part is Part.KERNEL)
        for layout in group.group.operators:
            macs = group.group.macs_of(layout)
            assert bool(calls[layout.operator.name]) or not macs
            if macs and len(model.kernels_of[layout.operator.name]) == 1:
                # Kernels are static: each call of one does the same number of MACs.
                assert macs % calls[layout.operator.name] == 0


@settings(max_examples=8 * EXAMPLES_FACTOR)
@given(st.data())
def test_a_profiling_build_computes_the_same(data: st.DataObject) -> None:
    network = data.draw(st.one_of(networks(), window_networks()))
    model = prepared(network)
    lowered = lower_network(model.network, data.draw(plans(model.network.graph)), c_name="network")
    native = NativeModel(lowered, record_marks=True)
    inputs = random_inputs(network.model, network.seed)
    computed = native.run(*inputs)
    expected = run_reference(network.model, *inputs)
    for name, value in zip(model.network.graph.outputs, expected, strict=True):
        np.testing.assert_array_equal(computed[name], value.reshape(computed[name].shape))
    check_marks(lowered, native)


@pytest.fixture(scope="module")
def streamed() -> LoweredModel:
    digits = prepare(DIGITS)
    wanted = Requirements(objective="memory", max_overhead=1.0, buffering="rows")
    return lower_network(digits.network, make_plan(digits, wanted), c_name="digits")


def _goes_by_whole_rows(model: LoweredModel, group: LoweredGroup) -> bool:
    stage = group.group.stage
    return (
        stage is not None and stage.tile_w == model.network.graph.tensor[group.group.output].width
    )


def test_every_row_of_a_stage_is_one_call_of_each_kernel(streamed: LoweredModel) -> None:
    native = NativeModel(streamed, record_marks=True)
    native.run(np.zeros((1, 64, 64, 1), np.int8))
    check_marks(streamed, native)
    calls = Counter(
        streamed.marks[number].operator
        for passed in native.marks_passed
        for number in passed
        if streamed.marks[number].part is Part.KERNEL
    )
    graph = streamed.network.graph
    stages = [group for group in streamed.groups if group.group.stage is not None]
    whole_rows = [group for group in stages if _goes_by_whole_rows(streamed, group)]
    assert whole_rows
    for group in whole_rows:
        for layout in group.group.operators:
            height = graph.tensor[layout.operator.output].height
            assert calls[layout.operator.name] == height


def test_without_a_profiling_build_nothing_is_recorded(streamed: LoweredModel) -> None:
    native = NativeModel(streamed)
    native.run(np.zeros((1, 64, 64, 1), np.int8))
    assert not any(native.marks_passed)
