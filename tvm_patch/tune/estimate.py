"""Instructions of a candidate by a model of its inner loop: what a search knows before it measures.

The models of ``schedules`` are of kernels as they are made without a tuner; those of other ways
are derived from them here. They need not be exact: the cost model learns what they miss.
"""

from __future__ import annotations

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
    Kernel,
)
from tvm_patch.schedules.dsp_pair import PairScaling

_BLOCK_PIXELS = 3
_DENSE_OUTPUTS = 6
#: Of a block of outputs besides its products: pointers, sums' beginnings, the loop.
_BLOCK_OVERHEAD = 25
#: Of a turn of an inner loop.
_TURN_OVERHEAD = 3
#: Of one output by a TE schedule: requantisation in C, and its store.
_PLAIN_OUTPUT = 16
#: Of a tap of a depthwise window by a TE schedule: its own, what pixels made together share, what
#: they do not where windows lie further apart, and of a turn of the loop over rows.
_DEPTHWISE_TAP, _DEPTHWISE_SHARED, _DEPTHWISE_APART, _DEPTHWISE_TURN = 3.1, 0.9, 0.5, 1.0
_REGISTERS = 14
#: What numbers cost that are arguments, beside constants.
_SHARED_FACTOR = 1.08


def instructions_of(kernel: Kernel) -> float:
    """Instructions of one call on a Cortex-M, more or less."""
    if isinstance(kernel, DspConvVariant):
        return _convolution(kernel)
    if isinstance(kernel, DspDenseVariant):
        return _dense(kernel)
    if isinstance(kernel, ConvRow):
        return _plain_convolution(kernel)
    if isinstance(kernel, DepthwiseRow):
        return _plain_depthwise(kernel)
    known: Any = getattr(kernel, "instructions", None)
    factor = _SHARED_FACTOR if isinstance(kernel, DspConvShared) else 1.0
    return factor * float(known or max(kernel.macs, 1))


def _turns(words: int, turn: int) -> int:
    """How often an inner loop goes round; straight code does not."""
    return words // turn if words >= 2 * turn else 0


def _convolution(kernel: DspConvVariant) -> float:
    row, gathers = kernel.row, isinstance(kernel, DspConvGathered)
    runs = 1 if gathers else row.window_words // row.run_words
    words = row.window_words // runs
    weights, inputs = (3 if row.joint else 5), (5 if gathers else 7)
    scaled = PairScaling(row.plain.requantisation, row.narrow).instructions
    pairs = -(-row.plain.out_channels // 2)
    total = 0.0
    for pixels in _blocks(row):
        dots = runs * (
            words * (weights + inputs * pixels) + _TURN_OVERHEAD * _turns(words, kernel.turn)
        )
        total += pairs * (dots + 4 * (runs - 1) + _BLOCK_OVERHEAD + 2 * pixels * scaled)
        if gathers:
            total += row.plain.groups * row.window_words * (4 * pixels + 3)
    return total


def _blocks(row: DspConvRow) -> list[int]:
    whole, rest = divmod(row.plain.out_width, _BLOCK_PIXELS)
    return [_BLOCK_PIXELS] * whole + ([rest] if rest else [])


def _dense(kernel: DspDenseVariant) -> float:
    layer: DspDense = kernel.layer
    gathers = isinstance(kernel, DspDenseGathered)
    read = 1 if gathers else 3
    blocks, rest = divmod(layer.plain.out_features, _DENSE_OUTPUTS)
    turns = _TURN_OVERHEAD * _turns(layer.words, kernel.turn)
    block = layer.words * (read + (20 if layer.joint else 27)) + turns
    pair = layer.words * (read + (7 if layer.joint else 9)) + turns
    scaled = PairScaling(layer.plain.requantisation, layer.narrow).instructions
    pairs = -(-rest // 2)
    total = blocks * block + pairs * pair + (blocks + pairs) * _BLOCK_OVERHEAD
    return total + layer.plain.out_features * scaled + (layer.words * 7 if gathers else 0)


def _plain_convolution(kernel: ConvRow) -> float:
    (pixels, outputs), taps = kernel.default_block, 4
    if isinstance(kernel, ConvRowVariant):
        (pixels, outputs), taps = kernel.block, kernel.unrolled_taps
    loads = (pixels + outputs) / (pixels * outputs)
    spills = max(0, pixels * outputs + pixels + outputs + 4 - _REGISTERS) / (pixels * outputs)
    of_a_mac = 1 + loads + 2 * spills + _TURN_OVERHEAD / (taps * pixels * outputs)
    return kernel.macs * of_a_mac + kernel.out_width * kernel.out_channels * _PLAIN_OUTPUT


def _plain_depthwise(kernel: DepthwiseRow) -> float:
    taps = kernel.kernel_h * kernel.kernel_w
    pixels, all_rows = kernel.default_pixels, taps <= 9
    if isinstance(kernel, DepthwiseRowVariant):
        pixels, all_rows = kernel.pixels, kernel.unrolls_rows
    spills = max(0, 2 * pixels + 4 - _REGISTERS) / pixels
    of_a_mac = _DEPTHWISE_TAP + _DEPTHWISE_SHARED / pixels + spills
    if kernel.stride_w > 1:
        of_a_mac += _DEPTHWISE_APART * (1 - 1 / pixels)
    if not all_rows:
        of_a_mac += _DEPTHWISE_TURN / kernel.kernel_w
    return kernel.macs * of_a_mac + kernel.out_width * kernel.out_channels * _PLAIN_OUTPUT
