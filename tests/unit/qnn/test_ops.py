"""Operators of the dialect: shape inference, errors, printing and round trips."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax

from tvm_patch.qnn import ops


def _build(call_of):
    """One-operator module around ``call_of(data)`` with a [1, 8, 6, 4] int8 input."""
    builder = relax.BlockBuilder()
    data = relax.Var("data", relax.TensorType([1, 8, 6, 4], "int8"))
    with builder.function("main", [data]):
        with builder.dataflow():
            result = builder.emit(call_of(data), "result")
            output = builder.emit_output(result)
        builder.emit_func_output(output)
    return builder.get()


def _shape(module):
    return [int(dim) for dim in module["main"].ret_ty.shape]


def _per_channel(channels):
    return [np.zeros(channels), np.full(channels, 1 << 30), np.zeros(channels)]


def _conv(data, **attributes):
    attributes = {"input_zero_point": 1, "output_zero_point": -2, **attributes}
    return ops.conv2d(data, np.ones((5, 3, 3, 4)), *_per_channel(5), **attributes)


ADD = {
    "lhs_zero_point": 1,
    "rhs_zero_point": 2,
    "output_zero_point": 3,
    "left_shift": 20,
    "lhs_multiplier": 1 << 30,
    "lhs_shift": 0,
    "rhs_multiplier": 1 << 30,
    "rhs_shift": -1,
    "output_multiplier": 1 << 30,
    "output_shift": -18,
}

MEAN = {
    "pixels": 48,
    "input_zero_point": 3,
    "output_zero_point": 0,
    "multiplier": 1 << 30,
    "shift": -5,
}
CASES = {
    "conv2d": (lambda x: _conv(x, strides=[2, 2], padding=[1, 1, 0, 0]), [1, 4, 3, 5]),
    "conv2d_dilated": (lambda x: _conv(x, dilation=[2, 2]), [1, 4, 2, 5]),
    "depthwise": (
        lambda x: ops.depthwise_conv2d(
            x,
            np.ones((3, 3, 8)),
            *_per_channel(8),
            depth_multiplier=2,
            input_zero_point=0,
            output_zero_point=0,
        ),
        [1, 6, 4, 8],
    ),
    "add": (lambda x: ops.add(x, x, **ADD), [1, 8, 6, 4]),
    "subtract_channel": (lambda x: ops.subtract(x, np.zeros((4,)), **ADD), [1, 8, 6, 4]),
    "mul_scalar": (
        lambda x: ops.mul(
            x,
            np.zeros(()),
            lhs_zero_point=0,
            rhs_zero_point=0,
            output_zero_point=0,
            multiplier=1 << 30,
            shift=0,
        ),
        [1, 8, 6, 4],
    ),
    "lookup": (lambda x: ops.lookup(x, np.arange(-128, 128)), [1, 8, 6, 4]),
    "softmax": (
        lambda x: ops.softmax(x, input_multiplier=1 << 30, input_left_shift=22, diff_min=-124),
        [1, 8, 6, 4],
    ),
    "max_pool2d": (
        lambda x: ops.max_pool2d(x, pool_size=[3, 3], strides=[2, 2], padding=[1, 1, 1, 1]),
        [1, 4, 3, 4],
    ),
    "avg_pool2d": (lambda x: ops.avg_pool2d(x, pool_size=[8, 6], strides=[1, 1]), [1, 1, 1, 4]),
    "mean": (
        lambda x: ops.mean(
            x,
            axes=[1, 2],
            keepdims=False,
            input_zero_point=0,
            output_zero_point=0,
            multiplier=1 << 30,
            shift=0,
        ),
        [1, 4],
    ),
    "global_sum": (ops.global_sum, [1, 1, 1, 4]),
    "mean_of_sum": (lambda x: ops.mean_of_sum(ops.global_sum(x), **MEAN, keepdims=False), [1, 4]),
    "mean_of_sum_keepdims": (
        lambda x: ops.mean_of_sum(ops.global_sum(x), **MEAN, keepdims=True),
        [1, 1, 1, 4],
    ),
    "average_of_sum": (
        lambda x: ops.average_of_sum(ops.global_sum(x), pixels=48),
        [1, 1, 1, 4],
    ),
    "resize": (lambda x: ops.resize_nearest(x, out_height=16, out_width=12), [1, 16, 12, 4]),
    "pad": (lambda x: ops.pad(x, pad_width=[0, 0, 1, 2, 3, 4, 0, 0], pad_value=-1), [1, 11, 13, 4]),
    "concatenate": (lambda x: ops.concatenate([x, x], axis=3), [1, 8, 6, 8]),
    "dequantize": (lambda x: ops.dequantize(x, scale=0.5, zero_point=3), [1, 8, 6, 4]),
}


SUMS = relax.Var("sums", relax.TensorType([1, 1, 1, 4], "int32"))


@pytest.mark.parametrize("name", CASES)
def test_shape_inference(name):
    call_of, expected = CASES[name]
    module = _build(call_of)
    assert _shape(module) == expected
    relax.analysis.well_formed(module)


# TVM 0.27 prints a tuple argument in a form that its own parser does not take back.
@pytest.mark.parametrize("name", sorted(CASES.keys() - {"concatenate"}))
def test_round_trips_through_script(name):
    module = _build(CASES[name][0])
    parsed = tvm.script.from_source(module.script(show_meta=True))
    assert tvm_ffi.structural_equal(module, parsed)


@pytest.mark.parametrize("name", CASES)
def test_round_trips_through_json(name):
    module = _build(CASES[name][0])
    loaded = tvm.ir.load_json(tvm.ir.save_json(module))
    assert tvm_ffi.structural_equal(module, loaded)


def test_quantize_takes_float():
    data = relax.Var("data", relax.TensorType([1, 4], "float32"))
    call = relax.BlockBuilder().normalize(ops.quantize(data, scale=0.25, zero_point=-1))
    assert str(call.ty.dtype) == "int8"


def test_attributes_come_back_as_plain_values():
    attrs = ops.attributes(_conv(relax.Var("x", relax.TensorType([1, 8, 6, 4], "int8"))))
    assert attrs["strides"] == [1, 1] and type(attrs["strides"][0]) is int
    assert type(attrs["clamp_min"]) is int and attrs["clamp_min"] == -128
    assert attrs["rounding"] == "double"


def test_registration_is_idempotent():
    import importlib

    from tvm_patch.qnn.ops import convolution

    before = ops.registered_names()
    importlib.reload(convolution)
    assert ops.registered_names() == before
    assert "qnn.conv2d" in before


@pytest.mark.parametrize(
    ("call_of", "message"),
    [
        (lambda x: _conv(x, groups=2), "groups"),
        (lambda x: _conv(x, clamp_min=3, clamp_max=2), "clamp"),
        (lambda x: _conv(x, input_zero_point=200), "input_zero_point"),
        (lambda x: _conv(x, rounding="up"), "rounding"),
        (lambda x: _conv(x, dilation=[4, 4]), "does not fit"),
        (lambda x: _conv(x, strides=[1]), "strides"),
        (lambda x: ops.add(x, np.zeros((6, 1)), **ADD), "broadcast"),
        (lambda x: ops.lookup(x, np.zeros(255)), "table"),
        (lambda x: ops.concatenate([x], axis=7), "axis"),
        (lambda x: ops.max_pool2d(x, pool_size=[9, 1], strides=[1, 1]), "does not fit"),
        (
            lambda x: ops.avg_pool2d(x, pool_size=[2, 2], strides=[1, 1], padding=[2, 0, 0, 0]),
            "padding",
        ),
        (lambda x: ops.average_of_sum(x, pixels=48), "int32"),
        (lambda x: ops.average_of_sum(SUMS, pixels=0), "pixels"),
        (lambda x: ops.average_of_sum(SUMS, pixels=4, clamp_max=-129), "clamp"),
        (lambda x: ops.mean_of_sum(SUMS, **MEAN | {"output_zero_point": 128}, keepdims=True),
         "output_zero_point"),
        (lambda x: ops.average_of_sum(relax.Var("s", relax.TensorType([1, 2, 1, 4], "int32")),
                                      pixels=4), "one pixel"),
        (lambda x: ops.dense(x, np.zeros((2, 4)), *_per_channel(2), input_zero_point=0,
                             output_zero_point=0), "dimensions"),
    ],
)  # fmt: skip
def test_ill_formed_calls_are_refused(call_of, message):
    data = relax.Var("data", relax.TensorType([1, 8, 6, 4], "int8"))
    with pytest.raises(Exception, match=message):
        relax.BlockBuilder().normalize(call_of(data))
