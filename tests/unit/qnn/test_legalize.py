"""Every operator of the dialect, built by Relax for the host, against its numpy reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tvm
from tvm import relax

from tvm_patch.qnn import arithmetic, legalize, ops
from tvm_patch.qnn.reference import run_outputs
from tvm_patch.qnn.reference.kernels import KERNELS

Array = npt.NDArray[Any]
RNG = np.random.default_rng(20)


def module_of(shape: tuple[int, ...], call: Callable[[Any], Any], dtype: str = "int8") -> Any:
    """A function of one tensor that returns one operator's result."""
    builder = relax.BlockBuilder()
    data = relax.Var("data", relax.TensorType(list(shape), dtype))
    with builder.function("main", [data]):
        with builder.dataflow():
            output = builder.emit_output(builder.emit(call(data), "result"))
        builder.emit_func_output(output)
    return builder.get()


def run_built(module: Any, data: Array) -> Array:
    """Build for the host and run."""
    machine = relax.VirtualMachine(relax.build(module, target="llvm"), tvm.cpu())
    result: Array = machine["main"](tvm.runtime.tensor(data)).numpy()
    return result


def int8(*shape: int) -> Array:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def channels(count: int, low: int = -11, high: int = -7) -> list[Array]:
    """bias, multiplier, shift."""
    return [
        RNG.integers(-2000, 2000, count),
        RNG.integers(2**30, 2**31, count),
        RNG.integers(low, high + 1, count),
    ]


ZERO_POINTS = {"input_zero_point": -9, "output_zero_point": 4}
SUM = {
    "lhs_zero_point": 5,
    "rhs_zero_point": -6,
    "output_zero_point": 7,
    "left_shift": 20,
    "lhs_multiplier": 2**30,
    "lhs_shift": 0,
    "rhs_multiplier": 1500000001,
    "rhs_shift": -1,
    "output_multiplier": 1600000001,
    "output_shift": -19,
    "clamp_min": -100,
}
PRODUCT = {
    "lhs_zero_point": 5,
    "rhs_zero_point": -6,
    "output_zero_point": 7,
    "multiplier": 1500000001,
    "shift": -7,
    "clamp_max": 99,
}
POOL = {"pool_size": [3, 2], "strides": [2, 1], "padding": [1, 0, 2, 1]}
SOFTMAX = arithmetic.softmax_parameters(0.07)

