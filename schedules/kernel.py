"""What all kernel families share: the protocol, names and block sizes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tvm import s_tir, tirx

Constants = dict[str, npt.NDArray[np.generic]]


class Kernel(Protocol):
    """One device kernel: frozen, static in every dimension, compared by value."""

    @property
    def name(self) -> str:
        """Deterministic stem of a C identifier; equal kernels have equal names."""

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of the constant parameters, in the order of the PrimFunc's buffers."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one call."""

    def pack(self, constants: Constants) -> Constants:
        """Lay constants out as the inner loop reads them; keys as in :attr:`constants`."""

    def prim_func(self) -> tirx.PrimFunc:
        """The scheduled s_tir function: buffers of data, then constants, then the output."""


@dataclass(frozen=True)
class Constantless:
    """What kernels without constants and multiplications share."""

    @property
    def constants(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def macs(self) -> int:
        """None."""
        return 0

    def pack(self, constants: Constants) -> Constants:
        """Nothing to pack."""
        return {}


def kernel_name(stem: str, kernel: object, *spelled: str) -> str:
    """Append to ``stem`` a short hash of the fields that the stem does not spell out.

    Parameters
    ----------
    stem : str
        Readable part.
    kernel : dataclass instance
        Its fields are hashed in the order of their definition.
    *spelled : str
        Names of fields that the stem already says.
    """
    rest = [
        f"{field.name}={getattr(kernel, field.name)!r}"
        for field in fields(kernel)  # type: ignore[arg-type]
        if field.name not in spelled
    ]
    digest = hashlib.sha256(",".join(rest).encode()).hexdigest()
    return f"{stem}_{digest[:6]}"


def largest_divisor(extent: int, limit: int) -> int:
    """The largest divisor of ``extent`` that is at most ``limit``.

    Register blocks and unroll factors divide their extents, so that no kernel has bounds checks.
    """
    return max(d for d in range(1, min(extent, limit) + 1) if extent % d == 0)


def finish(schedule: s_tir.Schedule) -> tirx.PrimFunc:
    """Take the single function out of a schedule."""
    func: tirx.PrimFunc = schedule.mod["main"]
    return func
