"""What newer Pythons' standard libraries have, for the parts that run from Python 3.8 on.

The planner and the pass for Relay run beside TVM versions whose users stay on old Pythons.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

__all__ = ["SLOTS", "StrEnum", "bisect_left", "pairwise", "zip_strict"]

_A = TypeVar("_A")
_B = TypeVar("_B")

SLOTS: dict[str, bool] = {"slots": True} if sys.version_info >= (3, 10) else {}
"""For ``dataclass(**SLOTS)``: less memory for records of which there are many."""


if sys.version_info >= (3, 11):
    from bisect import bisect_left
    from enum import StrEnum  # novermin
    from itertools import pairwise  # novermin
else:
    from enum import Enum

    class StrEnum(str, Enum):
        """Choices that are strings."""

        __str__ = str.__str__
        __format__ = str.__format__

    def pairwise(items: Iterable[_A]) -> Iterator[tuple[_A, _A]]:
        """Each item with the one behind it."""
        held = list(items)
        return zip(held, held[1:])

    def bisect_left(items: Sequence[Any], value: Any, *, key: Callable[[Any], Any]) -> int:
        """Before which item ``value`` belongs, by the items' keys."""
        low, high = 0, len(items)
        while low < high:
            middle = (low + high) // 2
            if key(items[middle]) < value:
                low = middle + 1
            else:
                high = middle
        return low


@overload
def zip_strict(first: Iterable[_A], second: Iterable[_B], /) -> Iterator[tuple[_A, _B]]: ...
@overload
def zip_strict(*iterables: Iterable[Any]) -> Iterator[tuple[Any, ...]]: ...
def zip_strict(*iterables: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """``zip(strict=True)``.

    Raises
    ------
    ValueError
        When lengths differ.
    """
    if sys.version_info >= (3, 10):
        return zip(*iterables, strict=True)  # novermin
    held = [list(items) for items in iterables]
    if len({len(items) for items in held}) > 1:
        raise ValueError("zip_strict() takes iterables of one length")
    return zip(*held)
