"""ONNX files that cannot be imported, and calibration that cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from tests.unit.importer.onnx_networks import OnnxBuilder  # noqa: E402
from tests.unit.importer.test_onnx_networks import quantised  # noqa: E402
from tvm_patch.errors import (  # noqa: E402
    FloatModelError,
    ModelFileError,
    ToolMissingError,
    TvmPatchError,
    UnsupportedOperatorError,
    UnsupportedShapeError,
)
from tvm_patch.importer import load_model  # noqa: E402
from tvm_patch.importer.onnx import load_onnx  # noqa: E402
from tvm_patch.importer.quantize import quantize_onnx  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    quantised("plain", folder)
    return folder


def _edited(folder: Path, target: Path, edit: object) -> Path:
    model = onnx.load(str(folder / "int8.onnx"))
    edit(model)  # type: ignore[operator]
    path = target / "edited.onnx"
    onnx.save(model, str(path))
    return path


def test_truncations_are_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "int8.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    sizes = [*range(0, 40), *range(40, len(whole) - 40, 97)]
    for size in sizes:
        path.write_bytes(whole[:size])
        with pytest.raises(ModelFileError):
            load_model(path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(position=st.integers(0), value=st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
def test_damaged_bytes_never_crash(folder: Path, position: int, value: int) -> None:
    damaged = bytearray((folder / "int8.onnx").read_bytes())
    damaged[position % len(damaged)] = value
    try:
        model = load_onnx(bytes(damaged), name="damaged")
    except TvmPatchError as error:
        assert error.message
    else:
        assert model.inputs


def test_float_model_names_the_way_out(folder: Path) -> None:
    with pytest.raises(FloatModelError, match="no QuantizeLinear") as caught:
        load_model(folder / "float.onnx")
    assert "tvm-patch quantize" in str(caught.value)


def test_unsupported_node_is_named(folder: Path, tmp_path: Path) -> None:
    def edit(model: object) -> None:
        for node in model.graph.node:  # type: ignore[attr-defined]
            if node.op_type == "MaxPool":
                node.op_type, node.name = "LpPool", "strange"

    with pytest.raises(UnsupportedOperatorError, match=r"LpPool 'strange'.*\n.*MaxPool"):
        load_model(_edited(folder, tmp_path, edit))


@pytest.mark.parametrize(
    ("axis", "size", "message"),
    [(0, 2, "batch of 2"), (2, 0, "size zero"), (2, "height", "dynamic dimension 'height'")],
)
def test_shapes_that_cannot_be(
    axis: int, size: int | str, message: str, folder: Path, tmp_path: Path
) -> None:
    def edit(model: object) -> None:
        dimension = model.graph.input[0].type.tensor_type.shape.dim[axis]  # type: ignore[attr-defined]
        if isinstance(size, str):
            dimension.dim_param = size
        else:
            dimension.dim_value = size

    with pytest.raises(UnsupportedShapeError, match=message):
        load_model(_edited(folder, tmp_path, edit))


def test_activation_left_in_float_is_named(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def edit(model: object) -> None:
        graph = model.graph  # type: ignore[attr-defined]
        pairs = {node.output[0]: node for node in graph.node}
        gemm = next(node for node in graph.node if node.op_type == "Gemm")
        dequantize = pairs[gemm.input[0]]
        graph.node.append(onnx.helper.make_node("Sigmoid", [dequantize.output[0]], ["loose"]))
        graph.node.remove(gemm)
        gemm.input[0] = "loose"
        graph.node.append(gemm)
        rest = [node for node in graph.node if gemm.output[0] in node.input]
        for node in rest:
            graph.node.remove(node)
            graph.node.append(node)
        for node in [n for n in graph.node if n.input and n.input[0] in rest[0].output]:
            graph.node.remove(node)
            graph.node.append(node)

    with pytest.raises(UnsupportedOperatorError, match="reads 'loose', which is not quantised"):
        load_model(_edited(folder, tmp_path, edit))
    assert capfd.readouterr().err == ""


def test_calibration_of_another_shape_is_refused(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", image=np.zeros((4, 3, 8, 8), np.float32))
    target = tmp_path / "out.onnx"
    target.write_bytes(b"earlier result")
    with pytest.raises(ModelFileError, match=r"shape \[4, 3, 8, 8\], not \[samples, 3, 16, 12\]"):
        quantize_onnx(folder / "float.onnx", tmp_path / "data.npz", target)
    assert target.read_bytes() == b"earlier result"
    assert {path.name for path in tmp_path.iterdir()} == {"data.npz", "out.onnx"}


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4 broken"])
def test_calibration_that_is_no_archive_is_refused(
    content: bytes, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"data\.npz: not an \.npz file"):
        quantize_onnx(folder / "float.onnx", tmp_path / "data.npz", tmp_path / "out.onnx")


def test_missing_calibration_array_is_named(folder: Path, tmp_path: Path) -> None:
    data = np.zeros((4, 3, 16, 12), np.float32)
    np.savez(tmp_path / "data.npz", one=data, two=data)
    with pytest.raises(ModelFileError, match=r"no array 'image' \(it has one, two\)"):
        quantize_onnx(folder / "float.onnx", tmp_path / "data.npz", tmp_path / "out.onnx")


def test_quantised_model_is_not_quantised_again(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="quantised already"):
        quantize_onnx(folder / "int8.onnx", folder / "data.npz", tmp_path / "out.onnx")


def test_missing_runtime_names_the_extra(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    with pytest.raises(ToolMissingError, match=r"tvm-patch\[onnx\]"):
        quantize_onnx(folder / "float.onnx", folder / "data.npz", tmp_path / "out.onnx")


def test_one_bare_array_needs_no_name(folder: Path, tmp_path: Path) -> None:
    with np.load(folder / "data.npz") as archive:
        np.savez(tmp_path / "data.npz", archive["image"])
    out = quantize_onnx(folder / "float.onnx", tmp_path / "data.npz", tmp_path / "out.onnx")
    assert load_model(out).inputs[0].name == "image"


def test_batch_normalisation_is_folded(tmp_path: Path) -> None:
    builder = OnnxBuilder((1, 3, 8, 8))
    x = builder.conv(builder.x, (4, 3, 3, 3))
    vectors = [builder.constant(np.full(4, v, np.float32)) for v in (1.5, 0.1, 0.2, 0.9)]
    x = builder.node("BatchNormalization", x, *vectors)
    builder.save(tmp_path / "float.onnx", builder.node("Relu", x))
    np.savez(tmp_path / "data.npz", np.random.default_rng(0).normal(size=(4, 3, 8, 8)))
    out = quantize_onnx(tmp_path / "float.onnx", tmp_path / "data.npz", tmp_path / "int8.onnx")
    assert load_model(out).outputs[0].shape == (1, 6, 6, 4)
