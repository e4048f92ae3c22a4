"""How many instructions a call of a kernel takes, roughly.

Fitted to counts of the micro-kernels on an emulated Cortex-M7: layers of nine networks, whole and
in streams (`benchmarks/kernels.py`), and rows of few columns (`benchmarks/widths.py`). What the
planner cannot know, the constants of a requantisation and which layers share code, is a mean of
them: a single kernel may take a fifth more or less, a network a few per cent. What one row of few
columns takes more than a part of a longer one is what plans differ by.
"""

from __future__ import annotations

from collections.abc import Mapping

from tvm_patch.plan.graph import Operator, Tensor, Window

_PER_CALL = 20.0
_GROUP = 4
_WORD_BYTES = 4

# Convolutions: for an output and for a tap of it.
_CONV_PER_OUTPUT, _CONV_PER_TAP = 11.5, 1.06
# For an output with few taps, if that is less.
_CONV_FEW_PER_OUTPUT, _CONV_FEW_PER_TAP = 8.5, 0.1
# For a tap, where those of a row of the window do not make a word.
_CONV_SHORT_PER_TAP = 4.2
# More for each tap, and some more taps, than where all pixels of a map are made in one go: parts of
# rows with so many columns, and whole rows.
_CONV_MORE_TAPS = 12
_CONV_NARROW = ((1, 0.11), (2, 0.075), (4, 0.05), (8, 0.03), (16, 0.02))
_CONV_ROWS = ((2, 0.065), (6, 0.005), (8, 0.03), (16, 0.02))
_CONV_ROW = 0.007
# Whatever else has MACs.
_OTHER_PER_OUTPUT, _OTHER_PER_TAP = 13.0, 1.15

# Depthwise, where pixels are read in place: two outputs of four channels, a single one (less of
# what is for the group than two), and the group of channels.
_UNROLLED_ROWS = 3
_DIRECT_PAIR, _DIRECT_ROW = 1.0, 6.0
# More for two of them in rows of at least so many columns.
_DIRECT_MANY, _DIRECT_LOOP = 8, 8.0
_DIRECT_SINGLE_PER_TAP, _DIRECT_SINGLE = 8.75, -14.0
_DIRECT_GROUP, _SCALING = 22.0, 3.7
# More for an output where unrolled rows lie further apart than an offset of a load reaches.
_REACH_BYTES, _OUT_OF_REACH = 4095, 1.0
# And where they are gathered first; four outputs are a block.
_GATHERED_STEP, _GATHERED_CHANNEL, _GATHERED_SHARE = 60, 30, 0.8
# And unrolled over a whole small map.
_UNROLLED_PER_OUTPUT, _UNROLLED_PER_TAP = 14.0, 0.9

# Instructions per element of the output, and per element of the window.
_PER_ELEMENT: Mapping[str, tuple[float, float]] = {
    "max_pool2d": (2.2, 0.35),
    "avg_pool2d": (3.5, 0.65),
    "add": (6.5, 0.0),
    "subtract": (6.5, 0.0),
    "mul": (9.5, 0.0),
    "lookup": (3.5, 0.0),
    "quantize": (10.5, 0.0),
    "dequantize": (7.5, 0.0),
    "average_of_sum": (5.0, 0.0),
    "mean_of_sum": (10.0, 0.0),
    "softmax": (20.0, 0.0),
    "resize_nearest": (0.7, 0.0),
    "concatenate": (0.75, 0.0),
    "strided_slice": (0.8, 0.0),
    "permute_dims": (0.8, 0.0),
    "pad": (0.3, 0.0),
}
# Of what is added up, for each element of the input.
_PER_SUMMED = {"global_sum": 1.5, "mean": 1.2}
# A plain loop.
_PER_OTHER_ELEMENT = 8.0


