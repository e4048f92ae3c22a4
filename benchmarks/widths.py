"""Kernels of rows of one, two, four and eight columns beside those of whole rows.

    python benchmarks/widths.py [--boards qemu_cortex_m7,qemu_cortex_m4] [--markdown]

Stages that go along rows in steps of columns call kernels for maps as narrow as their steps. Here
one layer of each kind, in shapes as networks have them, makes eight rows of each width. It runs on
an emulated core, and the table has the instructions of its kernels for each MAC, requantisation
included, and how much that is to rows of 40 columns. The stage around kernels moves rows as well;
what that takes `benchmarks/kernels.py` tells.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kernels import Setting, measure
from networks import markdown_table, plain_table, say

from tvm_patch import prepare
from tvm_patch.errors import TvmPatchError
from tvm_patch.testing.tflite_builder import TensorRef, TFLiteBuilder

WIDTHS = (1, 2, 4, 8, 40)
_ROWS = 8


@dataclass(frozen=True)
class Layer:
    """A convolution without padding; depthwise where it has no outputs of its own."""

    kernel: int
    stride: int
    channels: int
    outputs: int | None = None

    @property
    def text(self) -> str:
        """``depthwise 3x3, stride 2, 48``."""
        kind = "depthwise" if self.outputs is None else "conv"
        channels = self.channels if self.outputs is None else f"{self.channels} -> {self.outputs}"
        return f"{kind} {self.kernel}x{self.kernel}, stride {self.stride}, {channels}"


LAYERS = (
    *(Layer(kernel, stride, 48) for kernel in (3, 5, 7) for stride in (1, 2)),
    # Of one column in two: a convolution by 1x1 that takes all of them is made for whole maps.
    *(Layer(1, 2, channels, outputs) for channels, outputs in ((16, 48), (48, 16), (64, 64))),
    *(Layer(3, stride, 16, 16) for stride in (1, 2)),
    Layer(3, 2, 3, 16),
)


def network(layer: Layer) -> bytes:
    """The layer once for each width, side by side."""
    rng = np.random.default_rng(0)
    builder = TFLiteBuilder("widths")
    for width in WIDTHS:
        rows, columns = ((size - 1) * layer.stride + layer.kernel for size in (_ROWS, width))
        shape = (1, rows, columns, layer.channels)
        image = builder.input(f"image{width}", shape, 0.05, -3)
        builder.output(_applied(builder, rng, image, layer, f"w{width}"))
    return builder.build()


def _applied(
    builder: TFLiteBuilder, rng: np.random.Generator, image: TensorRef, layer: Layer, name: str
) -> TensorRef:
    depthwise = layer.outputs is None
    outputs = layer.outputs or layer.channels
    window = (layer.kernel, layer.kernel)
    shape = (*window, outputs) if depthwise else (outputs, *window, layer.channels)
    weight = rng.integers(-127, 128, shape)
    bias = rng.integers(-2000, 2000, outputs)
    scales = np.float32(10 ** rng.uniform(-2.3, -1.7, outputs))
    reach = 40 * np.sqrt(layer.kernel**2 * (1 if depthwise else layer.channels))
    apply = builder.depthwise_conv2d if depthwise else builder.conv2d
    return apply(
        image, weight, bias, scales, float(np.float32(image.scale * 0.01 * reach)), -128,
        strides=(layer.stride, layer.stride), padding="VALID", activation="RELU", name=name,
    )  # fmt: skip


def row(layer: Layer, board: str, folder: Path) -> tuple[str, ...]:
    """Instructions a MAC at each width, and the narrow ones to the widest."""
    path = folder / "widths.tflite"
    path.write_bytes(network(layer))
    measured = measure(prepare(path), Setting(board, "widths", "layers", "dsp"), folder)
    per_mac = [found.kernel_instructions / found.macs for found in measured]
    ratios = [value / per_mac[-1] for value in per_mac[:-1]]
    return (
        *(layer.text, board.removeprefix("qemu_")),
        *(f"{value:.2f}" for value in per_mac),
        *(f"{value:.2f}" for value in ratios),
    )


def table(boards: Sequence[str]) -> list[tuple[str, ...]]:
    """A line for each layer and board."""
    rows: list[tuple[str, ...]] = [
        ("layer", "board", *(f"w {w}" for w in WIDTHS), *(f"{w} / whole" for w in WIDTHS[:-1]))
    ]
    for board in boards:
        for layer in LAYERS:
            say(f"{layer.text} on {board}")
            with tempfile.TemporaryDirectory() as folder:
                rows.append(row(layer, board, Path(folder)))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure all layers."""
    parser = argparse.ArgumentParser(description="Benchmark of kernels for narrow steps.")
    parser.add_argument("--boards", metavar="A,B", default="qemu_cortex_m7")
    parser.add_argument("--markdown", action="store_true", help="a table of Markdown")
    options = parser.parse_args(arguments)
    try:
        rows = table(options.boards.split(","))
    except TvmPatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print((markdown_table if options.markdown else plain_table)(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
