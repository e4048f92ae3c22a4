"""Pooling and the mean over a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import s_tir, te, tirx

from .fixed_point import bind, int32, maximum_over, multiply_by_quantized_multiplier, saturate
from .kernel import Constantless, finish, kernel_name, largest_divisor

#: Window elements up to which a window, or its rows, are unrolled.
_UNROLLED_WINDOW = 16


def divide_half_away(total: tirx.Expr, count: tirx.Expr | int) -> tirx.Expr:
    """int32 quotient rounded half away from zero, as LiteRT's average pooling has it."""
    divisor = int32(count) if isinstance(count, int) else count
    half = tirx.truncdiv(divisor, int32(2))
    return bind(
        "total",
        total,
        lambda t: tirx.truncdiv(tirx.Select(t > int32(0), t + half, t - half), divisor),
    )


def max_pool2d(
    data: te.Tensor,
    *,
    out_shape: tuple[int, int, int],
    pool_size: Sequence[int],
    strides: Sequence[int],
    clamp: tuple[int, int],
) -> te.Tensor:
    """Maximum over windows of int8 [H, W, C] whose padding (-128) is already in memory.

    The reduction stage is named ``acc``.
    """
    ky = te.reduce_axis((0, pool_size[0]), "ky")
    kx = te.reduce_axis((0, pool_size[1]), "kx")
    acc = te.compute(
        out_shape,
        lambda y, x, c: maximum_over(
            data[y * strides[0] + ky, x * strides[1] + kx, c].astype("int32"), [ky, kx]
        ),
        name="acc",
    )
    return te.compute(out_shape, lambda y, x, c: saturate(acc[y, x, c], *clamp), name="out")


def avg_pool2d(
    data: te.Tensor,
    *,
    out_shape: tuple[int, int, int],
    pool_size: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    clamp: tuple[int, int],
) -> te.Tensor:
    """Average over the valid elements of windows of int8 [H, W, C].

    Unlike the other windowed computes this one pads by itself, since LiteRT divides by the number
    of valid elements. The reduction stage is named ``acc``.

    Parameters
    ----------
    padding : sequence of int
        (top, left, bottom, right).
    """
    height, width, _ = (int(extent) for extent in data.shape)
    ky = te.reduce_axis((0, pool_size[0]), "ky")
    kx = te.reduce_axis((0, pool_size[1]), "kx")
    padded = any(padding)

    def element(y: tirx.Var, x: tirx.Var, c: tirx.Var) -> tirx.Expr:
        row = y * strides[0] + ky - padding[0]
        column = x * strides[1] + kx - padding[1]
        if not padded:
            return te.sum(data[row, column, c].astype("int32"), axis=[ky, kx])
        valid = tirx.all(row >= 0, row < height, column >= 0, column < width)
        value = tirx.if_then_else(valid, data[row, column, c].astype("int32"), int32(0))
        return te.sum(value, axis=[ky, kx])

    def valid_extent(at: tirx.Var, axis: int, size: int) -> tirx.Expr | int:
        # Not min and max: TVM's C generator may name their operands before the common
        # subexpressions that these are made of.
        begin = at * strides[axis] - padding[axis]
        end = begin + pool_size[axis]
        last = tirx.Select(end < size, end, tirx.const(size, "int32"))
        return last - tirx.Select(begin > 0, begin, int32(0))

    def finish_element(y: tirx.Var, x: tirx.Var, c: tirx.Var) -> tirx.Expr:
        count: tirx.Expr | int = pool_size[0] * pool_size[1]
        if padded:
            count = valid_extent(y, 0, height) * valid_extent(x, 1, width)
        return saturate(divide_half_away(acc[y, x, c], count), *clamp)

    acc = te.compute(out_shape, element, name="acc")
    return te.compute(out_shape, finish_element, name="out")


def mean_spatial(
    data: te.Tensor,
    *,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
) -> te.Tensor:
    """Requantised mean of int8 [pixels, C] over the pixels: int8 [C]; reduction stage ``acc``."""
    return mean_of_sum(
        global_sum(data),
        pixels=int(data.shape[0]),
        input_zero_point=input_zero_point,
        output_zero_point=output_zero_point,
        multiplier=multiplier,
        shift=shift,
    )


def global_sum(data: te.Tensor) -> te.Tensor:
    """Sum of int8 [pixels, C] over the pixels: int32 [C]; the stage is named ``acc``."""
    pixels, channels = (int(extent) for extent in data.shape)
    p = te.reduce_axis((0, pixels), "p")
    return te.compute(
        (channels,), lambda c: te.sum(data[p, c].astype("int32"), axis=[p]), name="acc"
    )


