"""Depthwise convolution by the micro-kernel of ``micro_project/kernels/depthwise_direct.h``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from .channels import requantisation_fields, settle_constant_channels
from .depthwise import DepthwiseRow
from .dsp_pair import PairForm, PairScaling, sums_are_narrow
from .fixed_point import Arithmetic, Requantisation, bind, int32, saturate
from .kernel import Constants
from .micro_kernel import WithWeights, describe, implement, micro_kernel_name

#: Channels of a word.
GROUP = 4
#: Columns under two neighbouring windows that the C has lines for.
_MOST_COLUMNS = 15
#: Largest constant offset of a load.
_LARGEST_OFFSET = 4095
#: Places that a weight may have less than others: the rounding of 64 stays whole.
_MOST_LESS = 6
#: Rows of a window that are not looped over.
_UNROLLED_ROWS = 3
#: Places of a group's channels among its weights.
_ORDER = (0, 2, 1, 3)


@dataclass(frozen=True)
class DspDepthwiseDirect(WithWeights):
    """:class:`DepthwiseRow` with four channels of two outputs at a time, straight from the input.

    Buffers: data int8 and out int8 as the plain kernel's; weight int16 [groups, taps, 4] and
    channels int32 [groups, 12 or 16] as ``micro_project/kernels/depthwise_direct.h`` says.

    Parameters
    ----------
    plain : DepthwiseRow
        Shape and arithmetic, to which :func:`dsp_depthwise_direct_objection` has none.
    narrow : bool
        Sums stay below 2**23. :func:`dsp_depthwise_direct` finds out, :meth:`pack` checks.
    """

    plain: DepthwiseRow
    narrow: bool

    headers = ("depthwise_direct.h", "depthwise_window.h", "dsp.h", "pair.h", "requantise.h")

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = self.plain.name.removeprefix("depthwise_").rsplit("_", 1)[0]
        return micro_kernel_name(f"depthwise_direct_{stem}", self._numbers)

    @property
    def remark(self) -> str:
        """How sums are made and requantised."""
        return f"2 pixels x 4 channels, straight from the input, {self._scaling.remark}"

    @property
    def instructions(self) -> int:
        """Instructions of one call on a Cortex-M, by a model of the blocks."""
        plain = self.plain
        return direct_instructions(
            plain.out_width,
            plain.in_channels,
            (plain.kernel_h, plain.kernel_w),
            plain.stride_w,
            _scaling_cost(self._scaling),
        )

    @property
    def constant_bytes(self) -> int:
        """Flash of a layer's weights and channels."""
        taps = self.plain.kernel_h * self.plain.kernel_w
        numbers = 3 if self._exponent >= 0 else 4
        return self._groups * GROUP * (2 * taps + 4 * numbers)

    @property
    def _scaling(self) -> PairScaling:
        return PairScaling(self.plain.requantisation, self.narrow)

    @property
    def _groups(self) -> int:
        return -(-self.plain.in_channels // GROUP)

    @property
    def _exponent(self) -> int:
        """What all channels are shifted to the right by; -1 where they differ."""
        return _common_exponent(self._scaling)

    def pack(self, constants: Constants) -> Constants:
        """Arrange weights and parameters by groups of four channels.

        Parameters
        ----------
        constants : dict
            weight int8 [KH, KW, C]; bias, multiplier, shift int32 [C].

        Returns
        -------
        dict
            weight int16 [groups, taps, 4], channels int32 [groups, 12 or 16].
        """
        settled = settle_constant_channels(constants, -1, self.plain.requantisation)
        settled["weight"] = np.ascontiguousarray(np.moveaxis(settled["weight"], -1, 0))
        exponents, _ = self._scaling.pack(settled)
        # Channels that are to be shifted further begin with as many places less.
        less = exponents - self._exponent if self._exponent >= 0 else np.zeros_like(exponents)
        members = channels_of_groups(self.plain.in_channels)
        factor = np.left_shift(1, multiplied_places(self._scaling.form) - less)
        flat = settled["weight"].astype(np.int64).reshape(len(less), -1) * factor[:, None]
        start = (settled["bias"].astype(np.int64) * factor)[members]
        parameters = [settled["multiplier"].astype(np.int64), self._rounding(exponents, less)]
        parameters += [] if self._exponent >= 0 else [exponents]
        scales = np.stack(parameters, axis=-1)[members].reshape(len(members), -1)
        taps = flat[members].transpose(0, 2, 1)
        return {
            "weight": np.ascontiguousarray(taps[..., _ORDER]).astype(np.int16),
            "channels": np.concatenate([start, scales], axis=1).astype(np.uint32).view(np.int32),
        }

    def _rounding(
        self, exponents: npt.NDArray[np.int64], less: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """``rounding`` of ``struct tvmp_channel``."""
        form, zero_point = self._scaling.form, self.plain.output_zero_point
        if form > PairForm.TIES:
            return np.full_like(exponents, zero_point)
        half = 64 if form == PairForm.FLOOR_TWICE else 0
        return ((2 * zero_point + 1) << (exponents - less)) + (half >> less)

    def description(self) -> tirx.PrimFunc:
        """The row as TE tensors over the packed constants."""
        plain = self.plain
        rows = (plain.kernel_h - 1) * plain.dilation_h + 1
        data = te.placeholder((rows, plain.in_row_pixels, plain.in_channels), "int8", "data")
        taps = plain.kernel_h * plain.kernel_w
        weight = te.placeholder((self._groups, taps, GROUP), "int16", "weight")
        numbers = 2 if self._exponent >= 0 else 3
        channels = te.placeholder((self._groups, (1 + numbers) * GROUP), "int32", "channels")
        ky = te.reduce_axis((0, plain.kernel_h), "ky")
        kx = te.reduce_axis((0, plain.kernel_w), "kx")
        shape = (1, plain.out_width, plain.in_channels)
        # The last group overlaps the one before; any of the two may give a channel that both have.
        overlap = self._groups * GROUP - plain.in_channels
        first_of_last = (self._groups - 1) * GROUP

        def place(o: tirx.Var) -> tirx.Expr:
            return o + tirx.Select(o >= first_of_last, overlap, 0)

        def tap(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
            del y
            at = place(o)
            inner = at % GROUP
            # 0, 2, 1, 3: the two bits change places.
            position = inner % 2 * 2 + inner // 2
            factor = weight[at // GROUP, ky * plain.kernel_w + kx, position].astype("int32")
            pixel = data[ky * plain.dilation_h, x * plain.stride_w + kx, o].astype("int32")
            return te.sum(pixel * factor, axis=[ky, kx])

        acc = te.compute(shape, tap, name="acc")

        def scaled(y: tirx.Var, x: tirx.Var, o: tirx.Var) -> tirx.Expr:
            at = place(o)
            group, inner = at // GROUP, at % GROUP
            first = GROUP + numbers * inner
            shift = channels[group, first + 2] if numbers == 3 else int32(self._exponent)
            total = acc[y, x, o] + channels[group, inner]
            return scaled_sum(
                self._scaling, total, channels[group, first], channels[group, first + 1], shift
            )

        return describe([data, weight, channels, te.compute(shape, scaled, name="out")])

    @property
    def _numbers(self) -> tuple[int, ...]:
        """Arguments of ``tvmp_depthwise_direct``."""
        plain = self.plain
        form, _, clamp_min, clamp_max = self._scaling.numbers
        return (
            *(plain.out_width, plain.stride_w, plain.kernel_h, plain.kernel_w, plain.in_channels),
            plain.dilation_h * plain.in_row_pixels * plain.in_channels,
            *(form, self._exponent, clamp_min, clamp_max),
        )

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_depthwise_direct``."""
        return implement(self.description(), "tvmp_depthwise_direct", self._numbers)


def multiplied_places(form: PairForm) -> int:
    """Places that a form wants sums, and so weights and biases, to be shifted to the left by."""
    return 8 if form < PairForm.TIES else 1 if form == PairForm.TIES else 0


def scaled_sum(
    scaling: PairScaling,
    total: tirx.Expr,
    multiplier: tirx.Expr,
    rounding: tirx.Expr,
    shift: tirx.Expr,
) -> tirx.Expr:
    """The int8 output of a sum that is shifted already, as ``tvmp_scale_sum`` makes it.

    Parameters
    ----------
    total, multiplier, rounding, shift : tvm.tirx.Expr
        int32; all but the first as ``struct tvmp_channel`` of ``pair.h`` has them.
    """
    r, form = scaling.requantisation, scaling.form
    if form > PairForm.TIES:
        return bind("total", total, lambda x: r.scale(x, multiplier, shift))
    nearest = 1 << 31 if form == PairForm.TIES else 0

    def shifted(x: tirx.Expr) -> tirx.Expr:
        product = x.astype("int64") * multiplier.astype("int64")
        high = (product + tirx.const(nearest, "int64")) >> tirx.const(32, "int64")
        towards = x >> int32(31) if form == PairForm.TIES else int32(0)
        return ((high.astype("int32") + rounding + towards) >> shift) >> int32(1)

    return bind("total", total, lambda x: saturate(shifted(x), r.clamp_min, r.clamp_max))


def direct_instructions(
    width: int, channels: int, window: tuple[int, int], stride: int, scaling: float
) -> int:
    """A model of the kernel.

    Parameters
    ----------
    width : int
        Outputs of the row.
    channels : int
        Of each.
    window : tuple of int
        (kernel_h, kernel_w).
    stride : int
        Along the row.
    scaling : float
        Instructions to requantise and store one output.
    """
    kernel_h, kernel_w = window
    loop = 0 if kernel_h <= _UNROLLED_ROWS else 5
    columns = min(kernel_w + stride, 2 * kernel_w)
    # Loads and expansions of pixels, loads of weights, products.
    two = kernel_h * (3 * columns + 2 * kernel_w + 8 * kernel_w + loop)
    one = kernel_h * (8 * kernel_w + loop)
    each = int(1.5 * GROUP)
    pairs, rest = divmod(width, 2)
    block = pairs * (two + 22 + each + 2 * GROUP * scaling)
    block += rest * (one + 10 + each + GROUP * scaling)
    return round(-(-channels // GROUP) * (block + 10))


def direct_scaling(constants: Constants, arithmetic: Arithmetic) -> float:
    """Instructions to requantise and store one output, by the model.

    Parameters
    ----------
    constants : dict
        weight int8 [KH, KW, C]; bias, multiplier, shift int32 [C].
    arithmetic : Arithmetic
        What is done with scaled accumulators.
    """
    fields = requantisation_fields(constants, -1, arithmetic)
    requantisation = Requantisation(
        arithmetic.output_zero_point,
        arithmetic.clamp_min,
        arithmetic.clamp_max,
        arithmetic.rounding,
        fields["shift_min"],
        fields["shift_max"],
        bool(fields["small_accumulator"]),
    )
    narrow = _sums_are_narrow(constants, requantisation)
    return _scaling_cost(PairScaling(requantisation, narrow))


def _scaling_cost(scaling: PairScaling) -> float:
    """One less than where weights are not multiplied by what the form needs, and perhaps two."""
    return scaling.instructions - (2 if scaling.numbers[1] < 0 <= _common_exponent(scaling) else 1)


def _common_exponent(scaling: PairScaling) -> int:
    """What all channels can be shifted to the right by; -1 where there is nothing.

    Floors nest: to multiply a sum by less and shift it by less comes to the same. So with room for
    half a unit (``TVMP_FLOOR_TWICE`` of ``pair.h``) what shifts have more than the least of them
    may be taken off the weights.
    """
    common = scaling.numbers[1]
    low, high = scaling.requantisation.shift_min, scaling.requantisation.shift_max
    if common < 0 and scaling.form < PairForm.TIES and high - low <= _MOST_LESS:
        return 6 - high
    return common


def _sums_are_narrow(constants: Constants, requantisation: Requantisation) -> bool:
    settled = settle_constant_channels(constants, -1, requantisation)
    settled["weight"] = np.moveaxis(settled["weight"], -1, 0)
    return sums_are_narrow(settled)


def channels_of_groups(channels: int) -> npt.NDArray[np.int64]:
    """The channels of each group of four, [groups, 4]; the last one's reach back."""
    first = np.minimum(np.arange(0, channels, GROUP), channels - GROUP)
    return first[:, None] + np.arange(GROUP)


def dsp_depthwise_direct_objection(
    channels: int, multiplier: int, window: tuple[int, int], stride_w: int, dilation_w: int
) -> str | None:
    """Why a depthwise convolution has no such kernel; None if it has.

    Parameters
    ----------
    channels, multiplier : int
        Of the input, and how many outputs each has.
    window : tuple of int
        (kernel_h, kernel_w).
    stride_w, dilation_w : int
        Along the row; those of rows are the caller's business.
    """
    if channels < GROUP:
        return f"its input has {channels} channels, less than a word"
    if multiplier != 1:
        return f"each of its channels has {multiplier} outputs"
    if dilation_w != 1:
        return f"the columns of its window are {dilation_w} apart"
    columns = window[1] + stride_w
    if columns > _MOST_COLUMNS:
        return f"two of its windows have more than {_MOST_COLUMNS} columns"
    if columns * channels > _LARGEST_OFFSET:
        return "its pixels are too far apart for one pointer"
    return None


def dsp_depthwise_direct(plain: DepthwiseRow, constants: Constants) -> DspDepthwiseDirect | None:
    """The micro-kernel for a row, if there is one.

    Parameters
    ----------
    plain : DepthwiseRow
        Shape and arithmetic.
    constants : dict
        As for :meth:`DepthwiseRow.pack`.
    """
    window = (plain.kernel_h, plain.kernel_w)
    objection = dsp_depthwise_direct_objection(
        plain.in_channels, plain.depth_multiplier, window, plain.stride_w, plain.dilation_w
    )
    if objection is not None:
        return None
    narrow = _sums_are_narrow(constants, plain.requantisation)
    return DspDepthwiseDirect(plain, narrow=narrow)
