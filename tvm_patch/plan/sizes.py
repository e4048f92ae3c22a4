"""Sizes as people write them."""

from __future__ import annotations

import re

from tvm_patch.errors import PlanError

_UNITS = {"": 1, "b": 1, "k": 1024, "kb": 1024, "kib": 1024, "m": 1 << 20, "mb": 1 << 20}


def parse_size(text: str | int) -> int:
    """Bytes of ``"64K"``, ``"64KB"``, ``"1M"`` or a plain number; K is 1024.

    Raises
    ------
    PlanError
        When it is no size.
    """
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS:
        raise PlanError(f"{text!r} is not a size in bytes", hint="write 65536, 64K or 64KB")
    return int(float(match[1]) * _UNITS[match[2].lower()])
