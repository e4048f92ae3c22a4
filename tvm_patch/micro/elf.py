"""What a linked firmware takes of a board's memory, and what its addresses are called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection

from tvm_patch.errors import BuildError

_SHF_WRITE = 1
_SHF_ALLOC = 2
_STACK_SECTION = ".stack"
_ARCHITECTURE_V7E_M = 13


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


def read_sizes(path: Path) -> ElfSizes:
    """Add up the sections of an ELF file.

    Raises
    ------
    BuildError
        If the file is not an ELF file.
    """
    flash = sram = stack = 0
    with _open_elf(path) as elf:
        for section in elf.iter_sections():
            flags, size = section["sh_flags"], section["sh_size"]
            if not flags & _SHF_ALLOC:
                continue
            if section.name == _STACK_SECTION:
                stack += size
            elif flags & _SHF_WRITE:
                sram += size
                if section["sh_type"] != "SHT_NOBITS":
                    flash += size
            else:
                flash += size
    return ElfSizes(flash, sram, stack)


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
