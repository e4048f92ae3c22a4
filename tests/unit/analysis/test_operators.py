"""What an operator means to the planner: how it reads, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvm_patch.analysis import read_network
from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.plan import Access, Operator
from tvm_patch.qnn import ops
from tvm_patch.testing.integer_networks import IntegerNetwork


def depthwise(size: int, channels: int, kernel: int) -> Operator:
    """A depthwise convolution that keeps the size of a square map."""
    network = IntegerNetwork((1, size, size, channels), seed=1)
    pad = kernel // 2
    data = network.depthwise(network.input, (kernel, kernel), padding=(pad, pad, pad, pad))
    (operator,) = read_network(network.finish(data), name="network").graph.operators
    return operator


@pytest.mark.parametrize(("size", "kernel"), [(2, 5), (2, 7), (4, 7), (5, 7)])
def test_a_map_smaller_than_its_row_window_is_read_whole(size: int, kernel: int) -> None:
    operator = depthwise(size, 16, kernel)
    assert operator.access is Access.WHOLE
    assert not operator.streamable
    assert operator.macs == size * size * 16 * kernel * kernel


@pytest.mark.parametrize(("size", "kernel"), [(8, 3), (12, 5), (16, 7)])
def test_a_larger_map_is_read_by_rows(size: int, kernel: int) -> None:
    operator = depthwise(size, 16, kernel)
    assert operator.access is Access.ROWS
    assert operator.streamable
    assert operator.pad_value == 0


def test_a_convolution_counts_padding_taps_and_names_its_padding() -> None:
    network = IntegerNetwork((1, 6, 8, 3), seed=2)
    data = network.conv2d(network.input, 5, (3, 3), padding=(1, 1, 1, 1), zero_point=-7)
    (operator,) = read_network(network.finish(data), name="network").graph.operators
    assert operator.macs == 6 * 8 * 5 * 3 * 3 * 3
    assert operator.pad_value == -7
    assert (operator.window.kernel_h, operator.window.pad_left) == (3, 1)


def test_channels_are_joined_by_rows_and_rows_are_not() -> None:
    for axis, access in ((3, Access.ROWS), (2, Access.WHOLE), (1, Access.WHOLE)):
        network = IntegerNetwork((1, 4, 5, 3), seed=3)
        joined = network.emit(ops.concatenate([network.input, network.input], axis=axis), "joined")
        (operator,) = read_network(network.finish(joined), name="network").graph.operators
        assert operator.access is access
        assert operator.streamable is (access is Access.ROWS)


def test_joining_a_constant_is_refused() -> None:
    network = IntegerNetwork((1, 4, 5, 3), seed=4)
    constant = relax.const(np.ones((1, 4, 5, 2), np.int8))
    joined = network.emit(ops.concatenate([network.input, constant], axis=3), "joined")
    with pytest.raises(UnsupportedOperatorError, match="joined: a constant"):
        read_network(network.finish(joined), name="network")


def test_a_resize_makes_rows_of_a_map_that_it_needs_whole() -> None:
    network = IntegerNetwork((1, 4, 5, 3), seed=5)
    large = network.emit(ops.resize_nearest(network.input, out_height=8, out_width=9), "large")
    (operator,) = read_network(network.finish(large), name="network").graph.operators
    assert operator.access is Access.ROWS
    assert operator.whole_inputs == ("image",)
    assert operator.is_full_width


def test_a_global_sum_goes_over_the_rows_that_it_adds_up() -> None:
    network = IntegerNetwork((1, 4, 5, 3), seed=6)
    total = network.emit(ops.global_sum(network.input), "total")
    pooled = network.emit(ops.average_of_sum(total, pixels=20), "pooled")
    graph = read_network(network.finish(pooled), name="network").graph
    adds, finishes = graph.operators
    assert adds.access is Access.ACCUMULATE
    assert adds.streamable
    assert adds.paced_by == "image"
    assert (graph.tensor["total"].dtype, graph.tensor["total"].size_bytes) == ("int32", 12)
    assert finishes.access is Access.WHOLE
    assert finishes.elementwise
