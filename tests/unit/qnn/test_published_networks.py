"""The nine published networks: every tensor equals LiteRT's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tvm_ffi

from tvm_patch.importer.tflite import load_tflite
from tvm_patch.qnn import to_integer
from tvm_patch.qnn.ops import op_name

from .test_against_litert import assert_equal_to_litert

MODELS = Path(os.environ.get("TVM_PATCH_MODELS", Path(__file__).parents[4] / "shared" / "models"))
NAMES = (
    "mlperf-vww",
    "mlperf-ic",
    "mlperf-kws",
    "mlperf-ad",
    "mcunet-vww0",
    "mcunet-vww1",
    "mcunet-in2",
    "mcunet-in3",
    "person-det",
)

pytestmark = pytest.mark.models


def _read(name: str) -> bytes:
    path = MODELS / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path.name} is not there; set TVM_PATCH_MODELS to the folder of models")
    return path.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_equals_litert(name):
    assert assert_equal_to_litert(_read(name), seed=1) > 10


@pytest.mark.parametrize("name", NAMES)
def test_int8_boundary_has_no_float_left(name):
    module = to_integer(load_tflite(_read(name), name=name).module, io="int8")
    assert {str(param.ty.dtype) for param in module["main"].params} == {"int8"}
    for binding in module["main"].body.blocks[0].bindings:
        is_sum = op_name(binding.value) == "qnn.global_sum"
        assert str(binding.var.ty.dtype) == ("int32" if is_sum else "int8")


def test_folding_is_deterministic_and_idempotent():
    imported = load_tflite(_read("person-det"), name="person-det")
    first, second = to_integer(imported.module), to_integer(imported.module)
    assert tvm_ffi.structural_equal(first, second)
    assert tvm_ffi.structural_equal(first, to_integer(first))
