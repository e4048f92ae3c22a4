"""``HOST:PORT``."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_patch.errors import RackError


@dataclass(frozen=True)
class Address:
    """Where something listens.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        1 to 65535.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT``; an IPv6 address stands in brackets.

        Raises
        ------
        RackError
            If it is none.
        """
        host, separator, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (separator and host and port.isdecimal() and 0 < int(port) < 1 << 16):
            raise RackError(f"{text!r} is not an address", hint="write HOST:PORT: 127.0.0.1:9190")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
