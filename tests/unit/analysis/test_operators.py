"""What an operator means to the planner: how it reads, and what it costs."""

from __future__ import annotations

import pytest

from tvm_patch.analysis import read_network
from tvm_patch.plan import Access, Operator
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
