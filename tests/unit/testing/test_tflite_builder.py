"""Every operator of the builder, read back by LiteRT and compared with its real-valued meaning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tvm_patch.testing.reference import random_inputs, reference_interpreter, run_reference
from tvm_patch.testing.tflite_builder import TensorRef, TFLiteBuilder

SCALE = 6 / 255
ZERO_POINT = 4
SHAPE = (1, 6, 5, 3)
Operator = Callable[[TFLiteBuilder, TensorRef], TensorRef]
Meaning = Callable[[np.ndarray], np.ndarray]


def _pool(x: np.ndarray, reduce: Callable[..., np.ndarray]) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(1, 2))[:, ::2, ::2]
    return reduce(windows, axis=(-1, -2))


UNARY: dict[str, tuple[Operator, Meaning]] = {
    "add": (lambda b, x: b.add(x, x, 12 / 255, 2), lambda x: x + x),
    "add_constant": (
        lambda b, x: b.add(x, b.constant("c", [[[[10, 20, 30]]]], "int8", 0.1), 9 / 255, -50),
        lambda x: x + np.array([1, 2, 3]),
    ),
    "sub_constant": (
        lambda b, x: b.sub(x, b.constant("c", [[[[10, 20, 30]]]], "int8", 0.1), 9 / 255, 90),
        lambda x: x - np.array([1, 2, 3]),
    ),
    "mul_gate": (
        lambda b, x: b.mul(x, b.logistic(b.mean(x, SCALE, ZERO_POINT, keepdims=True)), 6 / 255, 0),
        lambda x: x / (1 + np.exp(-x.mean(axis=(1, 2), keepdims=True))),
    ),
    "mul_rescale_above_one": (lambda b, x: b.mul(x, x, 1e-4, 0), lambda x: x * x),
    "pad": (
        lambda b, x: b.pad(x, [(0, 0), (1, 2), (0, 3), (0, 0)]),
        lambda x: np.pad(x, [(0, 0), (1, 2), (0, 3), (0, 0)]),
    ),
    "max_pool2d": (lambda b, x: b.max_pool2d(x, (2, 2)), lambda x: _pool(x, np.max)),
    "average_pool2d": (lambda b, x: b.average_pool2d(x, (2, 2)), lambda x: _pool(x, np.mean)),
    "mean": (lambda b, x: b.mean(x, 3 / 255, 0), lambda x: x.mean(axis=(1, 2))),
    "concatenation": (
        lambda b, x: b.concatenation([x, b.pad(x, [(0, 0), (0, 0), (0, 0), (1, 0)])]),
        lambda x: np.concatenate([x, np.pad(x, [(0, 0), (0, 0), (0, 0), (1, 0)])], axis=3),
    ),
    "reshape": (lambda b, x: b.reshape(x, (1, -1)), lambda x: x.reshape(1, -1)),
    "transpose": (
        lambda b, x: b.transpose(x, (0, 3, 1, 2)),
        lambda x: x.transpose(0, 3, 1, 2),
    ),
    "strided_slice": (
        lambda b, x: b.strided_slice(
            x, (0, 1, 0, 0), (0, 5, 0, 2), (1, 2, 1, 1), begin_mask=4, end_mask=5
        ),
        lambda x: x[:, 1:5:2, :, :2],
    ),
    "resize": (
        lambda b, x: b.resize_nearest_neighbor(x, (12, 10)),
        lambda x: x.repeat(2, axis=1).repeat(2, axis=2),
    ),
    "resize_half_pixel": (
        lambda b, x: b.resize_nearest_neighbor(x, (12, 10), half_pixel=True),
        lambda x: x.repeat(2, axis=1).repeat(2, axis=2),
    ),
    "resize_align_corners": (
        lambda b, x: b.resize_nearest_neighbor(x, (11, 9), align_corners=True),
        lambda x: x[:, (np.arange(11) + 1) // 2][:, :, (np.arange(9) + 1) // 2],
    ),
    "softmax": (
        lambda b, x: b.softmax(x, beta=0.5),
        lambda x: np.exp(x / 2) / np.exp(x / 2).sum(axis=-1, keepdims=True),
    ),
    "logistic": (lambda b, x: b.logistic(x), lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (lambda b, x: b.tanh(x), np.tanh),
    "hard_swish": (
        lambda b, x: b.hard_swish(x, 4 / 255, -100),
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
    ),
    "leaky_relu": (
        lambda b, x: b.leaky_relu(x, 0.1, 4 / 255, -100),
        lambda x: np.where(x > 0, x, 0.1 * x),
    ),
    "relu": (lambda b, x: b.relu(x, 3 / 255, -128), lambda x: np.maximum(x, 0)),
    "relu6": (lambda b, x: b.relu6(x, 6 / 255, -128), lambda x: np.clip(x, 0, 6)),
    "requantize": (lambda b, x: b.quantize(x, 7 / 255, 11), lambda x: x),
}


@pytest.mark.parametrize("case", UNARY)
def test_int8_operator_means_what_its_name_says(case: str) -> None:
    operator, meaning = UNARY[case]
    builder = TFLiteBuilder(case)
    x = builder.input("x", SHAPE, SCALE, ZERO_POINT)
    y = builder.output(operator(builder, x))
    model = builder.build()
    (value,) = random_inputs(model, seed=1)
    (got,) = run_reference(model, value)
    expected = meaning((value.astype(np.float64) - ZERO_POINT) * SCALE)
    assert got.dtype == np.int8
    assert got.shape == y.shape == expected.shape
    assert y.scale is not None
    low, high = (np.array([-128, 127]) - y.zero_point) * y.scale
    real = (got.astype(np.float64) - y.zero_point) * y.scale
    np.testing.assert_allclose(real, np.clip(expected, low, high), atol=2.1 * max(y.scale, SCALE))


def _direct_conv(
    x: np.ndarray, w: np.ndarray, stride: tuple[int, int], dilation: tuple[int, int]
) -> np.ndarray:
    """VALID convolution with the plainest of loops; w is [O, KH, KW, C]."""
    outputs, kernel_h, kernel_w, _ = w.shape
    height = (x.shape[1] - (kernel_h - 1) * dilation[0] - 1) // stride[0] + 1
    width = (x.shape[2] - (kernel_w - 1) * dilation[1] - 1) // stride[1] + 1
    y = np.zeros((1, height, width, outputs))
    for i, j in np.ndindex(kernel_h, kernel_w):
        top, left = i * dilation[0], j * dilation[1]
        rows = slice(top, top + (height - 1) * stride[0] + 1, stride[0])
        columns = slice(left, left + (width - 1) * stride[1] + 1, stride[1])
        y += np.einsum("nhwc,oc->nhwo", x[:, rows, columns], w[:, i, j])
    return y


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("stride", "dilation"), [((1, 1), (1, 1)), ((2, 1), (1, 1)), ((1, 1), (1, 2))]
)
@pytest.mark.parametrize("kind", ["conv2d", "depthwise_conv2d", "grouped"])
def test_convolutions(
    kind: str, padding: str, stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    rng = np.random.default_rng(3)
    shape = (1, 9, 7, 4)
    scales = rng.uniform(0.001, 0.02, 8)
    # Depthwise and grouped weights are dense ones with zeros outside each group.
    dense = rng.integers(-127, 128, (8, 3, 2, 4))
    if kind == "depthwise_conv2d":
        dense *= (np.arange(8)[:, None] // 2 == np.arange(4))[:, None, None, :]
        stored = dense.sum(axis=3).transpose(1, 2, 0)
    elif kind == "grouped":
        dense *= (np.arange(8)[:, None] // 4 == np.arange(4) // 2)[:, None, None, :]
        stored = np.concatenate([dense[:4, ..., :2], dense[4:, ..., 2:]])
    else:
        stored = dense
    bias = rng.integers(-2000, 2000, 8)
    builder = TFLiteBuilder(kind)
    x = builder.input("x", shape, SCALE, ZERO_POINT)
    method = builder.depthwise_conv2d if kind == "depthwise_conv2d" else builder.conv2d
    y = method(
        x, stored, bias, scales, 0.1, -20,
        strides=stride, padding=padding, dilation=dilation, activation="RELU6",
    )  # fmt: skip
    builder.output(y)
    model = builder.build()
    (value,) = random_inputs(model, seed=2)
    (got,) = run_reference(model, value)
    real = (value.astype(np.float64) - ZERO_POINT) * SCALE
    if padding == "SAME":
        amounts = []
        for axis in (0, 1):
            reach = (dense.shape[1 + axis] - 1) * dilation[axis] + 1
            last = (-(-shape[1 + axis] // stride[axis]) - 1) * stride[axis]
            total = max(0, last + reach - shape[1 + axis])
            amounts.append((total // 2, total - total // 2))
        real = np.pad(real, [(0, 0), *amounts, (0, 0)])
    weight = dense * scales[:, None, None, None]
    expected = _direct_conv(real, weight, stride, dilation) + bias * scales * SCALE
    assert got.shape == y.shape
    np.testing.assert_allclose((got + 20.0) * 0.1, np.clip(expected, 0, 6), atol=0.051)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_fully_connected(per_channel: bool, has_bias: bool) -> None:
    rng = np.random.default_rng(4)
    weight = rng.integers(-127, 128, (5, 12))
    scales = rng.uniform(0.001, 0.01, 5) if per_channel else np.array([0.005])
    bias = rng.integers(-3000, 3000, 5) * has_bias
    builder = TFLiteBuilder("dense")
    x = builder.input("x", (1, 2, 2, 3), SCALE, ZERO_POINT)
    y = builder.output(
        builder.fully_connected(x, weight, bias if has_bias else None, scales, 0.1, 3)
    )
    model = builder.build()
    (value,) = random_inputs(model)
    (got,) = run_reference(model, value)
    real = (value.reshape(1, 12).astype(np.float64) - ZERO_POINT) * SCALE
    expected = real @ (weight * scales[:, None]).T + bias * scales * SCALE
    assert got.shape == y.shape == (1, 5)
    np.testing.assert_allclose((got - 3.0) * 0.1, np.clip(expected, -13.1, 12.4), atol=0.051)


def test_float_boundary_around_int8_network() -> None:
    builder = TFLiteBuilder("boundary")
    x = builder.input("x", SHAPE)
    y = builder.quantize(x, 1 / 127, 0)
    builder.output(builder.dequantize(builder.max_pool2d(y, (2, 2))))
    model = builder.build()
    (value,) = random_inputs(model)
    (got,) = run_reference(model, value)
    assert value.dtype == got.dtype == np.float32
    np.testing.assert_allclose(got, _pool(value, np.max), atol=0.51 / 127)


def test_float_model() -> None:
    rng = np.random.default_rng(5)
    weight = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    builder = TFLiteBuilder("float")
    x = builder.input("x", SHAPE)
    y = builder.conv2d(x, weight, None, padding="VALID", strides=(1, 1))
    builder.output(builder.softmax(builder.mean(y)))
    model = builder.build()
    (value,) = random_inputs(model)
    (got,) = run_reference(model, value)
    logits = _direct_conv(value, weight, (1, 1), (1, 1)).mean(axis=(1, 2))
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_dynamic_shape_is_in_the_file() -> None:
    builder = TFLiteBuilder("dynamic")
    x = builder.input("x", SHAPE, SCALE, 0, shape_signature=(1, -1, -1, 3))
    builder.output(builder.logistic(x))
    (detail,) = reference_interpreter(builder.build()).get_input_details()
    assert list(detail["shape_signature"]) == [1, -1, -1, 3]


def test_same_calls_give_the_same_bytes() -> None:
    def build() -> bytes:
        builder = TFLiteBuilder("twice")
        x = builder.input("x", SHAPE, SCALE, 0)
        builder.output(builder.add(builder.tanh(x), builder.tanh(x), 0.02))
        return builder.build()

    assert build() == build()
    assert build()[4:8] == b"TFL3"


def test_names_stay_unique() -> None:
    builder = TFLiteBuilder()
    x = builder.input("x", SHAPE, SCALE, 0)
    first, second = builder.relu(x, SCALE, name="x"), builder.relu(x, SCALE, name="x")
    assert [first.name, second.name] == ["x_1", "x_2"]


def test_refuses_nonsense() -> None:
    builder = TFLiteBuilder("bad")
    with pytest.raises(ValueError, match="no output"):
        builder.build()
    with pytest.raises(ValueError, match="positive and finite"):
        builder.input("x", SHAPE, 0.0)
    with pytest.raises(ValueError, match="complex64"):
        builder.input("x", SHAPE, dtype="complex64")
    x = builder.input("x", SHAPE, SCALE)
    with pytest.raises(ValueError, match="no multiple of 3"):
        builder.depthwise_conv2d(x, np.zeros((3, 3, 4)), None, 0.1, 0.1)
