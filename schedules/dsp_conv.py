"""Convolution by the micro-kernel of ``micro_project/kernels/conv.h``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from .channels import settle_constant_channels
from .conv import ConvRow
from .dsp_pair import PairScaling, sums_are_narrow
from .kernel import Constants, kernel_name
from .micro_kernel import describe, implement

Array = npt.NDArray[np.generic]

#: Largest constant offset of a load.
_LARGEST_OFFSET = 4095
_HEADERS = ("conv.h", "dot.h", "dsp.h", "pair.h", "requantise.h")


@dataclass(frozen=True)
class DspConvRow:
    """:class:`ConvRow` with two output channels and three pixels at a time.

    Buffers: data int8, flat, as the plain kernel's; weight int8 (packed, see
    ``micro_project/kernels/dot.h``), channels int32 [pairs, 8], out int8 as the plain kernel's.

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

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = self.plain.name.removeprefix("conv2d_").rsplit("_", 1)[0]
        return kernel_name(f"conv2d_dsp_{stem}", self)

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("weight", "channels")

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return _HEADERS

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the row."""
        return self.plain.macs

    @property
    def _window(self) -> _Window:
        return _Window.of(self.plain)

    @property
    def _scaling(self) -> PairScaling:
        return PairScaling(self.plain.requantisation, self.narrow)

    @property
    def _group_out(self) -> int:
        return self.plain.out_channels // self.plain.groups

    @property
    def _pairs(self) -> int:
        """Pairs of channels of one group."""
        return (self._group_out + 1) // 2

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
            [groups * pairs, 8].
        """
        settled = settle_constant_channels(constants, 0, self.plain.requantisation)
        paired = self._paired(self._window.padded(settled["weight"]).astype(np.int64))
        if self.joint:
            if not _may_be_joint(settled):
                raise ValueError("a weight is -128: the kernel must not promise joint ones")
            # Halfwords are 256 * w1 + w0: a negative low byte takes one from the high byte.
            paired[..., 1] -= paired[..., 0] < 0
        weight = paired.astype(np.int8).reshape(-1)
        return {"weight": weight, "channels": self._channels(settled)}

    def _paired(self, weight: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """[O, segments, words, 4] to [groups, pairs, segments, words, half, input, channel]."""
        _, segments, words, _ = weight.shape
        grouped = weight.reshape(self.plain.groups, self._group_out, segments, words, 4)
        missing = 2 * self._pairs - self._group_out
        grouped = np.pad(grouped, [(0, 0), (0, missing), (0, 0), (0, 0), (0, 0)])
        split = grouped.reshape(self.plain.groups, self._pairs, 2, segments, words, 2, 2)
        return np.ascontiguousarray(split.transpose(0, 1, 3, 4, 6, 5, 2))

    def _channels(self, settled: Constants) -> npt.NDArray[np.int32]:
        """``struct tvmp_pair`` of each pair."""

        def paired(values: Array) -> npt.NDArray[np.int64]:
            grouped = values.astype(np.int64).reshape(self.plain.groups, self._group_out)
            missing = 2 * self._pairs - self._group_out
            return np.pad(grouped, [(0, 0), (0, missing)]).reshape(-1, 2)

        start = paired(settled["bias"])
        if self.joint:
            start[:, 1] = start[:, 1] * 256 + start[:, 0]
        columns = np.concatenate([start, *map(paired, self._scaling.pack(settled))], axis=1)
        return columns.astype(np.uint32).view(np.int32)

    def description(self) -> tirx.PrimFunc:
        """The row as TE tensors over the packed constants."""
        plain, window, scaling = self.plain, self._window, self._scaling
        data = te.placeholder((window.data_bytes,), "int8", "data")
        segments = window.rows * window.segments
        shape = (plain.groups, self._pairs, segments, window.words, 2, 2, 2)
        weight = te.placeholder((int(np.prod(shape)),), "int8", "weight")
        channels = te.placeholder((plain.groups * self._pairs, 8), "int32", "channels")
        row = te.reduce_axis((0, window.rows), "row")
        segment = te.reduce_axis((0, window.segments), "segment")
        position = te.reduce_axis((0, 4 * window.words), "position")

        def pair_of(o: tirx.Expr) -> tirx.Expr:
            return o // self._group_out * self._pairs + o % self._group_out // 2

        def read_weight(o: tirx.Expr) -> tirx.Expr:
            word, inner = position // 4, position % 4
            index = pair_of(o) * segments + row * window.segments + segment
            index = (index * window.words + word) * 8 + inner % 2 * 4 + inner // 2 * 2
            first = weight[index].astype("int32")
            second = weight[index + 1].astype("int32")
            if self.joint:
                second = second - (first >> tirx.const(31, "int32"))
            return tirx.Select(o % self._group_out % 2 == 0, first, second)

        def tap(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
            del y
            # The last word of a segment ends with it.
            last = 4 * (window.words - 1)
            at = tirx.Select(position < last, position, position - window.overlap)
            at = at + x * window.pixel_bytes + o // self._group_out * window.segment_bytes
            at = at + row * window.row_bytes + segment * window.segment_step
            product = data[at].astype("int32") * read_weight(o)
            return te.sum(product, axis=[row, segment, position])

        shape_out = (1, plain.out_width, plain.out_channels)
        acc = te.compute(shape_out, tap, name="acc")

        def requantised(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
            pair, odd = pair_of(o), o % self._group_out % 2
            start = channels[pair, odd]
            if self.joint:
                joint = (channels[pair, 1] - channels[pair, 0]) >> tirx.const(8, "int32")
                start = tirx.Select(odd == 0, channels[pair, 0], joint)
            scale = [channels[pair, column + odd] for column in (2, 4, 6)]
            return scaling.apply(acc[y, x, o] + start, *scale)

        out = te.compute(shape_out, requantised, name="out")
        return describe([data, weight, channels, out])

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_conv_row``."""
        window = self._window
        numbers = (
            self.plain.out_width,
            window.pixel_bytes,
            window.rows,
            window.row_bytes,
            window.segments,
            window.segment_step,
            window.segment_bytes,
            self._group_out,
            self.plain.groups,
            int(self.joint),
            *self._scaling.numbers,
        )
        return implement(self.description(), "tvmp_conv_row", numbers)


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
            row_bytes=row_bytes * plain.dilation_h,
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

    @property
    def overlap(self) -> int:
        """Inputs of a run's last word that belong to the one before it."""
        return 4 * self.words - self.segment_bytes

    def padded(self, weight: Array) -> Array:
        """[O, KH, KW, C / groups] to [O, rows * segments, words, 4], zeros where words overlap."""
        runs = weight.reshape(weight.shape[0], -1, self.segment_bytes)
        body, tail = np.split(runs, [4 * (self.words - 1)], axis=2)
        zeros = np.zeros((*runs.shape[:2], self.overlap), weight.dtype)
        joined = np.concatenate([body, zeros, tail], axis=2)
        return joined.reshape(*runs.shape[:2], self.words, 4)


def _may_be_joint(constants: Constants) -> bool:
    """Whether 256 times a weight and another one always fit in a halfword."""
    return int(constants["weight"].min()) > -128


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
        None where a run of the window is shorter than a word, or pixels are too far apart for
        one pointer to reach three of them.
    """
    window = _Window.of(plain)
    last_pixel = min(plain.out_width, 3) - 1
    stride = max(window.pixel_bytes, plain.out_channels)
    if window.segment_bytes < 4 or last_pixel * stride >= _LARGEST_OFFSET:
        return None
    settled = settle_constant_channels(constants, 0, plain.requantisation)
    narrow = sums_are_narrow(settled)
    return DspConvRow(plain, narrow=narrow, joint=narrow and _may_be_joint(settled))
