"""Assembly of micro-kernels on emulated cores, in shapes that do not come out even."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import need_emulator
from tvm_patch.lower import sharing
from tvm_patch.pipeline import deploy, prepare
from tvm_patch.plan import Requirements
from tvm_patch.testing.tflite_builder import TensorRef, TFLiteBuilder

pytestmark = pytest.mark.emulator

#: Chains of depthwise layers: size of the input, then (kernel, stride, multiplier, activation).
#: Rows of one step and of several, groups of less than four channels, one to three last outputs;
#: several outputs of a channel, for which all windows are gathered; small maps; windows of any
#: size.
CHAINS: list[tuple[tuple[int, int, int], list[tuple[int, int, int, str]]]] = [
    ((9, 23, 7), [(3, 1, 1, "RELU"), (5, 1, 1, "NONE"), (7, 1, 1, "RELU")]),
    ((15, 26, 3), [(3, 2, 1, "NONE"), (5, 1, 2, "RELU"), (7, 1, 1, "NONE")]),
    ((17, 41, 4), [(7, 2, 1, "NONE"), (3, 1, 3, "NONE"), (5, 2, 2, "RELU")]),
    ((16, 22, 9), [(5, 2, 2, "NONE"), (3, 1, 1, "RELU")]),
    ((18, 38, 5), [(7, 2, 1, "RELU"), (3, 2, 1, "RELU")]),
    ((16, 19, 5), [(3, 1, 2, "RELU"), (3, 2, 2, "RELU"), (3, 2, 2, "NONE"), (2, 1, 1, "NONE")]),
    ((4, 5, 6), [(3, 1, 1, "RELU"), (5, 1, 1, "NONE"), (3, 2, 2, "RELU"), (3, 1, 1, "NONE")]),
    ((13, 11, 6), [(3, 2, 1, "NONE"), (4, 1, 1, "RELU"), (9, 1, 1, "NONE"), (6, 3, 1, "NONE")]),
]
FORMS = {f"{k}_{s}_{form}" for k in (3, 5, 7) for s in (1, 2) for form in ("rectified", "any")}


def depthwise_chains() -> bytes:
    """All chains side by side in one network."""
    rng = np.random.default_rng(7)
    builder = TFLiteBuilder("chains")
    for index, ((height, width, channels), layers) in enumerate(CHAINS):
        x = builder.input(f"image{index}", (1, height, width, channels), 0.05, -3)
        for kernel, stride, multiplier, activation in layers:
            x = _depthwise(builder, rng, x, kernel, stride, multiplier, activation)
        builder.output(x)
    return builder.build()


def _depthwise(
    builder: TFLiteBuilder,
    rng: np.random.Generator,
    x: TensorRef,
    kernel: int,
    stride: int,
    multiplier: int,
    activation: str,
) -> TensorRef:
    outputs = x.shape[3] * multiplier
    scales = np.float32(10 ** rng.uniform(-3, -1, outputs))
    weight = rng.integers(-127, 128, (kernel, kernel, outputs))
    bias = rng.integers(-5000, 5000, outputs)
    out_scale = float(np.float32(x.scale * np.median(scales) * kernel * 60))
    zero_point = -128 if activation == "RELU" else 11
    return builder.depthwise_conv2d(
        x, weight, bias, scales, out_scale, zero_point,
        strides=(stride, stride), activation=activation,
    )  # fmt: skip


@pytest.mark.parametrize("board", ["qemu_cortex_m7", "qemu_cortex_m4", "qemu_cortex_m33"])
def test_depthwise_assembly_computes_litert_integers(
    board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_emulator()
    # On one of them all kernels are shared that can be, however slow that is.
    monkeypatch.setattr(sharing, "_SMALL_CODE", 10**9)
    path = tmp_path / "chains.tflite"
    path.write_bytes(depthwise_chains())
    deployment = deploy(
        prepare(path),
        board=board,
        requirements=None if board == "qemu_cortex_m7" else Requirements(objective="memory"),
        layers=board == "qemu_cortex_m7",
        folder=tmp_path,
        small_code=board == "qemu_cortex_m4",
    )
    assert deployment.validation.bit_exact, deployment.validation
    (source,) = (tmp_path / "model" / "src").glob("*_kernels.c")
    text = source.read_text()
    if board == "qemu_cortex_m4":
        assert "tvmp_depthwise_shared(" in text
    if board == "qemu_cortex_m7":
        assert {form for form in FORMS if f"tvmp_depthwise_{form}(" in text} == FORMS
        assert "tvmp_depthwise_direct(" in text and "tvmp_scale_alone(" in text
