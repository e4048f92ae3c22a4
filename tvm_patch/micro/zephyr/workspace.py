"""The Zephyr tree that firmware is built with, and the compiler for it."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tvm_patch.board import Board
from tvm_patch.errors import BoardError, ToolMissingError
from tvm_patch.micro.tools import find_arm_compiler, search_path

OLDEST_ZEPHYR = (3, 2)

# Boards have names of the form board/soc/core since this version.
_NEW_BOARD_NAMES = (3, 7)
# Zephyr's scripts run in this Python where it has their packages.
_SCRIPT_PACKAGES = ("elftools", "yaml", "pykwalify", "packaging")
# Where Zephyr itself looks for its SDK, beside the user's package registry of CMake.
_SDK_PARENTS = ("~", "~/.local", "~/.local/opt", "~/bin", "/opt", "/usr/local")

_HOW_TO_GET_ZEPHYR = (
    "set ZEPHYR_BASE to the folder `zephyr` of a workspace; docs/hardware.md tells how to get one"
)


@dataclass(frozen=True)
class Zephyr:
    """A Zephyr tree.

    Parameters
    ----------
    base : Path
        Its folder, ``ZEPHYR_BASE``.
    version : tuple of int
        Major and minor version, and patch level.
    """

    base: Path
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        """The version as people write it."""
        return ".".join(map(str, self.version))

    def board_name(self, board: Board) -> str:
        """What this version calls a board.

        Raises
        ------
        BoardError
            If the board is none of Zephyr's.
        """
        if board.zephyr is None:
            raise BoardError(f"{board.name}: is not a board of Zephyr's")
        newer, *older = board.zephyr.names
        return older[0] if older and self.version < _NEW_BOARD_NAMES else newer


def find_zephyr() -> Zephyr:
    """Return the tree named by ZEPHYR_BASE, of the west workspace around, or registered in CMake.

    Raises
    ------
    ToolMissingError
        If there is none, or it is too old.
    """
    named = os.environ.get("ZEPHYR_BASE")
    if named:
        return _read_tree(Path(named).expanduser(), f"ZEPHYR_BASE={named}")
    for base in (_west_workspace(Path.cwd()), *_registered("Zephyr", parents=3)):
        if base is not None and (base / "VERSION").is_file():
            return _read_tree(base, str(base))
    raise ToolMissingError("there is no Zephyr to build with", hint=_HOW_TO_GET_ZEPHYR)


def build_environment() -> dict[str, str]:
    """Return the environment to build in: this one, with a toolchain chosen where it has none.

    ``ZEPHYR_TOOLCHAIN_VARIANT`` decides where it is set. Otherwise it is Zephyr's SDK where one is
    installed, else the cross compiler on the path (``gnuarmemb``).

    Raises
    ------
    ToolMissingError
        If there is neither.
    """
    environment = {**os.environ, "LC_ALL": "C", "PATH": search_path()}
    if environment.get("ZEPHYR_TOOLCHAIN_VARIANT") or _sdk_is_there():
        return environment
    try:
        compiler = find_arm_compiler()
    except ToolMissingError as error:
        raise ToolMissingError(
            "there is no compiler for Zephyr: neither its SDK nor arm-none-eabi-gcc",
            hint=f"{error.hint}; or install Zephyr's SDK and set ZEPHYR_SDK_INSTALL_DIR",
        ) from error
    environment["ZEPHYR_TOOLCHAIN_VARIANT"] = "gnuarmemb"
    environment.setdefault("GNUARMEMB_TOOLCHAIN_PATH", str(compiler.parent.parent))
    return environment


def script_python() -> str | None:
    """Return this Python where Zephyr's scripts can run in it; None leaves the choice to CMake."""
    if all(importlib.util.find_spec(name) is not None for name in _SCRIPT_PACKAGES):
        return sys.executable
    return None


def workspace_modules(zephyr: Zephyr) -> list[Path]:
    """Return the modules beside a tree that is in no west workspace.

    In a workspace, and where ``ZEPHYR_MODULES`` is set, Zephyr finds them itself.
    """
    if os.environ.get("ZEPHYR_MODULES") or _west_workspace(zephyr.base) is not None:
        return []
    found = (zephyr.base.parent / "modules").glob("**/zephyr/module.yml")
    return sorted(path.parent.parent for path in found)


def _read_tree(base: Path, named: str) -> Zephyr:
    try:
        text = (base / "VERSION").read_text(encoding="utf-8")
        fields = {key: int(value) for key, value in re.findall(r"(\w+) *= *(\d+)", text)}
        version = (fields["VERSION_MAJOR"], fields["VERSION_MINOR"], fields["PATCHLEVEL"])
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise ToolMissingError(f"{named}: there is no Zephyr tree", hint=_HOW_TO_GET_ZEPHYR) from (
            error
        )
    zephyr = Zephyr(base.resolve(), version)
    if version[:2] < OLDEST_ZEPHYR:
        oldest = ".".join(map(str, OLDEST_ZEPHYR))
        raise ToolMissingError(
            f"{named}: Zephyr {zephyr.version_text} is too old; {oldest} or newer is needed",
            hint=f"west update to {oldest} or newer, or set ZEPHYR_BASE to another tree",
        )
    return zephyr


def _west_workspace(start: Path) -> Path | None:
    """The Zephyr tree of the west workspace that ``start`` lies in."""
    for folder in (start, *start.parents):
        path = folder / ".west" / "config"
        if path.is_file():
            config = configparser.ConfigParser(interpolation=None)
            try:
                config.read(path, encoding="utf-8")
            except (configparser.Error, UnicodeDecodeError):
                return None
            return folder / config.get("zephyr", "base", fallback="zephyr")
    return None


def _registered(package: str, parents: int) -> list[Path]:
    """Folders that CMake's user package registry has for ``package``."""
    registry = Path.home() / ".cmake" / "packages" / package
    if not registry.is_dir():
        return []
    folders = [Path(entry.read_text(encoding="utf-8").strip()) for entry in registry.iterdir()]
    return sorted(folder.parents[parents - 1] for folder in folders if folder.is_dir())


def _sdk_is_there() -> bool:
    if os.environ.get("ZEPHYR_SDK_INSTALL_DIR"):
        return True
    if _registered("Zephyr-sdk", parents=1):
        return True
    return any(any(Path(p).expanduser().glob("zephyr-sdk-*/")) for p in _SDK_PARENTS)
