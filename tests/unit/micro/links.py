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
    """Changes, loses, repeats and reorders bytes in both directions.

    Parameters
    ----------
    inner : Transport
        The link underneath.
    seed : int
        Of what happens when.
    bytes_between : int
        How many bytes pass between two mishaps, on average.
    """

    def __init__(self, inner: Transport, seed: int, bytes_between: int) -> None:
        super().__init__(inner)
        self.random = random.Random(seed)
        self.bytes_between = bytes_between
        self.spoilt = 0
        self._held_up = {"write": b"", "read": b""}

    def write(self, data: bytes, timeout_s: float) -> None:
        super().write(self.spoil(data, "write"), timeout_s)

    def read(self, timeout_s: float) -> bytes:
        return self.spoil(super().read(timeout_s), "read")

    def spoil(self, data: bytes, way: str) -> bytes:
        late, self._held_up[way] = self._held_up[way], b""
        # By length: however finely the bytes happen to be cut, frames suffer alike.
        if self.random.random() * self.bytes_between >= len(data):
            return data + late
        self.spoilt += 1
        at = self.random.randrange(len(data))
        kind = self.random.randrange(7)
        if kind == 0:
            data = data[:at] + bytes([data[at] ^ 1 << self.random.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + 1 :]
        elif kind == 2:
            data = data + data
        elif kind == 3:
            data = data[: -1 - at // 2] if at % 4 else b""
        elif kind == 4:
            data = data[:at] + data[at : at + 2][::-1] + data[at + 2 :]
        elif kind == 5:
            # It comes behind what follows: a whole frame, late.
            self._held_up[way], data = data, b""
        else:
            # It comes twice, and the second time late.
            self._held_up[way] = data
        return data + late
