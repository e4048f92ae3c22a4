"""Leaving out channels: the same outputs, fewer channels, none left that could go."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import IRModule, relax

from tvm_patch import qnn
from tvm_patch.importer import load_model
from tvm_patch.qnn.fold.source import Source, static_shape
from tvm_patch.qnn.ops import attributes, conv2d, dense, depthwise_conv2d, max_pool2d, op_name
from tvm_patch.qnn.writer import FunctionWriter, substitute
from tvm_patch.testing.networks import RandomNetwork
from tvm_patch.testing.strategies import networks

WEIGHTED = ("qnn.conv2d", "qnn.depthwise_conv2d", "qnn.dense")


def with_dead_filters(module: IRModule, rng: np.random.Generator) -> IRModule:
    """The module with filters and inputs of its weighted layers set to zero, some at random."""
    function = module["main"]
    source = Source(function)
    writer = FunctionWriter(function.params)
    env: dict[Any, Any] = {param: param for param in function.params}
    for var, value in source.bindings:
        if isinstance(value, relax.Var):
            env[var] = env[value]
            continue
        expr = substitute(value, env)
        if op_name(value) in WEIGHTED:
            weight = value.args[1].value.numpy().copy()
            bias = value.args[2].value.numpy().copy()
            if op_name(value) == "qnn.depthwise_conv2d":
                weight[..., rng.random(weight.shape[-1]) < 0.3] = 0
            else:
                weight[rng.random(weight.shape[0]) < 0.4] = 0
                weight[..., rng.random(weight.shape[-1]) < 0.3] = 0
            # Constants of any value, the zero point among them.
            bias[rng.random(len(bias)) < 0.3] = 0
            constants = [relax.const(weight, "int8"), relax.const(bias, "int32"), *expr.args[3:]]
            expr = relax.Call(expr.op, [expr.args[0], *constants], expr.attrs, expr.ty_args)
        env[var] = writer.emit(expr, var.name, is_output=source.is_output(var))
    results = [env.get(result, result) for result in source.results]
    made = writer.finish(results, is_tuple=source.is_tuple, attrs={})
    changed = module.clone()
    changed.update_func(changed.get_global_var("main"), made)
    return changed


def random_inputs(module: IRModule, rng: np.random.Generator) -> list[Any]:
    """One array for each parameter."""
    inputs: list[Any] = []
    for param in module["main"].params:
        shape = static_shape(param)
        if str(param.ty.dtype) == "int8":
            inputs.append(rng.integers(-128, 128, shape).astype(np.int8))
        else:
            inputs.append(rng.uniform(-2, 2, shape).astype(np.float32))
    return inputs


@settings(max_examples=40)
@given(network=networks(), seed=st.integers(0, 2**32 - 1), multiple=st.sampled_from([1, 1, 4]))
def test_outputs_stay_the_same(network: RandomNetwork, seed: int, multiple: int) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.tflite"
        path.write_bytes(network.model)
        module = with_dead_filters(qnn.to_integer(load_model(path).module), rng)
    smaller = qnn.drop_dead_channels(module, multiple)
    qnn.verify(smaller)
    inputs = random_inputs(module, rng)
    expected = qnn.run_outputs(module, inputs)
    for value, wanted in zip(qnn.run_outputs(smaller, inputs), expected, strict=True):
        np.testing.assert_array_equal(value, wanted)


def constants(rng: np.random.Generator, channels: int) -> dict[str, Any]:
    """Per-channel constants whose outputs spread over int8."""
    return {
        "bias": rng.integers(-500, 500, channels),
        "multiplier": rng.integers(2**30, 2**31, channels),
        "shift": np.full(channels, -6),
    }


def block(zero_point: int, dead_bias: int = 0, multiple: int = 1) -> tuple[IRModule, list[int]]:
    """Conv, depthwise, pool, conv, dense; the first conv's channels 1 and 3 are dead."""
    rng = np.random.default_rng(1)
    data = relax.Var("data", relax.TensorType([1, 6, 6, 4], "int8"))
    writer = FunctionWriter([data])
    scale = {"input_zero_point": 0, "output_zero_point": zero_point}
    first = constants(rng, 8)
    weight = rng.integers(-50, 50, (8, 1, 1, 4))
    weight[[1, 3]], first["bias"][[1, 3]] = 0, dead_bias
    x = writer.emit(conv2d(data, weight, **first, **scale), "first")
    inner = {"input_zero_point": zero_point, "output_zero_point": 5}
    window = rng.integers(-50, 50, (3, 3, 8))
    x = writer.emit(
        depthwise_conv2d(x, window, **constants(rng, 8), **inner, padding=(1, 1, 1, 1)), "apart"
    )
    x = writer.emit(max_pool2d(x, pool_size=(2, 2), strides=(2, 2)), "pool")
    last = rng.integers(-50, 50, (6, 3, 3, 8))
    # Nothing reads channel 6, and later nothing channel 2 of the last convolution.
    last[..., 6] = 0
    outer = {"input_zero_point": 5, "output_zero_point": 0}
    x = writer.emit(conv2d(x, last, **constants(rng, 6), **outer), "last")
    x = writer.emit(relax.op.reshape(x, (1, 6)), "flat")
    rows = rng.integers(-50, 50, (3, 6))
    rows[:, 2] = 0
    head = dense(x, rows, **constants(rng, 3), input_zero_point=0, output_zero_point=0)
    result = writer.emit(head, "head", is_output=True)
    function = writer.finish([result], is_tuple=False, attrs={})
    module = IRModule({"main": function.with_attr("global_symbol", "main")})
    names = ("first", "apart", "pool", "last", "flat")
    smaller = qnn.drop_dead_channels(module, multiple)
    shapes = {var.name: static_shape(var) for var, _ in Source(smaller["main"]).bindings}
    for seed in range(3):
        inputs = random_inputs(module, np.random.default_rng(seed))
        np.testing.assert_array_equal(
            qnn.run_outputs(smaller, inputs)[0], qnn.run_outputs(module, inputs)[0]
        )
    return smaller, [shapes[name][-1] for name in names]


