"""Convolutions of awkward shapes and scales, by micro-kernel on every emulated core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm import IRModule, relax

from tests.support import need_emulator
from tvm_patch.pipeline import deploy, prepare
from tvm_patch.plan import Requirements
from tvm_patch.qnn.ops import conv2d, dense
from tvm_patch.qnn.writer import FunctionWriter

pytestmark = pytest.mark.emulator

#: Channels, kernel, stride, padding, shifts, output zero point: words that overlap, odd channels,
#: all forms of requantisation, weights of -128, groups and dilation; one pixel in all at the end.
LAYERS = [
    (7, (3, 3), (2, 2), (1, 1, 1, 1), (-9, -7), -128),
    (9, (1, 1), (1, 1), (0, 0, 0, 0), (-8, -8), -128),
    (16, (3, 3), (1, 1), (1, 1, 1, 1), (-10, -8), 5),
    (5, (1, 1), (1, 1), (0, 0, 0, 0), (-8, -8), -20),
    (12, (5, 1), (1, 1), (2, 0, 2, 0), (-9, 0), 3),
    (6, (1, 7), (1, 1), (0, 3, 0, 3), (-22, -8), -128),
    (24, (1, 1), (1, 2), (0, 0, 0, 0), (-8, -7), -128),
    (33, (1, 1), (1, 1), (0, 0, 0, 0), (-9, -7), 0),
    (10, (3, 3), (1, 1), (1, 1, 1, 1), (-9, -9), 7),
    (12, (3, 1), (1, 1), (1, 0, 1, 0), (-10, -8), 4),
    (14, (7, 3), (1, 1), (0, 0, 0, 0), (-11, -9), 5),
    (20, (1, 1), (1, 1), (0, 0, 0, 0), (-9, -7), 6),
    (13, (1, 1), (1, 1), (0, 0, 0, 0), (-8, -8), -3),
    (25, (1, 1), (1, 1), (0, 0, 0, 0), (-8, -8), 2),
]
#: Some with a weight of -128, so that two of them never share a halfword.
SINGLE_WEIGHTS = {3, 9, 12}


def scales(rng: np.random.Generator, channels: int, shifts: tuple[int, int]) -> dict[str, Any]:
    """Per-channel constants: any multiplier, its extremes too, and a few far-off shifts."""
    multiplier = rng.integers(2**30, 2**31, channels)
    multiplier[:2] = 2**30, 2**31 - 1
    low, high = max(shifts[0], -13), min(shifts[1], -7)
    shift = rng.integers(low, high + 1, channels)
    shift[rng.integers(channels)], shift[rng.integers(channels)] = shifts
    return {
        "bias": rng.integers(-9000, 9000, channels),
        "multiplier": multiplier,
        "shift": shift,
    }


def network() -> IRModule:
    """A chain of :data:`LAYERS` and a dense layer, in the integer dialect."""
    rng = np.random.default_rng(5)
    data = relax.Var("data", relax.TensorType([1, 13, 11, 3], "int8"))
    writer = FunctionWriter([data])
    tensor, zero_point, depth = data, 0, 3
    for number, (channels, kernel, strides, padding, shifts, next_zero) in enumerate(LAYERS):
        weight = rng.integers(-127, 128, (channels, *kernel, depth))
        if number in SINGLE_WEIGHTS:
            weight[1, 0, 0, 2] = -128
        call = conv2d(
            tensor,
            weight,
            **scales(rng, channels, shifts),
            strides=strides,
            padding=padding,
            input_zero_point=zero_point,
            output_zero_point=next_zero,
        )
        tensor = writer.emit(call, f"layer{number}")
        zero_point, depth = next_zero, channels
    inputs = int(np.prod([int(extent) for extent in tensor.ty.shape]))
    flat = writer.emit(relax.op.reshape(tensor, (1, inputs)), "flat")
    head = dense(
        flat,
        rng.integers(-127, 128, (17, inputs)),
        **scales(rng, 17, (-13, -12)),
        input_zero_point=zero_point,
        output_zero_point=11,
        rounding="single",
    )
    result = writer.emit(head, "head", is_output=True)
    function = writer.finish([result], is_tuple=False, attrs={})
    return IRModule({"main": function.with_attr("global_symbol", "main")})


@pytest.mark.parametrize("board", ["qemu_cortex_m7", "qemu_cortex_m4", "qemu_cortex_m33"])
def test_awkward_layers_are_bit_exact(board: str, tmp_path: Path) -> None:
    need_emulator()
    prepared = prepare(network())
    layers = deploy(prepared, board=board, layers=True, folder=tmp_path / "layers")
    assert layers.validation.bit_exact, layers.validation.first_mismatch
    if board == "qemu_cortex_m7":
        small = Requirements(objective="memory", max_overhead=1.0)
        streamed = deploy(prepared, board=board, requirements=small, folder=tmp_path / "rows")
        assert streamed.validation.bit_exact, streamed.validation.first_mismatch
