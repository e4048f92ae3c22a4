"""Pools, means, tables, softmax and the like by micro-kernel on emulated cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import need_emulator
from tvm_patch.pipeline import deploy, prepare
from tvm_patch.plan import Requirements
from tvm_patch.testing.tflite_builder import TFLiteBuilder

pytestmark = pytest.mark.emulator

#: Functions of `micro_project/kernels` that the network below must run on.
FUNCTIONS = (
    "tvmp_accumulate",
    "tvmp_average_of_sum",
    "tvmp_average_padded",
    "tvmp_dequantize",
    "tvmp_lookup",
    "tvmp_mean",
    "tvmp_mean_of_sum",
    "tvmp_pick_pixels",
    "tvmp_pool_row",
    "tvmp_quantize",
    "tvmp_softmax",
)


def network() -> bytes:
    """Short chains side by side, of shapes that do not come out even."""
    b = TFLiteBuilder("small")
    x = b.quantize(b.input("image", (1, 13, 11, 5)), 0.013, -7)
    x = b.max_pool2d(x, (3, 3), (2, 2), padding="SAME", activation="RELU")
    x = b.average_pool2d(x, (2, 2), (1, 1))
    x = b.hard_swish(x, 0.02, -3)
    x = b.resize_nearest_neighbor(x, (9, 10))
    x = b.average_pool2d(x, (3, 3), (1, 1), padding="SAME", activation="RELU6")
    b.output(b.average_pool2d(x, (9, 10), name="global_average"))
    x = b.input("wide", (1, 7, 19, 21), 0.05, 4)
    x = b.max_pool2d(x, (2, 5), (2, 1))
    x = b.average_pool2d(x, (2, 3), (1, 2))
    b.output(b.logistic(x))
    b.output(b.mean(x, 0.11, 9, name="mean"))
    b.output(b.mean(b.input("line", (1, 1, 30, 6), 0.1, -5), 0.05, 20, name="mean_of_line"))
    b.output(b.average_pool2d(b.input("pairs", (1, 4, 9, 4), 0.1, 3), (1, 2)))
    x = b.concatenation([b.input(f"part{i}", (1, 3, 4, 2 + 3 * i), 0.1, 0) for i in range(2)])
    b.output(b.dequantize(b.softmax(x)))
    return b.build()


@pytest.mark.parametrize("board", ["qemu_cortex_m7", "qemu_cortex_m4", "qemu_cortex_m33"])
def test_small_operators_compute_litert_integers(board: str, tmp_path: Path) -> None:
    need_emulator()
    path = tmp_path / "small.tflite"
    path.write_bytes(network())
    deployment = deploy(
        prepare(path),
        board=board,
        requirements=None if board == "qemu_cortex_m7" else Requirements(objective="memory"),
        layers=board == "qemu_cortex_m7",
        folder=tmp_path,
    )
    assert deployment.validation.bit_exact, deployment.validation
    text = kernels_of(tmp_path)
    assert [name for name in FUNCTIONS if f"{name}(" not in text] == []


def test_a_core_without_the_extension_computes_them_by_plain_kernels(tmp_path: Path) -> None:
    need_emulator()
    path = tmp_path / "small.tflite"
    path.write_bytes(network())
    deployment = deploy(prepare(path), board="qemu_cortex_m3", layers=True, folder=tmp_path)
    assert deployment.validation.bit_exact, deployment.validation
    assert "tvmp_" not in kernels_of(tmp_path)


def kernels_of(folder: Path) -> str:
    """The C of a deployment's kernels."""
    (source,) = (folder / "model" / "src").glob("*_kernels.c")
    return source.read_text()
