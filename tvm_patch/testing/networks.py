"""Random quantised networks, the same for the same decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tvm_patch.testing.blocks import BLOCKS, Chooser, NetworkLimits, T
from tvm_patch.testing.calibrated import CalibratedBuilder, Traced

__all__ = [
    "Chooser",
    "NetworkLimits",
    "RandomNetwork",
    "draft_network",
    "mobilenet_like",
    "random_network",
]


@dataclass(frozen=True)
class RandomNetwork:
    """A TFLite model and how it came about.

    Parameters
    ----------
    model : bytes
        The TFLite file.
    input_shape : tuple of int
        [1, H, W, C].
    input_scale : float
        Of the int8 input, or of the QUANTIZE behind a float32 one.
    input_zero_point : int
        Likewise.
    blocks : tuple of str
        Names of the blocks and the head, with the shape behind each.
    seed : int
        Seed of weights and calibration.
    """

    model: bytes = field(repr=False)
    input_shape: tuple[int, ...]
    input_scale: float
    input_zero_point: int
    blocks: tuple[str, ...]
    seed: int

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # Hypothesis would print the whole file.
        printer.text(repr(self))


class _SeededChooser:
    """Decisions from a NumPy generator."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self._rng.integers(len(options)))]


def random_network(seed: int, limits: NetworkLimits | None = None) -> RandomNetwork:
    """A random network within `limits`, the same for the same seed."""
    return draft_network(_SeededChooser(seed), seed, limits or NetworkLimits())


def draft_network(choose: Chooser, seed: int, limits: NetworkLimits) -> RandomNetwork:
    """Build the network that `choose` decides on.

    Parameters
    ----------
    choose : Chooser
        Decides on structure: blocks, windows, channels, head.
    seed : int
        Of weights and calibration.
    limits : NetworkLimits
        Sizes and kinds allowed.
    """
    builder = CalibratedBuilder(f"random_{seed}", seed)
    shape = (
        1,
        choose.integer(1, limits.max_size),
        choose.integer(1, limits.max_size),
        choose.integer(1, min(4, limits.max_channels)),
    )
    scale, zero_point = choose.pick(((1 / 64, 0), (1 / 255, -128), (1 / 40, 17)))
    as_float = limits.float_io and choose.pick((False, False, False, True))
    x = builder.input(shape, scale, zero_point, as_float=as_float)
    trail: list[str] = []
    maps: list[Traced] = []
    for _ in range(choose.integer(1, limits.max_blocks)):
        kind = choose.pick(limits.blocks)
        x = BLOCKS[kind](choose, builder, x, limits)
        trail.append(_label(kind, x))
        maps.append(x)
    x = _head(choose, builder, x, limits, trail)
    builder.output(x, as_float=as_float)
    if limits.side_outputs and len(maps) > 1 and choose.pick((False, False, False, False, True)):
        builder.output(choose.pick(maps[:-1]), as_float=as_float)
        trail.append("side output")
    return RandomNetwork(builder.build(), shape, scale, zero_point, tuple(trail), seed)


def mobilenet_like(
    seed: int,
    input_shape: Sequence[int] = (1, 64, 64, 3),
    stages: Sequence[tuple[int, int, int, int]] = ((1, 8, 1, 1), (6, 16, 2, 2), (6, 24, 2, 2)),
    *,
    stem_channels: int = 8,
    kernel: int = 3,
    classes: int = 10,
) -> RandomNetwork:
    """A MobileNetV2-like classifier with invented weights, for planners and benchmarks.

    Parameters
    ----------
    seed : int
        Of weights and calibration.
    input_shape : sequence of int
        [1, H, W, C].
    stages : sequence of (expansion, channels, repeats, stride)
        As in the table of the MobileNetV2 paper (arXiv 1801.04381).
    stem_channels : int
        Channels behind the first 3x3 convolution of stride 2.
    kernel : int
        Of the depthwise layers.
    classes : int
        Outputs of the softmax.
    """
    builder = CalibratedBuilder(f"mobilenet_like_{seed}", seed)
    scale, zero_point = 1 / 128, 0
    x = builder.input(input_shape, scale, zero_point)
    x = builder.conv2d(x, stem_channels, (3, 3), strides=(2, 2), activation="RELU6")
    trail = [_label("stem", x)]
    for expansion, channels, repeats, first_stride in stages:
        for index in range(repeats):
            stride = first_stride if index == 0 else 1
            y = x
            if expansion > 1:
                y = builder.conv2d(y, expansion * x.shape[3], (1, 1), activation="RELU6")
            y = builder.depthwise_conv2d(
                y, (kernel, kernel), strides=(stride, stride), activation="RELU6"
            )
            y = builder.conv2d(y, channels, (1, 1))
            x = builder.binary("add", x, y) if y.shape == x.shape else y
            trail.append(_label("inverted_residual", x))
    x = builder.fully_connected(builder.mean(x, keepdims=False), classes)
    x = builder.squash("softmax", x)
    trail.append(_label("classifier", x))
    builder.output(x)
    shape = tuple(input_shape)
    return RandomNetwork(builder.build(), shape, scale, zero_point, tuple(trail), seed)


def _head(
    choose: Chooser,
    builder: CalibratedBuilder,
    x: Traced,
    limits: NetworkLimits,
    trail: list[str],
) -> Traced:
    kind = choose.pick(limits.heads)
    if kind == "none":
        return x
    if kind == "mean":
        x = builder.mean(x, keepdims=False)
    else:
        if kind == "pool":
            x = builder.pool2d("average", x, x.shape[1:3], (1, 1), "VALID")
        x = builder.reshape(x, (1, x.shape[1] * x.shape[2] * x.shape[3]))
    x = builder.fully_connected(
        x,
        choose.integer(1, 10),
        activation=choose.pick(("NONE", "RELU")),
        per_channel=choose.pick((False, True)),
    )
    if choose.pick((True, False)):
        x = builder.squash("softmax", x)
    trail.append(_label(f"{kind}_head", x))
    return x


def _label(kind: str, x: Traced) -> str:
    return f"{kind} {'x'.join(str(extent) for extent in x.shape[1:])}"
