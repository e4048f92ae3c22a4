"""Trains the demo network and writes digits.tflite and test_images.npz beside this script.

Needs the ``examples`` extra (torch, scikit-learn). Takes a few minutes on one core; the demo itself
only reads the two files. The same machine and versions give the same files again.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import check
import numpy as np
import numpy.typing as npt
import torch
from data import CLASSES, INPUT_SCALE, INPUT_ZERO_POINT, Split, load_splits, real_images
from network import DigitNet
from quantise import quantise
from torch import Tensor, nn

SEED = 7
BATCH = 64
PEAK_RATE = 0.01
CALIBRATION_IMAGES = 128
SHIPPED_TEST_IMAGES = 100


def main() -> None:
    """Train, quantise, write and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)

    training, test = load_splits()
    network = DigitNet(CLASSES)
    train(network, training, arguments.epochs)
    network.eval()
    print(f"float accuracy {float_accuracy(network, test):.2%} of {len(test.labels)} test images")

    calibration = training.images[:CALIBRATION_IMAGES]
    model = quantise(network.folded(), calibration, INPUT_SCALE, INPUT_ZERO_POINT, "digits")
    accuracy = check.accuracy(model, test.images, test.labels)
    print(f"int8 accuracy  {accuracy:.2%} of {len(test.labels)} test images")

    (arguments.output / check.MODEL_NAME).write_bytes(model)
    np.savez_compressed(
        arguments.output / check.IMAGES_NAME,
        images=test.images[:SHIPPED_TEST_IMAGES],
        labels=test.labels[:SHIPPED_TEST_IMAGES].astype(np.uint8),
    )


def train(network: DigitNet, split: Split, epochs: int) -> None:
    """AdamW, one cosine cycle after a linear warm-up, augmented images."""
    images = torch.from_numpy(real_images(split.images)).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(split.labels)
    generator = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    loss_function = nn.CrossEntropyLoss(label_smoothing=0.05)
    steps_per_epoch = len(labels) // BATCH
    total = epochs * steps_per_epoch
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / total)),
    )
    for epoch in range(epochs):
        start, losses = time.perf_counter(), []
        network.train()
        order = torch.randperm(len(labels), generator=generator)
        for chosen in order[: steps_per_epoch * BATCH].split(BATCH):
            logits = network(augment(images[chosen], generator))
            loss = loss_function(logits, labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        seconds = time.perf_counter() - start
        print(
            f"epoch {epoch + 1:2}/{epochs}  loss {np.mean(losses):.3f}  {seconds:.1f} s", flush=True
        )


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Small rotations, shears, shifts, changes of size and brightness, and noise."""
    count = len(images)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    angle, shear, size = uniform(0.2), uniform(0.15), 1 + uniform(0.12)
    cosine, sine = torch.cos(angle) * size, torch.sin(angle) * size
    rows = [
        torch.stack([cosine, shear - sine, uniform(0.12)], dim=1),
        torch.stack([sine, cosine, uniform(0.12)], dim=1),
    ]
    grid = nn.functional.affine_grid(
        torch.stack(rows, dim=1), list(images.shape), align_corners=False
    )
    moved = nn.functional.grid_sample(images, grid, align_corners=False)
    bright = moved * (1 + uniform(0.15))[:, None, None, None]
    noise = torch.randn(images.shape, generator=generator) * 0.03
    return torch.clamp(bright + noise, 0, 1)


@torch.no_grad()
def float_accuracy(network: DigitNet, split: Split) -> float:
    """Share of images that the float network classifies correctly."""
    images = torch.from_numpy(real_images(split.images)).permute(0, 3, 1, 2)
    predicted: npt.NDArray[Any] = network(images).argmax(dim=1).numpy()
    return float(np.mean(predicted == split.labels))


if __name__ == "__main__":
    main()
