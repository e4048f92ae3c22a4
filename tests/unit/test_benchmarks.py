"""Benchmarks: the figures of others are whole, and tables put the right ones beside ours."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import DIGITS, MODEL_NAMES, REPOSITORY
from tvm_patch.pipeline import prepare

Load = Callable[[str], Any]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Import a script of ``benchmarks`` as it sees itself."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


def speed_of(speed: ModuleType, **changes: object) -> object:
    values: dict[str, object] = {
        "model": "mlperf-ic",
        "macs": 12_501_632,
        "layers": 16_000_000,
        "streamed": 16_400_000,
        "code_bytes": 10_000,
        "weight_bytes": 80_000,
        "flash_bytes": 97_000,
        "m4_instructions": 16_000_000,
        "m4_cycles": 20_000_000,
        "m4_slow_cycles": 30_000_000,
        "bit_exact": True,
    }
    return speed.Speed(**{**values, **changes})


def row_of(rows: list[tuple[str, ...]]) -> dict[str, str]:
    header, row = rows
    assert len(header) == len(row)
    return dict(zip(header, row, strict=True))


def test_every_network_has_figures_to_compare_with(benchmark: Load) -> None:
    networks = benchmark("networks")
    assert networks.REAL == MODEL_NAMES
    known = networks.anchors()
    for name in MODEL_NAMES:
        assert known[name]["goal"]["instructions"] < known[name]["tflm"]["instructions"]


def test_ratios_are_to_the_network_s_own_anchors(benchmark: Load) -> None:
    speed = benchmark("speed")
    row = row_of(speed.speed_rows([speed_of(speed)]))
    assert row["streamed / layers"] == "1.025"
    assert row["/ TFLM"] == "0.55"
    assert row["/ goal"] == "1.02"
    assert row["/ TinyEngine"] == "-"
    row = row_of(speed.flash_rows([speed_of(speed, model="mlperf-vww")]))
    assert row["both"] == "90,000"
    assert row["/ TinyEngine"] == "0.36"
    row = row_of(speed.speed_rows([speed_of(speed, model="digits", bit_exact=False)]))
    assert row["goal"] == row["/ TFLM"] == "-"
    assert row["bit-exact"] == "NO"


@pytest.mark.parametrize(
    ("cycles", "slow", "verdict"),
    [
        (20_000_000, 30_000_000, "yes"),
        (15_000_000, 25_000_000, "yes"),
        (10_000_000, 15_000_000, "faster than all"),
        (50_000_000, 70_000_000, "slower than all"),
        (None, None, "-"),
    ],
)
def test_the_published_band(
    benchmark: Load, cycles: int | None, slow: int | None, verdict: str
) -> None:
    speed = benchmark("speed")
    result = speed_of(speed, m4_cycles=cycles, m4_slow_cycles=slow)
    best, worst = speed.published_band(result)
    assert (round(best, 2), round(worst, 2)) == (1.58, 3.73)
    row = row_of(speed.cycle_rows([result]))
    assert row["in that band"] == verdict
    assert row["boards: best"] == "1.58"
    assert speed.published_band(speed_of(speed, model="mcunet-in3")) is None
    row = row_of(speed.cycle_rows([speed_of(speed, model="mcunet-in3")]))
    assert row["boards: best"] == row["in that band"] == "-"


def test_layers_fall_into_the_classes_that_goals_are_for(benchmark: Load) -> None:
    kernels = benchmark("kernels")
    network = prepare(DIGITS).network
    found = {o.name: kernels.layer_class(network, o) for o in network.graph.operators}
    assert found["stem"] == "conv first"
    assert found["block1_depthwise"] == "depthwise 3x3"
    assert found["block3_expand"] == "conv 1x1"
    assert found["block2_add"] == "add"
    shapes = {o.name: kernels.shape_text(network, o) for o in network.graph.operators}
    assert shapes["stem"] == "3x3, 64x64x1 -> 32x32x16"
    assert shapes["logits"] == "64 -> 10"


def test_what_is_not_known_of_one_kernel_is_not_known_of_all(benchmark: Load) -> None:
    kernels = benchmark("kernels")
    setting = kernels.Setting("qemu_cortex_m4", "m", "layers", "dsp")
    known = kernels.Measured(
        setting=setting,
        operator="a",
        kind="conv2d",
        layer_class="conv 1x1",
        shape="",
        kernel="k",
        calls=2,
        macs=1000,
        outputs=100,
        kernel_instructions=1500,
        data_instructions=10,
        requantisation=500,
        cycles=2000,
        share=0.5,
    )
    assert kernels.Sum.of([known]).cells() == ("-", "1.50", "1.00", "5.00", "2.00")
    unknown = kernels.replace(known, requantisation=None)
    assert kernels.Sum.of([known, unknown]).cells() == ("-", "1.50", "-", "-", "2.00")
    without_macs = kernels.replace(unknown, macs=0)
    assert kernels.Sum.of([without_macs]).cells() == ("15.00", "-", "-", "-", "-")
    (_, row) = kernels.kernel_rows([known, known])
    assert row[4:7] == ("4", "500", "750")


def test_one_layer_makes_rows_of_every_width(benchmark: Load, tmp_path: Path) -> None:
    widths = benchmark("widths")
    layer = widths.Layer(5, 2, 8)
    assert layer.text == "depthwise 5x5, stride 2, 8"
    path = tmp_path / "widths.tflite"
    path.write_bytes(widths.network(layer))
    graph = prepare(path).network.graph
    made = [graph.tensor[operator.output].shape for operator in graph.operators]
    assert made == [(1, 8, width, 8) for width in widths.WIDTHS]
