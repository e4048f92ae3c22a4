"""Reading records from JSON that anybody may have written: what is wrong is named, and where."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from tvm_patch.compat import StrEnum

_Choice = TypeVar("_Choice", bound=StrEnum)


class Fields:
    """A JSON object, its entries read by name and kind.

    Parameters
    ----------
    data : object
        What the JSON had there.
    where : str
        Its place in the file, for messages; empty for the file's own object.
    known : collection of str
        All entries that it may have.

    Raises
    ------
    ValueError
        From the constructor and every method: with the place, what is wanted and what is there.
    """

    def __init__(self, data: object, where: str, known: Collection[str]) -> None:
        if not isinstance(data, dict):
            raise ValueError(f"{where or 'the file'} must be an object, not {_shown(data)}")
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ValueError(f"{where or 'the file'} has an unknown entry {unknown[0]!r}")
        self._data: dict[str, Any] = data
        self._where = where

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def place(self, key: str) -> str:
        """Where an entry is."""
        return f"{self._where}.{key}" if self._where else key

    def value(self, key: str) -> Any:
        """An entry as it is."""
        if key not in self._data:
            raise ValueError(f"{self.place(key)} is missing")
        return self._data[key]

    def text(self, key: str) -> str:
        """A string."""
        value = self.value(key)
        if not isinstance(value, str):
            raise ValueError(f"{self.place(key)} must be a text, not {_shown(value)}")
        return value

    def whole(self, key: str, *, least: int) -> int:
        """A whole number that is not below ``least``."""
        value = self.value(key)
        if not _is_whole(value) or value < least:
            wanted = "a positive whole number" if least == 1 else f"a whole number from {least} on"
            raise ValueError(f"{self.place(key)} must be {wanted}, not {_shown(value)}")
        return int(value)

    def number(self, key: str, *, least: float) -> float:
        """A finite number that is not below ``least``."""
        value = self.value(key)
        is_number = _is_whole(value) or isinstance(value, float)
        if not is_number or not math.isfinite(value) or value < least:
            raise ValueError(
                f"{self.place(key)} must be a number from {least:g} on, not {_shown(value)}"
            )
        return float(value)

    def choice(self, key: str, kind: type[_Choice]) -> _Choice:
        """One of an enumeration's values."""
        value = self.value(key)
        try:
            return kind(value)
        except ValueError as error:
            wanted = ", ".join(kind)
            raise ValueError(
                f"{self.place(key)} must be one of {wanted}, not {_shown(value)}"
            ) from error

    def items(self, key: str) -> Iterator[tuple[object, str]]:
        """Elements of a list, each with its place."""
        value = self.value(key)
        if not isinstance(value, list):
            raise ValueError(f"{self.place(key)} must be a list, not {_shown(value)}")
        for index, item in enumerate(value):
            yield item, f"{self.place(key)}[{index}]"

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        found: list[str] = []
        for item, where in self.items(key):
            if not isinstance(item, str):
                raise ValueError(f"{where} must be a text, not {_shown(item)}")
            found.append(item)
        return tuple(found)

    def whole_by_name(self, key: str, *, least: int) -> dict[str, int]:
        """An object of whole numbers that are not below ``least``."""
        value = self.value(key)
        fields = Fields(value, self.place(key), value if isinstance(value, dict) else ())
        return {name: fields.whole(name, least=least) for name in value}


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
