"""float32 to int8 and back, at the edge of a model that keeps float inputs or outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from .elementwise import schedule_flat
from .fixed_point import bind, int32, saturate
from .kernel import Constants

#: Beyond this every rounded value saturates int8 whatever the zero point; it is exact in float32.
_SATURATED = 512.0


def quantize_element(value: tirx.Expr, scale: tirx.Expr, zero_point: int) -> tirx.Expr:
    """int8 of a float32: ``round(value / scale) + zero_point``, halves away from zero, saturated.

    Neither libm nor doubles: the quotient is limited first, then split exactly.
    """
    limit = tirx.const(_SATURATED, "float32")
    half = tirx.const(0.5, "float32")
    zero = int32(0)

    def split(quotient: tirx.Expr, whole: tirx.Expr) -> tirx.Expr:
        rest = quotient - whole.astype("float32")
        up = tirx.Select(rest >= half, int32(1), zero)
        down = tirx.Select(rest <= -half, int32(1), zero)
        return saturate(whole + up - down + int32(zero_point), -128, 127)

    limited = tirx.max(tirx.min(value / scale, limit), -limit)
    return bind(
        "quotient",
        limited,
        lambda quotient: bind(
            "whole", quotient.astype("int32"), lambda whole: split(quotient, whole)
        ),
    )


def dequantize_element(value: tirx.Expr, scale: tirx.Expr, zero_point: int) -> tirx.Expr:
    """float32 of an int8: ``scale * (value - zero_point)``."""
    return scale * (value.astype("int32") - int32(zero_point)).astype("float32")


@dataclass(frozen=True)
class _Boundary:
    """What both directions share.

    Parameters
    ----------
    length : int
        Elements.
    zero_point : int
        int8 value.
    """

    length: int
    zero_point: int

    @property
    def constants(self) -> tuple[str, ...]:
        """The scale is data: TVM prints float literals with too few digits."""
        return ("scale",)

    @property
    def macs(self) -> int:
        """None."""
        return 0

    def pack(self, constants: Constants) -> Constants:
        """Keep ``scale`` as float32 [1]."""
        return {"scale": np.asarray(constants["scale"], np.float32).reshape(1)}


def _identifier(value: int) -> str:
    return f"m{-value}" if value < 0 else str(value)


@dataclass(frozen=True)
class QuantizeFlat(_Boundary):
    """float32 to int8. Buffers: data float32 [length], scale float32 [1], out int8 [length]."""

    @property
    def name(self) -> str:
        """C identifier stem."""
        return f"quantize_n{self.length}_z{_identifier(self.zero_point)}"

    def prim_func(self) -> tirx.PrimFunc:
        """The scheduled function."""
        data = te.placeholder((1, self.length), "float32", "data")
        scale = te.placeholder((1,), "float32", "scale")
        out = te.compute(
            data.shape,
            lambda p, i: quantize_element(data[p, i], scale[0], self.zero_point),
            name="out",
        )
        return schedule_flat([data, scale, out])


@dataclass(frozen=True)
class DequantizeFlat(_Boundary):
    """int8 to float32. Buffers: data int8 [length], scale float32 [1], out float32 [length]."""

    @property
    def name(self) -> str:
        """C identifier stem."""
        return f"dequantize_n{self.length}_z{_identifier(self.zero_point)}"

    def prim_func(self) -> tirx.PrimFunc:
        """The scheduled function."""
        data = te.placeholder((1, self.length), "int8", "data")
        scale = te.placeholder((1,), "float32", "scale")
        out = te.compute(
            data.shape,
            lambda p, i: dequantize_element(data[p, i], scale[0], self.zero_point),
            name="out",
        )
        return schedule_flat([data, scale, out])
