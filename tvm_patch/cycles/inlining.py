"""Which inlined functions an instruction comes from, by the firmware's debugging information."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tvm_patch.errors import BuildError
from tvm_patch.micro.tools import Tool, find_tool

ADDR2LINE = Tool(
    "arm-none-eabi-addr2line",
    ("arm-none-eabi-addr2line",),
    "telling inlined functions apart",
    ("binutils-arm-none-eabi",),
)
_ADDRESS = re.compile(r"0x[0-9a-f]+")


def inlined_functions(elf_path: Path, addresses: Iterable[int]) -> Mapping[int, tuple[str, ...]]:
    """The functions that instructions were written in, the innermost first.

    Parameters
    ----------
    elf_path : Path
        Linked with debugging information.
    addresses : iterable of int
        Of instructions.

    Raises
    ------
    ToolMissingError
        If addr2line, of the cross compiler's binutils, is not installed.
    BuildError
        If it fails.
    """
    asked = "".join(f"0x{address:x}\n" for address in addresses)
    done = subprocess.run(
        [str(find_tool(ADDR2LINE)), "-a", "-f", "-i", "-e", str(elf_path)],
        input=asked,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"{elf_path}: {done.stderr.strip()}")
    chains: dict[int, tuple[str, ...]] = {}
    functions: list[str] = []
    address: int | None = None
    # An address, and then pairs of lines: a function and its place in the source.
    lines = iter(done.stdout.splitlines())
    for line in lines:
        if _ADDRESS.fullmatch(line):
            if address is not None:
                chains[address] = tuple(functions)
            address, functions = int(line, 16), []
        else:
            functions.append(line)
            next(lines, None)
    if address is not None:
        chains[address] = tuple(functions)
    return chains
