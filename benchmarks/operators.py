"""A network for the benchmark of kernels: operators without MACs, in shapes of common networks."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tvm_patch import Prepared, prepare
from tvm_patch.testing.tflite_builder import TensorRef, TFLiteBuilder

_SCALE, _ZERO_POINT = 0.05, -3


def operators_network() -> Prepared:
    """The operators side by side, each with an input and an output of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "operators.tflite")
        path.write_bytes(_model())
        return prepare(path)


def _model() -> bytes:
    b = TFLiteBuilder("operators")

    def image(*shape: int, scale: float = _SCALE) -> TensorRef:
        return b.input("image", (1, *shape), scale, _ZERO_POINT)

    b.output(b.max_pool2d(image(16, 16, 32), (2, 2), name="max_2x2"))
    stem = b.max_pool2d(image(28, 28, 64), (3, 3), (2, 2), padding="SAME", name="max_3x3_stride_2")
    b.output(stem)
    b.output(b.max_pool2d(image(10, 10, 64), (5, 5), (1, 1), padding="SAME", name="max_5x5"))
    b.output(b.max_pool2d(image(12, 12, 19), (2, 2), activation="RELU", name="max_2x2_odd"))
    b.output(b.average_pool2d(image(24, 24, 8), (2, 2), name="average_2x2"))
    b.output(b.average_pool2d(image(16, 16, 32), (3, 3), (2, 2), name="average_3x3_stride_2"))
    branch = image(12, 12, 64)
    b.output(b.average_pool2d(branch, (3, 3), (1, 1), padding="SAME", name="average_3x3_same"))
    b.output(b.average_pool2d(image(7, 7, 256), (7, 7), name="global_average"))
    b.output(b.mean(image(7, 7, 256), 0.03, 5, name="global_mean"))
    b.output(b.mean(image(1, 49, 64), 0.03, 5, name="mean_of_line"))
    b.output(b.hard_swish(image(14, 14, 40), 0.04, -3, name="hard_swish"))
    b.output(b.softmax(image(1000), name="softmax_1000"))
    b.output(b.softmax(image(10), name="softmax_10"))
    b.output(b.resize_nearest_neighbor(image(8, 8, 32), (16, 16), name="resize"))
    sums = [image(14, 14, 40, scale=scale) for scale in (0.0513, 0.0297, 0.0391)]
    b.output(b.add(sums[0], sums[1], 0.0837, -1, name="add"))
    b.output(b.sub(sums[1], sums[2], 0.0837, -1, name="subtract"))
    b.output(b.mul(sums[0], sums[2], 0.0837, -1, name="multiply"))
    b.output(b.mul(image(14, 14, 40), image(1, 1, 40), 0.0837, -1, name="multiply_by_pixel"))
    b.output(b.concatenation([image(14, 14, 40), image(14, 14, 24)], name="concatenate"))
    b.output(b.strided_slice(image(16, 16, 32), (0, 2, 2, 0), (1, 14, 14, 32), name="crop"))
    b.output(b.transpose(image(14, 14, 40), (0, 2, 1, 3), name="transpose"))
    b.output(b.quantize(b.input("real", (1, 16, 16, 3)), 0.02, -5, name="quantize"))
    b.output(b.dequantize(image(1000), name="dequantize"))
    return b.build()
