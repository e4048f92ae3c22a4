"""What the cost model knows of a candidate: numbers that matter on a microcontroller."""

from __future__ import annotations

import math
from typing import Any

from tvm_patch.schedules import (
    ConvRow,
    ConvRowVariant,
    DepthwiseRow,
    DepthwiseRowVariant,
    DspConvGathered,
    DspConvRow,
    DspConvShared,
    DspConvVariant,
    DspDense,
    DspDenseGathered,
    DspDenseVariant,
    DspDepthwiseDirect,
    DspDepthwiseRow,
    DspDepthwiseShared,
)
from tvm_patch.tune.estimate import instructions_of
from tvm_patch.tune.tasks import Candidate

NAMES = (
    "log MACs",
    "log outputs",
    "log taps of an output",
    "window height",
    "stride",
    "log width",
    "width modulo block",
    "log channels out",
    "bytes loaded per MAC",
    "bytes stored per MAC",
    "unrolled",
    "log unrolled code",
    "registers",
    "register spills",
    "flash stream per MAC",
    "SRAM stream per MAC",
    "log scratch",
    "is a micro-kernel",
    "gathers",
    "shares code",
    "joint weights",
    "turns",
    "left over",
    "blocks of a step",
    "log instructions",
)
"""What the numbers mean; logarithms are of one more. Instructions are those of ``estimate.py``."""

_REGISTERS = 14


def features_of(candidate: Candidate) -> tuple[float, ...]:
    """Numbers by :data:`NAMES`, by a model of the family's inner loop."""
    kernel: Any = candidate.kernel
    shared = isinstance(kernel, DspConvShared)
    turn, gathers = 2, isinstance(kernel, DspConvGathered)
    if isinstance(kernel, DspConvVariant):
        turn = kernel.turn
    if isinstance(kernel, DspConvShared | DspConvVariant):
        kernel = kernel.row
    if isinstance(kernel, DspConvRow):
        numbers = _micro_convolution(kernel, turn, gathers, shared)
    elif isinstance(kernel, DspDense | DspDenseVariant):
        numbers = _micro_dense(kernel)
    elif isinstance(kernel, DspDepthwiseDirect | DspDepthwiseShared):
        numbers = _direct_depthwise(kernel)
    elif isinstance(kernel, DspDepthwiseRow):
        numbers = _micro_depthwise(kernel)
    elif isinstance(kernel, ConvRow):
        numbers = _plain_convolution(kernel)
    elif isinstance(kernel, DepthwiseRow):
        numbers = _plain_depthwise(kernel)
    else:
        numbers = {}
    macs = max(candidate.kernel.macs, 1)
    numbers |= {
        "log MACs": math.log1p(macs),
        "log scratch": math.log1p(candidate.scratch_bytes),
        "log instructions": math.log1p(instructions_of(candidate.kernel)),
    }
    return tuple(float(numbers.get(name, 0.0)) for name in NAMES)


def _window(plain: Any, taps: int) -> dict[str, float]:
    outputs = plain.out_width * plain.out_channels
    return {
        "log outputs": math.log1p(outputs),
        "log taps of an output": math.log1p(taps),
        "window height": plain.kernel_h,
        "stride": plain.stride_w,
        "log width": math.log1p(plain.out_width),
        "log channels out": math.log1p(plain.out_channels),
        "bytes stored per MAC": 1 / taps,
    }


