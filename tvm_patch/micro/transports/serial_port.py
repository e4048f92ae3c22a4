"""A serial port, for boards on a cable."""

from __future__ import annotations

import errno
from types import ModuleType

from tvm_patch.errors import DeviceSilentError, PortError, ToolMissingError, TvmPatchError
from tvm_patch.micro.lock import BoardLock
from tvm_patch.micro.transports.base import Transport

# A port that is pulled out fails in whatever call is made next. pyserial wraps some of these errors
# (its own is an OSError) and lets others through: ioctl's, and TypeError where another thread has
# closed the port.
_UNPLUGGED = (OSError, TypeError)


class SerialTransport(Transport):
    """A serial port.

    Parameters
    ----------
    port : str
        Device path, or any URL that pyserial takes.
    baud_rate : int
        Bits a second.

    Raises
    ------
    ToolMissingError
        If pyserial is not installed.
    BoardBusyError
        If another process works with it.
    PortError
        If the port is not there, or this user may not open it.
    DeviceSilentError
        If the port cannot be opened for another reason.
    """

    def __init__(self, port: str, baud_rate: int = 115_200) -> None:
        self._serial_module = _import_pyserial()
        self._port_name = port
        self._lock = BoardLock(port)
        self._lock.take()
        try:
            self._port = self._serial_module.serial_for_url(port, baudrate=baud_rate)
        except (OSError, ValueError) as error:
            self._lock.release()
            raise _cannot_open(port, error) from error

    @property
    def name(self) -> str:
        return self._port_name

    def write(self, data: bytes, timeout_s: float) -> None:
        self._port.write_timeout = timeout_s
        try:
            self._port.write(data)
        except self._serial_module.SerialTimeoutException as error:
            raise DeviceSilentError(f"{self._port_name}: takes no more data") from error
        except _UNPLUGGED as error:
            raise self._gone(error) from error

    def read(self, timeout_s: float) -> bytes:
        try:
            self._port.timeout = max(0.0, timeout_s)
            first: bytes = self._port.read(1)
            # Whatever else has come already: one byte at a time would be one wait at a time.
            return first + bytes(self._port.read(self._port.in_waiting)) if first else b""
        except _UNPLUGGED as error:
            raise self._gone(error) from error

    def close(self) -> None:
        self._port.close()
        self._lock.release()

    def _gone(self, error: BaseException) -> DeviceSilentError:
        return DeviceSilentError(
            f"{self._port_name}: the port is gone: {error}",
            hint="plug the board in again; it may come back under another name",
        )


def _cannot_open(port: str, error: OSError | ValueError) -> TvmPatchError:
    reason = getattr(error, "errno", None)
    if reason in (errno.EACCES, errno.EPERM):
        return PortError(
            f"{port}: no permission to open the port",
            hint="sudo usermod -a -G dialout $USER and log in again, or install the udev rule of "
            "docs/hardware.md",
        )
    if reason in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return PortError(
            f"{port}: there is no such port",
            hint="`tvm-patch boards` shows the boards that are plugged in, with their ports",
        )
    return DeviceSilentError(f"{port}: cannot be opened: {error}")


def _import_pyserial() -> ModuleType:
    try:
        import serial
    except ImportError as error:
        raise ToolMissingError(
            "pyserial is not installed; boards on a serial port need it",
            hint="pip install 'tvm-patch[full]'",
        ) from error
    module: ModuleType = serial
    return module
