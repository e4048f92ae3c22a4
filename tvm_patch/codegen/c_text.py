"""C text from TIR: TVM's generator prints functions, this turns them into a plain C file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.schedules.bare_c import print_c

_EXTERN_C = re.compile(r'^#ifdef __cplusplus\nextern "C"\n#endif\n', re.MULTILINE)
_EXPORT = "TVM_DLL "
_C_TYPES = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}
_LINE_CHARACTERS = 100
_MOVES = {
    re.compile(r"\bmem(?:cpy|move)\("): "tvmp_move(",
    re.compile(r"\bmemset\("): "tvmp_fill(",
}
MOVE_HEADERS = ("dsp.h", "move.h")
"""Headers of ``micro_project/kernels`` that :func:`with_own_moves` needs."""


def functions_to_c(functions: Mapping[str, Any]) -> tuple[str, str]:
    """Definitions and prototypes of bare functions.

    TVM's preamble (FFI headers, an entry stub) and the prototypes that it prints for callees, which
    would contradict libc's, are left out.

    Parameters
    ----------
    functions : mapping of str to tvm.tirx.PrimFunc
        Results of :func:`tvm_patch.schedules.bare_c.lower_to_bare`.

    Returns
    -------
    (str, str)
        C definitions in the order of the mapping, and their prototypes, one a line.
    """
    if not functions:
        return "", ""
    text = _EXTERN_C.sub("", print_c(dict(functions)))
    bodies: dict[str, str] = {}
    prototypes: dict[str, str] = {}
    for part in re.split(rf"^(?={_EXPORT})", text, flags=re.MULTILINE)[1:]:
        head = part.split("\n", 1)[0]
        if not head.rstrip().endswith("{"):
            continue
        signature = head.removeprefix(_EXPORT).rstrip().removesuffix("{").rstrip()
        name = re.match(r"[\w ]+?[ *]+(\w+)\(", signature)
        if name is None or name[1] not in functions:
            continue
        bodies[name[1]] = f"{signature} {{\n{part.split(chr(10), 1)[1].rstrip()}\n"
        prototypes[name[1]] = f"{signature};"
    return (
        "\n".join(bodies[name] for name in functions),
        "\n".join(prototypes[name] for name in functions),
    )


def with_own_moves(text: str) -> str:
    """C that moves and fills bytes by ``tvmp_move`` and ``tvmp_fill`` instead of libc's functions.

    On the host TVM compiles the same TIR, where libc's are at hand; a device has quicker ones.
    """
    for libc, own in _MOVES.items():
        text = libc.sub(own, text)
    return text


def array_to_c(symbol: str, value: npt.NDArray[np.generic]) -> str:
    """A ``const`` array definition, lines wrapped."""
    c_type = _C_TYPES[str(value.dtype)]
    numbers = [_number(item) for item in value.reshape(-1).tolist()]
    lines: list[str] = []
    line = " "
    for number in numbers:
        if len(line) + len(number) + 2 > _LINE_CHARACTERS:
            lines.append(line)
            line = " "
        line += f" {number},"
    lines.append(line)
    body = "\n".join(lines)
    # Micro-kernels read weights by words.
    return f"_Alignas(8) const {c_type} {symbol}[{len(numbers)}] = {{\n{body}\n}};\n"


def _number(value: float | int) -> str:
    if isinstance(value, float):
        return f"{np.float32(value)!r}".removeprefix("np.float32(").removesuffix(")") + "f"
    # INT32_MIN has no literal of its own type in C.
    return "(-2147483647 - 1)" if value == -(1 << 31) else str(value)


def c_type_of(dtype: str) -> str:
    """C type of a dtype."""
    return _C_TYPES[dtype]
