"""float32 to int8 and back by the micro-kernels of ``micro_project/kernels/boundary.h``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from .boundary import DequantizeFlat, QuantizeFlat, dequantize_element, quantize_element
from .kernel import Constants
from .micro_kernel import describe, implement, micro_kernel_name

_HEADERS = ("boundary.h", "dsp.h")
#: Half of a lesser scale has fewer bits.
_LEAST_SCALE = 2.0**-125


@dataclass(frozen=True)
class DspQuantizeFlat:
    """:class:`QuantizeFlat` without comparisons, on cores that have a floating-point unit.

    Buffers: data float32 [length], half_scale float32 [1], out int8 [length].
    """

    plain: QuantizeFlat

    @property
    def name(self) -> str:
        """C identifier stem."""
        return micro_kernel_name(f"quantize_dsp_n{self.plain.length}", self._numbers)

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("half_scale",)

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return _HEADERS

    @property
    def macs(self) -> int:
        """None."""
        return 0

    @property
    def remark(self) -> str:
        """How it works."""
        return "twice the quotient, truncated, rounds halves as LiteRT does"

    def pack(self, constants: Constants) -> Constants:
        """Half of ``scale``, float32 [1]; an exact one, see :func:`dsp_quantize_objection`."""
        scale = self.plain.pack(constants)["scale"].astype(np.float32)
        return {"half_scale": scale * np.float32(0.5)}

    def description(self) -> tirx.PrimFunc:
        """The run as TE tensors."""
        data = te.placeholder((1, self.plain.length), "float32", "data")
        half_scale = te.placeholder((1,), "float32", "half_scale")
        out = te.compute(
            data.shape,
            lambda p, i: quantize_element(
                data[p, i], half_scale[0] + half_scale[0], self.plain.zero_point
            ),
            name="out",
        )
        return describe([data, half_scale, out])

    @property
    def _numbers(self) -> tuple[int, ...]:
        """Arguments of ``tvmp_quantize``."""
        return (self.plain.length, self.plain.zero_point)

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_quantize``."""
        return implement(self.description(), "tvmp_quantize", self._numbers)


@dataclass(frozen=True)
class DspDequantizeFlat:
    """:class:`DequantizeFlat`, four at a time; buffers as there."""

    plain: DequantizeFlat

    @property
    def name(self) -> str:
        """C identifier stem."""
        return micro_kernel_name(f"dequantize_dsp_n{self.plain.length}", self._numbers)

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return self.plain.constants

    @property
    def headers(self) -> tuple[str, ...]:
        """What the C includes."""
        return _HEADERS

    @property
    def macs(self) -> int:
        """None."""
        return 0

    @property
    def remark(self) -> str:
        """How it works."""
        return "four in a turn"

    def pack(self, constants: Constants) -> Constants:
        """As the plain kernel's."""
        return self.plain.pack(constants)

    def description(self) -> tirx.PrimFunc:
        """The run as TE tensors."""
        data = te.placeholder((1, self.plain.length), "int8", "data")
        scale = te.placeholder((1,), "float32", "scale")
        out = te.compute(
            data.shape,
            lambda p, i: dequantize_element(data[p, i], scale[0], self.plain.zero_point),
            name="out",
        )
        return describe([data, scale, out])

    @property
    def _numbers(self) -> tuple[int, ...]:
        """Arguments of ``tvmp_dequantize``."""
        return (self.plain.length, self.plain.zero_point)

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_dequantize``."""
        return implement(self.description(), "tvmp_dequantize", self._numbers)


def dsp_quantize(plain: QuantizeFlat, scale: float) -> DspQuantizeFlat | None:
    """The micro-kernel; None where half of the scale is not exact in float32."""
    return DspQuantizeFlat(plain) if scale >= _LEAST_SCALE else None


def dsp_dequantize(plain: DequantizeFlat) -> DspDequantizeFlat:
    """The micro-kernel; every run has one."""
    return DspDequantizeFlat(plain)
