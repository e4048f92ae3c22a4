"""Builds the application in ``micro_project/zephyr`` with cmake and ninja."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tvm_patch.errors import BoardError, BuildError, ToolMissingError, TvmPatchError
from tvm_patch.micro.build_log import BuildLog, first_error, raise_if_too_large
from tvm_patch.micro.project import MICRO_PROJECT_DIR, Project
from tvm_patch.micro.tools import CMAKE, DTC, NINJA, find_tool
from tvm_patch.micro.zephyr.workspace import (
    Zephyr,
    build_environment,
    find_zephyr,
    script_python,
    workspace_modules,
)

_CONFIGURED = "tvm_patch_configured.json"
_STEP = re.compile(r"\[(\d+)/(\d+)\] ")

# What a missing module of Zephyr's looks like: the first file of it that is wanted.
_MODULE_FILES = (
    ("hal_stm32", re.compile(r"st/\S*pinctrl\.dtsi|stm32\w+\.h: No such file")),
    ("hal_nordic", re.compile(r"(nrfx?\w*|nrf_\w+)\.h: No such file|hal/nrf_\w+\.h")),
    ("cmsis", re.compile(r"(core_cm\w+|cmsis\w*|arm_\w+)\.h: No such file")),
)


@dataclass(frozen=True)
class ZephyrFirmware:
    """What Zephyr's build system has made."""

    elf_path: Path
    hex_path: Path
    map_path: Path
    build_dir: Path


def build_with_zephyr(
    project: Project,
    build_dir: Path,
    log: BuildLog,
    *,
    jobs: int = 2,
    progress: Callable[[str, int, int], None] | None = None,
) -> ZephyrFirmware:
    """Configure and build a firmware project for a board of Zephyr's.

    A second build in the same folder compiles what has changed alone.

    Parameters
    ----------
    project : Project
        Made for a board of port ``zephyr``.
    build_dir : Path
        Folder of the build.
    log : BuildLog
        Takes what the tools say.
    jobs : int
        Compilers at a time.
    progress : callable or None
        Told what is done, how much, and of how much.

    Raises
    ------
    ToolMissingError
        If Zephyr, one of its modules, its SDK, cmake or ninja is missing or too old.
    BoardError
        If this Zephyr does not have the board.
    BuildError
        If it does not build; names the log.
    DoesNotFitError
        If flash or SRAM is too small.
    """
    zephyr = find_zephyr()
    environment = build_environment()
    environment["ZEPHYR_BASE"] = str(zephyr.base)
    cmake, ninja = find_tool(CMAKE), find_tool(NINJA)
    find_tool(DTC)
    configure = _configure_command(cmake, ninja, project, zephyr, build_dir)
    variables = {key: environment.get(key) for key in sorted(environment) if "ZEPHYR" in key}
    stamp = json.dumps({"command": configure, "environment": variables}, indent=1)
    if not _is_configured(build_dir, stamp):
        shutil.rmtree(build_dir, ignore_errors=True)
        if progress is not None:
            progress("configure Zephyr", 0, 0)
        ok, said = log.run(configure, environment=environment)
        if not ok:
            raise _explain(project, zephyr, said, log)
        (build_dir / _CONFIGURED).write_text(stamp, encoding="utf-8")

    def on_line(line: str) -> None:
        step = _STEP.match(line)
        if step is not None and progress is not None:
            progress("compile", int(step[1]), int(step[2]))

    command = [str(ninja), "-C", str(build_dir), "-j", str(jobs)]
    ok, said = log.run(command, environment=environment, on_line=on_line)
    if not ok:
        raise_if_too_large(project.model.name, project.board, said)
        raise _explain(project, zephyr, said, log)
    return ZephyrFirmware(
        elf_path=build_dir / "zephyr" / "zephyr.elf",
        hex_path=build_dir / "zephyr" / "zephyr.hex",
        map_path=build_dir / "zephyr" / "zephyr.map",
        build_dir=build_dir,
    )


