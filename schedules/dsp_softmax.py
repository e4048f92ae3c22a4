"""Softmax by the micro-kernel of ``micro_project/kernels/softmax.h``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from .kernel import Constants
from .micro_kernel import describe, implement
from .softmax import SoftmaxRows, softmax

_HEADERS = ("dsp.h", "softmax.h")
_LAST = 255


@dataclass(frozen=True)
class DspSoftmaxRows:
    """:class:`SoftmaxRows` with one rounding less an output.

    Buffers: data int8 [rows, length], exponentials int32 [256] of -255 to 0, out int8
    [rows, length].
    """

    plain: SoftmaxRows

    @property
    def name(self) -> str:
        """C identifier stem: the scale is in the table."""
        return f"softmax_dsp_r{self.plain.rows}_n{self.plain.length}"

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("exponentials",)

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
        return "tabulated exponentials, one rounding an output"

    def pack(self, constants: Constants) -> Constants:
        """Make the table; ``constants`` is not read."""
        ascending = self.plain.pack(constants)["exponentials"][::-1]
        return {"exponentials": np.ascontiguousarray(ascending)}

    def description(self) -> tirx.PrimFunc:
        """The rows as TE tensors."""
        plain = self.plain
        data = te.placeholder((plain.rows, plain.length), "int8", "data")
        ascending = te.placeholder((_LAST + 1,), "int32", "exponentials")
        table = te.compute(ascending.shape, lambda i: ascending[_LAST - i], name="by_difference")
        return describe([data, ascending, softmax(data, table)])

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_softmax``."""
        numbers = (self.plain.rows, self.plain.length)
        return implement(self.description(), "tvmp_softmax", numbers)


def dsp_softmax(plain: SoftmaxRows) -> DspSoftmaxRows:
    """The micro-kernel; every softmax has one."""
    return DspSoftmaxRows(plain)
