"""Every operator, folded and run in numpy, against LiteRT's reference kernels.

Networks of one or two operators with random shapes, scales and zero points, extremes included;
every tensor is compared, not only the outputs.
"""

from __future__ import annotations

import numpy as np
import pytest

from tvm_patch.importer.tflite import load_tflite
from tvm_patch.qnn import run_outputs, run_reference, to_integer
from tvm_patch.testing.networks import random_network
from tvm_patch.testing.reference import random_inputs, reference_interpreter
from tvm_patch.testing.tflite_builder import TFLiteBuilder

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def _scale(rng, low, high):
    """A float32 scale between powers of ten."""
    return float(np.float32(10 ** rng.uniform(low, high)))


def _zero_point(rng):
    return int(rng.choice([-128, 127, 0, rng.integers(-128, 128)]))


def _ints(rng, low, high, count):
    return [int(value) for value in rng.integers(low, high + 1, count)]


def _weight_scales(rng, channels):
    if rng.random() < 0.3:
        return _scale(rng, -4, 0)
    return np.float32(10 ** rng.uniform(-4, 0, channels))


def _output_scale(rng, input_scale, weight_scales):
    return float(np.float32(input_scale * np.mean(weight_scales) * 10 ** rng.uniform(1, 3.5)))


def _window(rng, kernel):
    """Shape, strides, dilation and padding that a kernel fits into."""
    dilation = [1, 1] if rng.random() < 0.7 else [2, 2]
    strides = _ints(rng, 1, 3, 2) if dilation == [1, 1] else [1, 1]
    padding = str(rng.choice(["SAME", "VALID"]))
    size = _ints(rng, 1, 11, 2)
    if padding == "VALID":
        size = [n + (k - 1) * d for n, k, d in zip(size, kernel, dilation, strict=True)]
    return size, {"strides": strides, "dilation": dilation, "padding": padding}


def conv2d(b, rng):
    kernel, (channels, outputs) = _ints(rng, 1, 5, 2), _ints(rng, 1, 11, 2)
    size, window = _window(rng, kernel)
    input_scale, scales = _scale(rng, -3, 1), _weight_scales(rng, outputs)
    x = b.input("x", (1, *size, channels), input_scale, _zero_point(rng))
    weight = rng.integers(-127, 128, (outputs, *kernel, channels))
    bias = rng.integers(-3000, 3000, outputs) if rng.random() < 0.8 else None
    scale = _output_scale(rng, input_scale, scales)
    activation = str(rng.choice(ACTIVATIONS))
    b.output(
        b.conv2d(x, weight, bias, scales, scale, _zero_point(rng), activation=activation, **window)
    )


def depthwise_conv2d(b, rng):
    kernel, (channels, multiplier) = _ints(rng, 1, 7, 2), _ints(rng, 1, 3, 2)
    size, window = _window(rng, kernel)
    window["strides"] = [window["strides"][0]] * 2
    outputs = channels * multiplier
    input_scale, scales = _scale(rng, -3, 1), _weight_scales(rng, outputs)
    x = b.input("x", (1, *size, channels), input_scale, _zero_point(rng))
    weight = rng.integers(-127, 128, (1, *kernel, outputs))
    bias = rng.integers(-3000, 3000, outputs)
    scale = _output_scale(rng, input_scale, scales)
    activation = str(rng.choice(ACTIVATIONS))
    b.output(
        b.depthwise_conv2d(
            x, weight, bias, scales, scale, _zero_point(rng), activation=activation, **window
        )
    )


def fully_connected(b, rng):
    depth, outputs = _ints(rng, 1, 80, 2)
    shape = (1, depth) if rng.random() < 0.6 else (1, 1, 1, depth)
    input_scale, scales = _scale(rng, -3, 1), _weight_scales(rng, outputs)
    x = b.input("x", shape, input_scale, _zero_point(rng))
    weight = rng.integers(-127, 128, (outputs, depth))
    bias = rng.integers(-3000, 3000, outputs) if rng.random() < 0.8 else None
    scale = _output_scale(rng, input_scale, scales)
    activation = str(rng.choice(ACTIVATIONS))
    b.output(
        b.fully_connected(x, weight, bias, scales, scale, _zero_point(rng), activation=activation)
    )


def _binary(kind):
    def build(b, rng):
        *size, channels = _ints(rng, 1, 8, 3)
        lhs_scale = _scale(rng, -3, 1)
        rhs_scale = float(np.float32(lhs_scale * 10 ** rng.uniform(-2, 2)))
        shape = (1, *size, channels)
        rhs_shape = [shape, (1, 1, 1, channels), ()][rng.integers(3)]
        x = b.input("x", shape, lhs_scale, _zero_point(rng))
        if rng.random() < 0.4:
            values = rng.integers(-128, 128, rhs_shape)
            y = b.constant("k", values, "int8", rhs_scale, _zero_point(rng))
        else:
            y = b.input("y", rhs_shape or (1, 1, 1, 1), rhs_scale, _zero_point(rng))
        natural = lhs_scale * rhs_scale * 10 if kind == "mul" else max(lhs_scale, rhs_scale)
        scale = float(np.float32(natural * 10 ** rng.uniform(-0.5, 1.5)))
        operands = (x, y) if kind == "sub" or rng.random() < 0.5 else (y, x)
        activation = str(rng.choice(ACTIVATIONS))
        b.output(getattr(b, kind)(*operands, scale, _zero_point(rng), activation=activation))

    return build


def _pool(kind):
    def build(b, rng):
        x = b.input("x", (1, *_ints(rng, 3, 12, 3)), _scale(rng, -3, 1), _zero_point(rng))
        padding, activation = str(rng.choice(["SAME", "VALID"])), str(rng.choice(ACTIVATIONS))
        pool_size, strides = _ints(rng, 1, 3, 2), _ints(rng, 1, 3, 2)
        pool = getattr(b, kind)
        b.output(pool(x, pool_size, strides, padding=padding, activation=activation))

    return build


