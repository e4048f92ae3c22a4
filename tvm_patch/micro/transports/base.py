"""What a session needs of a link."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType


class Transport(ABC):
    """A stream of bytes to a device and back. A context manager, closed on leaving."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The far end as messages call it."""

    @abstractmethod
    def write(self, data: bytes, timeout_s: float) -> None:
        """Send all of ``data``.

        Raises
        ------
        DeviceSilentError
            If the far end is gone, or does not take the data in time.
        """

    @abstractmethod
    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, waiting for the first byte; empty if none came in time.

        Raises
        ------
        DeviceSilentError
            If the far end is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the far end. Harmless when repeated."""

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
