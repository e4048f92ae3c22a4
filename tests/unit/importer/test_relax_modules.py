"""Relax modules in QDQ form handed over in Python, and the golden run's own checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax

from tvm_patch.errors import (
    FloatModelError,
    ModelFileError,
    UnsupportedOperatorError,
    UnsupportedShapeError,
    ValidationError,
)
from tvm_patch.importer import golden_outputs, load_model, random_inputs
from tvm_patch.importer.names import UniqueNames, sanitise
from tvm_patch.testing.networks import random_network


def _module(shape: tuple[object, ...] = (1, 4, 4, 2), quantised: bool = True) -> tvm.IRModule:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "int8" if quantised else "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            real = x
            if quantised:
                scale, zero = relax.const(0.5, "float32"), relax.const(3, "int32")
                real = builder.emit(relax.op.dequantize(x, scale, zero, 0))
            y = builder.emit(relax.op.sigmoid(real), "y")
            if quantised:
                scale, zero = relax.const(1 / 256, "float32"), relax.const(-128, "int32")
                y = builder.emit(relax.op.quantize(y, scale, zero, 0, "int8"), "q")
            result = builder.emit_output(y)
        builder.emit_func_output(result)
    return builder.get()


def test_parameters_are_read_off_the_operators() -> None:
    model = load_model(_module(), name="by hand")
    assert (model.name, model.c_name, model.format) == ("by hand", "by_hand", "relax")
    (x,), (q,) = model.inputs, model.outputs
    assert (x.var_name, x.shape, x.scale, x.zero_point) == ("x", (1, 4, 4, 2), 0.5, 3)
    assert (q.var_name, q.dtype, q.scale, q.zero_point) == ("q", "int8", 1 / 256, -128)


def test_import_again_describes_the_same(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(random_network(4).model)
    first = load_model(path)
    second = load_model(first.module, name=first.name)
    assert dict(second.tensor_names) == dict(first.tensor_names)
    for one, other in zip(first.outputs, second.outputs, strict=True):
        assert (one.var_name, one.shape, one.dtype) == (other.var_name, other.shape, other.dtype)


def test_same_module_has_the_same_digest() -> None:
    assert load_model(_module()).sha256 == load_model(_module()).sha256
    assert load_model(_module()).sha256 != load_model(_module((1, 4, 4, 3))).sha256


def test_float_module_is_refused() -> None:
    with pytest.raises(FloatModelError, match="no quantize operator"):
        load_model(_module(quantised=False))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, tvm.tirx.Var("n", "int64"), 4, 2), "dynamic shape"),
        ((2, 4, 4, 2), "batch of 2"),
        ((1, 0, 4, 2), "size zero"),
    ],
)
def test_shapes_that_cannot_be(shape: tuple[object, ...], message: str) -> None:
    with pytest.raises(UnsupportedShapeError, match=message):
        load_model(_module(shape))


def test_module_without_main_is_refused() -> None:
    module = tvm.IRModule({"other": _module()["main"].with_attr("global_symbol", "other")})
    with pytest.raises(UnsupportedOperatorError, match="no Relax function 'main'"):
        load_model(module)


def test_module_has_no_golden_run() -> None:
    model = load_model(_module())
    with pytest.raises(ModelFileError, match="no original file"):
        golden_outputs(model, random_inputs(model, 0))


def test_golden_run_checks_its_inputs(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(random_network(2).model)
    model = load_model(path)
    inputs = random_inputs(model, 0)
    name = model.inputs[0].var_name
    with pytest.raises(ValidationError, match="is missing"):
        golden_outputs(model, {})
    with pytest.raises(ValidationError, match=r"float64\["):
        golden_outputs(model, {name: inputs[name].astype(np.float64)})
    path.write_bytes(random_network(3).model)
    with pytest.raises(ModelFileError, match="has changed"):
        golden_outputs(model, inputs)


def test_random_inputs_depend_on_the_seed_alone(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(random_network(2).model)
    one, same, other = (random_inputs(load_model(path), seed) for seed in (5, 5, 6))
    for name in one:
        assert np.array_equal(one[name], same[name])
        assert not np.array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model/conv2d/Relu;model/bn", "model_conv2d_Relu"),
        ("input_0_f.1", "input_0_f_1"),
        ("1807", "tensor_1807"),
        ("switch", "tensor_switch"),
        ("", "tensor"),
        ("::", "tensor"),
        ("größe", "gr_e"),
        ("a" * 100, "a" * 64),
    ],
)
def test_names_become_c_identifiers(name: str, expected: str) -> None:
    assert sanitise(name) == expected
    assert expected.isidentifier()


def test_repeated_names_are_told_apart() -> None:
    names = UniqueNames()
    assert [names.claim(name) for name in ("a/b", "a:b", "a_b_2", "a.b")] == [
        "a_b",
        "a_b_2",
        "a_b_2_2",
        "a_b_3",
    ]
