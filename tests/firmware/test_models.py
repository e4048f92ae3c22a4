"""End to end on the emulated Cortex-M7: real networks, layer by layer and patched."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from tests.support import DIGITS, MODEL_NAMES, need_emulator, real_model
from tvm_patch.errors import DoesNotFitError
from tvm_patch.pipeline import Deployment, Io, Prepared, deploy, make_plan, prepare
from tvm_patch.plan import InputMode, Requirements

pytestmark = [pytest.mark.emulator, pytest.mark.models]


def io_of(name: str) -> Io:
    return "int8" if name == "person-det" else "model"


@lru_cache(maxsize=2)
def prepared(name: str) -> Prepared:
    return prepare(DIGITS if name == "digits" else real_model(name), io=io_of(name))


def run(name: str, folder: Path, requirements: Requirements | None = None) -> Deployment:
    """Deploy and check what holds for every deployment."""
    need_emulator()
    deployment = deploy(
        prepared(name), requirements=requirements, layers=requirements is None, folder=folder
    )
    assert deployment.validation.bit_exact, deployment.validation
    measurement = deployment.measurement
    planned = deployment.plan.memory.arena_bytes
    assert measurement.linked_arena_bytes == planned
    assert planned - 64 <= measurement.arena_bytes <= planned
    assert measurement.instructions is not None
    assert measurement.instructions > deployment.plan.macs / 2
    return deployment


@pytest.mark.parametrize("name", ["digits", *MODEL_NAMES])
def test_layer_by_layer(name: str, tmp_path: Path) -> None:
    deployment = run(name, tmp_path)
    assert deployment.plan.stages == ()
    source = "numpy reference" if name == "digits-onnx" else "LiteRT reference kernels"
    assert deployment.validation.source == source


@pytest.mark.parametrize("name", ["digits", *MODEL_NAMES])
def test_patched(name: str, tmp_path: Path) -> None:
    run(name, tmp_path, Requirements(objective="memory", max_overhead=1.3, buffering="patch"))


@pytest.mark.parametrize("name", ["digits", *MODEL_NAMES])
def test_streamed_by_rows(name: str, tmp_path: Path) -> None:
    """No MAC is done twice, and no more than layer by layer."""
    requirements = Requirements(objective="memory", max_overhead=1.0, buffering="rows")
    deployment = run(name, tmp_path, requirements)
    assert deployment.plan.mac_overhead <= 1.0


@pytest.mark.parametrize("name", ["digits", "mlperf-vww", "mcunet-vww1", "person-det"])
def test_input_fetched_by_rows(name: str, tmp_path: Path) -> None:
    requirements = Requirements(
        objective="memory", max_overhead=1.0, buffering="rows", input_mode=InputMode.ROWS
    )
    deployment = run(name, tmp_path, requirements)
    (image,) = deployment.prepared.network.graph.inputs
    if name != "digits":
        # The whole image would not even fit what the inference takes.
        image_bytes = deployment.prepared.network.graph.tensor[image].size_bytes
        assert deployment.plan.memory.arena_bytes < max(image_bytes, 22 * 1024)


def test_mcunet_vww1_in_64_kilobytes(tmp_path: Path) -> None:
    deployment = run("mcunet-vww1", tmp_path, Requirements(ram_bytes=64 * 1024))
    peak = deployment.measurement.peak_sram_bytes
    assert peak is not None
    assert peak <= 64 * 1024
    layers = make_plan(prepared("mcunet-vww1"), layers=True)
    assert layers.memory.arena_bytes >= 78 * 1024


def test_person_det_patched_needs_half(tmp_path: Path) -> None:
    requirements = Requirements(objective="memory", buffering="patch")
    peak = run("person-det", tmp_path / "patched", requirements).measurement.peak_sram_bytes
    layers = run("person-det", tmp_path / "layers").measurement.peak_sram_bytes
    assert peak is not None
    assert layers is not None
    assert peak <= layers / 2


def test_a_big_model_does_not_fit_four_kilobytes() -> None:
    with pytest.raises(DoesNotFitError, match="4,096"):
        make_plan(prepared("mcunet-in3"), Requirements(ram_bytes=4096))
