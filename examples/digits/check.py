"""Accuracy of the committed model on the committed test images, by LiteRT's reference kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.testing.reference import reference_interpreter

MODEL_NAME = "digits.tflite"
IMAGES_NAME = "test_images.npz"


def accuracy(model: bytes, images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Share of int8 `images` [N, 64, 64, 1] whose highest output is the label."""
    interpreter = reference_interpreter(model)
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    correct = 0
    for image, label in zip(images, labels, strict=True):
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        correct += int(np.argmax(interpreter.get_tensor(result)) == label)
    return correct / len(labels)


def main() -> None:
    """Print the accuracy."""
    folder = Path(__file__).parent
    test = np.load(folder / IMAGES_NAME)
    share = accuracy((folder / MODEL_NAME).read_bytes(), test["images"], test["labels"])
    print(
        f"{round(share * len(test['labels']))} of {len(test['labels'])} images right ({share:.2%})"
    )


if __name__ == "__main__":
    main()
