"""The nine real networks: imported, and every operator run beside LiteRT's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import real_model
from tests.unit.importer.relax_execution import run_relax_apart
from tvm_patch.importer import ImportedModel, golden_outputs, load_model, random_inputs
from tvm_patch.qnn import run_reference, to_integer

pytestmark = pytest.mark.models

# Operators of each file: its variables less the model's inputs.
OPERATORS = {
    "mcunet-in2": 122,
    "mcunet-in3": 122,
    "mcunet-vww0": 94,
    "mcunet-vww1": 101,
    "mlperf-ad": 10,
    "mlperf-ic": 16,
    "mlperf-kws": 13,
    "mlperf-vww": 31,
    "person-det": 79,
}
# Building 120 operators for the host one by one takes a quarter of a minute.
QUICK = ("mlperf-ad", "mlperf-ic", "mlperf-kws", "mlperf-vww")


def _model(name: str) -> ImportedModel:
    return load_model(real_model(name))


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_gets_its_name(name: str) -> None:
    model = _model(name)
    bound = {b.var.name for block in model.module["main"].body.blocks for b in block.bindings}
    assert len(bound & set(model.tensor_names)) == OPERATORS[name]
    assert all(info.shape[0] == 1 for info in (*model.inputs, *model.outputs))


@pytest.mark.parametrize("name", OPERATORS)
def test_integer_form_equals_litert_tensor_by_tensor(name: str) -> None:
    model = _model(name)
    module = to_integer(model.module)
    for seed in (1, 2):
        inputs = random_inputs(model, seed)
        golden = golden_outputs(model, inputs, all_tensors=True)
        computed = run_reference(module, inputs)
        compared = set(computed) & set(golden.tensors)
        assert {info.var_name for info in model.outputs} <= compared
        differing = [
            tensor
            for tensor in compared
            if not np.array_equal(computed[tensor], golden.tensors[tensor])
        ]
        assert differing == []


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in OPERATORS],
)
def test_qdq_form_is_within_one_step_of_litert(name: str) -> None:
    model = _model(name)
    golden = golden_outputs(model, random_inputs(model, 1), all_tensors=True)
    for tensor, value in run_relax_apart(model, golden.tensors).items():
        expected = golden.tensors[tensor]
        assert (value.shape, value.dtype) == (expected.shape, expected.dtype)
        assert np.abs(value.astype(np.float64) - expected).max() <= 1, tensor


def test_float_boundary_is_kept() -> None:
    model = _model("person-det")
    assert [info.dtype for info in model.inputs] == ["float32"]
    assert [info.shape for info in model.outputs] == [
        (1, 4, 5, 18),
        (1, 8, 10, 18),
        (1, 16, 20, 18),
    ]
    assert all(info.scale is None for info in model.outputs)
