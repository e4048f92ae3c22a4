"""Convolution by the micro-kernel of ``micro_project/kernels/conv.h``."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import te, tirx

from .channels import settle_constant_channels
from .conv import ConvRow
from .dsp_pair import PairScaling
from .dsp_pairs import PAIR_NUMBERS, Pairing, position_in_run, sums_and_weights, words_of_runs
from .kernel import Constants
from .micro_kernel import WithWeights, describe, implement, micro_kernel_name

#: Largest constant offset of a load.
_LARGEST_OFFSET = 4095
#: Instructions of a block besides its words and outputs: pointers, constants, the loop.
_OVERHEAD = 25
#: Of these, those that pairs of channels made at once have in common.
_SHARED_OVERHEAD = 10
#: Largest constant offset of a load of two words.
_LARGEST_PAIR_OFFSET = 1020


@dataclass(frozen=True)
class DspConvRow(WithWeights):
    """:class:`ConvRow` with two output channels and three pixels at a time.

    Buffers: data int8, flat, as the plain kernel's; weight int8 (packed, see
    ``micro_project/kernels/dot.h``), channels int32 [pairs, 5], out int8 as the plain kernel's.

    Parameters
    ----------
    plain : ConvRow
        Shape and arithmetic.
    narrow : bool
        Sums stay below 2**23. :func:`dsp_conv_row` finds out, :meth:`pack` checks.
    joint : bool
        Form of the weights: joint ones need narrow sums, and no weight of -128.
    """

    plain: ConvRow
    narrow: bool
    joint: bool

    headers = ("conv.h", "dot.h", "dsp.h", "pair.h", "requantise.h")

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = self.plain.name.removeprefix("conv2d_").rsplit("_", 1)[0]
        return micro_kernel_name(f"conv2d_dsp_{stem}", self.numbers)

    @property
    def _window(self) -> _Window:
        return _Window.of(self.plain)

    @property
    def _pairing(self) -> Pairing:
        group_out = self.plain.out_channels // self.plain.groups
        scaling = PairScaling(self.plain.requantisation, self.narrow)
        return Pairing(self.plain.groups, group_out, self.joint, scaling)

    @property
    def instructions(self) -> int:
        """Instructions of one call on a Cortex-M, by a model of the blocks in ``dot.h``."""
        return self.instructions_in_blocks(*divmod(self.plain.out_width, 3))

    def instructions_in_blocks(self, blocks: int, rest: int = 0) -> int:
        """The model, for rows of ``blocks`` of three pixels and one of ``rest`` pixels."""
        window = self._window
        words = window.rows * window.segments * window.words
        # Loads and expansions of a word's weights and of each pixel's inputs, and the products.
        weights = 3 if self.joint else 5
        turns = window.rows * window.segments * (window.words // 2) if window.words > 5 else 0

        def block(pixels: int) -> float:
            scaled = 2 * pixels * self._pairing.scaling.instructions
            return words * (weights + 7 * pixels) + 3 * turns + _OVERHEAD + scaled

        each = blocks * block(3) + (block(rest) if rest else 0)
        at_once = self._pairs_at_once if rest == 1 else 1
        if at_once > 1:
            # The inputs of the pixel are loaded and expanded once for all pairs.
            saved = words * 3 + 3 * turns + _SHARED_OVERHEAD
            each -= saved * (at_once - 1) / at_once
        return round(self.plain.groups * self._pairing.pairs * each)

    @property
    def _pairs_at_once(self) -> int:
        """Of the last pixel of a row of one or four; ``tvmp_conv_pairs_at_once`` of ``conv.h``."""
        pairs, window = self._pairing.group_out // 2, self._window
        apart = window.rows * window.segments * window.words * 8
        if self.plain.out_width not in (1, 4) or pairs == 0:
            return 1
        if pairs % 3 == 0 and 2 * apart <= _LARGEST_PAIR_OFFSET:
            return 3
        return 2 if pairs % 2 == 0 and apart <= _LARGEST_PAIR_OFFSET else 1

    @property
    def remark(self) -> str:
        """How sums are made and requantised."""
        weights = "joint weights" if self.joint else "single weights"
        block = f"{min(self.plain.out_width, 3)} pixels x 2 channels"
        if self.plain.out_width == 1 and self._pairs_at_once > 1:
            block = f"1 pixel x {2 * self._pairs_at_once} channels"
        return f"{block}, {weights}, {self._pairing.scaling.remark}"

    def pack(self, constants: Constants) -> Constants:
        """Interleave the weights of each pair of channels as SXTB16 takes them apart.

        Parameters
        ----------
        constants : dict
            weight int8 [O, KH, KW, C / groups]; bias, multiplier, shift int32 [O].

        Returns
        -------
        dict
            weight int8, flat: [groups, pairs, rows, segments, words, 2, 2, 2] with the last axes
            counting halves of a word's inputs (even, odd), inputs, channels; channels int32
            [groups * pairs, 5].
        """
        settled = settle_constant_channels(constants, 0, self.plain.requantisation)
        words = words_of_runs(settled["weight"], self._window.segment_bytes)
        weight = self._pairing.pack_weights(words).reshape(-1)
        return {"weight": weight, "channels": self._pairing.pack_channels(settled)}

    def description(self) -> tirx.PrimFunc:
        """The row as TE tensors over the packed constants."""
        plain, window, pairing = self.plain, self._window, self._pairing
        segments = window.rows * window.segments
        pairs = plain.groups * pairing.pairs
        data = te.placeholder((window.data_bytes,), "int8", "data")
        weight = te.placeholder((pairs * segments * window.words * 8,), "int8", "weight")
        channels = te.placeholder((pairs, PAIR_NUMBERS), "int32", "channels")
        row = te.reduce_axis((0, window.rows), "row")
        segment = te.reduce_axis((0, window.segments), "segment")
        position = te.reduce_axis((0, 4 * window.words), "position")

        def tap(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
            del y
            at = position_in_run(position, window.segment_bytes) + x * window.pixel_bytes
            at = at + o // pairing.group_out * window.segment_bytes
            at = at + row * window.row_bytes + segment * window.segment_step
            run = pairing.pair_of(o) * segments + row * window.segments + segment
            word_at = (run * window.words + position // 4) * 8
            product = data[at].astype("int32") * pairing.weight(weight, word_at, position % 4, o)
            return te.sum(product, axis=[row, segment, position])

        shape = (1, plain.out_width, plain.out_channels)
        acc = te.compute(shape, tap, name="acc")
        out = te.compute(
            shape, lambda y, x, o: pairing.output(acc[y, x, o], channels, o), name="out"
        )
        return describe([data, weight, channels, out])

    @property
    def window_words(self) -> int:
        """Words of four inputs under the window of one pixel."""
        window = self._window
        return window.rows * window.segments * window.words

    @property
    def run_words(self) -> int:
        """Words of four inputs that follow each other in memory."""
        return self._window.words

    @property
    def numbers(self) -> tuple[int, ...]:
        """Arguments of ``tvmp_conv_row``."""
        window = self.window_numbers
        shape = (self._pairing.group_out, self.plain.groups)
        return (self.plain.out_width, *window[:6], *shape, *window[6:])

    @property
    def window_numbers(self) -> tuple[int, ...]:
        """Those that neither the width nor the number of output channels changes."""
        window = self._window
        return (
            window.pixel_bytes,
            window.rows,
            window.row_bytes,
            window.segments,
            window.segment_step,
            window.segment_bytes,
            int(self.joint),
            *self._pairing.scaling.numbers,
        )

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_conv_row``."""
        return implement(self.description(), "tvmp_conv_row", self.numbers)


