"""Depthwise convolution of a whole small map: only the taps that lie inside, and no padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import s_tir, te, tirx

from .channels import settle_constant_channels
from .fixed_point import Requantisation, int32
from .kernel import Constants, finish, kernel_name

Output = Callable[[tirx.Expr, te.Tensor, tirx.Expr], tirx.Expr]


@dataclass(frozen=True)
class WindowAxis:
    """A window that slides along one axis of a map, and which of its taps lie inside.

    Parameters
    ----------
    size : int
        Elements of the map along the axis.
    kernel, stride, dilation : int
        Of the window.
    before, after : int
        Padding elements at the ends.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def outputs(self) -> int:
        """Positions of the window."""
        span = (self.kernel - 1) * self.dilation + 1
        return (self.before + self.size + self.after - span) // self.stride + 1

    def source(self, output: int, tap: int) -> int:
        """The element that a tap reads, below 0 or from ``size`` on where that is padding."""
        return output * self.stride - self.before + tap * self.dilation

    @property
    def valid_taps(self) -> int:
        """Taps inside the map, over all positions."""
        return sum(len(self._inside(output)) for output in range(self.outputs))

    @property
    def used(self) -> range:
        """The taps from the first to the last that are inside at some position; never empty."""
        taps = {tap for output in range(self.outputs) for tap in self._inside(output)}
        return range(min(taps), max(taps) + 1) if taps else range(1)

    def _inside(self, output: int) -> list[int]:
        return [t for t in range(self.kernel) if 0 <= self.source(output, t) < self.size]