def _micro_convolution(row: DspConvRow, turn: int, gathers: bool, shared: bool) -> dict[str, float]:
    words = row.window_words if gathers else row.run_words
    pixels = min(3, row.plain.out_width)
    weights = 8 / (pixels * 8)
    inputs = pixels * (8 if gathers else 4) / (pixels * 8)
    taps = row.macs // (row.plain.out_width * row.plain.out_channels)
    gathered = 12 / row.plain.out_channels / 4 if gathers else 0.0
    return _window(row.plain, taps) | {
        "width modulo block": row.plain.out_width % 3,
        "bytes loaded per MAC": weights + inputs + gathered,
        "unrolled": min(turn, words),
        "log unrolled code": math.log1p(min(turn, words) * (3 + 7 * pixels) * 4),
        "registers": 2 * pixels + 8,
        "register spills": max(0, 2 * pixels + 9 - _REGISTERS),
        "flash stream per MAC": weights,
        "SRAM stream per MAC": inputs + gathered,
        "is a micro-kernel": 1,
        "gathers": gathers,
        "shares code": shared,
        "joint weights": row.joint,
        "turns": math.log1p(words // turn),
        "left over": words % turn,
    }


def _micro_dense(kernel: DspDense | DspDenseVariant) -> dict[str, float]:
    layer = kernel.layer if isinstance(kernel, DspDenseVariant) else kernel
    in_threes = isinstance(kernel, DspDenseVariant) and layer.joint
    turn = kernel.turn if isinstance(kernel, DspDenseVariant) else 2
    gathers = isinstance(kernel, DspDenseGathered)
    outputs, words = layer.plain.out_features, layer.words
    inputs = (8 if gathers else 4) / 24
    return {
        "log outputs": math.log1p(outputs),
        "log taps of an output": math.log1p(layer.plain.in_features),
        "window height": 1,
        "stride": 1,
        "log width": math.log1p(1),
        "width modulo block": outputs % 6,
        "log channels out": math.log1p(outputs),
        "bytes loaded per MAC": 1 + inputs,
        "bytes stored per MAC": 1 / layer.plain.in_features,
        "unrolled": min(turn, words),
        "log unrolled code": math.log1p(min(turn, words) * (25 - 2 * gathers) * 4),
        "registers": 13,
        "flash stream per MAC": 1,
        "SRAM stream per MAC": inputs,
        "is a micro-kernel": 1,
        "gathers": gathers,
        "joint weights": layer.joint,
        "turns": math.log1p(words // turn),
        "left over": words % turn,
        "blocks of a step": 3 if in_threes else 2,
    }


def _micro_depthwise(kernel: DspDepthwiseRow) -> dict[str, float]:
    plain = kernel.plain
    taps = plain.kernel_h * plain.kernel_w
    steps = -(-plain.out_width // (4 * kernel.blocks))
    return _window(plain, taps) | {
        "width modulo block": plain.out_width % (4 * kernel.blocks),
        "bytes loaded per MAC": (1 + 4 / taps) / 2,
        "unrolled": 4,
        "registers": _REGISTERS,
        "is a micro-kernel": 1,
        "gathers": 1,
        "turns": math.log1p(steps),
        "blocks of a step": kernel.blocks,
    }


def _direct_depthwise(kernel: DspDepthwiseDirect | DspDepthwiseShared) -> dict[str, float]:
    plain = kernel.plain
    taps = plain.kernel_h * plain.kernel_w
    columns = plain.kernel_w + plain.stride_w
    loads = columns / (2 * plain.kernel_w)
    shares = isinstance(kernel, DspDepthwiseShared)
    return _window(plain, taps) | {
        "width modulo block": plain.out_width % 2,
        "bytes loaded per MAC": 1 + loads,
        "flash stream per MAC": 0 if shares else 1,
        "SRAM stream per MAC": loads + (1 if shares else 0),
        "unrolled": plain.kernel_w,
        "registers": _REGISTERS,
        "is a micro-kernel": 1,
        "shares code": shares,
        "turns": math.log1p(plain.out_width // 2),
    }


def _plain_convolution(kernel: ConvRow) -> dict[str, float]:
    pixels, outputs, taps = 1, 1, 4
    if isinstance(kernel, ConvRowVariant):
        (pixels, outputs), taps = kernel.block, kernel.unrolled_taps
    else:
        pixels, outputs = kernel.default_block
    of_an_output = kernel.macs // (kernel.out_width * kernel.out_channels)
    registers = pixels * outputs + pixels + outputs + 4
    return _window(kernel, of_an_output) | {
        "bytes loaded per MAC": (pixels + outputs) / (pixels * outputs),
        "flash stream per MAC": 1 / pixels,
        "SRAM stream per MAC": 1 / outputs,
        "unrolled": taps,
        "log unrolled code": math.log1p(taps * pixels * outputs * 8),
        "registers": registers,
        "register spills": max(0, registers - _REGISTERS),
        "turns": math.log1p(of_an_output // taps),
    }


def _plain_depthwise(kernel: DepthwiseRow) -> dict[str, float]:
    taps = kernel.kernel_h * kernel.kernel_w
    pixels, all_rows = kernel.default_pixels, taps <= 9
    if isinstance(kernel, DepthwiseRowVariant):
        pixels, all_rows = kernel.pixels, kernel.unrolls_rows
    unrolled = taps if all_rows else kernel.kernel_w
    return _window(kernel, taps) | {
        "width modulo block": kernel.out_width % 4,
        "bytes loaded per MAC": 1 + 1 / pixels,
        "flash stream per MAC": 1 / pixels,
        "SRAM stream per MAC": 1,
        "unrolled": unrolled * pixels,
        "log unrolled code": math.log1p(unrolled * pixels * 8),
        "registers": 2 * pixels + 4,
        "register spills": max(0, 2 * pixels + 4 - _REGISTERS),
        "blocks of a step": pixels,
    }
