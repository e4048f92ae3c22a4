"""``tvm-patch doctor``."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib import metadata

import typer

from tvm_patch.cli.options import JsonFile, Verbose
from tvm_patch.errors import ToolMissingError

_PACKAGES = {
    "numpy": "",
    "apache-tvm": "full",
    "apache-tvm-ffi": "full",
    "tflite": "full",
    "flatbuffers": "full",
    "ai-edge-litert": "full",
    "typer": "full",
    "rich": "full",
    "matplotlib": "full",
    "jinja2": "full",
    "pyserial": "full",
    "cobs": "full",
    "pyelftools": "full",
    "capstone": "full",
    "ortools": "exact",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "west": "boards",
    "pyocd": "boards",
    "tornado": "rack",
    "xgboost-cpu": "tune",
}
_OPTIONAL = ("exact", "onnx", "boards", "rack", "tune")
_PURPOSE = {
    "full": "",
    "exact": "--algorithm exact",
    "onnx": "ONNX models, quantize",
    "boards": "firmware on real boards",
    "rack": "the tracker of tvm-patch rack",
    "tune": "the cost model of tvm-patch tune",
}
_OPTIONAL_TOOLS = ("cmake", "cc", "ninja", "dtc", "openocd")


@dataclass(frozen=True)
class Check:
    """One thing that is there or not.

    Parameters
    ----------
    what : str
        Package or tool.
    version : str or None
        None where it is missing or not usable.
    required : bool
        Whether the main job needs it.
    purpose : str
        What needs it.
    remedy : str
        How to get it.
    """

    what: str
    version: str | None
    required: bool
    purpose: str
    remedy: str


def doctor(json_file: JsonFile = None, verbose: Verbose = False) -> None:
    """Check that everything needed is installed, and say how to get what is not.

    Exits with an error when something that the main job needs is missing.
    """
    from rich.table import Table

    from tvm_patch.cli.terminal import show
    from tvm_patch.report.files import to_json, write_atomically

    checks = [_python(), *_packages(), *_tools(), _zephyr()]
    if json_file is not None:
        write_atomically(json_file, to_json({"checks": [asdict(check) for check in checks]}))
    table = Table(header_style="bold")
    for column in ("", "what", "version", "needed for", "how to get it"):
        table.add_column(column)
    for check in checks:
        found = check.version is not None
        table.add_row(
            "ok" if found else ("MISSING" if check.required else "optional"),
            check.what,
            check.version or "-",
            check.purpose,
            "" if found else check.remedy,
            style=None if found else ("bold red" if check.required else "yellow"),
        )
    show(table)
    missing = [check for check in checks if check.required and check.version is None]
    if missing:
        raise ToolMissingError(
            f"missing: {', '.join(check.what for check in missing)}",
            hint="; ".join(dict.fromkeys(check.remedy for check in missing)),
        )
    typer.echo("everything that is needed is installed")


def _python() -> Check:
    usable = sys.version_info >= (3, 10)
    version = platform.python_version()
    return Check("Python", version if usable else None, True, "", "install Python 3.10 or newer")


def _packages() -> list[Check]:
    checks = []
    for package, extra in _PACKAGES.items():
        version = _version(package)
        if package == "xgboost-cpu" and version is None:
            version = _version("xgboost")
        target = f"'tvm-patch[{extra}]'" if extra else package
        checks.append(
            Check(
                package,
                version,
                extra not in _OPTIONAL,
                _PURPOSE.get(extra, ""),
                f"pip install {target}",
            )
        )
    return checks


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _tools() -> list[Check]:
    # Not through the package: that needs the packages which may be missing.
    from tvm_patch.micro.tools import ALL_TOOLS, inspect_tool

    checks = []
    for tool in ALL_TOOLS:
        if tool.extra:
            continue  # listed with its package
        try:
            version: str | None = inspect_tool(tool).version
        except ToolMissingError:
            version = None
        required = tool.name not in _OPTIONAL_TOOLS
        checks.append(Check(tool.name, version, required, tool.purpose, tool.install_command))
    return checks


def _zephyr() -> Check:
    from tvm_patch.micro.zephyr.workspace import find_zephyr

    version, remedy = None, ""
    try:
        version = find_zephyr().version_text
    except ToolMissingError as error:
        remedy = error.hint or ""
        # A tree that is named but cannot be used is worth more words than one that is not there.
        if os.environ.get("ZEPHYR_BASE"):
            remedy = f"{error.message}; {remedy}"
    return Check("Zephyr", version, False, _PURPOSE["boards"], remedy)
