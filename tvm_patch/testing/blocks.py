"""The blocks that random networks are drawn from.

A block takes a chooser, a :class:`CalibratedBuilder`, a feature map [1, H, W, C] and the limits,
and returns the feature map behind it. It keeps within the limits whatever is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tvm_patch.testing.calibrated import CalibratedBuilder, Traced

T = TypeVar("T")


class Chooser(Protocol):
    """Where decisions come from: a seeded generator or Hypothesis."""

    def integer(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`; simpler ones stand first."""


@dataclass(frozen=True)
class NetworkLimits:
    """How large random networks get and what they are made of.

    Parameters
    ----------
    max_size : int
        Largest height and width of a feature map.
    max_channels : int
        Most channels of a feature map between blocks; inside a block up to three times as many.
    max_blocks : int
        Most blocks before the head.
    max_kernel, max_stride : int
        Of convolutions.
    blocks : tuple of str
        Names of :data:`BLOCKS` to draw from, simpler ones first.
    heads : tuple of str
        ``"none"`` (feature map out), ``"mean"``, ``"pool"`` (global average) and ``"flatten"``.
    float_io : bool
        Whether some networks take and return float32.
    side_outputs : bool
        Whether some networks return an intermediate map too.
    """

    max_size: int = 16
    max_channels: int = 9
    max_blocks: int = 4
    max_kernel: int = 7
    max_stride: int = 3
    blocks: tuple[str, ...] = (
        "conv", "depthwise", "residual", "inverted_residual", "pool", "padded_conv",
        "grouped_conv", "activation", "constant", "squeeze_excite", "branches", "resize",
        "crop", "pad", "transpose", "shortcut", "constant_branch",
    )  # fmt: skip
    heads: tuple[str, ...] = ("none", "mean", "pool", "flatten")
    float_io: bool = True
    side_outputs: bool = True


Block = Callable[[Chooser, CalibratedBuilder, Traced, NetworkLimits], Traced]

ACTIVATIONS = ("NONE", "RELU", "RELU6")


def _kernel(choose: Chooser, x: Traced, limits: NetworkLimits, padding: str) -> tuple[int, int]:
    most = [
        limits.max_kernel if padding == "SAME" else min(limits.max_kernel, extent)
        for extent in x.shape[1:3]
    ]
    if choose.pick((True, True, False)):
        side = choose.integer(1, min(most))
        return side, side
    return choose.integer(1, most[0]), choose.integer(1, most[1])


def _strides(choose: Chooser, limits: NetworkLimits) -> tuple[int, int]:
    if choose.pick((True, True, False)):
        side = choose.integer(1, limits.max_stride)
        return side, side
    return choose.integer(1, limits.max_stride), choose.integer(1, limits.max_stride)


