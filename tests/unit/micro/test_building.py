"""Building: what comes out, what is refused, and what stays when it fails."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tvm_patch.board import MemoryRegion, load_board
from tvm_patch.errors import (
    BoardError,
    BuildError,
    DoesNotFitError,
    ModelFileError,
    ToolMissingError,
)
from tvm_patch.micro import build_firmware, elf, flash, open_session
from tvm_patch.micro.project import create_project
from tvm_patch.micro.tools import ARM_COMPILER, EMULATOR, Tool, find_tool, inspect_tool

from .conftest import HERE, BuildOnce

SAMPLE = HERE / "sample_model"

needs_arm_compiler = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"
)


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A copy of the sample that a test may spoil."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "model"))


def change_manifest(model_dir: Path, **changes: object) -> None:
    path = model_dir / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@needs_arm_compiler
@pytest.mark.parametrize("board", ["qemu_cortex_m7", "qemu_cortex_m4", "qemu_cortex_m33"])
def test_sizes_are_those_of_the_linker_map(board: str, firmware_of: BuildOnce) -> None:
    firmware = firmware_of("probe", board)
    linker_map = firmware.map_path.read_text()
    arena = re.search(r"^\.tvmgen_arena\s+0x\w+\s+(0x\w+)", linker_map, re.MULTILINE)
    assert arena is not None
    assert int(arena[1], 16) == firmware.arena_symbol_bytes == 6021
    # Server, frames and guards: what the runtime takes beside the arena, and its code.
    assert firmware.static_sram_bytes - 6021 < 2600
    assert firmware.flash_bytes < 8000
    assert firmware.stack_reserve_bytes == 8192


@needs_arm_compiler
def test_a_real_boards_memory_is_kept_on_its_emulator(firmware_of: BuildOnce) -> None:
    board = firmware_of("sample", "stm32f746g_disco").board
    assert (board.name, board.emulated_by) == ("stm32f746g_disco", "qemu_cortex_m7")
    flash_region, sram = board.region("flash"), board.region("sram")
    assert flash_region is not None and flash_region.size_bytes == 1024 * 1024
    assert sram is not None and sram.size_bytes == 320 * 1024


@needs_arm_compiler
@pytest.mark.parametrize("kind", ["flash", "sram"])
def test_what_does_not_fit_is_said_in_bytes(kind: str, tmp_path: Path) -> None:
    board = load_board("qemu_cortex_m7")
    available = {"flash": 2048, "sram": 9216}[kind]
    memory = tuple(
        replace(region, size_bytes=available) if region.kind == kind else region
        for region in board.memory
    )
    with pytest.raises(DoesNotFitError, match=f"sample does not fit the {kind}") as raised:
        build_firmware(SAMPLE, replace(board, memory=memory), tmp_path)
    error = raised.value
    assert error.available_bytes == available
    # It fits what it says that it needs.
    enough = tuple(
        replace(region, size_bytes=error.required_bytes) if region.kind == kind else region
        for region in board.memory
    )
    build_firmware(SAMPLE, replace(board, memory=enough), tmp_path)


def test_a_compiler_error_names_file_and_log_and_spares_the_earlier_firmware(
    model_dir: Path, tmp_path: Path
) -> None:
    build_dir = tmp_path / "build"
    firmware = build_firmware(model_dir, load_board("host"), build_dir)
    before = firmware.elf_path.read_bytes()
    (model_dir / "src/sample.c").write_text("int broken(void) { return missing; }\n")
    with pytest.raises(BuildError, match=r"sample\.c does not compile.*missing") as raised:
        build_firmware(model_dir, load_board("host"), build_dir)
    assert str(build_dir / "build.log") in str(raised.value)
    assert "missing" in (build_dir / "build.log").read_text()
    assert firmware.elf_path.read_bytes() == before


def test_a_linker_error_is_a_build_error(model_dir: Path, tmp_path: Path) -> None:
    source = model_dir / "src/sample.c"
    text = source.read_text().replace(
        "const char *tvmgen_sample_operator_name(",
        "const char *another_name(uint32_t);\nconst char *another_name(",
    )
    source.write_text(text)
    with pytest.raises(BuildError, match="sample does not link"):
        build_firmware(model_dir, load_board("host"), tmp_path / "build")
    assert not (tmp_path / "build/firmware.elf").exists()


def test_the_same_project_is_written_twice_alike(tmp_path: Path) -> None:
    board = load_board("qemu_cortex_m7")
    texts = []
    for name in ("one", "two"):
        create_project(SAMPLE, board, tmp_path / name)
        texts.append({path.name: path.read_text() for path in (tmp_path / name).iterdir()})
    assert texts[0] == texts[1]
    assert set(texts[0]) == {"model_binding.c", "board_config.h", "link.ld"}


def test_odd_names_are_quoted_in_c(model_dir: Path, tmp_path: Path) -> None:
    name = 'a "b"\\ ü1\n'
    change_manifest(model_dir, name=name)
    firmware = build_firmware(model_dir, load_board("host"), tmp_path / "build")
    with open_session(firmware) as session:
        assert session.info().model_name == name


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "model.json").unlink(),
        lambda folder: (folder / "model.json").write_text("{"),
        lambda folder: (folder / "model.json").write_text("[]"),
        lambda folder: change_manifest(folder, inputs=[{"name": "x"}]),
        lambda folder: change_manifest(folder, sources=None),
    ],
)
def test_a_foreign_folder_is_refused(spoil: object, model_dir: Path, tmp_path: Path) -> None:
    assert callable(spoil)
    spoil(model_dir)
    with pytest.raises(ModelFileError, match=r"model\.json"):
        build_firmware(model_dir, load_board("host"), tmp_path / "build")


def test_bare_metal_firmware_is_for_emulated_boards(tmp_path: Path) -> None:
    board = replace(load_board("qemu_cortex_m4"), name="mine", machine=None)
    with pytest.raises(BoardError, match="mine: bare-metal firmware is for emulated boards"):
        build_firmware(SAMPLE, board, tmp_path)


def test_another_board_on_the_port_is_named(firmware_of: BuildOnce) -> None:
    firmware = firmware_of("sample", "host")
    elsewhere = replace(firmware, board=replace(firmware.board, name="nrf52840dk"))
    with pytest.raises(BoardError, match="host answers, not nrf52840dk") as raised:
        open_session(elsewhere)
    assert "--board host" in str(raised.value)


def _less(region: MemoryRegion) -> int:
    """So little that the firmware's last section begins inside the region and ends behind it."""
    return 5_000 if region.kind == "flash" else 8_500