@dataclass(frozen=True)
class _Window:
    """A window as runs of bytes, see ``struct tvmp_conv``.

    Parameters
    ----------
    rows, row_bytes : int
        Rows of the window, and bytes from one to the next.
    segments, segment_step, segment_bytes : int
        Runs of bytes in each row, bytes from one to the next, and their length.
    pixel_bytes : int
        Bytes from the window of one output pixel to the next.
    data_bytes : int
        All rows as they lie in memory.
    """

    rows: int
    row_bytes: int
    segments: int
    segment_step: int
    segment_bytes: int
    pixel_bytes: int
    data_bytes: int

    @staticmethod
    def of(plain: ConvRow) -> _Window:
        """The window of a kernel; one run a row where its pixels follow each other."""
        group_in = plain.in_channels // plain.groups
        row_bytes = plain.in_row_pixels * plain.in_channels
        is_run = plain.groups == 1 and (plain.dilation_w == 1 or plain.kernel_w == 1)
        return _Window(
            rows=plain.kernel_h,
            # Of windows of one row nothing depends on it.
            row_bytes=row_bytes * plain.dilation_h if plain.kernel_h > 1 else 0,
            segments=1 if is_run else plain.kernel_w,
            segment_step=plain.in_channels * (plain.kernel_w if is_run else plain.dilation_w),
            segment_bytes=group_in * (plain.kernel_w if is_run else 1),
            pixel_bytes=plain.in_channels * plain.stride_w,
            data_bytes=((plain.kernel_h - 1) * plain.dilation_h + 1) * row_bytes,
        )

    @property
    def words(self) -> int:
        """Words of four inputs in a run."""
        return (self.segment_bytes + 3) // 4


def dsp_conv_objection(plain: ConvRow) -> str | None:
    """Why a convolution has no micro-kernel; None if it has."""
    window = _Window.of(plain)
    if window.segment_bytes < 4:
        return f"a run of its window has {window.segment_bytes} bytes, less than a word"
    last_pixel = min(plain.out_width, 3) - 1
    if last_pixel * max(window.pixel_bytes, plain.out_channels) >= _LARGEST_OFFSET:
        return "its pixels are too far apart for one pointer"
    return None


def dsp_conv_row(plain: ConvRow, constants: Constants) -> DspConvRow | None:
    """The micro-kernel for a convolution, if it has one.

    Parameters
    ----------
    plain : ConvRow
        What it computes.
    constants : dict
        The layer's, as in :meth:`DspConvRow.pack`.

    Returns
    -------
    DspConvRow or None
        None where :func:`dsp_conv_objection` has one.
    """
    if dsp_conv_objection(plain) is not None:
        return None
    settled = settle_constant_channels(constants, 0, plain.requantisation)
    narrow, joint = sums_and_weights(settled)
    return DspConvRow(plain, narrow=narrow, joint=joint)
