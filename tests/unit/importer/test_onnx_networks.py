"""Float CNNs quantised by onnxruntime, imported, and run beside onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.importer.relax_execution import run_relax

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from tests.unit.importer.onnx_networks import OnnxBuilder  # noqa: E402
from tvm_patch.importer import (  # noqa: E402
    ImportedModel,
    golden_outputs,
    load_model,
    random_inputs,
)
from tvm_patch.importer.quantize import quantize_onnx  # noqa: E402
from tvm_patch.qnn import run_reference, to_integer  # noqa: E402

Network = Callable[[OnnxBuilder], str]


def _plain(b: OnnxBuilder) -> str:
    x = b.node("Relu", b.conv(b.x, (8, 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]))
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return b.dense(b.node("Flatten", x), 5, 8 * 4 * 3)


def _mobile(b: OnnxBuilder) -> str:
    x = b.conv(b.x, (8, 3, 3, 3), pads=[0, 0, 1, 1], strides=[2, 2])
    x = b.node("Clip", x, b.constant(np.float32(0)), b.constant(np.float32(6)))
    y = b.conv(x, (16, 1, 3, 3), group=8, auto_pad="SAME_UPPER")
    y = b.node("HardSwish", y)
    y = b.conv(y, (8, 16, 1, 1))
    x = b.node("Add", x, y)
    x = b.conv(x, (12, 4, 3, 3), group=2, dilations=[2, 2], pads=[2, 2, 2, 2])
    x = b.node("GlobalAveragePool", b.node("LeakyRelu", x, alpha=0.1))
    return b.node("Softmax", b.dense(b.node("Flatten", x), 5, 12))


def _squeeze_excite(b: OnnxBuilder) -> str:
    x = b.node("Relu", b.conv(b.x, (8, 3, 3, 3), pads=[1, 1, 1, 1]))
    gate = b.node("ReduceMean", x, axes=[2, 3], keepdims=1)
    gate = b.node("HardSigmoid", b.conv(gate, (8, 8, 1, 1)), alpha=1 / 6, beta=0.5)
    x = b.node("Mul", x, gate)
    swish = b.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    x = b.node("Mul", x, swish)
    x = b.node("Tanh", b.node("ReduceMean", x, axes=[2, 3], keepdims=0))
    return b.node("MatMul", x, b.weight(8, 4))


def _pyramid(b: OnnxBuilder) -> str:
    x = b.node("Relu", b.conv(b.x, (6, 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]))
    small = b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    scales = b.constant(np.array([1, 1, 2, 2], np.float32))
    large = b.node(
        "Resize",
        small,
        "",
        scales,
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    sizes = b.constant(np.array([1, 6, 8, 6], np.int64))
    large = b.node("Resize", large, "", "", sizes, mode="nearest")
    pads = b.constant(np.array([0, 0, 0, 0, 0, 0, 0, 1], np.int64))
    x = b.node("Concat", x, b.node("Pad", large, pads), axis=1)
    x = b.node("Sigmoid", b.conv(x, (4, 12, 1, 1)))
    return b.node("Transpose", x, perm=[0, 2, 3, 1])


def _reshapes(b: OnnxBuilder) -> str:
    x = b.conv(b.x, (4, 3, 3, 3), strides=[2, 2])
    starts, ends, axes = (b.constant(np.array(v, np.int64)) for v in ([0, 1], [4, 6], [1, 2]))
    x = b.node("Slice", x, starts, ends, axes)
    x = b.node("Reshape", x, b.constant(np.array([1, 2, -1], np.int64)))
    x = b.node("Transpose", x, perm=[0, 2, 1])
    x = b.node("Reshape", x, b.constant(np.array([0, -1], np.int64)))
    return b.dense(x, 3, 4 * 5 * 5)


def _padded_pools(b: OnnxBuilder) -> str:
    x = b.conv(b.x, (4, 3, 1, 1))
    y = b.node(
        "AveragePool",
        x,
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        count_include_pad=1,
    )
    z = b.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    w = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1)
    return b.node("Add", b.node("Sub", y, z), w)


def _converted(b: OnnxBuilder) -> str:
    x = b.node("Transpose", b.x, perm=[0, 3, 1, 2])
    x = b.node("Relu", b.conv(x, (4, 3, 3, 3), pads=[1, 1, 1, 1]))
    return b.node("Transpose", x, perm=[0, 2, 3, 1])


def _constant_branch(b: OnnxBuilder) -> str:
    x = b.conv(b.x, (4, 3, 3, 3), pads=[1, 1, 1, 1])
    values = np.random.default_rng(3).normal(0, 1, (1, 3, 11, 9)).astype(np.float32)
    y = b.node("Sigmoid", b.conv(b.constant(values), (4, 3, 3, 3), pads=[1, 1, 1, 1]))
    y = b.node("MaxPool", y, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return b.node("Add", y, x)


NETWORKS: dict[str, tuple[tuple[object, ...], Network]] = {
    "plain": ((1, 3, 16, 12), _plain),
    "mobile": (("batch", 3, 16, 12), _mobile),
    "squeeze and excite": ((1, 3, 9, 7), _squeeze_excite),
    "pyramid": ((1, 3, 16, 14), _pyramid),
    "reshapes": ((1, 3, 16, 12), _reshapes),
    "pools": ((1, 3, 11, 9), _padded_pools),
    "constant branch": ((1, 3, 11, 9), _constant_branch),
    "converted from NHWC": ((1, 10, 8, 3), _converted),
}


def quantised(label: str, folder: Path) -> Path:
    """Write the float network of a label, quantise it, return the QDQ file."""
    shape, network = NETWORKS[label]
    opset = 17 if label != "mobile" else 18
    builder = OnnxBuilder(shape, seed=len(label), opset=opset)
    builder.save(folder / "float.onnx", network(builder))
    sample = np.random.default_rng(5).normal(0, 1, (8, *shape[1:])).astype(np.float32)
    np.savez(folder / "data.npz", image=sample)
    return quantize_onnx(folder / "float.onnx", folder / "data.npz", folder / "int8.onnx")


def _steps_apart(model: ImportedModel, seed: int, *, integer: bool = False) -> float:
    inputs = random_inputs(model, seed)
    golden = golden_outputs(model, inputs)
    assert not golden.bit_exact
    if integer:
        computed = run_reference(to_integer(model.module), inputs)
    else:
        computed = run_relax(model, inputs)
    (info,) = model.outputs
    expected = golden.outputs[info.var_name]
    assert expected.shape == info.shape
    difference = np.abs(computed[info.var_name] - expected)
    levels = np.unique(np.concatenate([expected.reshape(-1), computed[info.var_name].reshape(-1)]))
    step = np.diff(levels).min() if len(levels) > 1 else 1.0
    return float(difference.max() / step)


@pytest.mark.parametrize("label", NETWORKS)
def test_network_computes_what_onnxruntime_computes(label: str, tmp_path: Path) -> None:
    model = load_model(quantised(label, tmp_path))
    assert model.format == "onnx"
    for seed in range(3):
        # Both round in float32 but add up in another order.
        assert _steps_apart(model, seed) <= 3.01


@pytest.mark.parametrize("label", NETWORKS)
def test_integer_form_stays_close_to_onnxruntime(label: str, tmp_path: Path) -> None:
    model = load_model(quantised(label, tmp_path))
    for seed in range(3):
        # LiteRT's fixed point rounds each layer a little differently; up to five layers deep.
        assert _steps_apart(model, seed, integer=True) <= 4.01


def test_image_becomes_nhwc(tmp_path: Path) -> None:
    model = load_model(quantised("plain", tmp_path))
    (image,) = model.inputs
    assert model.input_layout == "NCHW"
    assert (image.shape, image.layout, image.source_layout) == ((1, 16, 12, 3), "NHWC", "NCHW")
    script = model.module.script()
    assert "permute_dims" not in script
    assert 'data_layout="NHWC"' in script


def test_converted_image_stays_nhwc(tmp_path: Path) -> None:
    model = load_model(quantised("converted from NHWC", tmp_path))
    (image,), (result,) = model.inputs, model.outputs
    assert model.input_layout == "NHWC"
    assert (image.shape, image.source_layout) == ((1, 10, 8, 3), "NHWC")
    assert result.shape == (1, 10, 8, 4)
    assert "permute_dims" not in model.module.script()


def test_operators_keep_their_names(tmp_path: Path) -> None:
    model = load_model(quantised("mobile", tmp_path))
    bound = {b.var.name for block in model.module["main"].body.blocks for b in block.bindings}
    named = [name for name in model.tensor_names if name in bound]
    assert "hardswish_3" in named
    assert {"image_int8", "clip_1", "conv_4", "add_5", "gemm_10", "softmax_11"} <= set(named)
    assert model.tensor_names["image_int8"] == model.tensor_names["image"] == "image"


def test_unsigned_activations_become_signed_ones(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    builder = OnnxBuilder((1, 3, 16, 12))
    builder.save(tmp_path / "float.onnx", _plain(builder))

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            generator = np.random.default_rng(1)
            self.samples = iter(generator.normal(0, 1, (4, 1, 3, 16, 12)).astype(np.float32))

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self.samples, None)
            return None if sample is None else {"image": sample}

    quantize_static(
        str(tmp_path / "float.onnx"),
        str(tmp_path / "uint8.onnx"),
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    model = load_model(tmp_path / "uint8.onnx")
    assert "uint8" not in model.module.script()
    assert _steps_apart(model, seed=2) <= 3.01
