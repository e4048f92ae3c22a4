"""Partitioned modules on the host: Relax runs the same tile loops and gets the same integers."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tests.support import DIGITS
from tvm_patch.pipeline import Prepared, prepare
from tvm_patch.testing.reference import random_inputs, run_reference


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare(DIGITS)


def run_on_host(module: tvm.IRModule, image: np.ndarray) -> np.ndarray:
    machine = relax.VirtualMachine(relax.build(module, target="llvm"), tvm.cpu())
    return machine["main"](tvm.runtime.tensor(image)).numpy()


@pytest.mark.parametrize("arguments", [{"ram": "48KB"}, {"split": 7, "grid": (3, 5)}])
def test_partitioned_module_gives_litert_s_integers(
    digits: Prepared, arguments: dict[str, object]
) -> None:
    (image,) = random_inputs(DIGITS.read_bytes(), 3)
    (expected,) = run_reference(DIGITS.read_bytes(), image)
    module = relax.transform.PatchPartition(**arguments)(digits.imported.module)
    assert any(v.name_hint == "stage0" for v in module.functions)
    np.testing.assert_array_equal(run_on_host(module, image), expected)


def test_the_host_really_runs_the_tile_loops(digits: Prepared) -> None:
    module = relax.transform.PatchPartition(split=7, grid=(4, 4))(digits.imported.module)
    legal = relax.transform.LegalizeOps()(module)
    tiles = legal["stage0_tiles"].script()
    assert "for strip" in tiles or "strip, step" in tiles
    assert "T.grid" in tiles or "for step" in tiles
