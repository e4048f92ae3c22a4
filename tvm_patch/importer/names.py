"""Names that are safe as Relax variables and as C identifiers."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^0-9A-Za-z_]+")

_MAX_LENGTH = 64

_C_KEYWORDS = frozenset(
    {
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double"),
        *("else", "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long"),
        *("register", "restrict", "return", "short", "signed", "sizeof", "static", "struct"),
        *("switch", "typedef", "union", "unsigned", "void", "volatile", "while"),
    }
)


def sanitise(name: str, *, fallback: str = "tensor") -> str:
    """Turn any tensor or file name into a C identifier.

    Parameters
    ----------
    name : str
        Any text, for instance ``"model/conv2d/Relu;model/bn/FusedBatchNormV3"``.
    fallback : str
        What to call a name without a single usable character.

    Returns
    -------
    str
        Letters, digits and underscores, not starting with a digit and no keyword of C, at most
        64 characters besides the prefix that a leading digit or a keyword gets.
    """
    # TFLite lists everything that was fused into an operator, the operator itself first.
    first = name.split(";", 1)[0]
    safe = _UNSAFE.sub("_", first).strip("_")[:_MAX_LENGTH].rstrip("_") or fallback
    return f"{fallback}_{safe}" if safe[0].isdigit() or safe in _C_KEYWORDS else safe


class UniqueNames:
    """Hands out each sanitised name once, with ``_2``, ``_3`` ... appended to repetitions."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim(self, name: str, *, fallback: str = "tensor") -> str:
        """Sanitise ``name`` and make it unlike every name handed out before."""
        base = sanitise(name, fallback=fallback)
        unique = base
        count = 1
        while unique in self._taken:
            count += 1
            unique = f"{base}_{count}"
        self._taken.add(unique)
        return unique
