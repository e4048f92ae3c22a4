"""Which instructions kernels may use."""

from __future__ import annotations

from enum import Enum


class Instructions(Enum):
    """Instructions that a kernel is chosen for.

    ``DSP`` is the extension of Cortex-M4, M7 and M33: kernels call C micro-kernels, which elsewhere
    compile to plain C of the same integers. ``PLAIN`` is what every core has, and TVM itself builds
    for the host.
    """

    PLAIN = "plain"
    DSP = "dsp"
