"""Where generated code finds tensors, row windows and constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tvm import tirx

from tvm_patch.lower.statements import Expr, Stmt


class AddressSpace(Protocol):
    """Pointers for one function; device and host have one each."""

    def storage(self, name: str, offset_bytes: Expr, dtype: str = "int8") -> Expr:
        """Pointer into the storage ``name``."""

    def constant(self, operator: str, kernel: str, role: str) -> Expr:
        """Pointer to a constant of an operator, as one of its kernels reads it."""


class ArenaAddresses:
    """One arena for all storages; constants by accessor functions of their name.

    Parameters
    ----------
    arena_bytes : int
        Size of the arena.
    offsets_bytes : mapping of str to int
        Offset of each storage.
    accessors : mapping of (str, str, str) to str
        C function that returns the address of a constant, by operator, kernel symbol and role.
    """

    def __init__(
        self,
        arena_bytes: int,
        offsets_bytes: Mapping[str, int],
        accessors: Mapping[tuple[str, str, str], str],
    ) -> None:
        self.parameter = tirx.decl_buffer((arena_bytes,), "int8", name="arena")
        self._offsets_bytes = offsets_bytes
        self._accessors = accessors
        self._views: dict[str, Any] = {"int8": self.parameter}

    def storage(self, name: str, offset_bytes: Expr, dtype: str = "int8") -> Expr:
        """Pointer into the arena."""
        offset = self._offsets_bytes[name] + offset_bytes
        return tirx.address_of(tirx.BufferLoad(self._view(dtype), [offset // bytes_of(dtype)]))

    def constant(self, operator: str, kernel: str, role: str) -> Expr:
        """The accessor's call."""
        return tirx.call_pure_extern("handle", self._accessors[operator, kernel, role])

    def _view(self, dtype: str) -> Any:
        if dtype not in self._views:
            length = int(self.parameter.shape[0]) // bytes_of(dtype)
            self._views[dtype] = tirx.decl_buffer((length,), dtype, name=f"arena_{dtype}")
        return self._views[dtype]

    def declarations(self) -> list[Stmt]:
        """Views of the arena under other element types, for the head of the function."""
        return [
            tirx.DeclBuffer(view, data=self.parameter.data)
            for dtype, view in self._views.items()
            if dtype != "int8"
        ]


def bytes_of(dtype: str) -> int:
    """Bytes of one element that an address may point to."""
    return {"int8": 1, "int32": 4, "float32": 4}[dtype]
