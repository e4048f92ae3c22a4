"""What a tuner may decide about each family of kernels.

A *rule* names the decisions of one family and makes the kernel that some values of them amount to.
The first value of each decision is the default's, so that the first candidate is the kernel that is
taken without a tuner. All candidates compute the same integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

from .conv import ConvRow, ConvRowVariant, register_blocks
from .depthwise import DepthwiseRow, DepthwiseRowVariant
from .dsp_conv import DspConvRow
from .dsp_conv_shared import DspConvShared, dsp_conv_shared
from .dsp_conv_variants import TURNS, DspConvGathered, DspConvVariant
from .dsp_dense import DspDense
from .dsp_dense_variants import DspDenseGathered, DspDenseVariant
from .dsp_depthwise import DepthwiseSteps, DspDepthwiseRow
from .dsp_depthwise_direct import DspDepthwiseDirect
from .dsp_depthwise_shared import DspDepthwiseShared, dsp_depthwise_shared
from .kernel import Kernel

Choice = Mapping[str, str]
"""A value for each decision."""

_TAPS = (4, 1, 2, 8)
_PIXELS = (4, 2, 8, 1)
_BLOCK_OUTPUTS = DepthwiseSteps.block_columns
_MOST_BLOCKS = 8


@dataclass(frozen=True)
class Space:
    """The ways in which one kernel can be made.

    Parameters
    ----------
    key : str
        The same for all kernels that compute the same with other constants, in whatever network.
    decisions : mapping of str to tuple of str
        Values of each decision, the default's first.
    """

    key: str
    decisions: Mapping[str, tuple[str, ...]]

    @property
    def default(self) -> dict[str, str]:
        """The choice that is made without a tuner."""
        return {name: values[0] for name, values in self.decisions.items()}

    def choices(self) -> Iterator[dict[str, str]]:
        """All of them, the default first; some may amount to no kernel."""
        for values in product(*self.decisions.values()):
            yield dict(zip(self.decisions, values, strict=True))


class ScheduleRule(Protocol):
    """Decisions of one family of kernels."""

    def space(self, kernel: Kernel) -> Space | None:
        """What can be decided about a kernel; None where it belongs to another family."""

    def make(self, kernel: Kernel, choice: Choice) -> Kernel | None:
        """The kernel that a choice from its space amounts to.

        None where another choice amounts to the same, or nothing can be made of it.
        """


class MicroConvolutionRule:
    """Convolutions of the DSP extension.

    ``form``: a C function of the row's own or one shared by layers, as they are; *unrolled* to
    another number of words, ``turn``, in each turn of the inner loop; or *gathered*, its inputs
    expanded in scratch memory first (im2col). ``weights``: joint, or one by one.
    """

    def space(self, kernel: Kernel) -> Space | None:
        """Of rows and of the form that layers share."""
        row = kernel.row if isinstance(kernel, DspConvShared) else kernel
        if not isinstance(row, DspConvRow):
            return None
        forms = ["row", "gathered", "unrolled"]
        if isinstance(kernel, DspConvShared):
            forms.insert(0, "shared")
        elif dsp_conv_shared(row) is not None:
            forms.append("shared")
        weights = ("joint", "single") if row.joint else ("single",)
        turns = tuple(map(str, TURNS))
        return Space(row.name, {"form": tuple(forms), "turn": turns, "weights": weights})

    def make(self, kernel: Kernel, choice: Choice) -> Kernel | None:
        """One of four forms."""
        row = kernel.row if isinstance(kernel, DspConvShared) else kernel
        if not isinstance(row, DspConvRow):
            return None
        form, turn = choice["form"], int(choice["turn"])
        row = replace(row, joint=choice["weights"] == "joint")
        if form == "gathered":
            return DspConvGathered(row, turn) if turn <= max(row.window_words, 2) else None
        if form == "unrolled":
            return DspConvVariant(row, turn) if turn <= max(row.run_words, 2) else None
        if turn != TURNS[0]:
            return None
        return dsp_conv_shared(row) if form == "shared" else row


class PlainConvolutionRule:
    """Convolutions by TE: ``block`` of pixels x channels in registers, ``taps`` unrolled."""

    def space(self, kernel: Kernel) -> Space | None:
        """Of :class:`ConvRow`."""
        if not isinstance(kernel, ConvRow):
            return None
        blocks = tuple(f"{pixels}x{outputs}" for pixels, outputs in register_blocks(kernel))
        return Space(kernel.name, {"block": blocks, "taps": tuple(map(str, _TAPS))})

    def make(self, kernel: Kernel, choice: Choice) -> Kernel | None:
        """Another block."""
        if not isinstance(kernel, ConvRow):
            return None
        pixels, outputs = map(int, choice["block"].split("x"))
        taps = int(choice["taps"])
        if (pixels, outputs) == register_blocks(kernel)[0] and taps == _TAPS[0]:
            return kernel
        run = kernel.in_channels // kernel.groups
        if kernel.dilation_w == 1 and kernel.groups == 1:
            run *= kernel.kernel_w
        if run % taps != 0:
            return None
        return ConvRowVariant(**_fields(kernel), block=(pixels, outputs), unrolled_taps=taps)


class DepthwiseRule:
    """Depthwise convolutions.

    ``form``: *gathered* in scratch memory in steps of ``blocks`` of four outputs, *direct*, or
    *shared* by layers, where the core has the DSP extension; or by a TE schedule, *window* by
    window, ``pixels`` at once, with all of the window or its rows ``unrolled``.
    """

    def space(self, kernel: Kernel) -> Space | None:
        """Of rows of either kind."""
        plain = _plain_depthwise(kernel)
        if plain is None:
            return None
        widths = tuple(str(n) for n in _PIXELS if plain.out_width % n == 0)
        taps = plain.kernel_h * plain.kernel_w
        unrolled = ("window", "row") if taps <= 9 else ("row", "window")
        loops = {"pixels": widths, "unrolled": unrolled}
        if isinstance(kernel, DspDepthwiseShared):
            key = DspDepthwiseDirect(plain, kernel.narrow).name
            return Space(key, {"form": ("shared", "direct", "window"), **loops})
        if isinstance(kernel, DspDepthwiseDirect):
            forms = ("direct",) if dsp_depthwise_shared(kernel) is None else ("direct", "shared")
            return Space(kernel.name, {"form": (*forms, "window"), **loops})
        if not isinstance(kernel, DspDepthwiseRow):
            return Space(plain.name, {"form": ("window",), **loops})
        most = min(-(-plain.out_width // _BLOCK_OUTPUTS), _MOST_BLOCKS)
        others = [n for n in range(most, 0, -1) if n != kernel.blocks]
        blocks = tuple(map(str, (kernel.blocks, *others)))
        return Space(plain.name, {"form": ("gathered", "window"), "blocks": blocks, **loops})

    def make(self, kernel: Kernel, choice: Choice) -> Kernel | None:
        """Steps of other lengths, or other loops."""
        plain, space = _plain_depthwise(kernel), self.space(kernel)
        if plain is None or space is None:
            return None
        loops_are_default = all(choice[n] == space.default[n] for n in ("pixels", "unrolled"))
        if choice["form"] in ("direct", "shared"):
            if not isinstance(kernel, DspDepthwiseDirect | DspDepthwiseShared):
                return None
            direct = DspDepthwiseDirect(plain, kernel.narrow)
            made = direct if choice["form"] == "direct" else dsp_depthwise_shared(direct)
            return made if loops_are_default else None
        if choice["form"] == "gathered":
            if not isinstance(kernel, DspDepthwiseRow) or not loops_are_default:
                return None
            return replace(kernel, blocks=int(choice["blocks"]))
        if "blocks" in choice and choice["blocks"] != space.default.get("blocks"):
            return None
        if loops_are_default and plain is kernel:
            return plain
        unrolls_rows = choice["unrolled"] == "window"
        pixels = int(choice["pixels"])
        return DepthwiseRowVariant(**_fields(plain), pixels=pixels, unrolls_rows=unrolls_rows)


class MicroDenseRule:
    """Fully connected layers of the DSP extension.

    ``form``: *blocks* of six outputs as they are; *unrolled*, ``turn`` words in each turn of the
    inner loop; or *gathered*, the vector expanded in scratch memory first.
    """

    def space(self, kernel: Kernel) -> Space | None:
        """Of :class:`DspDense`."""
        if not isinstance(kernel, DspDense):
            return None
        forms = ("blocks", "unrolled", "gathered")
        return Space(kernel.name, {"form": forms, "turn": tuple(map(str, TURNS))})

    def make(self, kernel: Kernel, choice: Choice) -> Kernel | None:
        """One of three forms."""
        if not isinstance(kernel, DspDense):
            return None
        form, turn = choice["form"], int(choice["turn"])
        if form == "blocks":
            return kernel if turn == TURNS[0] else None
        if turn > max(kernel.words, TURNS[0]):
            return None
        return (DspDenseGathered if form == "gathered" else DspDenseVariant)(kernel, turn)


RULES: tuple[ScheduleRule, ...] = (
    MicroConvolutionRule(),
    MicroDenseRule(),
    PlainConvolutionRule(),
    DepthwiseRule(),
)
"""The first that knows a kernel decides about it."""


def space_of(kernel: Kernel) -> Space | None:
    """What can be decided about a kernel; None where nothing can."""
    return next((space for rule in RULES if (space := rule.space(kernel)) is not None), None)


def make_variant(kernel: Kernel, choice: Choice) -> Kernel | None:
    """The kernel that a choice amounts to, as :meth:`ScheduleRule.make`.

    Parameters
    ----------
    kernel : Kernel
        The default.
    choice : mapping of str to str
        Of its space. One with other decisions, of another version perhaps, amounts to nothing.
    """
    for rule in RULES:
        space = rule.space(kernel)
        if space is None:
            continue
        if set(choice) != set(space.decisions):
            return None
        if any(choice[name] not in values for name, values in space.decisions.items()):
            return None
        return rule.make(kernel, choice)
    return None


def _plain_depthwise(kernel: Kernel) -> DepthwiseRow | None:
    if isinstance(kernel, DspDepthwiseRow | DspDepthwiseDirect | DspDepthwiseShared):
        return kernel.plain
    return kernel if isinstance(kernel, DepthwiseRow) else None


def _fields(kernel: ConvRow | DepthwiseRow) -> dict[str, Any]:
    return {name: getattr(kernel, name) for name in kernel.__dataclass_fields__}