def _strides_and_dilation(
    choose: Chooser, x: Traced, kernel: Sequence[int], padding: str, limits: NetworkLimits
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Either strides or dilation above one, as TensorFlow allows them."""
    strides = _strides(choose, limits)
    if strides != (1, 1) or choose.pick((True, True, False)):
        return strides, (1, 1)
    dilation = []
    for extent, size in zip(x.shape[1:3], kernel, strict=True):
        fits = padding == "SAME" or (size - 1) * 2 + 1 <= extent
        dilation.append(choose.integer(1, 2) if fits else 1)
    return strides, (dilation[0], dilation[1])


def conv(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """Convolution with any window."""
    padding = choose.pick(("SAME", "VALID"))
    kernel = _kernel(choose, x, limits, padding)
    strides, dilation = _strides_and_dilation(choose, x, kernel, padding, limits)
    return b.conv2d(
        x, choose.integer(1, limits.max_channels), kernel,
        strides=strides, padding=padding, dilation=dilation,
        activation=choose.pick(ACTIVATIONS), per_channel=choose.pick((True, False)),
    )  # fmt: skip


def depthwise(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """Depthwise convolution with any window and a multiplier where channels allow one."""
    padding = choose.pick(("SAME", "VALID"))
    kernel = _kernel(choose, x, limits, padding)
    strides, dilation = _strides_and_dilation(choose, x, kernel, padding, limits)
    return b.depthwise_conv2d(
        x, kernel, multiplier=choose.integer(1, min(3, max(1, limits.max_channels // x.shape[3]))),
        strides=strides, padding=padding, dilation=dilation,
        activation=choose.pick(ACTIVATIONS), per_channel=choose.pick((True, False)),
    )  # fmt: skip


def padded_conv(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """Explicit PAD, perhaps asymmetric or empty, before a VALID convolution."""
    reach = limits.max_kernel - 1
    before = [choose.integer(0, min(3, reach)) for _ in range(2)]
    after = [choose.integer(0, min(3, reach - used)) for used in before]
    padded = b.pad(x, (before[0], after[0]), (before[1], after[1]))
    # What padding adds beyond the largest size the window has to take away again.
    kernel = [
        choose.integer(max(1, extent - limits.max_size + 1), min(limits.max_kernel, extent))
        for extent in padded.shape[1:3]
    ]
    strides = _strides(choose, limits)
    if choose.pick((True, False)):
        return b.depthwise_conv2d(padded, kernel, strides=strides, padding="VALID")
    outputs = choose.integer(1, limits.max_channels)
    return b.conv2d(padded, outputs, kernel, strides=strides, padding="VALID", activation="RELU6")


def grouped_conv(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """Convolution in two or three groups; a plain one where channels do not divide."""
    groups = next((g for g in (2, 3) if x.shape[3] % g == 0 and x.shape[3] > g), 1)
    outputs = groups * choose.integer(1, max(1, limits.max_channels // groups))
    return b.conv2d(x, outputs, _kernel(choose, x, limits, "SAME"), groups=groups)


def residual(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """One or two convolutions around which the input is added."""
    y = x
    if choose.pick((False, True)):
        y = b.conv2d(y, choose.integer(1, limits.max_channels), (3, 3), activation="RELU")
    y = b.conv2d(y, x.shape[3], _kernel(choose, x, limits, "SAME"))
    return b.binary("add", x, y, activation=choose.pick(ACTIVATIONS))


def shortcut(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """ResNet's strided block: two convolutions, and a 1x1 convolution around them."""
    stride = choose.integer(1, limits.max_stride)
    channels = choose.integer(1, limits.max_channels)
    y = b.conv2d(x, channels, (3, 3), strides=(stride, stride), activation="RELU")
    y = b.conv2d(y, channels, _kernel(choose, y, limits, "SAME"))
    around = b.conv2d(x, channels, (1, 1), strides=(stride, stride))
    return b.binary("add", around, y, activation=choose.pick(ACTIVATIONS))


def inverted_residual(
    choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits
) -> Traced:
    """MobileNetV2's block: expand, depthwise, project, and add where shapes agree."""
    side = choose.pick((3, 5, 7, 1))
    stride = choose.integer(1, 2)
    expansion = choose.integer(x.shape[3], 2 * limits.max_channels)
    y = b.conv2d(x, expansion, (1, 1), activation="RELU6")
    y = b.depthwise_conv2d(y, (side, side), strides=(stride, stride), activation="RELU6")
    if stride == 1 and choose.pick((True, False)):
        return b.binary("add", x, b.conv2d(y, x.shape[3], (1, 1)))
    return b.conv2d(y, choose.integer(1, limits.max_channels), (1, 1))


def pool(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """Maximum or average pool."""
    padding = choose.pick(("VALID", "SAME"))
    size = [choose.integer(1, min(3, extent)) for extent in x.shape[1:3]]
    strides = [choose.integer(1, side) for side in size]
    kind = choose.pick(("max", "average"))
    return b.pool2d(kind, x, size, strides, padding, activation=choose.pick(("NONE", "RELU")))


def activation(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """An activation of its own, or a change of quantisation."""
    squashing = ("logistic", "tanh", "softmax")
    rescaling = ("relu", "relu6", "leaky_relu", "hard_swish", "quantize")
    kind = choose.pick(rescaling + squashing)
    if kind in squashing:
        return b.squash(kind, x)
    return b.unary(kind, x, alpha=choose.pick((0.1, 0.5, 1.5)))


def constant(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """A constant per channel, column, row or pixel added, subtracted or multiplied."""
    kind = choose.pick(("add", "sub", "mul"))
    _, height, width, channels = x.shape
    rows, columns = choose.pick(((1, 1), (1, width), (height, 1), (height, width)))
    values = b.constant((1, rows, columns, channels))
    if kind != "sub" and choose.pick((False, True)):
        return b.binary(kind, values, x)
    return b.binary(kind, x, values)


def constant_branch(
    choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits
) -> Traced:
    """A branch that no input reaches, joined with one that it does."""
    y = b.constant(x.shape)
    for _ in range(choose.integer(1, 2)):
        block = choose.pick((activation, constant, depthwise, conv, inverted_residual, pool))
        y = block(choose, b, y, limits)
    y = b.conv2d(b.concatenation([y, b.constant(y.shape)]), x.shape[3], (1, 1))
    if y.shape[1:3] != x.shape[1:3]:
        y = b.mean(y, keepdims=True)
    return b.binary(choose.pick(("add", "sub", "mul")), x, y)


def squeeze_excite(
    choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits
) -> Traced:
    """Channels scaled by a gate computed from their means."""
    gate = b.mean(x, keepdims=True)
    gate = b.conv2d(gate, choose.integer(1, limits.max_channels), (1, 1), activation="RELU")
    gate = b.squash("logistic", b.conv2d(gate, x.shape[3], (1, 1)))
    return b.binary("mul", x, gate)


def branches(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """Two or three branches of different windows, concatenated."""
    parts = [
        b.conv2d(x, choose.integer(1, limits.max_channels), (1, 1), activation="RELU"),
        b.conv2d(x, choose.integer(1, limits.max_channels), _kernel(choose, x, limits, "SAME")),
    ]
    if choose.pick((False, True)):
        parts.append(b.pool2d("max", x, (3, 3), (1, 1), "SAME"))
    y = b.concatenation(parts)
    return b.conv2d(y, choose.integer(1, limits.max_channels), (1, 1))


def resize(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """Nearest-neighbour resize, up or to the same size, by any of its three rules."""
    size = [
        min(limits.max_size, choose.pick((2 * extent, extent, extent + 1, 3 * extent)))
        for extent in x.shape[1:3]
    ]
    align_corners, half_pixel = choose.pick(((False, False), (False, True), (True, False)))
    return b.resize_nearest(x, size, align_corners=align_corners, half_pixel=half_pixel)


def crop(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """Rows and columns cut off at the top and left, every second one kept perhaps."""
    begin = [choose.integer(0, min(2, extent - 1)) for extent in x.shape[1:3]]
    steps = [choose.integer(1, 2) for _ in begin]
    return b.crop(x, begin, steps)


def pad(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """PAD that no convolution follows directly."""
    rooms = [max(0, limits.max_size - extent) for extent in x.shape[1:3]]
    before = [choose.integer(0, min(2, room)) for room in rooms]
    after = [
        choose.integer(0, min(2, room - used)) for room, used in zip(rooms, before, strict=True)
    ]
    y = b.pad(x, (before[0], after[0]), (before[1], after[1]))
    return b.pool2d("max", y, (1, 1), (1, 1), "VALID")


def transpose(choose: Chooser, b: CalibratedBuilder, x: Traced, limits: NetworkLimits) -> Traced:
    """Height and width exchanged."""
    return b.transpose(x, (0, 2, 1, 3))


BLOCKS: dict[str, Block] = {
    "conv": conv,
    "depthwise": depthwise,
    "padded_conv": padded_conv,
    "grouped_conv": grouped_conv,
    "residual": residual,
    "shortcut": shortcut,
    "inverted_residual": inverted_residual,
    "pool": pool,
    "activation": activation,
    "constant_branch": constant_branch,
    "constant": constant,
    "squeeze_excite": squeeze_excite,
    "branches": branches,
    "resize": resize,
    "crop": crop,
    "pad": pad,
    "transpose": transpose,
}
