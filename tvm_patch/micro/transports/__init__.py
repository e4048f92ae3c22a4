"""Byte streams to a device: a process's pipes (host and emulator) or a serial port."""

from __future__ import annotations

from tvm_patch.micro.transports.base import Transport
from tvm_patch.micro.transports.process import ProcessTransport
from tvm_patch.micro.transports.serial_port import SerialTransport

__all__ = ["ProcessTransport", "SerialTransport", "Transport"]
