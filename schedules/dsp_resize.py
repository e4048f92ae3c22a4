"""Nearest-neighbour resizes by the micro-kernel of ``micro_project/kernels/resize.h``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from .kernel import Constants
from .micro_kernel import describe, implement
from .movement import ResizeNearestRow

_HEADERS = ("dsp.h", "resize.h")


@dataclass(frozen=True)
class DspResizeRow:
    """:class:`ResizeNearestRow` by words.

    Buffers: data int8 [in_width, channels], offsets int32 [out_width] in bytes, out int8
    [out_width, channels].
    """

    plain: ResizeNearestRow

    @property
    def name(self) -> str:
        """C identifier stem: the pixel choice is in the constant."""
        plain = self.plain
        return f"resize_nearest_dsp_w{plain.in_width}_w{plain.out_width}_c{plain.channels}"

    @property
    def constants(self) -> tuple[str, ...]:
        """Constant parameters in order."""
        return ("offsets",)

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
        return "pixels by words"

    def pack(self, constants: Constants) -> Constants:
        """Make the offsets; ``constants`` is not read."""
        columns = self.plain.pack(constants)["columns"]
        return {"offsets": (columns * self.plain.channels).astype(np.int32)}

    def description(self) -> tirx.PrimFunc:
        """The row as TE tensors."""
        plain = self.plain
        data = te.placeholder((plain.in_width * plain.channels,), "int8", "data")
        offsets = te.placeholder((plain.out_width,), "int32", "offsets")
        shape = (plain.out_width, plain.channels)
        return describe(
            [data, offsets, te.compute(shape, lambda x, c: data[offsets[x] + c], name="out")]
        )

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_pick_pixels``."""
        numbers = (self.plain.out_width, self.plain.channels)
        return implement(self.description(), "tvmp_pick_pixels", numbers)


def dsp_resize_row(plain: ResizeNearestRow) -> DspResizeRow:
    """The micro-kernel; every row has one."""
    return DspResizeRow(plain)
