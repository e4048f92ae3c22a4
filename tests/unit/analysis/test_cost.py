"""Costs of operators, and which MACs are live."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import DIGITS, real_model
from tvm_patch.analysis import Network, OperatorDetail
from tvm_patch.analysis.cost import cost_of
from tvm_patch.pipeline import prepare
from tvm_patch.plan import Access, Graph, Operator, Tensor


def chain(*layers: tuple[str, np.ndarray], size: int = 4) -> Network:
    """Layers one after the other on feature maps of ``size`` x ``size``, by kind and weight."""
    first_weight = layers[0][1]
    channels = first_weight.shape[-1]
    tensors = [Tensor("x", (1, size, size, channels))]
    operators, details = [], {}
    for index, (kind, weight) in enumerate(layers):
        name = f"t{index}"
        if kind == "conv2d":
            channels, taps = weight.shape[0], weight[0].size
        else:
            channels, taps = weight.shape[-1], weight.shape[0] * weight.shape[1]
        tensors.append(Tensor(name, (1, size, size, channels)))
        macs = size * size * channels * taps
        operators.append(Operator(name, kind, (tensors[-2].name,), name, Access.ROWS, macs=macs))
        details[name] = OperatorDetail(kind, {}, {"weight": weight})
    graph = Graph("chain", tuple(tensors), tuple(operators), ("x",), (f"t{index}",), "f")
    return Network(graph, details)


def test_all_is_live_where_no_filter_is_zero() -> None:
    cost = cost_of(chain(("conv2d", np.ones((8, 3, 3, 4), np.int8))))
    assert cost.live_macs == cost.macs == 16 * 8 * 36
    assert cost.weight_bytes == 8 * 36
    assert cost.naive_peak_bytes == 16 * (4 + 8)


def test_a_zero_filter_costs_nothing() -> None:
    weight = np.ones((8, 3, 3, 4), np.int8)
    weight[:3] = 0
    assert cost_of(chain(("conv2d", weight))).live_macs == 16 * 5 * 36


def test_single_zeros_in_a_live_filter_count() -> None:
    weight = np.ones((8, 3, 3, 4), np.int8)
    weight[0, 1, 1, 2] = 0
    assert cost_of(chain(("conv2d", weight))).live_macs == 16 * 8 * 36


def test_channels_that_nobody_reads_die_all_the_way_up() -> None:
    last = np.ones((4, 1, 1, 6), np.int8)
    last[..., 2:] = 0
    cost = cost_of(
        chain(
            ("conv2d", np.ones((6, 1, 1, 5), np.int8)),
            ("depthwise_conv2d", np.ones((3, 3, 6), np.int8)),
            ("conv2d", last),
        )
    )
    assert [operator.live_macs for operator in cost.operators] == [
        16 * 2 * 5,
        16 * 2 * 9,
        16 * 4 * 2,
    ]


def test_groups_are_counted_apart() -> None:
    # Two groups of two filters, each reading two of four channels; one filter is dead.
    weight = np.ones((4, 1, 1, 2), np.int8)
    weight[0] = 0
    network = chain(("conv2d", weight))
    tensors = (Tensor("x", (1, 4, 4, 4)), network.graph.tensors[1])
    graph = Graph("g", tensors, network.graph.operators, ("x",), ("t0",), "f")
    assert cost_of(Network(graph, network.details)).live_macs == 16 * 3 * 2


def test_views_work_on_nothing() -> None:
    tensors = (Tensor("x", (1, 2, 2, 3)), Tensor("y", (1, 12)))
    operator = Operator("y", "reshape", ("x",), "y", Access.VIEW)
    graph = Graph("view", tensors, (operator,), ("x",), ("y",), "f")
    cost = cost_of(Network(graph, {"y": OperatorDetail("reshape", {}, {})}))
    assert cost.operators[0].is_view
    assert cost.naive_peak_bytes == 0


def test_the_digits_network_is_all_live() -> None:
    cost = cost_of(prepare(DIGITS).network)
    assert cost.macs == cost.live_macs == 3_675_264
    assert cost.naive_peak_bytes == 102_400
    assert cost.heaviest is not None
    assert cost.heaviest.name == "block3_depthwise"


@pytest.mark.models
def test_half_of_visual_wake_words_is_dead() -> None:
    cost = cost_of(prepare(real_model("mlperf-vww")).file_network)
    assert cost.macs == 7_489_664
    assert cost.live_macs == pytest.approx(3_743_000, rel=0.005)


@pytest.mark.models
@pytest.mark.parametrize(("name", "macs"), [("mcunet-vww0", 5_958_400), ("person-det", 18_296_320)])
def test_macs_of_real_networks(name: str, macs: int) -> None:
    cost = cost_of(prepare(real_model(name)).file_network)
    assert cost.macs == macs
    assert 0 < cost.live_macs <= macs