MAP = (1, 9, 8, 6)
CASES: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "conv2d": (
        MAP,
        lambda x: ops.conv2d(
            x, int8(5, 3, 3, 6), *channels(5), padding=[1, 0, 1, 2], strides=[2, 1], **ZERO_POINTS
        ),
    ),
    "conv2d_grouped_dilated": (
        MAP,
        lambda x: ops.conv2d(
            x, int8(4, 3, 2, 3), *channels(4), groups=2, dilation=[2, 3], clamp_min=0, **ZERO_POINTS
        ),
    ),
    "conv2d_left_shifts_rounding_once": (
        MAP,
        lambda x: ops.conv2d(
            x, int8(3, 1, 1, 6) // 64, *channels(3, -9, 1), rounding="single", **ZERO_POINTS
        ),
    ),
    "depthwise_conv2d": (
        MAP,
        lambda x: ops.depthwise_conv2d(
            x, int8(3, 3, 6), *channels(6), padding=[0, 0, 1, 1], strides=[2, 2], **ZERO_POINTS
        ),
    ),
    "depthwise_conv2d_multiplied": (
        MAP,
        lambda x: ops.depthwise_conv2d(
            x, int8(5, 3, 12), *channels(12), depth_multiplier=2, dilation=[1, 2], **ZERO_POINTS
        ),
    ),
    "dense": ((1, 50), lambda x: ops.dense(x, int8(7, 50), *channels(7), **ZERO_POINTS)),
    "dense_rounding_twice": (
        (1, 50),
        lambda x: ops.dense(x, int8(7, 50), *channels(7), rounding="double", **ZERO_POINTS),
    ),
    "add_to_itself": (MAP, lambda x: ops.add(x, x, **SUM)),
    "add_channel": (MAP, lambda x: ops.add(x, int8(1, 1, 1, 6), **SUM)),
    "subtract": (MAP, lambda x: ops.subtract(x, int8(*MAP), **SUM)),
    "subtract_scalar": (MAP, lambda x: ops.subtract(x, np.int8(9), **SUM)),
    "mul": (MAP, lambda x: ops.mul(x, x, **PRODUCT)),
    "mul_channel": (MAP, lambda x: ops.mul(x, int8(6), **PRODUCT)),
    "lookup": (MAP, lambda x: ops.lookup(x, int8(256))),
    "softmax": ((1, 40), lambda x: ops.softmax(x, **vars(SOFTMAX))),
    "softmax_rows": (MAP, lambda x: ops.softmax(x, **vars(SOFTMAX))),
    "max_pool2d": (MAP, lambda x: ops.max_pool2d(x, **POOL, clamp_max=90)),
    "avg_pool2d": (MAP, lambda x: ops.avg_pool2d(x, **POOL, clamp_min=-90)),
    "avg_pool2d_global": (MAP, lambda x: ops.avg_pool2d(x, pool_size=[9, 8], strides=[1, 1])),
    "mean": (
        MAP,
        lambda x: ops.mean(
            x, axes=[1, 2], keepdims=False, multiplier=2**31 // 72, shift=1, **ZERO_POINTS
        ),
    ),
    "mean_keepdims": (
        MAP,
        lambda x: ops.mean(
            x, axes=[1, 2], keepdims=True, multiplier=1800000000, shift=-5, **ZERO_POINTS
        ),
    ),
    "global_sum": (MAP, ops.global_sum),
    "mean_of_sum": (
        MAP,
        lambda x: ops.mean_of_sum(
            ops.global_sum(x),
            pixels=72,
            keepdims=False,
            multiplier=2**31 // 72,
            shift=1,
            **ZERO_POINTS,
        ),
    ),
    "average_of_sum": (
        MAP,
        lambda x: ops.average_of_sum(ops.global_sum(x), pixels=72, clamp_min=-1, clamp_max=1),
    ),
    "pad": (MAP, lambda x: ops.pad(x, pad_width=[0, 0, 1, 2, 0, 3, 1, 0], pad_value=-7)),
    "resize_nearest": (MAP, lambda x: ops.resize_nearest(x, out_height=18, out_width=5)),
    "resize_nearest_corners": (
        MAP,
        lambda x: ops.resize_nearest(x, out_height=13, out_width=20, align_corners=True),
    ),
    "resize_nearest_centers": (
        MAP,
        lambda x: ops.resize_nearest(x, out_height=4, out_width=20, half_pixel_centers=True),
    ),
    "concatenate_channels": (
        MAP,
        lambda x: ops.concatenate([x, relax.const(int8(1, 9, 8, 2)), x], axis=3),
    ),
    "concatenate_rows": (MAP, lambda x: ops.concatenate([x, x], axis=1)),
    "dequantize": (MAP, lambda x: ops.dequantize(x, scale=float(np.float32(0.123)), zero_point=-3)),
}


@pytest.mark.parametrize("case", CASES)
def test_host_build_equals_reference(case: str) -> None:
    shape, call = CASES[case]
    module = module_of(shape, call)
    data = int8(*shape)
    expected = run_outputs(module, [data])[0]
    actual = run_built(module, data)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


def test_quantize_equals_reference_at_halves_and_beyond_the_range() -> None:
    scale = float(np.float32(0.25))
    data = np.concatenate([np.arange(-40, 40) / 8, [1e30, -1e30, 31.9, -32.1]]).astype(np.float32)
    module = module_of(data.shape, lambda x: ops.quantize(x, scale=scale, zero_point=3), "float32")
    expected = run_outputs(module, [data])[0]
    np.testing.assert_array_equal(run_built(module, data), expected)


def test_every_operator_with_a_reference_is_legalized() -> None:
    assert legalize.legalized_names() == tuple(sorted(KERNELS))


def test_a_chain_of_operators_with_a_tuple_builds() -> None:
    builder = relax.BlockBuilder()
    data = relax.Var("data", relax.TensorType([1, 8, 8, 4], "int8"))
    with builder.function("main", [data]):
        with builder.dataflow():
            conv = builder.emit(
                ops.conv2d(data, int8(4, 3, 3, 4), *channels(4), padding=[1] * 4, **ZERO_POINTS)
            )
            joined = builder.emit(ops.add(conv, data, **SUM))
            pair = builder.emit(ops.concatenate([joined, conv], axis=3))
            table = builder.emit(ops.lookup(pair, int8(256)))
            output = builder.emit_output(table)
        builder.emit_func_output(output)
    module = builder.get()
    image = int8(1, 8, 8, 4)
    np.testing.assert_array_equal(run_built(module, image), run_outputs(module, [image])[0])
