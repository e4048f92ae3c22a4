"""A process that speaks the protocol over standard input and output."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
import weakref
from collections.abc import Sequence

from tvm_patch.errors import DeviceSilentError, ToolMissingError
from tvm_patch.micro.transports.base import Transport

# Runs "$@" and kills it as soon as descriptor $0 reads end of file: when this process closes
# its end, or dies by whatever means. The shell itself keeps neither of the two pipes open. (The
# descriptor goes by its path: dash takes single digits only.)
_WATCHDOG = (
    'exec 3<"/dev/fd/$0" 4<&0; "$@" <&4 3<&- 4<&- & exec <&- >&- 4<&-; '
    "read -r _ <&3; kill -9 $! 2>/dev/null; wait"
)

_READ_BYTES = 1 << 16
_STDERR_TAIL_BYTES = 600


class ProcessTransport(Transport):
    """Starts a process and holds its pipes; the process does not outlive this one.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    name : str
        The far end as messages call it.

    Raises
    ------
    ToolMissingError
        If there is no shell to start it with.
    """

    def __init__(self, command: Sequence[str], name: str) -> None:
        self._name = name
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the transport
        lifeline_read, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHDOG, str(lifeline_read), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                pass_fds=(lifeline_read,),
                bufsize=0,
                start_new_session=True,  # an interrupt at the terminal is for us alone
            )
        except OSError as error:
            os.close(self._lifeline)
            self._stderr.close()
            raise ToolMissingError(f"{name}: cannot be started: {error}") from error
        finally:
            os.close(lifeline_read)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._finalizer = weakref.finalize(self, _stop, self._process, self._lifeline)

    @property
    def name(self) -> str:
        return self._name

    def write(self, data: bytes, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        view = memoryview(data)
        assert self._process.stdin is not None
        descriptor = self._process.stdin.fileno()
        while view:
            remaining = max(0.0, deadline - time.monotonic())
            if not select.select([], [descriptor], [], remaining)[1]:
                raise DeviceSilentError(f"{self._name}: takes no more data")
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._gone() from error

    def read(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], max(0.0, timeout_s))[0]:
            return b""
        data = os.read(descriptor, _READ_BYTES)
        if not data:
            raise self._gone()
        return data

    def close(self) -> None:
        self._finalizer()
        self._stderr.close()

    def _gone(self) -> DeviceSilentError:
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - _STDERR_TAIL_BYTES))
        words = self._stderr.read().decode("utf-8", errors="replace").strip()
        return DeviceSilentError(
            f"{self._name}: the process has ended", hint=f"it said: {words}" if words else None
        )


def _stop(process: subprocess.Popen[bytes], lifeline: int) -> None:
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        with contextlib.suppress(OSError):
            stream.close()
    os.close(lifeline)
    process.wait()
