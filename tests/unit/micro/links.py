"""Links that spoil what goes over them."""

from __future__ import annotations

import random

from tvm_patch.micro.transports import Transport


class WrappedTransport(Transport):
    """Passes everything on; subclasses spoil some of it."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        return self.inner.name

    def write(self, data: bytes, timeout_s: float) -> None:
        self.inner.write(data, timeout_s)

    def read(self, timeout_s: float) -> bytes:
        return self.inner.read(timeout_s)

    def close(self) -> None:
        self.inner.close()


class LossyTransport(WrappedTransport):
    """Changes, loses and repeats bytes in both directions, every so many bytes on average."""

    def __init__(self, inner: Transport, seed: int, bytes_between: int) -> None:
        super().__init__(inner)
        self.random = random.Random(seed)
        self.bytes_between = bytes_between
        self.spoilt = 0

    def write(self, data: bytes, timeout_s: float) -> None:
        super().write(self.spoil(data), timeout_s)

    def read(self, timeout_s: float) -> bytes:
        return self.spoil(super().read(timeout_s))

    def spoil(self, data: bytes) -> bytes:
        # By length: however finely the bytes happen to be cut, frames suffer alike.
        if self.random.random() * self.bytes_between >= len(data):
            return data
        self.spoilt += 1
        at = self.random.randrange(len(data))
        kind = self.random.randrange(4)
        if kind == 0:
            return data[:at] + bytes([data[at] ^ 1 << self.random.randrange(8)]) + data[at + 1 :]
        if kind == 1:
            return data[:at] + data[at + 1 :]
        if kind == 2:
            return data + data
        return data[: -1 - at // 2] if at % 4 else b""
