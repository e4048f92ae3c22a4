"""What a linked firmware takes of a board's memory, and what its addresses are called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError, ELFParseError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section, Symbol, SymbolTableSection

from tvm_patch.board import Board
from tvm_patch.errors import BuildError, DoesNotFitError, UploadRefusedError

_SHF_WRITE = 1
_SHF_ALLOC = 2
_STACK_SECTION = ".stack"
_ARCHITECTURE_V7E_M = 13

# Values of Tag_CPU_arch and Tag_FP_arch (Arm, "Addenda to the ABI for the Arm Architecture", 2.5).
_ARM_V7, _ARM_V7E_M, _ARM_V8_M_MAIN, _ARM_V8_1_M_MAIN = 10, 13, 17, 21
_NO_FPU, _FPV4_D16, _FPV5_D16 = 0, 6, 8
_ARCHITECTURES = {
    "cortex-m3": {_ARM_V7},
    "cortex-m4": {_ARM_V7, _ARM_V7E_M},
    "cortex-m7": {_ARM_V7, _ARM_V7E_M},
    "cortex-m33": {_ARM_V7, _ARM_V7E_M, _ARM_V8_M_MAIN},
    "cortex-m55": {_ARM_V7, _ARM_V7E_M, _ARM_V8_M_MAIN, _ARM_V8_1_M_MAIN},
}
_FPUS = {
    "cortex-m3": {_NO_FPU},
    "cortex-m4": {_NO_FPU, _FPV4_D16},
}
_FPUS_OF_OTHERS = {_NO_FPU, _FPV4_D16, _FPV5_D16}


@dataclass(frozen=True)
class ElfSizes:
    """Memory that a firmware takes.

    Parameters
    ----------
    flash_bytes : int
        Code, constants, and the initial values of data.
    static_sram_bytes : int
        Data, zero-initialised data, and the arena with its guards; not the stack.
    stack_reserve_bytes : int
        SRAM that the linker script keeps for the stack; 0 on the host.
    """

    flash_bytes: int
    static_sram_bytes: int
    stack_reserve_bytes: int


def read_sizes(path: Path, board: Board) -> ElfSizes:
    """Add up what an ELF file takes of a board's memory.

    Raises
    ------
    BuildError
        If the file is not an ELF file.
    """
    flash = sram = stack = 0
    with _open_elf(path) as elf:
        for section in _loaded_sections(elf):
            size = section["sh_size"]
            in_sram = _is_written(section, board)
            if section.name == _STACK_SECTION:
                stack += size
            elif in_sram:
                sram += size
            if section["sh_type"] != "SHT_NOBITS":
                flash += size
        if board.port == "zephyr":
            # Its symbol has a guard in it, which is no room for a stack.
            stack = board.stack_reserve_bytes
            sram -= stack
    return ElfSizes(flash, sram, stack)


def check_fits(path: Path, board: Board) -> None:
    """Make sure that everything lies in the board's memory, whoever has linked it.

    Raises
    ------
    BuildError
        If the file is not an ELF file.
    DoesNotFitError
        If a section lies elsewhere; names it.
    """
    if not board.memory:
        return
    with _open_elf(path) as elf:
        for section in _loaded_sections(elf):
            begin, size = section["sh_addr"], section["sh_size"]
            if size == 0:
                continue
            region = next((region for region in board.memory if region.contains(begin)), None)
            if region is None:
                raise DoesNotFitError(
                    f"{path}: {board.name} has no memory at 0x{begin:08x}, where the firmware "
                    f"has its section {section.name}",
                    hint="compare the board's file with what the linker was told",
                )
            over = begin + size - region.origin - region.size_bytes
            if over > 0:
                raise DoesNotFitError(
                    f"{path}: section {section.name} ends {over:,} bytes behind the "
                    f"{region.kind} of {board.name}",
                    required_bytes=region.size_bytes + over,
                    available_bytes=region.size_bytes,
                    section=region.kind,
                    hint="plan it with less memory, or take a larger board",
                )


def _loaded_sections(elf: ELFFile) -> Iterator[Section]:
    for section in elf.iter_sections():
        if section["sh_flags"] & _SHF_ALLOC:
            yield section


def _is_written(section: Section, board: Board) -> bool:
    """By its address: flags say what a section could be, and tables in flash are writable too."""
    if not board.memory:
        return bool(section["sh_flags"] & _SHF_WRITE)
    address = section["sh_addr"]
    return any(
        region.contains(address) for region in board.memory if region.kind in ("sram", "dtcm")
    )


def read_symbol_bytes(path: Path, name: str) -> int:
    """Return the size of a symbol.

    Raises
    ------
    BuildError
        If the file is not an ELF file, or has no such symbol.
    """
    with _open_elf(path) as elf:
        for symbol in _symbols(elf):
            if symbol.name == name:
                return int(symbol["st_size"])
    raise BuildError(f"{path}: has no symbol {name}")


def has_dsp_extension(path: Path) -> bool:
    """Say whether code in an Arm ELF file may use instructions of the DSP extension.

    The assembler takes such instructions only where the attributes, which the linker merges, name
    an architecture with them: Armv7E-M, or Armv8-M with the extension (Addenda to, and Errata in,
    the ABI for the Arm Architecture, section "Target-related attributes").

    Raises
    ------
    BuildError
        If the file is not an ELF file.
    """
    with _open_elf(path) as elf:
        section = elf.get_section_by_name(".ARM.attributes")
        if section is None:
            return False
        attributes = {
            attribute.tag: attribute.value
            for subsection in section.iter_subsections()
            for part in subsection.iter_subsubsections()
            for attribute in part.iter_attributes()
        }
    return (
        attributes.get("TAG_CPU_ARCH") == _ARCHITECTURE_V7E_M
        or attributes.get("TAG_DSP_EXTENSION", 0) == 1
    )


@dataclass(frozen=True)
class ModelSizes:
    """Flash that the generated part of a firmware takes.

    Parameters
    ----------
    code_bytes : int
        Its functions, micro-kernels included; not libc's, nor the runtime's.
    constant_bytes : int
        Weights, biases, multipliers and tables.
    """

    code_bytes: int
    constant_bytes: int


def read_model_sizes(path: Path) -> ModelSizes:
    """Add up the symbols of generated C, whose names begin with ``tvmgen_`` or ``tvmp_``.

    Raises
    ------
    BuildError
        If the file is not an ELF file.
    """
    code: dict[int, int] = {}
    constants: dict[int, int] = {}
    with _open_elf(path) as elf:
        for symbol in _symbols(elf):
            if not symbol.name.startswith(("tvmgen_", "tvmp_")):
                continue
            section = symbol["st_shndx"]
            if not isinstance(section, int) or elf.get_section(section)["sh_flags"] & _SHF_WRITE:
                continue
            # Several names may stand for the same bytes: equal functions are folded.
            found = code if symbol["st_info"]["type"] == "STT_FUNC" else constants
            found[symbol["st_value"]] = int(symbol["st_size"])
    return ModelSizes(sum(code.values()), sum(constants.values()))


def find_function(path: Path, address: int) -> str | None:
    """Return the function that holds ``address`` (its Thumb bit is ignored), if any."""
    address &= ~1
    with _open_elf(path) as elf:
        for symbol in _symbols(elf):
            begin = symbol["st_value"] & ~1
            is_function = symbol["st_info"]["type"] == "STT_FUNC"
            if is_function and begin <= address < begin + symbol["st_size"]:
                return str(symbol.name)
    return None


def check_elf_runs_on(path: Path, board: Board) -> None:
    """Make sure that a file is a firmware for the board's core, within the board's memory.

    Raises
    ------
    UploadRefusedError
        If it is not; says what it is instead.
    """
    try:
        with path.open("rb") as file:
            _check_core(ELFFile(file), board)
            _check_segments(ELFFile(file), board)
    except (OSError, ELFError, ELFParseError, ValueError, KeyError, AttributeError) as error:
        raise UploadRefusedError(f"{path.name}: is not an ELF file: {error}") from error


def _check_core(elf: ELFFile, board: Board) -> None:
    header = elf.header
    if (header["e_machine"], header["e_type"], elf.elfclass) != ("EM_ARM", "ET_EXEC", 32):
        raise UploadRefusedError(
            f"firmware.elf: {header['e_machine']}, {header['e_type']}, {elf.elfclass} bits; "
            f"{board.name} runs executables for Arm",
            hint=f"build it with --board {board.name}",
        )
    tags = _arm_attributes(elf)
    architecture, fpu = tags.get("TAG_CPU_ARCH", 0), tags.get("TAG_FP_ARCH", _NO_FPU)
    fpus = _FPUS.get(board.cpu, _FPUS_OF_OTHERS)
    if architecture not in _ARCHITECTURES.get(board.cpu, set()) or fpu not in fpus:
        raise UploadRefusedError(
            f"firmware.elf: for another core (architecture {architecture}, FPU {fpu}) than "
            f"{board.name}'s {board.cpu}",
            hint=f"build it with --board {board.name}",
        )


def _arm_attributes(elf: ELFFile) -> dict[str, int]:
    section = elf.get_section_by_name(".ARM.attributes")
    tags: dict[str, int] = {}
    for subsection in section.iter_subsections() if section is not None else ():
        for part in subsection.iter_subsubsections():
            for attribute in part.iter_attributes():
                if isinstance(attribute.value, int):
                    tags[attribute.tag] = attribute.value
    return tags


def _check_segments(elf: ELFFile, board: Board) -> None:
    loaded = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_memsz"]]
    if not loaded:
        raise UploadRefusedError("firmware.elf: has nothing to load", hint="link it")
    for segment in loaded:
        for begin, size in (
            (segment["p_vaddr"], segment["p_memsz"]),
            (segment["p_paddr"], segment["p_filesz"]),
        ):
            inside = any(
                region.origin <= begin and begin + size <= region.origin + region.size_bytes
                for region in board.memory
            )
            if size and not inside:
                raise UploadRefusedError(
                    f"firmware.elf: wants {size:,} bytes at 0x{begin:08x}, which {board.name} "
                    "does not have",
                    hint=f"build it with --board {board.name}",
                )


def _symbols(elf: ELFFile) -> Iterator[Symbol]:
    for section in elf.iter_sections():
        if isinstance(section, SymbolTableSection):
            yield from section.iter_symbols()


@contextmanager
def _open_elf(path: Path) -> Iterator[ELFFile]:
    try:
        with path.open("rb") as file:
            yield ELFFile(file)
    except (OSError, ELFError) as error:
        raise BuildError(f"{path}: is not a linked firmware: {error}") from error
