"""Compiles and links firmware."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tvm_patch.board import Board
from tvm_patch.errors import BoardError, BuildError
from tvm_patch.micro import elf
from tvm_patch.micro.build_log import BuildLog, first_error, raise_if_too_large
from tvm_patch.micro.project import Project, create_project
from tvm_patch.micro.tools import HOST_COMPILER, find_arm_compiler, find_tool
from tvm_patch.micro.zephyr import build_with_zephyr

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
    hex_path : Path or None
        The same in Intel HEX, for boards that are flashed.
    zephyr_build_path : Path or None
        Folder of Zephyr's build system, where it built the firmware.
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
    hex_path: Path | None = None
    zephyr_build_path: Path | None = None


def build_firmware(
    model_dir: Path,
    board: Board,
    build_dir: Path,
    *,
    emulate: bool = False,
    jobs: int = 2,
    sanitize: bool = False,
    profile: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
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
    progress : callable or None
        Told what is done, how much, and of how much, where that takes long.

    Raises
    ------
    ModelFileError
        If ``model_dir`` is not a generated model.
    BoardError
        If the board can be built for only with ``emulate``.
    ToolMissingError
        If there is no compiler, or for boards of Zephyr's, no Zephyr.
    BuildError
        If a file does not compile or the firmware does not link; names the log.
    DoesNotFitError
        If flash or SRAM is too small.
    """
    if emulate:
        board = board.emulate()
    if board.port == "bare_metal" and board.machine is None:
        raise BoardError(
            f"{board.name}: bare-metal firmware is for emulated boards",
            hint=f'emulate it, --board {board.name} --emulate, or give it port = "zephyr"',
        )
    project = create_project(model_dir, board, build_dir / "project", profile=profile)
    log = BuildLog(build_dir / "build.log")
    elf_path, map_path = build_dir / "firmware.elf", build_dir / "firmware.map"
    hex_path = zephyr_build_path = None
    if board.port == "zephyr":
        built = build_with_zephyr(project, build_dir / "zephyr", log, jobs=jobs, progress=progress)
        hex_path, zephyr_build_path = build_dir / "firmware.hex", built.build_dir
        for source, target in (
            (built.elf_path, elf_path),
            (built.map_path, map_path),
            (built.hex_path, hex_path),
        ):
            shutil.copyfile(source, target)
    else:
        compiler = find_tool(HOST_COMPILER) if board.port == "host" else find_arm_compiler()
        flags = [*board.core_flags, "-O1" if sanitize else "-O3", *_COMMON_FLAGS]
        if sanitize:
            flags += _SANITIZER_FLAGS
        if profile:
            flags += _PROFILE_FLAGS
        objects = _compile(compiler, flags, project, build_dir / "objects", log, jobs)
        _link(compiler, flags, project, objects, elf_path, map_path, log)
    if board.port == "bare_metal" and not board.dsp and elf.has_dsp_extension(elf_path):
        raise BuildError(
            f"{project.model.name} has instructions that the {board.cpu} of {board.name} lacks",
            hint="core_flags of the board must name its core, and dsp what it has",
        )
    elf.check_fits(elf_path, board)
    sizes = elf.read_sizes(elf_path, board)
    return Firmware(
        elf_path=elf_path,
        map_path=map_path,
        log_path=log.path,
        flash_bytes=sizes.flash_bytes,
        static_sram_bytes=sizes.static_sram_bytes,
        stack_reserve_bytes=sizes.stack_reserve_bytes,
        arena_symbol_bytes=elf.read_symbol_bytes(elf_path, project.model.arena_symbol),
        board=board,
        fingerprint=project.model.fingerprint,
        hex_path=hex_path,
        zephyr_build_path=zephyr_build_path,
    )


def _compile(
    compiler: Path, flags: list[str], project: Project, objects_dir: Path, log: BuildLog, jobs: int
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
                f"{source.name} does not compile: {first_error(said)}",
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
    log: BuildLog,
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
        raise_if_too_large(project.model.name, project.board, said)
        raise BuildError(
            f"{project.model.name} does not link: {first_error(said)}",
            hint=f"everything the linker said: {log.path}",
        )
    new_elf.replace(elf_path)
    new_map.replace(map_path)
