"""Compiles and links firmware."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from tvm_patch.board import Board
from tvm_patch.errors import BoardError, BuildError, DoesNotFitError
from tvm_patch.micro import elf
from tvm_patch.micro.project import Project, create_project
from tvm_patch.micro.tools import HOST_COMPILER, find_arm_compiler, find_tool

_COMMON_FLAGS = (
    "-std=c11",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-common",
    # Generated kernels view one arena as bytes here and as words there.
    "-fno-strict-aliasing",
    # A fused multiply-add rounds once where the reference rounds twice.
    "-ffp-contract=off",
)
# Generated code calls this function wherever other code begins to run for another operator.
_PROFILE_FLAGS = ("-DTVMGEN_MARK=tvm_patch_profile_mark",)
_SANITIZER_FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# The full newlib: the small one ("nano") copies memory a byte at a time.
_BARE_METAL_LINK_FLAGS = ("-nostartfiles",)

_ERROR = re.compile(r"error:|undefined reference|multiple definition")
_OVERFLOW = re.compile(r"region `(?P<region>\w+)' overflowed by (?P<bytes>\d+) bytes?")


@dataclass(frozen=True)
class Firmware:
    """A linked firmware.

    Parameters
    ----------
    elf_path, map_path, log_path : Path
        The firmware, the linker's map, and everything that the tools said.
    flash_bytes : int
        Code, constants and initial values.
    static_sram_bytes : int
        Data, arena and guards; the stack is not in it.
    stack_reserve_bytes : int
        SRAM kept for the stack; 0 on the host.
    arena_symbol_bytes : int
        Size of the arena's symbol.
    board : Board
        What it was built for; an emulated board where it was built to be emulated.
    fingerprint : str
        Of the model in it.
    """

    elf_path: Path
    map_path: Path
    log_path: Path
    flash_bytes: int
    static_sram_bytes: int
    stack_reserve_bytes: int
    arena_symbol_bytes: int
    board: Board
    fingerprint: str


def build_firmware(
    model_dir: Path,
    board: Board,
    build_dir: Path,
    *,
    emulate: bool = False,
    jobs: int = 2,
    sanitize: bool = False,
    profile: bool = False,
) -> Firmware:
    """Build the firmware that runs a generated model on a board.

    Parameters
    ----------
    model_dir : Path
        What the code generator has written.
    board : Board
        Where it is to run.
    build_dir : Path
        Where to build. An earlier firmware in it stays until the new one is linked.
    emulate : bool
        Build for the emulated board with the same core, within this board's memory.
    jobs : int
        Compilers at a time.
    sanitize : bool
        On the host: with AddressSanitizer and UndefinedBehaviorSanitizer.
    profile : bool
        A profiling build: the generated code tells the runtime what it is at. Such a build is
        larger and slower; what marks cost is measured and can be subtracted.

    Raises
    ------
    ModelFileError
        If ``model_dir`` is not a generated model.
    BoardError
        If the board can be built for only with ``emulate``.
    ToolMissingError
        If there is no compiler.
    BuildError
        If a file does not compile or the firmware does not link; names the log.
    DoesNotFitError
        If flash or SRAM is too small.
    """
    if emulate:
        board = board.emulate()
    if board.is_real:
        raise BoardError(
            f"{board.name}: this version builds for emulated boards only",
            hint=f"emulate it: --board {board.name} --emulate",
        )
    compiler = find_tool(HOST_COMPILER) if board.port == "host" else find_arm_compiler()
    project = create_project(model_dir, board, build_dir / "project", profile=profile)
    log_path = build_dir / "build.log"
    flags = [*board.core_flags, "-O1" if sanitize else "-O3", *_COMMON_FLAGS]
    if sanitize:
        flags += _SANITIZER_FLAGS
    if profile:
        flags += _PROFILE_FLAGS
    elf_path = build_dir / "firmware.elf"
    map_path = build_dir / "firmware.map"
    log = _Log(log_path)
    objects = _compile(compiler, flags, project, build_dir / "objects", log, jobs)
    _link(compiler, flags, project, objects, elf_path, map_path, log)
    if board.port == "bare_metal" and not board.dsp and elf.has_dsp_extension(elf_path):
        raise BuildError(
            f"{project.model.name} has instructions that the {board.cpu} of {board.name} lacks",
            hint="core_flags of the board must name its core, and dsp what it has",
        )
    sizes = elf.read_sizes(elf_path)
    return Firmware(
        elf_path=elf_path,
        map_path=map_path,
        log_path=log_path,
        flash_bytes=sizes.flash_bytes,
        static_sram_bytes=sizes.static_sram_bytes,
        stack_reserve_bytes=sizes.stack_reserve_bytes,
        arena_symbol_bytes=elf.read_symbol_bytes(elf_path, project.model.arena_symbol),
        board=board,
        fingerprint=project.model.fingerprint,
    )


class _Log:
    """Everything that the tools say, whole, in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        path.write_text("", encoding="utf-8")

    def run(self, command: list[str]) -> tuple[bool, str]:
        """Run a tool; return whether it went well, and what it said."""
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            # Messages are read below: they must not be translated.
            env={**os.environ, "LC_ALL": "C"},
        )
        said = done.stdout + done.stderr
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(f"$ {shlex.join(command)}\n{said}")
        return done.returncode == 0, said


