"""What the tools of a build say: kept whole in one file, and read for what went wrong."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock

from tvm_patch.board import Board
from tvm_patch.errors import DoesNotFitError

_ERROR = re.compile(r"error:|undefined reference|multiple definition|CMake Error")
_OVERFLOW = re.compile(r"region `(?P<region>\w+)' overflowed by (?P<bytes>\d+) bytes?")
# What linker scripts call the memories of a board; Zephyr says RAM or SRAM, by its version.
_REGION_KINDS = {"flash": "flash", "ram": "sram", "sram": "sram", "dtcm": "dtcm"}


class BuildLog:
    """Everything that the tools say, whole, in one file.

    Parameters
    ----------
    path : Path
        The file; it begins anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        path.write_text("", encoding="utf-8")

    def run(
        self,
        command: list[str],
        *,
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> tuple[bool, str]:
        """Run a tool; return whether it went well, and what it said.

        Parameters
        ----------
        command : list of str
            Program and arguments.
        environment : mapping of str to str, or None
            Instead of this process's own.
        on_line : callable or None
            Told each line as it comes.
        """
        # Messages are read below: they must not be translated.
        chosen = {**(os.environ if environment is None else environment), "LC_ALL": "C"}
        said = []
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=chosen,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if on_line is not None:
                    on_line(line.rstrip())
        text = "".join(said)
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(f"$ {shlex.join(command)}\n{text}")
        return process.returncode == 0, text


def raise_if_too_large(model: str, board: Board, said: str) -> None:
    """Look for a memory that a linker has found too small.

    Raises
    ------
    DoesNotFitError
        For the first such memory.
    """
    overflows: dict[str, int] = {}
    for match in _OVERFLOW.finditer(said):
        kind = _REGION_KINDS.get(match["region"].lower(), "")
        overflows[kind] = max(overflows.get(kind, 0), int(match["bytes"]))
    for region in board.memory:
        if region.kind in overflows:
            over = overflows[region.kind]
            required = region.size_bytes + over
            raise DoesNotFitError(
                f"{model} does not fit the {region.kind} of {board.name}: "
                f"{required:,} bytes needed, {region.size_bytes:,} available, {over:,} too many",
                required_bytes=required,
                available_bytes=region.size_bytes,
                section=region.kind,
                hint="plan it with less memory, or take a larger board",
            )


def first_error(said: str) -> str:
    """Return the line that tells best what went wrong."""
    lines = said.strip().splitlines()
    return next(filter(_ERROR.search, lines), lines[-1] if lines else "no message")