def mean_of_sum(
    total: te.Tensor,
    *,
    pixels: int,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
) -> te.Tensor:
    """Requantised mean of ``pixels`` elements from their sum: int32 [C] to int8 [C]."""
    offset = int32(pixels * input_zero_point)

    def element(c: tirx.Var) -> tirx.Expr:
        scaled = multiply_by_quantized_multiplier(total[c] - offset, multiplier, shift)
        return saturate(scaled + int32(output_zero_point), -128, 127)

    return te.compute(total.shape, element, name="out")


def average_of_sum(total: te.Tensor, *, pixels: int, clamp_min: int, clamp_max: int) -> te.Tensor:
    """Average of ``pixels`` elements from their sum: int32 [C] to int8 [C]."""
    return te.compute(
        total.shape,
        lambda c: saturate(divide_half_away(total[c], pixels), clamp_min, clamp_max),
        name="out",
    )


@dataclass(frozen=True)
class PoolRow(Constantless):
    """One output row of maximum pooling, or of average pooling without padding.

    Buffers: data int8 [pool_h, in_row_pixels, channels], out int8 [1, out_width, channels].

    Parameters
    ----------
    kind : str
        ``"max"`` (padding in memory reads -128) or ``"avg"`` (every window is full).
    """

    kind: str
    in_row_pixels: int
    channels: int
    out_width: int
    pool_h: int
    pool_w: int
    stride_w: int
    clamp_min: int
    clamp_max: int

    def __post_init__(self) -> None:
        if self.kind not in ("max", "avg"):
            raise ValueError(f"kind must be 'max' or 'avg', not {self.kind!r}")

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = (
            f"{self.kind}_pool_{self.pool_h}x{self.pool_w}_s{self.stride_w}"
            f"_c{self.channels}_w{self.out_width}"
        )
        spelled = ("kind", "pool_h", "pool_w", "stride_w", "channels", "out_width")
        return kernel_name(stem, self, *spelled)

    def compute(self) -> list[te.Tensor]:
        """The row as TE tensors: data, out."""
        shape = (self.pool_h, self.in_row_pixels, self.channels)
        data = te.placeholder(shape, "int8", "data")
        out_shape = (1, self.out_width, self.channels)
        pool_size, strides = (self.pool_h, self.pool_w), (1, self.stride_w)
        clamp = (self.clamp_min, self.clamp_max)
        if self.kind == "max":
            out = max_pool2d(
                data, out_shape=out_shape, pool_size=pool_size, strides=strides, clamp=clamp
            )
        else:
            out = avg_pool2d(
                data,
                out_shape=out_shape,
                pool_size=pool_size,
                strides=strides,
                padding=(0, 0, 0, 0),
                clamp=clamp,
            )
        return [data, out]

    def prim_func(self) -> tirx.PrimFunc:
        """The scheduled function."""
        return _schedule_windows(self.compute())


@dataclass(frozen=True)
class AvgPoolPadded(Constantless):
    """Average pooling of a whole map, dividing by the number of valid elements.

    Buffers: data int8 [in_height, in_width, channels], out int8 [out_height, out_width, channels].
    """

    in_height: int
    in_width: int
    channels: int
    out_height: int
    out_width: int
    pool_h: int
    pool_w: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    pad_bottom: int
    pad_right: int
    clamp_min: int
    clamp_max: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = f"avg_pool_padded_{self.pool_h}x{self.pool_w}_c{self.channels}_w{self.out_width}"
        return kernel_name(stem, self, "pool_h", "pool_w", "channels", "out_width")

    def compute(self) -> list[te.Tensor]:
        """The map as TE tensors: data, out."""
        shape = (self.in_height, self.in_width, self.channels)
        data = te.placeholder(shape, "int8", "data")
        out = avg_pool2d(
            data,
            out_shape=(self.out_height, self.out_width, self.channels),
            pool_size=(self.pool_h, self.pool_w),
            strides=(self.stride_h, self.stride_w),
            padding=(self.pad_top, self.pad_left, self.pad_bottom, self.pad_right),
            clamp=(self.clamp_min, self.clamp_max),
        )
        return [data, out]

    def prim_func(self) -> tirx.PrimFunc:
        """The scheduled function."""
        return _schedule_windows(self.compute(), unroll=False)