def whole_instructions(operator: Operator, source: Tensor, output: Tensor) -> float:
    """Of a kernel that makes the whole output in one call.

    Parameters
    ----------
    operator : Operator
        What is computed.
    source, output : Tensor
        Its first input, or its output where it has none, and its output.
    """
    elements = output.size_bytes // output.element_bytes
    if operator.kind == "conv2d":
        return _PER_CALL + elements * _conv_output(operator.window, source.shape[-1])
    if operator.macs:
        taps = operator.macs / elements
        if operator.kind == "depthwise_conv2d":
            return _PER_CALL + elements * (_UNROLLED_PER_OUTPUT + _UNROLLED_PER_TAP * taps)
        return _PER_CALL + elements * (_OTHER_PER_OUTPUT + _OTHER_PER_TAP * taps)
    return _PER_CALL + _elements(operator, elements, source.size_bytes // source.element_bytes)


def row_instructions(
    operator: Operator, source: Tensor, output: Tensor, width: int, row_bytes: int
) -> float:
    """Of a kernel that makes a part of a row.

    Parameters
    ----------
    operator : Operator
        What is computed.
    source, output : Tensor
        As for :func:`whole_instructions`.
    width : int
        Columns of the part; of what is added up, where the operator adds up rows.
    row_bytes : int
        From one row to the next where the kernel reads its first input.
    """
    channels = output.shape[-1]
    if operator.kind == "conv2d":
        return _PER_CALL + channels * width * _conv_output(
            operator.window, source.shape[-1], _narrow(width, output.width)
        )
    if operator.kind == "depthwise_conv2d":
        return _PER_CALL + _depthwise(operator, channels, width, row_bytes)
    if operator.macs:
        taps = operator.macs * output.element_bytes / output.size_bytes
        return _PER_CALL + channels * width * (_OTHER_PER_OUTPUT + _OTHER_PER_TAP * taps)
    return _PER_CALL + _elements(operator, channels * width, channels * width)


def _conv_output(window: Window, channels: int, more: float = 0.0) -> float:
    """Of an output of a convolution; ``more`` for each tap."""
    row_bytes, per_tap = window.kernel_w * channels, _CONV_PER_TAP
    if row_bytes < _WORD_BYTES:
        per_tap = _CONV_SHORT_PER_TAP
    elif channels % _WORD_BYTES:
        row_bytes = -(-row_bytes // _WORD_BYTES) * _WORD_BYTES
    taps = window.kernel_h * row_bytes
    once = min(_CONV_PER_OUTPUT, _CONV_FEW_PER_OUTPUT + _CONV_FEW_PER_TAP * taps)
    return once + per_tap * taps + more * (taps + _CONV_MORE_TAPS)


def _narrow(width: int, whole: int) -> float:
    """More for each tap than where all pixels of a map are made in one go."""
    table = _CONV_ROWS if width == whole else _CONV_NARROW
    return next((more for columns, more in table if width <= columns), _CONV_ROW)


def _depthwise(operator: Operator, channels: int, width: int, row_bytes: int) -> float:
    window, scratch = operator.window, operator.scratch
    if scratch is None or not scratch.is_for(width):
        return _direct(window, -(-channels // _GROUP), width, row_bytes)
    step = scratch.blocks(width) * scratch.block_columns
    steps, rest = divmod(width, step)
    total = steps * _gathered(window, channels, step)
    return total + (_gathered(window, channels, rest) if rest else 0.0)


def _direct(window: Window, groups: int, width: int, row_bytes: int) -> float:
    rows, columns = window.kernel_h, window.kernel_w
    loop = 0.0 if rows <= _UNROLLED_ROWS else _DIRECT_ROW
    read = min(columns + window.stride_w, 2 * columns)
    pair = rows * (3 * read + 10 * columns + loop) + _DIRECT_PAIR
    if width >= _DIRECT_MANY:
        pair += _DIRECT_LOOP
    single = _DIRECT_SINGLE_PER_TAP * rows * columns + _DIRECT_SINGLE
    pairs, rest = divmod(width, 2)
    is_far = not loop and (window.span_h - 1) * row_bytes > _REACH_BYTES
    scaled = _GROUP * width * (_SCALING + (_OUT_OF_REACH if is_far else 0.0))
    return groups * (pairs * pair + rest * single + scaled + _DIRECT_GROUP)


def _gathered(window: Window, channels: int, width: int) -> float:
    """One step along a row."""
    kernel, stride = window.kernel_w, window.stride_w
    half = kernel // 2
    pairs = ((width - 1) * stride + kernel + 1) // 2
    gathered = pairs * (24 * half + 17) + _GATHERED_STEP
    words = (half * kernel + (kernel - 1 if stride == 1 else half + 1) + 1) // 2
    read = (3 * stride + kernel + 1) // 2
    block = 4 * (kernel * half + half + 1) + read * (half + 1) + 2 * half + 53
    blocks = (width + 1) // 2 / 2
    sums = _GATHERED_CHANNEL + 3 * words + blocks * block * _GATHERED_SHARE
    return -(-channels // _GROUP) * gathered + channels * sums


def _elements(operator: Operator, made: int, read: int) -> float:
    """Of an operator without MACs, by the elements that it makes and reads."""
    if operator.kind in _PER_SUMMED:
        return read * _PER_SUMMED[operator.kind]
    per_element, per_tap = _PER_ELEMENT.get(operator.kind, (_PER_OTHER_ELEMENT, 0.0))
    taps = operator.window.kernel_h * operator.window.kernel_w
    return made * (per_element + per_tap * taps)
