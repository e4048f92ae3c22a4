"""Firmware: build it, start it, and speak to it."""

from __future__ import annotations

from tvm_patch.micro.build import Firmware, build_firmware
from tvm_patch.micro.flashing import check_board, flash, open_session, reset_board
from tvm_patch.micro.ports import SerialPort, list_serial_ports, ports_of
from tvm_patch.micro.protocol import DeviceInfo, MemoryStatistics, TensorInfo
from tvm_patch.micro.session import OperatorTime, Progress, RunResult, Session, SpanTime

__all__ = [
    "DeviceInfo",
    "Firmware",
    "MemoryStatistics",
    "OperatorTime",
    "Progress",
    "RunResult",
    "SerialPort",
    "Session",
    "SpanTime",
    "TensorInfo",
    "build_firmware",
    "check_board",
    "flash",
    "list_serial_ports",
    "open_session",
    "ports_of",
    "reset_board",
]
