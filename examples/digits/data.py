"""The handwritten digits that scikit-learn ships, upscaled to 64x64 and split once and for all.

1797 images of 8x8 pixels in 17 grey levels, from UCI's "Optical Recognition of Handwritten Digits".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

Array = npt.NDArray[Any]

IMAGE_SIZE = 64
CLASSES = 10
INPUT_SCALE = 1 / 255
INPUT_ZERO_POINT = -128
_SOURCE_MAXIMUM = 16.0
_SPLIT_SEED = 2024
_TEST_PER_CLASS = 36


@dataclass(frozen=True)
class Split:
    """Images int8 [N, 64, 64, 1] with scale 1/255 and zero point -128, labels int64 [N]."""

    images: Array
    labels: Array


def load_splits() -> tuple[Split, Split]:
    """Training images and 360 held-out ones: 36 of each digit, in turn 0, 1, .. 9, 0, 1, .."""
    source = load_digits()
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(source.target))
    labels = source.target[order]
    per_class = [np.flatnonzero(labels == digit) for digit in range(CLASSES)]
    test = np.stack([indices[:_TEST_PER_CLASS] for indices in per_class], axis=1).ravel()
    training = np.sort(np.concatenate([indices[_TEST_PER_CLASS:] for indices in per_class]))
    images = quantise_images(upscale(source.images[order] / _SOURCE_MAXIMUM))
    return Split(images[training], labels[training]), Split(images[test], labels[test])


def upscale(images: Array) -> Array:
    """Bilinear upscaling of [N, 8, 8] in 0..1 to [N, 64, 64], pixel centres aligned."""
    size = images.shape[1]
    position = (np.arange(IMAGE_SIZE) + 0.5) * size / IMAGE_SIZE - 0.5
    position = np.clip(position, 0, size - 1)
    lower = np.minimum(position.astype(int), size - 2)
    weight = position - lower
    blend = np.zeros((IMAGE_SIZE, size))
    blend[np.arange(IMAGE_SIZE), lower] = 1 - weight
    blend[np.arange(IMAGE_SIZE), lower + 1] = weight
    result: Array = blend @ images @ blend.T
    return result


def quantise_images(images: Array) -> Array:
    """[N, 64, 64] in 0..1 to int8 [N, 64, 64, 1]."""
    steps = np.round(images / INPUT_SCALE) + INPUT_ZERO_POINT
    quantised: Array = np.clip(steps, -128, 127).astype(np.int8)[..., None]
    return quantised


def real_images(images: Array) -> Array:
    """int8 images back to float32 in 0..1."""
    real: Array = ((images.astype(np.float32) - INPUT_ZERO_POINT) * INPUT_SCALE).astype(np.float32)
    return real