@dataclass(frozen=True)
class MeanSpatial(Constantless):
    """Mean over all pixels of a map; parameters named as the attributes of qnn.mean.

    Buffers: data int8 [pixels, channels], out int8 [channels].
    """

    pixels: int
    channels: int
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        return kernel_name(f"mean_p{self.pixels}_c{self.channels}", self, "pixels", "channels")

    def compute(self) -> list[te.Tensor]:
        """The mean as TE tensors: data, out."""
        data = te.placeholder((self.pixels, self.channels), "int8", "data")
        out = mean_spatial(
            data,
            input_zero_point=self.input_zero_point,
            output_zero_point=self.output_zero_point,
            multiplier=self.multiplier,
            shift=self.shift,
        )
        return [data, out]

    def prim_func(self) -> tirx.PrimFunc:
        """Schedule: some channels' sums in registers at once."""
        return _schedule_sums(self.compute(), self.channels)


@dataclass(frozen=True)
class AccumulateRow(Constantless):
    """Adds the pixels of one row to the sums of those before; the caller begins with zeros.

    Buffers: data int8 [width, channels], sums int32 [channels], out int32 [channels], which is
    where ``sums`` is.
    """

    width: int
    channels: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        return f"accumulate_w{self.width}_c{self.channels}"

    def compute(self) -> list[te.Tensor]:
        """The sums as TE tensors: data, sums, out."""
        data = te.placeholder((self.width, self.channels), "int8", "data")
        sums = te.placeholder((self.channels,), "int32", "sums")
        acc = global_sum(data)
        out = te.compute((self.channels,), lambda c: sums[c] + acc[c], name="out")
        return [data, sums, out]

    def prim_func(self) -> tirx.PrimFunc:
        """Schedule: some channels' sums in registers at once."""
        func = _schedule_sums(self.compute(), self.channels)
        return func.with_attr("tirx.noalias", False)


@dataclass(frozen=True)
class MeanOfSum(Constantless):
    """Means from sums over all pixels; parameters named as the attributes of qnn.mean_of_sum.

    Buffers: total int32 [channels], out int8 [channels], which may begin where ``total`` does.
    """

    channels: int
    pixels: int
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        return kernel_name(f"mean_of_sum_c{self.channels}", self, "channels")

    def compute(self) -> list[te.Tensor]:
        """The means as TE tensors: total, out."""
        total = te.placeholder((self.channels,), "int32", "total")
        out = mean_of_sum(
            total,
            pixels=self.pixels,
            input_zero_point=self.input_zero_point,
            output_zero_point=self.output_zero_point,
            multiplier=self.multiplier,
            shift=self.shift,
        )
        return [total, out]

    def prim_func(self) -> tirx.PrimFunc:
        """The function."""
        return te.create_prim_func(self.compute())


@dataclass(frozen=True)
class AverageOfSum(Constantless):
    """Averages from sums over all pixels.

    Buffers: total int32 [channels], out int8 [channels], which may begin where ``total`` does.
    """

    channels: int
    pixels: int
    clamp_min: int
    clamp_max: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        return kernel_name(f"average_of_sum_c{self.channels}", self, "channels")

    def compute(self) -> list[te.Tensor]:
        """The averages as TE tensors: total, out."""
        total = te.placeholder((self.channels,), "int32", "total")
        clamp = {"clamp_min": self.clamp_min, "clamp_max": self.clamp_max}
        return [total, average_of_sum(total, pixels=self.pixels, **clamp)]

    def prim_func(self) -> tirx.PrimFunc:
        """The function."""
        return te.create_prim_func(self.compute())


def _schedule_sums(tensors: list[te.Tensor], channels: int) -> tirx.PrimFunc:
    """Sums over pixels, four channels in registers at once."""
    sch = s_tir.Schedule(te.create_prim_func(tensors))
    acc, result = sch.get_sblock("acc"), sch.get_sblock("out")
    (channel,) = sch.get_loops(result)
    outer, inner = sch.split(channel, [None, largest_divisor(channels, 4)])
    sch.unroll(inner)
    sch.compute_at(acc, outer, preserve_unit_loops=True)
    acc_channel, pixel = sch.get_loops(acc)[-2:]
    sch.reorder(pixel, acc_channel)
    sch.unroll(acc_channel)
    sch.decompose_reduction(acc, pixel)
    return finish(sch)


def _schedule_windows(tensors: list[te.Tensor], *, unroll: bool = True) -> tirx.PrimFunc:
    """One output element at a time, its accumulator in a register."""
    sch = s_tir.Schedule(te.create_prim_func(tensors))
    acc, out = sch.get_sblock("acc"), sch.get_sblock("out")
    sch.compute_at(acc, sch.get_loops(out)[-1])
    ky, kx = sch.get_loops(acc)[-2:]
    columns = int(sch.get(kx).extent)
    if unroll and columns <= _UNROLLED_WINDOW:
        sch.unroll(kx)
        if columns * int(sch.get(ky).extent) <= _UNROLLED_WINDOW:
            sch.unroll(ky)
    sch.decompose_reduction(acc, ky)
    return finish(sch)