def _compile(
    compiler: Path, flags: list[str], project: Project, objects_dir: Path, log: _Log, jobs: int
) -> list[Path]:
    objects_dir.mkdir(parents=True, exist_ok=True)
    includes = [f"-I{path}" for path in project.include_dirs]

    def compile_one(number: int, source: Path) -> Path:
        # Numbered: the model and the runtime may have files of the same name.
        target = objects_dir / f"{number:03d}_{source.stem}.o"
        command = [str(compiler), *flags, *includes, "-c", str(source), "-o", str(target)]
        ok, said = log.run(command)
        if not ok:
            raise BuildError(
                f"{source.name} does not compile: {_first_error(said)}",
                hint=f"everything the compiler said: {log.path}",
            )
        return target

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(compile_one, range(len(project.sources)), project.sources))


def _link(
    compiler: Path,
    flags: list[str],
    project: Project,
    objects: list[Path],
    elf_path: Path,
    map_path: Path,
    log: _Log,
) -> None:
    # Under other names until it has gone well: a failure leaves the earlier firmware alone.
    new_elf, new_map = elf_path.with_suffix(".elf.new"), map_path.with_suffix(".map.new")
    command = [str(compiler), *flags, "-Wl,--gc-sections", f"-Wl,-Map={new_map}"]
    if project.linker_script is not None:
        command += [*_BARE_METAL_LINK_FLAGS, "-T", str(project.linker_script)]
    command += [*map(str, objects), "-lm", "-o", str(new_elf)]
    ok, said = log.run(command)
    if not ok:
        new_elf.unlink(missing_ok=True)
        new_map.unlink(missing_ok=True)
        _raise_if_too_large(project, said, log)
        raise BuildError(
            f"{project.model.name} does not link: {_first_error(said)}",
            hint=f"everything the linker said: {log.path}",
        )
    new_elf.replace(elf_path)
    new_map.replace(map_path)


def _raise_if_too_large(project: Project, said: str, log: _Log) -> None:
    overflows = {match["region"].lower(): int(match["bytes"]) for match in _OVERFLOW.finditer(said)}
    for region in project.board.memory:
        if region.kind in overflows:
            required = region.size_bytes + overflows[region.kind]
            raise DoesNotFitError(
                f"{project.model.name} does not fit the {region.kind} of {project.board.name}: "
                f"{required:,} bytes needed, {region.size_bytes:,} available",
                required_bytes=required,
                available_bytes=region.size_bytes,
                hint="plan it with less memory, or take a larger board",
            )


def _first_error(said: str) -> str:
    lines = said.strip().splitlines()
    return next(filter(_ERROR.search, lines), lines[-1] if lines else "no message")
