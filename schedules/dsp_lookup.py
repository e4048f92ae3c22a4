"""Functions of int8 by table: the micro-kernel of ``micro_project/kernels/lookup.h``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from .elementwise import LookupFlat
from .kernel import Constants
from .micro_kernel import describe, implement

_HEADERS = ("dsp.h", "lookup.h")


@dataclass(frozen=True)
class DspLookupFlat:
    """:class:`LookupFlat` with a table that goes by bytes.

    Buffers: data int8 [length], table int8 [256] indexed by value & 255, out int8 [length].
    """

    length: int

    @property
    def name(self) -> str:
        """C identifier stem."""
        return f"lookup_dsp_n{self.length}"

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("table",)

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
        return "table in the order of bytes, eight in a turn"

    def pack(self, constants: Constants) -> Constants:
        """Put the table in the order of bytes.

        Parameters
        ----------
        constants : dict
            table int8 [256], indexed by value + 128.
        """
        return {"table": np.roll(constants["table"], 128)}

    def description(self) -> tirx.PrimFunc:
        """The function as TE tensors."""
        data = te.placeholder((1, self.length), "int8", "data")
        table = te.placeholder((256,), "int8", "table")
        out = te.compute(
            data.shape,
            lambda p, i: table[data[p, i].astype("int32") & tirx.const(255, "int32")],
            name="out",
        )
        return describe([data, table, out])

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_lookup``."""
        return implement(self.description(), "tvmp_lookup", (self.length,))


def dsp_lookup(plain: LookupFlat) -> DspLookupFlat:
    """The micro-kernel; every function has one."""
    return DspLookupFlat(plain.length)