def mean(b, rng):
    scale, keepdims = _scale(rng, -3, 1), bool(rng.random() < 0.5)
    x = b.input("x", (1, *_ints(rng, 1, 12, 3)), scale, _zero_point(rng))
    if rng.random() < 0.5:
        b.output(b.mean(x, keepdims=keepdims))
    else:
        output_scale = float(np.float32(scale * 10 ** rng.uniform(-1.5, 1.5)))
        b.output(b.mean(x, output_scale, _zero_point(rng), keepdims=keepdims))


def pad(b, rng):
    x = b.input("x", (1, 6, 7, 3), 0.1, _zero_point(rng))
    padded = b.pad(x, [(0, 0), tuple(_ints(rng, 0, 2, 2)), tuple(_ints(rng, 0, 2, 2)), (0, 0)])
    weight, bias = rng.integers(-127, 128, (5, 3, 3, 3)), rng.integers(-300, 300, 5)
    y = b.conv2d(padded, weight, bias, 0.01, 0.3, _zero_point(rng), padding="VALID")
    b.output(b.pad(y, [(0, 0), (1, 2), (0, 1), (0, 1)]) if rng.random() < 0.5 else y)


def _unary(kind):
    def build(b, rng):
        scale = _scale(rng, -3, 0.5)
        x = b.input("x", (1, 3, 5, 40), scale, _zero_point(rng))
        output = (float(np.float32(scale * 10 ** rng.uniform(-1.3, 1))), _zero_point(rng))
        if kind in ("logistic", "tanh"):
            b.output(getattr(b, kind)(x))
        elif kind == "leaky_relu":
            b.output(b.leaky_relu(x, float(np.float32(rng.uniform(0, 1))), *output))
        else:
            b.output(getattr(b, kind)(x, *output))

    return build


def softmax(b, rng):
    x = b.input("x", (1, 3, 5, *_ints(rng, 2, 60, 1)), _scale(rng, -3, 0.5), _zero_point(rng))
    b.output(b.softmax(x, float(np.float32(rng.choice([1.0, rng.uniform(0.1, 3)])))))


def resize(b, rng):
    x = b.input("x", (1, *_ints(rng, 1, 10, 2), 3), 0.1, 2)
    mode = rng.integers(3)
    size = _ints(rng, 1, 24, 2)
    b.output(
        b.resize_nearest_neighbor(
            x, size, align_corners=bool(mode == 1), half_pixel=bool(mode == 2)
        )
    )


def movement(b, rng):
    x = b.input("x", (1, 6, 8, 4), 0.1, _zero_point(rng))
    y = b.transpose(x, [0, 2, 1, 3])
    y = b.strided_slice(y, [0, 1, 0, 1], [1, 7, 6, 3], [1, 2, 1, 1])
    y = b.concatenation([y, y], axis=3)
    b.output(b.reshape(y, (1, int(np.prod(y.shape)))))


def float_boundary(b, rng):
    x = b.input("x", (1, 4, 4, 3))
    y = b.quantize(x, _scale(rng, -2, 0), _zero_point(rng))
    weight, bias = rng.integers(-127, 128, (4, 3, 3, 3)), rng.integers(-300, 300, 4)
    y = b.conv2d(y, weight, bias, 0.01, _scale(rng, -2, -1), _zero_point(rng))
    y = b.quantize(y, _scale(rng, -2, -1), _zero_point(rng))
    b.output(b.dequantize(y))


OPERATORS = {
    "conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "fully_connected": fully_connected,
    "add": _binary("add"),
    "sub": _binary("sub"),
    "mul": _binary("mul"),
    "max_pool2d": _pool("max_pool2d"),
    "average_pool2d": _pool("average_pool2d"),
    "mean": mean,
    "pad": pad,
    "softmax": softmax,
    "logistic": _unary("logistic"),
    "tanh": _unary("tanh"),
    "hard_swish": _unary("hard_swish"),
    "leaky_relu": _unary("leaky_relu"),
    "relu": _unary("relu"),
    "relu6": _unary("relu6"),
    "quantize": _unary("quantize"),
    "resize": resize,
    "movement": movement,
    "float_boundary": float_boundary,
}


def assert_equal_to_litert(model: bytes, seed: int) -> int:
    """Compare every tensor that both sides name; return how many."""
    imported = load_tflite(model, name="model")
    module = to_integer(imported.module)
    interpreter = reference_interpreter(model, keep_tensors=True)
    inputs = random_inputs(model, seed)
    details = interpreter.get_input_details()
    for detail, value in zip(details, inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    compared = 0
    for name, value in run_reference(module, inputs).items():
        if name in imported.tensor_indices:
            expected = interpreter.get_tensor(imported.tensor_indices[name])
            np.testing.assert_array_equal(value.reshape(-1), expected.reshape(-1), err_msg=name)
            compared += 1
    outputs = interpreter.get_output_details()
    for detail, value in zip(outputs, run_outputs(module, inputs), strict=True):
        np.testing.assert_array_equal(value, interpreter.get_tensor(detail["index"]))
    return compared


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_equals_litert(name):
    for seed in range(12):
        builder = TFLiteBuilder(name)
        OPERATORS[name](builder, np.random.default_rng([seed, len(name)]))
        assert assert_equal_to_litert(bytes(builder.build()), seed) >= 2


@pytest.mark.parametrize("seed", range(20))
def test_random_network_equals_litert(seed):
    assert assert_equal_to_litert(random_network(seed).model, seed) >= 2
