"""Data movement: nearest-neighbour resize, strided copies, transposition, slices, filling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from .kernel import Constantless, Constants, kernel_name


def nearest_indices(
    in_size: int, out_size: int, *, align_corners: bool, half_pixel_centers: bool
) -> npt.NDArray[np.int32]:
    """Source index of each output index along one axis, in float32 as LiteRT computes it.

    Returns
    -------
    ndarray of int32, shape [out_size]
        In [0, in_size).
    """
    corners = align_corners and out_size > 1
    scale = np.float32(in_size - corners) / np.float32(out_size - corners)
    offset = np.float32(0.5 if half_pixel_centers else 0.0)
    position = (np.arange(out_size, dtype=np.float32) + offset) * scale
    # Positions are not negative, so rounding half away from zero is adding a half.
    nudge = 0.5 if align_corners else 0.0
    index = np.floor(position.astype(np.float64) + nudge)
    return np.clip(index, 0, in_size - 1).astype(np.int32)


@dataclass(frozen=True)
class RowRule:
    """Source row of each output row of a resize: ``(y * multiplier + offset) >> shift``."""

    multiplier: int
    offset: int
    shift: int


def row_rule(rows: Sequence[int], in_size: int) -> RowRule | None:
    """The rule by which source rows follow, for loops over output rows.

    Parameters
    ----------
    rows : sequence of int
        From :func:`nearest_indices`.
    in_size : int
        Rows that there are to choose from.

    Returns
    -------
    RowRule or None
        Its products fit 32 bits. None where float32 rounds so unevenly that there is no rule, as
        from 200 to 24 rows.
    """
    out_size = len(rows)
    slopes = ((in_size, out_size), (in_size - 1, max(1, out_size - 1)))
    for shift in range(21):
        unit = 1 << shift
        if max(in_size, out_size) * unit >= 1 << 29:
            break
        for rise, run in slopes:
            for multiplier in (rise * unit // run, rise * unit // run + 1):
                least = max(row * unit - y * multiplier for y, row in enumerate(rows))
                most = min((row + 1) * unit - 1 - y * multiplier for y, row in enumerate(rows))
                if least <= most:
                    return RowRule(multiplier, least, shift)
    return None


@dataclass(frozen=True)
class ResizeNearestRow(Constantless):
    """One output row of a nearest-neighbour resize; the caller picks the input row.

    Buffers: data int8 [in_width, channels], columns int32 [out_width], out int8
    [out_width, channels].
    """

    in_width: int
    out_width: int
    channels: int
    align_corners: bool
    half_pixel_centers: bool

    @property
    def name(self) -> str:
        """C identifier stem: the pixel choice is in the constant."""
        return f"resize_nearest_w{self.in_width}_w{self.out_width}_c{self.channels}"

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("columns",)

    def pack(self, constants: Constants) -> Constants:
        """Make the column mapping; ``constants`` is not read."""
        columns = nearest_indices(
            self.in_width,
            self.out_width,
            align_corners=self.align_corners,
            half_pixel_centers=self.half_pixel_centers,
        )
        return {"columns": columns}

    def prim_func(self) -> tirx.PrimFunc:
        """The function."""
        data = te.placeholder((self.in_width, self.channels), "int8", "data")
        columns = te.placeholder((self.out_width,), "int32", "columns")
        shape = (self.out_width, self.channels)
        out = te.compute(shape, lambda x, c: data[columns[x], c], name="out")
        return te.create_prim_func([data, columns, out])


@dataclass(frozen=True)
class CopyRow(Constantless):
    """Copy pixels between rows of different pixel strides, as concatenation along C needs.

    Buffers: data int8 [pixels, in_stride], out int8 [pixels, out_stride]; of each pixel the first
    ``channels`` elements are read and written. Offsets are in the caller's pointers.
    """

    pixels: int
    channels: int
    in_stride: int
    out_stride: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        return f"copy_p{self.pixels}_c{self.channels}_i{self.in_stride}_o{self.out_stride}"

    def prim_func(self) -> tirx.PrimFunc:
        """The function: flat where nothing is skipped."""
        dense = self.channels == self.in_stride == self.out_stride
        pixels, channels = (
            (1, self.pixels * self.channels) if dense else (self.pixels, self.channels)
        )
        in_stride = channels if dense else self.in_stride
        out_stride = channels if dense else self.out_stride
        data = tirx.decl_buffer((pixels, in_stride), "int8", name="data")
        out = tirx.decl_buffer((pixels, out_stride), "int8", name="out")
        pixel, channel = tirx.Var("pixel", "int32"), tirx.Var("channel", "int32")
        body: tirx.Stmt = tirx.BufferStore(out, data[pixel, channel], [pixel, channel])
        for variable, extent in ((channel, channels), (pixel, pixels)):
            body = tirx.For(variable, 0, extent, tirx.ForKind.SERIAL, body)
        return tirx.PrimFunc([data, out], body)


@dataclass(frozen=True)
class Transpose(Constantless):
    """Permute the axes of a whole tensor.

    Buffers: data int8 [shape], out int8 [shape permuted by axes].
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def name(self) -> str:
        """C identifier stem."""
        order = "".join(str(axis) for axis in self.axes)
        return f"transpose_{'x'.join(map(str, self.shape))}_{order}"

    def prim_func(self) -> tirx.PrimFunc:
        """The function."""
        data = te.placeholder(self.shape, "int8", "data")
        source = np.argsort(self.axes)
        out = te.compute(
            tuple(self.shape[axis] for axis in self.axes),
            lambda *at: data[tuple(at[int(index)] for index in source)],
            name="out",
        )
        return te.create_prim_func([data, out])


@dataclass(frozen=True)
class StridedSlice(Constantless):
    """Cut a box out of a whole tensor, with strides.

    Buffers: data int8 [shape], out int8 [ceil((end - begin) / strides)].
    """

    shape: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def name(self) -> str:
        """C identifier stem."""
        return kernel_name(f"slice_{'x'.join(map(str, self.shape))}", self, "shape")

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        windows = zip(self.begin, self.end, self.strides, strict=True)
        return tuple(math.ceil((end - begin) / stride) for begin, end, stride in windows)

    def prim_func(self) -> tirx.PrimFunc:
        """The function."""
        data = te.placeholder(self.shape, "int8", "data")

        def source(at: Sequence[tirx.Var]) -> tuple[tirx.Expr, ...]:
            windows = zip(at, self.begin, self.strides, strict=True)
            return tuple(index * stride + begin for index, begin, stride in windows)

        out = te.compute(self.out_shape, lambda *at: data[source(at)], name="out")
        return te.create_prim_func([data, out])


@dataclass(frozen=True)
class Fill(Constantless):
    """Set a flat run of int8 to one value. Buffer: out int8 [length]."""

    length: int
    value: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        value = f"m{-self.value}" if self.value < 0 else str(self.value)
        return f"fill_n{self.length}_{value}"

    def prim_func(self) -> tirx.PrimFunc:
        """The function."""
        out = te.compute((self.length,), lambda _: tirx.const(self.value, "int8"), name="out")
        return te.create_prim_func([out])
