"""Bounds check of a TFLite file before anything reads it.

FlatBuffers are read in place by following offsets; Python's runtime has no verifier as C++'s has.
:func:`verify_tflite` follows every offset that the importer will follow and refuses a file in
which one of them leaves it, so that a truncated or damaged file is an error and never a crash.

Format: https://flatbuffers.dev/internals and TensorFlow Lite's ``schema.fbs`` (identifier TFL3).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tvm_patch.errors import ModelFileError

TFLITE_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class _Scalar:
    size_bytes: int


@dataclass(frozen=True)
class _Vector:
    item_size_bytes: int


@dataclass(frozen=True)
class _String:
    pass


@dataclass(frozen=True)
class _Table:
    type_name: str


@dataclass(frozen=True)
class _Tables:
    type_name: str


_Field = _Scalar | _Vector | _String | _Table | _Tables

# Field number -> kind, for the tables that the importer reads. An operator's options are a
# table of scalars and vectors that differ by operator: only its outline is checked ("Opaque").
_SCHEMA: dict[str, dict[int, _Field]] = {
    "Model": {
        0: _Scalar(4),
        1: _Tables("OperatorCode"),
        2: _Tables("SubGraph"),
        3: _String(),
        4: _Tables("Buffer"),
        5: _Vector(4),
        6: _Tables("Metadata"),
    },
    "OperatorCode": {0: _Scalar(1), 1: _String(), 2: _Scalar(4), 3: _Scalar(4)},
    "SubGraph": {
        0: _Tables("Tensor"),
        1: _Vector(4),
        2: _Vector(4),
        3: _Tables("Operator"),
        4: _String(),
    },
    "Tensor": {
        0: _Vector(4),
        1: _Scalar(1),
        2: _Scalar(4),
        3: _String(),
        4: _Table("QuantizationParameters"),
        5: _Scalar(1),
        6: _Table("Opaque"),
        7: _Vector(4),
        8: _Scalar(1),
    },
    "QuantizationParameters": {
        0: _Vector(4),
        1: _Vector(4),
        2: _Vector(4),
        3: _Vector(8),
        4: _Scalar(1),
        5: _Table("Opaque"),
        6: _Scalar(4),
    },
    "Operator": {
        0: _Scalar(4),
        1: _Vector(4),
        2: _Vector(4),
        3: _Scalar(1),
        4: _Table("Opaque"),
        5: _Vector(1),
        6: _Scalar(1),
        7: _Vector(1),
        8: _Vector(4),
    },
    "Buffer": {0: _Vector(1), 1: _Scalar(8), 2: _Scalar(8)},
    "Metadata": {0: _String(), 1: _Scalar(4)},
    "Opaque": {},
}


class _Verifier:
    """Walks one file; raises ``struct.error`` or ``ValueError`` where an offset leaves it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._seen: set[tuple[int, str]] = set()

    def _span(self, start: int, size_bytes: int) -> None:
        if start < 0 or start + size_bytes > len(self._data):
            raise ValueError(f"bytes {start} to {start + size_bytes} lie outside of the file")

    def _uint(self, position: int) -> int:
        self._span(position, 4)
        return int(struct.unpack_from("<I", self._data, position)[0])

    def _follow(self, position: int) -> int:
        offset = self._uint(position)
        if offset == 0:
            raise ValueError(f"an offset at byte {position} is zero")
        return position + offset

    def root(self) -> None:
        pending = [(self._follow(0), "Model")]
        while pending:
            pending.extend(self._table(*pending.pop()))

    def _table(self, position: int, type_name: str) -> list[tuple[int, str]]:
        if (position, type_name) in self._seen:
            return []
        self._seen.add((position, type_name))
        self._span(position, 4)
        vtable = position - int(struct.unpack_from("<i", self._data, position)[0])
        self._span(vtable, 4)
        vtable_bytes, object_bytes = struct.unpack_from("<HH", self._data, vtable)
        if vtable_bytes < 4 or vtable_bytes % 2 or object_bytes < 4:
            raise ValueError(f"the table at byte {position} has no valid outline")
        self._span(vtable, vtable_bytes)
        self._span(position, object_bytes)
        fields = _SCHEMA[type_name]
        found: list[tuple[int, str]] = []
        for number in range((vtable_bytes - 4) // 2):
            (offset,) = struct.unpack_from("<H", self._data, vtable + 4 + 2 * number)
            if offset == 0:
                continue
            if not 4 <= offset < object_bytes:
                raise ValueError(f"field {number} of the table at byte {position} lies outside it")
            if number in fields:
                found.extend(self._field(position + offset, fields[number]))
        return found

    def _field(self, position: int, kind: _Field) -> list[tuple[int, str]]:
        if isinstance(kind, _Scalar):
            self._span(position, kind.size_bytes)
            return []
        target = self._follow(position)
        if isinstance(kind, _Table):
            return [(target, kind.type_name)]
        length = self._uint(target)
        if isinstance(kind, _String):
            self._span(target + 4, length + 1)
        elif isinstance(kind, _Vector):
            self._span(target + 4, length * kind.item_size_bytes)
        else:
            self._span(target + 4, length * 4)
            return [(self._follow(target + 4 + 4 * i), kind.type_name) for i in range(length)]
        return []


def verify_tflite(data: bytes, source: str) -> None:
    """Refuse a TFLite file whose offsets do not all stay inside it.

    Parameters
    ----------
    data : bytes
        The whole file.
    source : str
        Its name, for the message.

    Raises
    ------
    ModelFileError
        Not a TFLite file, truncated or damaged.
    """
    if data[4:8] != TFLITE_IDENTIFIER:
        raise ModelFileError(
            f"{source}: not a TFLite file (identifier TFL3 not found)",
            hint="give an int8 .tflite file or an .onnx file in QDQ form",
        )
    try:
        _Verifier(data).root()
    except (ValueError, struct.error) as error:
        raise ModelFileError(
            f"{source}: truncated or damaged TFLite file ({error})",
            hint="copy or convert the file again",
        ) from error
