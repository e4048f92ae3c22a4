"""Random Relay chains and residual blocks, cut anyhow, compute what they computed before."""

from __future__ import annotations

import os
from typing import Any

import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relay

from tests.relay.running import assert_equal_outputs
from tvm_patch.plan import first_stage_ends, patch_stage
from tvm_patch.relay import PatchPartition
from tvm_patch.relay.reader import read_function
from tvm_patch.relay.rewrite import patched_function
from tvm_patch.relay.testing import Builder
from tvm_patch.relay.tiles import patch_of, tile_blocks

EXAMPLES = int(os.environ.get("TVM_PATCH_EXAMPLES_FACTOR", "1")) * 8


@st.composite
def _layer(draw: st.DrawFn, net: Builder, x: Any) -> Any:
    height, width = net.size(x)
    kind = draw(
        st.sampled_from(
            ["conv", "conv", "depthwise", "grouped", "residual", "max", "avg", "pad", "concat"]
        )
    )
    kernel = (draw(st.integers(1, min(4, height))), draw(st.integers(1, min(4, width))))
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    if min(height, width) < 5:
        stride = (1, 1)
    channels = net.channels(x)
    activation = draw(st.sampled_from(["relu6", "relu", "none"]))
    if kind == "conv":
        return net.conv(x, draw(st.integers(1, 6)), kernel, stride, activation=activation)
    if kind == "depthwise":
        return net.conv(x, channels, kernel, stride, groups=channels, activation=activation)
    if kind == "grouped" and channels % 2 == 0:
        return net.conv(x, 4, kernel, stride, groups=2, activation=activation)
    if kind == "residual":
        y = net.conv(x, channels + 2, (1, 1), activation=activation)
        y = net.conv(y, channels + 2, kernel, groups=channels + 2)
        y = net.conv(y, channels, (1, 1), activation="none")
        return net.add(x, y) if draw(st.booleans()) else net.add(y, x)
    if kind in ("max", "avg") and min(height, width) >= 4:
        padding = draw(st.tuples(*[st.integers(0, 1)] * 4))
        include = draw(st.booleans())
        return net.pool(x, kind, (2, 3), stride, padding, count_include_pad=include)
    if kind == "pad":
        return net.pad(x, *draw(st.tuples(*[st.integers(0, 2)] * 4)))
    if kind == "concat" and net.precision == "float32":
        return net.concatenate([x, net.conv(x, 2, kernel, activation=activation)])
    return net.conv(x, 3, (3, 3), dilation=draw(st.sampled_from([(1, 1), (2, 1), (1, 2)])))


@st.composite
def networks(draw: st.DrawFn) -> tvm.IRModule:
    """A chain with branches, of any layout and precision."""
    net = Builder(
        layout=draw(st.sampled_from(["NCHW", "NHWC"])),
        precision=draw(st.sampled_from(["float32", "int8"])),
        seed=draw(st.integers(0, 1 << 16)),
    )
    x = net.input(draw(st.integers(6, 15)), draw(st.integers(6, 15)), draw(st.integers(1, 4)))
    for _ in range(draw(st.integers(2, 5))):
        x = draw(_layer(net, x))
    x = net.conv(x, 4, (1, 1))
    return net.module(x)


@settings(max_examples=EXAMPLES)
@given(data=st.data(), mod=networks())
def test_random_networks_compute_the_same(data: st.DataObject, mod: tvm.IRModule) -> None:
    network = read_function(mod["main"])
    ends = first_stage_ends(network.graph)
    if not ends:
        return
    operators = network.graph.operators[: data.draw(st.sampled_from(ends)) + 1]
    output = network.graph.tensor[operators[-1].output]
    stage = patch_stage(
        operators,
        data.draw(st.integers(-(-output.height // 3), output.height)),
        data.draw(st.integers(-(-output.width // 2), output.width)),
    )
    body = patched_function(mod["main"], network, stage)
    patched = relay.transform.InferType()(tvm.IRModule.from_expr(body))
    assert_equal_outputs(mod, patched)


@pytest.mark.parametrize(("precision", "tile"), [("float32", (1, 8)), ("int8", (8, 1))])
def test_patches_that_lie_in_padding_wholly(precision: Any, tile: tuple[int, int]) -> None:
    """Of a padding in the stage, of one at its end, and of a convolution's own."""
    net = Builder("NHWC", precision)
    x = net.pad(net.conv(net.input(3, 3, 2), 2), 2, 0, 0, 2)
    x = net.conv(x, 3, (2, 2), padding=(3, 0, 0, 3))
    mod = net.module(net.pad(x, 1, 1, 0, 0))
    network = read_function(mod["main"])
    output = network.graph.tensor[network.graph.outputs[0]]
    assert (output.height, output.width) == (8, 8)
    stage = patch_stage(network.graph.operators, *tile)
    body = patched_function(mod["main"], network, stage)
    patched = relay.transform.InferType()(tvm.IRModule.from_expr(body))
    assert_equal_outputs(mod, patched)


@settings(max_examples=EXAMPLES * 2)
@given(data=st.data(), mod=networks())
def test_patches_cover_the_stage_and_stay_in_the_image(
    data: st.DataObject, mod: tvm.IRModule
) -> None:
    graph = read_function(mod["main"]).graph
    ends = first_stage_ends(graph)
    if not ends:
        return
    operators = graph.operators[: data.draw(st.sampled_from(ends)) + 1]
    output = graph.tensor[operators[-1].output]
    stage = patch_stage(operators, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)))
    made = set()
    for row in tile_blocks(graph, stage):
        for tile in row:
            patch = patch_of(graph, operators, tile)
            for name, block in patch.held.items():
                tensor = graph.tensor[name]
                assert 0 <= block.rows.start < block.rows.stop <= tensor.height
                assert 0 <= block.cols.start < block.cols.stop <= tensor.width
            pixels = {
                (y, x)
                for y in range(tile.rows.start, tile.rows.stop)
                for x in range(tile.cols.start, tile.cols.stop)
            }
            assert not made & pixels
            made |= pixels
    assert len(made) == output.height * output.width


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_weights_may_be_bound_later(layout: Any) -> None:
    data = relay.var("data", shape=(1, 3, 12, 12) if layout == "NCHW" else (1, 12, 12, 3))
    first = relay.var("first", shape=(4, 3, 3, 3) if layout == "NCHW" else (3, 3, 3, 4))
    bias = relay.var("bias", shape=(4, 1, 1) if layout == "NCHW" else (4,))
    second = relay.var("second", shape=(4, 4, 3, 3) if layout == "NCHW" else (3, 3, 4, 4))
    common = {
        "channels": 4,
        "kernel_size": (3, 3),
        "padding": (1, 1),
        "data_layout": layout,
        "kernel_layout": "OIHW" if layout == "NCHW" else "HWIO",
    }
    x = relay.nn.relu(relay.add(relay.nn.conv2d(data, first, **common), bias))
    x = relay.nn.conv2d(x, second, strides=(2, 2), **common)
    mod = tvm.IRModule.from_expr(relay.Function([data, first, bias, second], x))
    mod = relay.transform.InferType()(mod)
    patched = PatchPartition(split=4, grid=(2, 2))(mod)
    assert [p.name_hint for p in patched["main"].params] == ["data", "first", "bias", "second"]
    assert "concatenate" in str(patched["main"])
