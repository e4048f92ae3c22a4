"""The tools that building and emulating need, and how to get those that are missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tvm_patch.errors import ToolMissingError


@dataclass(frozen=True)
class Tool:
    """A program that is looked for on the path, and beside this Python.

    Parameters
    ----------
    name : str
        What it is called in messages.
    commands : tuple of str
        Names to look for, the preferred one first.
    purpose : str
        What needs it.
    packages : tuple of str
        Packages of Debian and Ubuntu which bring it.
    extra : str
        Instead of those: the extra of this package that brings it.
    """

    name: str
    commands: tuple[str, ...]
    purpose: str
    packages: tuple[str, ...] = ()
    extra: str = ""

    @property
    def install_command(self) -> str:
        """How to get it; on Debian or Ubuntu where it is no Python package."""
        if self.extra:
            return f"pip install 'tvm-patch[{self.extra}]'"
        return "sudo apt-get install " + " ".join(self.packages)


@dataclass(frozen=True)
class FoundTool:
    """A tool that is there: its path, and its version where it tells ("unknown" where not)."""

    tool: Tool
    path: Path
    version: str


ARM_COMPILER = Tool(
    "arm-none-eabi-gcc",
    ("arm-none-eabi-gcc",),
    "building firmware for Cortex-M",
    ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi"),
)
EMULATOR = Tool(
    "qemu-system-arm", ("qemu-system-arm",), "running emulated boards", ("qemu-system-arm",)
)
HOST_COMPILER = Tool("cc", ("cc", "gcc", "clang"), "building for the host", ("gcc", "libc6-dev"))
CMAKE = Tool(
    "cmake", ("cmake",), "building for boards of Zephyr's, and the C folder alone", ("cmake",)
)

NINJA = Tool("ninja", ("ninja", "ninja-build"), "building for boards of Zephyr's", ("ninja-build",))
DTC = Tool("dtc", ("dtc",), "building for boards of Zephyr's", ("device-tree-compiler",))
WEST = Tool("west", ("west",), "flashing by Zephyr's own means", extra="boards")
PYOCD = Tool("pyocd", ("pyocd",), "flashing boards by their debug probe", extra="boards")
OPENOCD = Tool("openocd", ("openocd",), "flashing boards by their debug probe", ("openocd",))

ALL_TOOLS = (
    ARM_COMPILER,
    EMULATOR,
    HOST_COMPILER,
    CMAKE,
    NINJA,
    DTC,
    WEST,
    PYOCD,
    OPENOCD,
)


def search_path() -> str:
    """Return where programs are looked for, as PATH has it.

    What pip installs lies beside this Python, which is not on the path where its virtual
    environment is not activated, as under systemd.
    """
    return os.pathsep.join(filter(None, (os.environ.get("PATH", os.defpath), _scripts_folder())))


def _scripts_folder() -> str:
    return sysconfig.get_path("scripts")


def look_for(tool: Tool) -> Path | None:
    """Return the path of ``tool``; None where it is not installed."""
    path = search_path()
    found = (shutil.which(command, path=path) for command in tool.commands)
    return next((Path(program) for program in found if program is not None), None)


def find_tool(tool: Tool) -> Path:
    """Return the path of ``tool``.

    Raises
    ------
    ToolMissingError
        If it is not installed; the hint is the line that installs it.
    """
    path = look_for(tool)
    if path is not None:
        return path
    raise ToolMissingError(
        f"{tool.name} is not installed; {tool.purpose} needs it", hint=tool.install_command
    )


def inspect_tool(tool: Tool) -> FoundTool:
    """Return the path and the version of ``tool``.

    Raises
    ------
    ToolMissingError
        If it is not on the path.
    """
    path = find_tool(tool)
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    lines = answer.splitlines()
    found = re.findall(r"\d+\.\d+(?:\.\d+)?", lines[0]) if lines else []
    # Distributions add numbers of their own; the program's is the most detailed one.
    return FoundTool(tool, path, max(found, key=len) if found else "unknown")


def find_arm_compiler() -> Path:
    """Return the path of the Cortex-M compiler, once its C library is there too.

    Raises
    ------
    ToolMissingError
        If either is missing: Debian and Ubuntu pack them apart.
    """
    compiler = find_tool(ARM_COMPILER)
    asked = [str(compiler), "-mcpu=cortex-m7", "-mthumb", "-print-file-name=libc.a"]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout
    if not Path(answer.strip()).is_absolute():
        raise ToolMissingError(
            "newlib, the C library for Cortex-M, is not installed; "
            f"{ARM_COMPILER.purpose} needs it",
            hint=ARM_COMPILER.install_command,
        )
    return compiler