def test_dead_channels_go_from_the_layer_that_makes_them_to_those_that_read_them() -> None:
    # A dead filter without bias puts out the zero point, which is what padding reads as.
    _, channels = block(zero_point=-3)
    assert channels == [5, 5, 5, 5, 5]


def test_a_constant_that_padding_differs_from_stays() -> None:
    # Along the border the depthwise layer mixes it with the zero point.
    _, channels = block(zero_point=-3, dead_bias=300)
    assert channels == [7, 7, 7, 5, 5]


def test_channels_stay_a_multiple_of_what_kernels_take_at_a_time() -> None:
    _, channels = block(zero_point=-3, multiple=2)
    assert channels == [6, 6, 6, 6, 6]
    _, channels = block(zero_point=-3, multiple=4)
    assert channels == [8, 8, 8, 6, 6]


def test_what_goes_is_added_to_the_bias() -> None:
    smaller, _ = block(zero_point=-3)
    (call,) = (value for var, value in Source(smaller["main"]).bindings if var.name == "last")
    assert static_shape(call.args[1]) == [5, 3, 3, 5]
    assert attributes(call)["input_zero_point"] == 5


def test_a_tensor_keeps_one_channel() -> None:
    rng = np.random.default_rng(2)
    data = relax.Var("data", relax.TensorType([1, 3, 3, 4], "int8"))
    writer = FunctionWriter([data])
    scale = {"input_zero_point": 0, "output_zero_point": 0}
    x = writer.emit(conv2d(data, np.zeros((5, 1, 1, 4)), **constants(rng, 5), **scale), "dead")
    weight = rng.integers(-50, 50, (2, 1, 1, 5))
    out = writer.emit(conv2d(x, weight, **constants(rng, 2), **scale), "out", is_output=True)
    module = IRModule({"main": writer.finish([out], is_tuple=False, attrs={})})
    smaller = qnn.drop_dead_channels(module, 1)
    shapes = {var.name: static_shape(var) for var, _ in Source(smaller["main"]).bindings}
    assert shapes == {"dead": [1, 3, 3, 1], "out": [1, 3, 3, 2]}
    inputs = random_inputs(module, rng)
    np.testing.assert_array_equal(
        qnn.run_outputs(smaller, inputs)[0], qnn.run_outputs(module, inputs)[0]
    )


@pytest.mark.models
def test_half_of_a_published_network_is_dead() -> None:
    from tests.support import real_model
    from tvm_patch.analysis import read_network

    module = qnn.to_integer(load_model(real_model("mlperf-vww")).module)
    smaller = qnn.DropDeadChannels(1)(module)
    macs = [read_network(mod, name="vww").graph.macs for mod in (module, smaller)]
    assert macs[0] == 7_489_664
    assert macs[1] < 3_743_000
