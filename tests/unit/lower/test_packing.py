"""Constants that a kernel cannot hold are refused with the layer's name."""

from __future__ import annotations

import numpy as np
import pytest

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.lower.packing import packed_constants
from tvm_patch.schedules import DepthwiseMap

KERNEL = DepthwiseMap(
    3, 3, 1, 1, 3, 3, (1, 1), (1, 1, 1, 1), (1, 1), -128, 0, -128, 127, "double", -20, -20, False
)


def constants(bias: int) -> dict[str, np.ndarray]:
    return {
        "weight": np.full((3, 3, 1), -127, np.int8),
        "bias": np.array([bias], np.int32),
        "multiplier": np.array([2**30], np.int32),
        "shift": np.array([-20], np.int32),
    }


def test_what_fits_is_packed() -> None:
    packed = packed_constants(KERNEL, "head", constants(2**20))
    assert packed["channels"][0, 0] == 2**20 + 128 * 127 * 9


def test_what_does_not_names_the_layer() -> None:
    with pytest.raises(
        UnsupportedOperatorError, match=r"layer head: biases .* exceed int32"
    ) as error:
        packed_constants(KERNEL, "head", constants(2**31 - 2**17))
    assert "split it" in error.value.hint
