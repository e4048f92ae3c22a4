"""Firmware: build it, start it, and speak to it."""

from __future__ import annotations

from tvm_patch.micro.build import Firmware, build_firmware
from tvm_patch.micro.flashing import flash, open_session
from tvm_patch.micro.protocol import DeviceInfo, MemoryStatistics, TensorInfo
from tvm_patch.micro.session import OperatorTime, Progress, RunResult, Session, SpanTime

__all__ = [
    "DeviceInfo",
    "Firmware",
    "MemoryStatistics",
    "OperatorTime",
    "Progress",
    "RunResult",
    "Session",
    "SpanTime",
    "TensorInfo",
    "build_firmware",
    "flash",
    "open_session",
]