@dataclass(frozen=True)
class DepthwiseMap:
    """All of a depthwise convolution's output, from a map without its padding.

    Per channel the map is read once, less its zero point, so that padding counts for nothing and
    its taps need no code. What is left is unrolled over output pixels and taps: for small maps.

    Buffers: data int8 [in_height, in_width, in_channels], weight int8 [C * M, taps_h, taps_w] with
    those taps alone that are ever inside, channels int32 [C * M, 3], out int8
    [out_height, out_width, C * M], with M = ``depth_multiplier`` and the output channel c * M + m.
    The output must not overlap the input.

    Parameters
    ----------
    padding : tuple of int
        (top, left, bottom, right).
    input_zero_point : int
        What padding reads as, in [-128, 127].
    """

    in_height: int
    in_width: int
    in_channels: int
    depth_multiplier: int
    kernel_h: int
    kernel_w: int
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    input_zero_point: int
    output_zero_point: int
    clamp_min: int
    clamp_max: int
    rounding: str
    shift_min: int
    shift_max: int
    small_accumulator: bool = True

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = (
            f"depthwise_map_{self.kernel_h}x{self.kernel_w}"
            f"_c{self.in_channels}_h{self.in_height}_w{self.in_width}"
        )
        spelled = ("kernel_h", "kernel_w", "in_channels", "in_height", "in_width")
        return kernel_name(stem, self, *spelled)

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("weight", "channels")

    @property
    def out_channels(self) -> int:
        """C * M."""
        return self.in_channels * self.depth_multiplier

    @property
    def rows(self) -> WindowAxis:
        """The window along the map's height."""
        return WindowAxis(
            self.in_height,
            self.kernel_h,
            self.strides[0],
            self.dilation[0],
            self.padding[0],
            self.padding[2],
        )

    @property
    def columns(self) -> WindowAxis:
        """The window along the map's width."""
        return WindowAxis(
            self.in_width,
            self.kernel_w,
            self.strides[1],
            self.dilation[1],
            self.padding[1],
            self.padding[3],
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the map, those of padding left out."""
        return self.rows.valid_taps * self.columns.valid_taps * self.out_channels

    @property
    def requantisation(self) -> Requantisation:
        """The arithmetic, with the ranges that it may rely on."""
        return Requantisation(
            self.output_zero_point,
            self.clamp_min,
            self.clamp_max,
            self.rounding,
            self.shift_min,
            self.shift_max,
            self.small_accumulator,
        )

    def pack(self, constants: Constants) -> Constants:
        """Make each channel's taps contiguous, take the input's zero point out of the biases.

        Padding reads as the zero point, an int8 like any other: accumulators are what they are
        with the padding in memory, and promises about these hold.

        Parameters
        ----------
        constants : dict
            weight int8 [KH, KW, C * M]; bias, multiplier, shift int32 [C * M].

        Raises
        ------
        ValueError
            If a bias without the zero point exceeds int32, or a promise is broken.
        """
        settled = settle_constant_channels(constants, -1, self.requantisation)
        weight = settled["weight"]
        taps = weight.astype(np.int64).sum(axis=(0, 1))
        bias = settled["bias"].astype(np.int64) + self.input_zero_point * taps
        if np.any(bias != bias.astype(np.int32)):
            raise ValueError("biases without the input's zero point exceed int32")
        settled["bias"] = bias.astype(np.int32)
        rows, columns = self.rows.used, self.columns.used
        inside = weight[rows.start : rows.stop, columns.start : columns.stop]
        return {
            "weight": np.ascontiguousarray(inside.transpose(2, 0, 1)),
            "channels": self.requantisation.pack(settled),
        }

    def compute(self, output: Output | None = None) -> list[te.Tensor]:
        """The map as TE tensors: parameters in order, output last.

        Parameters
        ----------
        output : callable, optional
            What makes int8 of a sum without its bias, of ``channels`` and of the output channel.
        """
        scaled = output or self.requantisation.apply
        rows, columns = self.rows, self.columns
        taps = (len(rows.used), len(columns.used))
        shape = (self.in_height, self.in_width, self.in_channels)
        data = te.placeholder(shape, "int8", "data")
        weight = te.placeholder((self.out_channels, *taps), "int8", "weight")
        channels = te.placeholder((self.out_channels, 3), "int32", "channels")
        centred = te.compute(
            shape,
            lambda y, x, c: data[y, x, c].astype("int32") - int32(self.input_zero_point),
            name="centred",
        )
        ky = te.reduce_axis((0, taps[0]), "ky")
        kx = te.reduce_axis((0, taps[1]), "kx")

        def tap(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
            row = y * self.strides[0] - rows.before + (ky + rows.used.start) * self.dilation[0]
            column = (
                x * self.strides[1] - columns.before + (kx + columns.used.start) * self.dilation[1]
            )
            channel = o if self.depth_multiplier == 1 else o // self.depth_multiplier
            inside = tirx.all(row >= 0, row < rows.size, column >= 0, column < columns.size)
            product = centred[row, column, channel] * weight[o, ky, kx].astype("int32")
            return te.sum(tirx.if_then_else(inside, product, int32(0)), axis=[ky, kx])

        out_shape = (rows.outputs, columns.outputs, self.out_channels)
        acc = te.compute(out_shape, tap, name="acc")
        out = te.compute(
            out_shape,
            lambda y, x, o: scaled(acc[y, x, o], channels, o),
            name="out",
        )
        return [data, weight, channels, out]

    def prim_func(self) -> tirx.PrimFunc:
        """The scheduled function."""
        return self.scheduled(self.compute())

    def scheduled(self, tensors: list[te.Tensor]) -> tirx.PrimFunc:
        """Schedule tensors of :meth:`compute`.

        One channel at a time, a row of accumulators in registers at once. Pixels and parameters are
        copied out of the buffers first: C compilers must take it that each output written might
        change those, but not locals.
        """
        sch = s_tir.Schedule(te.create_prim_func(tensors))
        centred, acc, out = (sch.get_sblock(name) for name in ("centred", "acc", "out"))
        y, x, o = sch.get_loops(out)
        sch.reorder(o, y, x)
        sch.unroll(y)
        sch.unroll(x)
        sch.compute_at(acc, y, preserve_unit_loops=True)
        acc_x, _, ky, kx = sch.get_loops(acc)[-4:]
        sch.reorder(ky, kx, acc_x)
        for loop in (ky, kx, acc_x):
            sch.unroll(loop)
        sch.decompose_reduction(acc, ky)
        sch.compute_at(centred, o, preserve_unit_loops=True)
        for loop in sch.get_loops(centred)[-3:]:
            sch.unroll(loop)
        parameters = sch.cache_read(out, 1, "global")
        sch.compute_at(parameters, o, preserve_unit_loops=True)
        for loop in sch.get_loops(parameters)[-2:]:
            sch.unroll(loop)
        return finish(sch)
