"""The committed demo network is what its README says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tvm_patch.testing.reference import reference_interpreter

FOLDER = Path(__file__).parents[3] / "examples" / "digits"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
MODEL = (FOLDER / "digits.tflite").read_bytes()


def load_script(name: str) -> ModuleType:
    """A script of the example, which is no package."""
    spec = importlib.util.spec_from_file_location(f"digits_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses with postponed annotations look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def number(text: str) -> int:
    return int(text.replace(",", "") or 0)


def test_accuracy_on_the_shipped_images() -> None:
    claim = re.search(r"`test_images.npz` \| (\d+) of (\d+) \(([\d.]+) %\)", README)
    assert claim is not None
    right, count, percent = int(claim[1]), int(claim[2]), float(claim[3])
    test = np.load(FOLDER / "test_images.npz")
    assert test["images"].shape == (count, 64, 64, 1)
    assert test["images"].dtype == np.int8
    assert np.bincount(test["labels"]).tolist() == [count // 10] * 10
    accuracy = load_script("check").accuracy(MODEL, test["images"], test["labels"])
    assert accuracy == right / count == percent / 100
    assert count >= 100
    assert accuracy >= 0.95


def test_size_and_signature() -> None:
    assert f"int8 network, {len(MODEL):,} bytes" in README
    assert len(MODEL) < 300_000
    interpreter = reference_interpreter(MODEL)
    (source,) = interpreter.get_input_details()
    (result,) = interpreter.get_output_details()
    assert (source["name"], source["dtype"], list(source["shape"])) == (
        "image", np.int8, [1, 64, 64, 1],
    )  # fmt: skip
    assert source["quantization"] == (pytest.approx(1 / 255), -128)
    assert (result["name"], result["dtype"], list(result["shape"])) == (
        "probabilities", np.int8, [1, 10],
    )  # fmt: skip
    assert result["quantization"] == (1 / 256, -128)


def test_layer_table() -> None:
    shapes = {
        detail["name"]: [int(extent) for extent in detail["shape"]]
        for detail in reference_interpreter(MODEL).get_tensor_details()
    }
    pattern = r"^\| (\S+) \| [A-Z_0-9]+.*? \| ([\dx]+) \|([ \d,]*)\| [\d,]+ \|$"
    rows = re.findall(pattern, README, re.MULTILINE)
    weights = {name for name in shapes if name.endswith("/weight")}
    assert {f"{name}/weight" for name, _, macs in rows if macs.strip()} == weights
    total = 0
    for name, output, macs in rows:
        assert "x".join(map(str, shapes[name][1:])) == output
        kernel = shapes.get(f"{name}/weight", [0])
        # Depthwise weights are [1, KH, KW, C]: their channels are the output's.
        taps = kernel[1:3] if "depthwise" in name else kernel[1:]
        expected = int(np.prod(shapes[name]) * np.prod(taps)) if kernel != [0] else 0
        assert number(macs.strip()) == expected
        total += expected
    assert f"{total:,} MACs, {sum(np.prod(shapes[name]) for name in weights):,} weights" in README


def test_shipped_images_are_the_held_out_ones() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn (the examples extra) makes the images")
    _, held_out = load_script("data").load_splits()
    test = np.load(FOLDER / "test_images.npz")
    count = len(test["labels"])
    np.testing.assert_array_equal(test["images"], held_out.images[:count])
    np.testing.assert_array_equal(test["labels"], held_out.labels[:count])