@needs_arm_compiler
def test_what_lies_outside_the_boards_memory_is_named(firmware_of: BuildOnce) -> None:
    firmware = firmware_of("sample", "qemu_cortex_m7")
    elf.check_fits(firmware.elf_path, firmware.board)
    # As if the linker had been told of more, or of other memory.
    for kind, match in (("flash", "bytes behind the flash"), ("sram", "bytes behind the sram")):
        memory = tuple(
            replace(region, size_bytes=_less(region)) if region.kind == kind else region
            for region in firmware.board.memory
        )
        with pytest.raises(DoesNotFitError, match=match) as raised:
            elf.check_fits(firmware.elf_path, replace(firmware.board, memory=memory))
        assert raised.value.section == kind
    elsewhere = replace(firmware.board.memory[0], origin=0x08000000)
    board = replace(firmware.board, memory=(elsewhere, firmware.board.memory[1]))
    with pytest.raises(DoesNotFitError, match="no memory at 0x00000000"):
        elf.check_fits(firmware.elf_path, board)


def test_there_is_nothing_to_flash_on_the_host(firmware_of: BuildOnce) -> None:
    assert "a process loads" in flash(firmware_of("sample", "host"))


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="arm-none-eabi-gcc is not installed") as raised:
        build_firmware(SAMPLE, load_board("qemu_cortex_m7"), tmp_path / "build")
    assert "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi" in str(raised.value)
    with pytest.raises(ToolMissingError, match="qemu-system-arm"):
        find_tool(EMULATOR)


def test_a_missing_c_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "arm-none-eabi-gcc"
    compiler.write_text("#!/bin/sh\necho libc.a\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(ToolMissingError, match="newlib"):
        build_firmware(SAMPLE, load_board("qemu_cortex_m7"), tmp_path / "build")


@needs_arm_compiler
def test_versions_are_read() -> None:
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", inspect_tool(ARM_COMPILER).version)


def test_a_tool_that_tells_no_version_is_found_all_the_same() -> None:
    assert inspect_tool(Tool("true", ("true",), "nothing", ("coreutils",))).path.name == "true"


def test_elf_files_are_read_for_symbols_and_functions(
    firmware_of: BuildOnce, tmp_path: Path
) -> None:
    path = firmware_of("sample", "host").elf_path
    assert elf.read_symbol_bytes(path, "tvmgen_sample_arena") == 576
    assert elf.find_function(path, 1) is None
    with pytest.raises(BuildError, match="no symbol nowhere"):
        elf.read_symbol_bytes(path, "nowhere")
    foreign = tmp_path / "foreign.elf"
    foreign.write_text("not an ELF file")
    with pytest.raises(BuildError, match="not a linked firmware"):
        elf.read_sizes(foreign, load_board("host"))


@pytest.mark.emulator
def test_sizes_of_the_generated_part_are_those_of_its_symbols(firmware_of: BuildOnce) -> None:
    firmware = firmware_of("sample", "qemu_cortex_m7")
    sizes = elf.read_model_sizes(firmware.elf_path)
    listed = subprocess.run(
        ["arm-none-eabi-nm", "-S", str(firmware.elf_path)], capture_output=True, text=True
    ).stdout
    symbols = [line.split() for line in listed.splitlines()]
    code = [int(s[1], 16) for s in symbols if len(s) == 4 and s[2] in "tT" and "tvmgen_" in s[3]]
    assert sizes.code_bytes == sum(code) > 0
    assert sizes.constant_bytes == 0
