"""Bad input: each a typed error that names the file and the way out."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tvm_patch.errors import (
    FloatModelError,
    ModelFileError,
    TvmPatchError,
    UnsupportedOperatorError,
    UnsupportedShapeError,
)
from tvm_patch.importer import load_model
from tvm_patch.importer.flatbuffer import verify_tflite
from tvm_patch.testing.networks import random_network
from tvm_patch.testing.tflite_builder import TensorRef, TFLiteBuilder

SHAPE = (1, 6, 5, 4)


def _small(builder: TFLiteBuilder, x: TensorRef) -> bytes:
    weight = np.ones((3, 2, 2, 4), np.int8)
    y = builder.conv2d(x, weight, np.zeros(3, np.int32), 0.01, 0.1, 0, activation="RELU")
    builder.output(builder.relu(y, 0.2, -128))
    return builder.build()


@pytest.fixture(scope="module")
def whole() -> bytes:
    builder = TFLiteBuilder("small")
    return _small(builder, builder.input("x", SHAPE, 0.1, 0))


def _load(folder: Path, data: bytes, name: str = "net.tflite") -> object:
    path = folder / name
    path.write_bytes(data)
    return load_model(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nowhere\.tflite: no such file"):
        load_model(tmp_path / "nowhere.tflite")


def test_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_model(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\0", b"PK\3\4 an archive", b"\x89PNG\r\n\x1a\n" * 40])
def test_foreign_file_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="neither a TFLite nor an ONNX file"):
        _load(tmp_path, data)


def test_content_counts_not_the_suffix(whole: bytes, tmp_path: Path) -> None:
    assert _load(tmp_path, whole, "model.onnx").format == "tflite"  # type: ignore[attr-defined]


def test_every_truncation_is_refused(whole: bytes, tmp_path: Path) -> None:
    padding = len(whole) - len(whole.rstrip(b"\0"))
    refused = 0
    for size in range(0, len(whole) - padding - 1, 3):
        with pytest.raises(ModelFileError):
            _load(tmp_path, whole[:size])
        refused += 1
    assert refused > 300


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(position=st.integers(0), value=st.integers(0, 255))
def test_damaged_bytes_never_crash(whole: bytes, position: int, value: int) -> None:
    from tvm_patch.importer.tflite import load_tflite

    damaged = bytearray(whole)
    damaged[position % len(whole)] = value
    try:
        model = load_tflite(bytes(damaged), name="damaged")
    except TvmPatchError as error:
        assert error.message
    else:
        assert model.inputs


def test_offset_out_of_the_file_is_found(whole: bytes) -> None:
    verify_tflite(whole, "net")
    damaged = struct.pack("<I", len(whole) + 4) + whole[4:]
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        verify_tflite(damaged, "net")


def test_random_network_passes_the_verifier() -> None:
    model = random_network(11).model
    verify_tflite(model, "random")
    with pytest.raises(ModelFileError):
        verify_tflite(model[: len(model) // 2], "random")


def test_float_model_names_the_way_out(tmp_path: Path) -> None:
    builder = TFLiteBuilder("float")
    x = builder.input("x", SHAPE)
    builder.output(builder.softmax(x))
    with pytest.raises(FloatModelError, match="SOFTMAX") as caught:
        _load(tmp_path, builder.build())
    assert "tvm-patch quantize model.onnx --calibration data.npz" in str(caught.value)


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_other_integers_are_refused(dtype: str, tmp_path: Path) -> None:
    builder = TFLiteBuilder("other")
    x = builder.input("x", SHAPE, 0.1, 0, dtype=dtype)
    builder.output(builder.max_pool2d(x, (2, 2)))
    with pytest.raises(UnsupportedOperatorError, match=f"'x' is {dtype}; int8 and float32"):
        _load(tmp_path, builder.build())


def test_unsupported_operator_lists_the_supported_ones(tmp_path: Path) -> None:
    builder = TFLiteBuilder("unsupported")
    x = builder.input("x", SHAPE, 0.1, 0)
    x = builder.relu(x, 0.1, 0)
    y = builder.tensor("floored", SHAPE, "int8", 0.1, 0)
    builder.operator("FLOOR", [x], [y])
    builder.output(y)
    with pytest.raises(UnsupportedOperatorError, match=r"operator 1 \(FLOOR.*floored") as caught:
        _load(tmp_path, builder.build())
    assert "CONV_2D" in str(caught.value)


def test_custom_operator_is_named(tmp_path: Path) -> None:
    builder = TFLiteBuilder("custom")
    x = builder.input("x", SHAPE, 0.1, 0)
    y = builder.tensor("y", SHAPE, "int8", 0.1, 0)
    builder.operator("CUSTOM", [x], [y], custom_code="Mystery")
    builder.output(y)
    with pytest.raises(UnsupportedOperatorError, match="CUSTOM:Mystery"):
        _load(tmp_path, builder.build())


def test_refused_form_names_the_operator(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    builder = TFLiteBuilder("rows")
    x = builder.input("x", (1, 6), 0.1, 0)
    x = builder.reshape(x, (2, 3))
    builder.output(builder.fully_connected(x, np.ones((4, 3), np.int8), None, 0.1, 0.1))
    with pytest.raises(UnsupportedOperatorError, match=r"net\.tflite: operator 1 \(FULLY_CONN"):
        _load(tmp_path, builder.build())
    assert capfd.readouterr().err == ""


def test_backward_slice_is_refused(tmp_path: Path) -> None:
    builder = TFLiteBuilder("backwards")
    x = builder.input("x", SHAPE, 0.1, 0)
    builder.output(builder.strided_slice(x, (0, 5, 0, 0), (1, 0, 5, 4), (1, -1, 1, 1)))
    with pytest.raises(UnsupportedOperatorError, match="walks backwards"):
        _load(tmp_path, builder.build())


@pytest.mark.parametrize(
    ("shape", "signature", "message"),
    [
        ((1, 1, 5, 4), (1, -1, 5, 4), "dynamic shape"),
        ((2, 6, 5, 4), None, "batch of 2"),
        ((1, 0, 5, 4), None, "dimension of size zero"),
    ],
)
def test_shapes_that_cannot_be(
    shape: tuple[int, ...], signature: tuple[int, ...] | None, message: str, tmp_path: Path
) -> None:
    builder = TFLiteBuilder("shapes")
    x = builder.input("x", shape, 0.1, 0, shape_signature=signature)
    builder.output(builder.relu(x, 0.1, 0))
    with pytest.raises(UnsupportedShapeError, match=message):
        _load(tmp_path, builder.build())


def test_open_batch_is_one(tmp_path: Path) -> None:
    builder = TFLiteBuilder("batch")
    x = builder.input("x", SHAPE, 0.1, 0, shape_signature=(-1, 6, 5, 4))
    builder.output(builder.relu(x, 0.1, 0))
    model = _load(tmp_path, builder.build())
    assert model.inputs[0].shape == SHAPE  # type: ignore[attr-defined]


def test_dynamic_range_model_counts_as_float(tmp_path: Path) -> None:
    builder = TFLiteBuilder("hybrid")
    x = builder.input("x", (1, 4))
    weight = builder.constant("w", np.ones((3, 4)), "int8", 0.1)
    y = builder.tensor("y", (1, 3), "float32")
    builder.operator("FULLY_CONNECTED", [x, weight, None], [y])
    builder.output(y)
    with pytest.raises(FloatModelError, match="FULLY_CONNECTED"):
        _load(tmp_path, builder.build())
