"""Refusals by name, and the float32 boundary."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from tvm_patch import qnn
from tvm_patch.errors import FloatModelError, UnsupportedOperatorError, UnsupportedShapeError
from tvm_patch.qnn import output_names, run_outputs, to_integer, verify
from tvm_patch.testing.integer_networks import IntegerNetwork

from .qdq import QDQ, operators

WEIGHT = np.ones((1, 1, 4, 2), np.int8)


def _with_float_boundary():
    q = QDQ(dtype="float32")
    real = q.dequantize(q.quantize(q.x, 0.1, 3, name="image"), 0.1, 3)
    head = q.quantize(q.conv2d(real, WEIGHT, 0.5), 0.2, name="head")
    return q.finish(q.dequantize(head, 0.2, name="scores"))


def test_float_model():
    q = QDQ(dtype="float32")
    weights = relax.const(np.ones((1, 1, 4, 2), np.float32))
    out = relax.op.nn.conv2d(q.x, weights, data_layout="NHWC", kernel_layout="HWIO")
    with pytest.raises(FloatModelError, match=r"relax.nn.conv2d \(stem\)") as error:
        to_integer(q.finish(q.emit(out, "stem")))
    assert error.value.hint == "tvm-patch quantize model.onnx --calibration data.npz"


def test_leftover_operators_are_named():
    q = QDQ()
    head = q.quantize(q.conv2d(q.dequantize(q.x, 0.1), WEIGHT, 0.5), 0.2)
    rows = q.emit(relax.op.cumsum(q.dequantize(head, 0.2), axis=1), "rows")
    with pytest.raises(UnsupportedOperatorError, match=r"relax.cumsum \(rows\)"):
        to_integer(q.finish(q.quantize(rows, 0.2)))


def test_integer_module_is_accepted():
    module = to_integer(_with_float_boundary())
    verify(module)
    assert [name for name, _ in operators(module)] == [
        "qnn.quantize",
        "qnn.conv2d",
        "qnn.dequantize",
    ]
    assert output_names(module["main"]) == ["scores"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, tirx.Var("h", "int64"), 5, 4), "dynamic"),
        ((1, 0, 5, 4), "size zero"),
        ((2, 6, 5, 4), "batch 2"),
    ],
)
def test_shapes(shape, message):
    x = relax.Var("image", relax.TensorType(list(shape), "int8"))
    module = tvm.IRModule({"main": relax.Function([x], x, x.ty)})
    with pytest.raises(UnsupportedShapeError, match=f"image has .*{message}"):
        to_integer(module)


def test_module_without_relax():
    with pytest.raises(UnsupportedOperatorError, match="no Relax function"):
        verify(tvm.IRModule({}))


def test_int8_boundary_computes_the_same_integers():
    module, stripped = (to_integer(_with_float_boundary(), io=io) for io in ("model", "int8"))
    assert [name for name, _ in operators(stripped)] == ["qnn.conv2d"]
    assert output_names(stripped["main"]) == ["scores"]
    assert stripped["main"].params[0].name == "x"
    integers = np.random.default_rng(0).integers(-128, 128, (1, 6, 5, 4)).astype(np.int8)
    real = np.float32(0.1) * (integers.astype(np.float32) - 3)
    scores = run_outputs(module, [real])[0]
    expected = run_outputs(stripped, [integers])[0].astype(np.float32) * np.float32(0.2)
    np.testing.assert_array_equal(scores, expected)


def test_int8_boundary_of_an_int8_model_changes_nothing():
    q = QDQ()
    module = q.finish(q.quantize(q.conv2d(q.dequantize(q.x, 0.1), WEIGHT, 0.5), 0.2, name="head"))
    assert operators(to_integer(module, io="int8")) == operators(to_integer(module))


def test_input_quantised_twice_cannot_lose_its_boundary():
    q = QDQ(dtype="float32")
    a, b = q.quantize(q.x, 0.1, name="a"), q.quantize(q.x, 0.2, name="b")
    module = q.finish(q.emit(relax.op.reshape(a, (1, 120))), q.emit(relax.op.reshape(b, (1, 120))))
    with pytest.raises(UnsupportedOperatorError, match="input x cannot be int8"):
        to_integer(module, io="int8")


def _weighted(make, shape, weight, bias, shift=-8):
    """One layer with weights, its biases given."""
    network = IntegerNetwork(shape, seed=0)
    call = make(
        network.input,
        weight,
        bias=bias,
        multiplier=[1 << 30] * len(bias),
        shift=[shift] * len(bias),
        input_zero_point=0,
        output_zero_point=0,
    )
    return network.finish(network.emit(call, "wide"))


def _convolution(bias, shift=-8):
    weight = np.full((1, 1, 1, 2), 127)
    return _weighted(qnn.ops.conv2d, (1, 4, 4, 2), weight, [bias], shift)


def _depthwise(bias):
    weight = np.stack([np.full((1, 3), 1), np.full((1, 3), -127)], axis=-1)
    return _weighted(qnn.ops.depthwise_conv2d, (1, 4, 4, 2), weight, [0, bias])


def _dense(bias, shift=-8):
    return _weighted(qnn.ops.dense, (1, 4), np.full((1, 4), -1), [bias], shift)


def _of_sum(make, pixels):
    network = IntegerNetwork((1, 4, 4, 2), seed=0)
    total = network.emit(qnn.ops.global_sum(network.input), "total")
    return network.finish(network.emit(make(total, pixels), "wide"))


def _average_of_sum(pixels):
    return _of_sum(lambda total, pixels: qnn.ops.average_of_sum(total, pixels=pixels), pixels)


def _mean_of_sum(pixels):
    def make(total, pixels):
        numbers = {"multiplier": 1 << 30, "shift": -8, "pixels": pixels}
        zero_points = {"input_zero_point": 127, "output_zero_point": 0}
        return qnn.ops.mean_of_sum(total, keepdims=True, **numbers, **zero_points)

    return _of_sum(make, pixels)


LARGEST = 2**31 - 1


@pytest.mark.parametrize(
    ("make", "largest", "too_large"),
    [
        (_convolution, LARGEST - 2 * 127 * 127, LARGEST - 2 * 127 * 127 + 1),
        (_convolution, 2 * 127 * 128 - LARGEST - 1, 2 * 127 * 128 - LARGEST - 2),
        (lambda bias: _convolution(bias, shift=3), (1 << 28) - 32259, (1 << 28) - 32258),
        (_depthwise, LARGEST - 3 * 127 * 128, LARGEST - 3 * 127 * 128 + 1),
        (_dense, LARGEST - 4 * 128, LARGEST - 4 * 128 + 1),
        # The product is shifted after it is multiplied, in 64 bits.
        (lambda bias: _dense(bias, shift=3), LARGEST - 4 * 128, LARGEST - 4 * 128 + 1),
        (_average_of_sum, 16_711_935, 16_711_936),
        (_mean_of_sum, 8_421_504, 8_421_505),
    ],
)
def test_sums_of_the_dialect_that_leave_int32_are_refused_by_name(make, largest, too_large):
    to_integer(make(largest))
    with pytest.raises(UnsupportedOperatorError, match="layer wide: its sums may leave"):
        to_integer(make(too_large))
