"""Fully connected layer: a 1x1 convolution of one pixel."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from .conv import ConvRow
from .fixed_point import Requantisation
from .kernel import Constants, kernel_name


@dataclass(frozen=True)
class Dense:
    """int8 vector times int8 matrix.

    Buffers: data int8 [1, 1, in_features], weight int8 (packed), channels int32
    [out_features, 3], out int8 [1, 1, out_features].
    """

    in_features: int
    out_features: int
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
        stem = f"dense_k{self.in_features}_n{self.out_features}"
        return kernel_name(stem, self, "in_features", "out_features")

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return self._pixel.constants

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.in_features * self.out_features

    @property
    def requantisation(self) -> Requantisation:
        """How accumulators become int8."""
        return self._pixel.requantisation

    @property
    def _pixel(self) -> ConvRow:
        return ConvRow(
            in_row_pixels=1,
            in_channels=self.in_features,
            out_width=1,
            out_channels=self.out_features,
            kernel_h=1,
            kernel_w=1,
            stride_w=1,
            dilation_h=1,
            dilation_w=1,
            groups=1,
            output_zero_point=self.output_zero_point,
            clamp_min=self.clamp_min,
            clamp_max=self.clamp_max,
            rounding=self.rounding,
            shift_min=self.shift_min,
            shift_max=self.shift_max,
            small_accumulator=self.small_accumulator,
        )

    def pack(self, constants: Constants) -> Constants:
        """Interleave the weights of each block of outputs.

        Parameters
        ----------
        constants : dict
            weight int8 [N, K]; bias, multiplier, shift int32 [N].
        """
        return self._pixel.pack(constants)

    def prim_func(self) -> tirx.PrimFunc:
        """The scheduled function."""
        return self._pixel.prim_func()
