"""Every operator form, written to a file, imported, and run beside LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.importer.relax_execution import run_relax_apart
from tvm_patch.importer import golden_outputs, load_model, random_inputs
from tvm_patch.qnn import run_reference, to_integer
from tvm_patch.testing.networks import random_network
from tvm_patch.testing.tflite_builder import TensorRef, TFLiteBuilder

SHAPE = (1, 7, 6, 8)
SCALE, ZERO_POINT = 0.05, -7

Layer = Callable[[TFLiteBuilder, TensorRef], TensorRef]


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-127, 128, shape, dtype=np.int8)


def _bias(channels: int) -> np.ndarray:
    return np.random.default_rng(channels).integers(-500, 500, channels, dtype=np.int32)


def _scales(channels: int) -> np.ndarray:
    return np.random.default_rng(channels).uniform(0.001, 0.01, channels).astype(np.float32)


def _conv(**options: object) -> Layer:
    return lambda b, x: b.conv2d(x, _weights(5, 3, 3, 8), _bias(5), _scales(5), 0.08, 9, **options)


def _depthwise(multiplier: int, per_channel: bool, **options: object) -> Layer:
    channels = 8 * multiplier
    scales = _scales(channels) if per_channel else 0.004
    return lambda b, x: b.depthwise_conv2d(
        x, _weights(1, 3, 3, channels), _bias(channels), scales, 0.06, -3, **options
    )


def _dense(bias: bool) -> Layer:
    def layer(b: TFLiteBuilder, x: TensorRef) -> TensorRef:
        flat = b.reshape(x, (1, 336))
        return b.fully_connected(flat, _weights(10, 336), _bias(10) if bias else None, 0.01, 0.4, 3)

    return layer


def _dense_on_image(b: TFLiteBuilder, x: TensorRef) -> TensorRef:
    pooled = b.average_pool2d(x, (7, 6))
    return b.fully_connected(pooled, _weights(10, 8), _bias(10), 0.01, 0.1, 3, activation="RELU6")


def _gate(b: TFLiteBuilder, x: TensorRef) -> TensorRef:
    gate = b.logistic(b.mean(x, keepdims=True))
    return b.mul(x, gate, 0.04, -5)


def _constant(b: TFLiteBuilder) -> TensorRef:
    return b.constant("addend", _weights(1, 1, 1, 8), "int8", 0.03, 4)


LAYERS: dict[str, Layer] = {
    "conv": _conv(),
    "conv relu": _conv(activation="RELU", strides=(2, 1)),
    "conv relu6": _conv(activation="RELU6", padding="VALID"),
    "conv relu_n1": _conv(activation="RELU_N1_TO_1", dilation=(2, 2)),
    "conv per tensor": lambda b, x: b.conv2d(x, _weights(5, 1, 1, 8), _bias(5), 0.01, 0.1, 0),
    "conv grouped": lambda b, x: b.conv2d(x, _weights(6, 3, 3, 4), _bias(6), _scales(6), 0.1),
    "depthwise": _depthwise(1, True, strides=(2, 2), activation="RELU6"),
    "depthwise multiplier": _depthwise(3, True),
    "depthwise per tensor": _depthwise(2, False, padding="VALID"),
    "dense": _dense(True),
    "dense no bias": _dense(False),
    "dense on 4-D": _dense_on_image,
    "add": lambda b, x: b.add(x, b.relu(x, 0.02, -128), 0.1, 3),
    "add relu": lambda b, x: b.add(x, x, 0.1, 3, activation="RELU"),
    "add constant": lambda b, x: b.add(x, _constant(b), 0.1, 3),
    "sub": lambda b, x: b.sub(x, b.relu(x, 0.02, -128), 0.1, 3, activation="RELU6"),
    "mul gate": _gate,
    "max pool": lambda b, x: b.max_pool2d(x, (3, 2), (2, 2), padding="SAME", activation="RELU"),
    "average pool": lambda b, x: b.average_pool2d(x, (3, 3), (2, 2), padding="SAME"),
    "average pool relu": lambda b, x: b.average_pool2d(x, (2, 2), activation="RELU6"),
    "mean": lambda b, x: b.mean(x, 0.03, 5),
    "mean keep": lambda b, x: b.mean(x, 0.05, -7, keepdims=True),
    "concat": lambda b, x: b.concatenation([x, b.max_pool2d(x, (1, 1)), x]),
    "concat rows": lambda b, x: b.concatenation([x, x], axis=1),
    "pad": lambda b, x: b.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0))),
    "transpose": lambda b, x: b.transpose(x, (0, 3, 1, 2)),
    "slice": lambda b, x: b.strided_slice(x, (0, 1, -5, 0), (1, 6, 6, 8), (1, 2, 3, 1)),
    "slice masks": lambda b, x: b.strided_slice(
        x, (0, 1, 1, 0), (1, 6, 1, 3), begin_mask=4, end_mask=2
    ),
    "resize": lambda b, x: b.resize_nearest_neighbor(x, (14, 9)),
    "resize corners": lambda b, x: b.resize_nearest_neighbor(x, (10, 12), align_corners=True),
    "resize half pixel": lambda b, x: b.resize_nearest_neighbor(x, (5, 11), half_pixel=True),
    "softmax": lambda b, x: b.softmax(x),
    "softmax beta": lambda b, x: b.softmax(b.reshape(x, (1, 336)), beta=0.5),
    "logistic": lambda b, x: b.logistic(x),
    "tanh": lambda b, x: b.tanh(x),
    "hard swish": lambda b, x: b.hard_swish(x, 0.04, -100),
    "leaky relu": lambda b, x: b.leaky_relu(x, 0.1, 0.04, -90),
    "relu": lambda b, x: b.relu(x, 0.03, -128),
    "relu6": lambda b, x: b.relu6(x, 6 / 255, -128),
    "requantize": lambda b, x: b.quantize(x, 0.07, 11),
    "dequantize": lambda b, x: b.dequantize(x),
}


def _largest_difference(path: Path, seed: int) -> dict[str, float]:
    model = load_model(path)
    golden = golden_outputs(model, random_inputs(model, seed), all_tensors=True)
    computed = run_relax_apart(model, golden.tensors)
    assert set(computed) | {info.var_name for info in model.inputs} == set(golden.tensors)
    differences = {}
    for name, value in computed.items():
        expected = golden.tensors[name]
        assert (value.shape, value.dtype) == (expected.shape, expected.dtype), name
        differences[name] = float(np.abs(value.astype(np.float64) - expected).max())
    return differences


@pytest.mark.parametrize("label", LAYERS)
def test_import_computes_what_litert_computes(label: str, tmp_path: Path) -> None:
    builder = TFLiteBuilder("one")
    x = builder.input("x", SHAPE, SCALE, ZERO_POINT)
    builder.output(LAYERS[label](builder, x))
    path = tmp_path / "one.tflite"
    path.write_bytes(builder.build())
    differences = _largest_difference(path, seed=3)
    # Rounding in floating point against LiteRT's fixed point: one step at most.
    assert max(differences.values()) <= 1, differences


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_import_faithfully(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "random.tflite"
    path.write_bytes(random_network(seed).model)
    differences = _largest_difference(path, seed)
    assert max(differences.values()) <= 1, differences


@pytest.mark.parametrize("size", [(13, 9), (10, 12), (3, 31), (1, 1)])
def test_aligned_corners_fold_to_litert_pixels(size: tuple[int, int], tmp_path: Path) -> None:
    # Seven rows to thirteen: every second pixel is an exact half.
    builder = TFLiteBuilder("corners")
    x = builder.input("x", SHAPE, SCALE, ZERO_POINT)
    builder.output(builder.resize_nearest_neighbor(x, size, align_corners=True))
    path = tmp_path / "corners.tflite"
    path.write_bytes(builder.build())
    model = load_model(path)
    inputs = random_inputs(model, 7)
    computed = run_reference(to_integer(model.module), inputs)["resize"]
    assert np.array_equal(computed, golden_outputs(model, inputs).outputs["resize"])


def test_movement_needs_no_arithmetic(tmp_path: Path) -> None:
    builder = TFLiteBuilder("moves")
    x = builder.input("x", SHAPE, SCALE, ZERO_POINT)
    y = builder.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = builder.max_pool2d(y, (2, 2))
    y = builder.transpose(builder.resize_nearest_neighbor(y, (16, 8)), (0, 2, 1, 3))
    builder.output(builder.reshape(y, (1, 1024)))
    path = tmp_path / "moves.tflite"
    path.write_bytes(builder.build())
    assert "quantize" not in load_model(path).module.script()
    assert set(_largest_difference(path, seed=1).values()) == {0.0}


def test_names_follow_the_file(tmp_path: Path) -> None:
    builder = TFLiteBuilder("names")
    x = builder.input("serving_default:0", SHAPE, SCALE, ZERO_POINT)
    y = builder.relu(x, 0.03, -128, name="block/1/Relu;block/1/bias")
    y = builder.relu6(y, 0.02, -128, name="block:1:Relu")
    builder.output(builder.logistic(y, name="7"))
    path = tmp_path / "my net-v2.tflite"
    path.write_bytes(builder.build())
    model = load_model(path)
    assert model.c_name == "my_net_v2"
    assert dict(model.tensor_names) == {
        "block_1_Relu": "block/1/Relu;block/1/bias",
        "block_1_Relu_2": "block:1:Relu",
        "tensor_7": "7",
        "serving_default_0": "serving_default:0",
    }
    bound = [b.var.name for block in model.module["main"].body.blocks for b in block.bindings]
    assert [name for name in bound if name in model.tensor_names] == [
        "block_1_Relu",
        "block_1_Relu_2",
        "tensor_7",
    ]
    assert [parameter.name for parameter in model.module["main"].params] == ["serving_default_0"]


def test_scales_stay_float32(tmp_path: Path) -> None:
    scale = np.float32(0.0123456789)
    builder = TFLiteBuilder("scales")
    builder.output(builder.relu(builder.input("x", SHAPE, float(scale), 5), 0.1, -128))
    path = tmp_path / "scales.tflite"
    path.write_bytes(builder.build())
    (info,) = load_model(path).inputs
    assert info.scale == float(scale)
    assert (info.zero_point, info.shape, info.layout) == (5, SHAPE, "NHWC")