def _configure_command(
    cmake: Path, ninja: Path, project: Project, zephyr: Zephyr, build_dir: Path
) -> list[str]:
    command = [
        str(cmake),
        "-GNinja",
        f"-DCMAKE_MAKE_PROGRAM={ninja}",
        *("-S", str(MICRO_PROJECT_DIR.resolve() / "zephyr")),
        *("-B", str(build_dir)),
        f"-DBOARD={zephyr.board_name(project.board)}",
        f"-DTVM_PATCH_PROJECT={project.folder.resolve()}",
        # A build belongs to its folder alone, and not to the user's home.
        f"-DUSER_CACHE_DIR={build_dir.resolve() / 'cache'}",
    ]
    python = script_python()
    if python is not None:
        command.append(f"-DPython3_EXECUTABLE={python}")
    modules = workspace_modules(zephyr)
    if modules:
        command.append("-DZEPHYR_MODULES=" + ";".join(map(str, modules)))
    return command


def _is_configured(build_dir: Path, stamp: str) -> bool:
    path = build_dir / _CONFIGURED
    return path.is_file() and path.read_text(encoding="utf-8") == stamp


def _explain(project: Project, zephyr: Zephyr, said: str, log: BuildLog) -> TvmPatchError:
    """What the tools' words mean."""
    whole = f"everything the tools said: {log.path}"
    package = re.search(r"No module named '([\w.]+)'", said)
    if package is not None:
        return ToolMissingError(
            f"Zephyr's scripts need the Python package {package[1]!r}, which is not installed",
            hint=f"pip install 'tvm-patch[boards]'; {whole}",
        )
    if re.search(r"provided by\s+\"Zephyr-sdk\"|Could NOT find Zephyr-sdk", said):
        return ToolMissingError(
            f"Zephyr {zephyr.version_text} finds no Zephyr SDK",
            hint="install it and set ZEPHYR_SDK_INSTALL_DIR, or build with arm-none-eabi-gcc: "
            "ZEPHYR_TOOLCHAIN_VARIANT=gnuarmemb GNUARMEMB_TOOLCHAIN_PATH=/usr",
        )
    wanted_sdk = re.search(
        r"\"Zephyr-sdk\"\s+that\s+is\s+compatible\s+with\s+requested\s+version\s+\"([\d.]+)\"", said
    )
    if wanted_sdk is not None:
        return ToolMissingError(
            f"Zephyr {zephyr.version_text} needs Zephyr SDK {wanted_sdk[1]} or newer; "
            "the one installed is too old",
            hint="install a newer one and set ZEPHYR_SDK_INSTALL_DIR to it",
        )
    nothing_at = re.search(r"(GNUARMEMB_TOOLCHAIN_PATH is not set|Nothing found at .*)", said)
    if nothing_at is not None or ("C compiler" in said and "not found" in said):
        return ToolMissingError(
            f"Zephyr finds no compiler: {nothing_at[1] if nothing_at else first_error(said)}",
            hint=f"check ZEPHYR_TOOLCHAIN_VARIANT and what goes with it; {whole}",
        )
    if re.search(r"No board named|Invalid BOARD|Board .* not found", said):
        return BoardError(
            f"{project.board.name}: Zephyr {zephyr.version_text} in {zephyr.base} has no board "
            f"{zephyr.board_name(project.board)}",
            hint="set ZEPHYR_BASE to a tree that has it; BOARD_ROOT names one of your own",
        )
    for module, files in _MODULE_FILES:
        if files.search(said):
            return ToolMissingError(
                f"Zephyr's module {module} is not in the workspace of {zephyr.base}",
                hint=f"west update {module}; {whole}",
            )
    return BuildError(
        f"{project.model.name} does not build for {project.board.name}: {first_error(said)}",
        hint=whole,
    )
