"""One process at a time works with a board: a lock file for each port."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from tvm_patch.board import Board
from tvm_patch.errors import BoardBusyError
from tvm_patch.micro.ports import Connection

# What this process, or the one that it was forked from, has locked: whoever holds a board may open
# it as often as he likes.
_held: dict[Path, BoardLock] = {}


def lock_dir() -> Path:
    """The folder of the lock files, common to all users of this machine where it can be."""
    return Path(tempfile.gettempdir()) / "tvm-patch-locks"


class BoardLock:
    """Holds a board while in the context; the system lets go if the process dies.

    Parameters
    ----------
    name : str
        What makes the board one of its kind: the path of its port.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # A port has many names (/dev/serial/by-id/...) and one device.
        real = os.path.realpath(name) if name.startswith("/") else name
        self._path = lock_dir() / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', real).strip('-')}.lock"
        self._descriptor: int | None = None

    def __enter__(self) -> BoardLock:
        self.take()
        return self

    def take(self) -> None:
        """Take the board.

        Raises
        ------
        BoardBusyError
            If another process has it; tells which.
        """
        if self._path in _held:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            self._path.parent.chmod(0o1777)
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 400).decode(errors="replace").strip()
            os.close(descriptor)
            raise BoardBusyError(
                f"{self._name}: in use by {holder or 'another process'}",
                hint="wait for it or end it; boards behind a tracker are asked for by their key: "
                "tvm-patch measure DIR --tracker HOST:PORT --key KEY",
            ) from error
        with contextlib.suppress(OSError):  # somebody else's file, which is ours to lock only
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} ({_command()})".encode(), 0)
        self._descriptor = descriptor
        _held[self._path] = self

    def _open(self) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except PermissionError:  # made by another user
            return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, 0o666)
        return descriptor

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let go of it. Harmless when repeated."""
        if self._descriptor is not None:
            del _held[self._path]
            os.close(self._descriptor)
            self._descriptor = None


def lock_of(board: Board, connection: Connection) -> BoardLock:
    """Return the lock of a board that is plugged in."""
    # A board on its own USB has no port before it is flashed.
    return BoardLock(connection.port or connection.probe_serial or board.name)


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
