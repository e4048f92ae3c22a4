"""A linked firmware as the estimate needs it: functions by address, and decoded instructions."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tvm_patch.errors import BuildError, ToolMissingError


class Kind(Enum):
    """What decides the time that an instruction takes."""

    SIMPLE = "simple"
    """Data processing of one cycle, multiplications too."""
    DIVIDE = "divide"
    LOAD = "load"
    """One register."""
    STORE = "store"
    """One register, address by an immediate offset."""
    STORE_REGISTER_OFFSET = "store, register offset"
    MULTIPLE = "multiple"
    """Several registers: LDM, LDRD, PUSH, VLDM and so on."""
    BRANCH = "branch"
    """Target in the instruction."""
    INDIRECT = "indirect"
    """Target in a register."""
    TABLE_BRANCH = "table branch"
    FLOAT_MULTIPLY_ADD = "floating-point multiply and add"
    FLOAT_DIVIDE = "floating-point divide"
    FLOAT_MOVE_PAIR = "floating-point move of a pair"


@dataclass(frozen=True)
class Instruction:
    """One decoded instruction.

    Parameters
    ----------
    address, size_bytes : int
        Where it is.
    name : str
        Mnemonic without condition and width.
    kind : Kind
        For the timing.
    address_registers : frozenset of str
        Registers that an access's address is made of.
    results : frozenset of str
        Registers written, but for a base that is updated by a load or store.
    transfers : int
        Words that an access of several registers moves.
    writes_pc : bool
        Whether it goes elsewhere by writing the program counter, as POP {pc} does.
    target : int or None
        Of a branch with an immediate.
    """

    address: int
    size_bytes: int
    name: str
    kind: Kind
    address_registers: frozenset[str] = frozenset()
    results: frozenset[str] = frozenset()
    transfers: int = 0
    writes_pc: bool = False
    target: int | None = None


_DIVIDES = {"sdiv", "udiv"}
_PAIRS = {"ldrd", "strd"}
_MULTIPLES = {
    *("ldm", "ldmdb", "stm", "stmdb", "push", "pop"),
    *("vldmia", "vldmdb", "vstmia", "vstmdb", "vpush", "vpop"),
}
_FLOAT_MULTIPLY_ADDS = {
    *("vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms"),
}
_FLOAT_DIVIDES = {"vdiv", "vsqrt"}
_BRANCHES = {"b", "bl", "cbz", "cbnz"}
_INDIRECT = {"bx", "blx"}
_TABLE_BRANCHES = {"tbb", "tbh"}


class Program:
    """Code and symbols of an ELF file.

    Parameters
    ----------
    path : Path
        A firmware for a Cortex-M.

    Raises
    ------
    BuildError
        If it is no ELF file.
    ToolMissingError
        If the disassembler, the Python package capstone, is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoder = _decoder()
        self._decoded: dict[tuple[int, int], tuple[Instruction, ...]] = {}
        try:
            with path.open("rb") as file:
                elf = ELFFile(file)
                self._segments = [
                    (segment["p_vaddr"], segment.data())
                    for segment in elf.iter_segments("PT_LOAD")
                    if segment["p_filesz"]
                ]
                symbols = [
                    symbol
                    for section in elf.iter_sections()
                    if isinstance(section, SymbolTableSection)
                    for symbol in section.iter_symbols()
                ]
        except (OSError, ELFError) as error:
            raise BuildError(f"{path}: is not a linked firmware: {error}") from error
        self._symbols = {s.name: (s["st_value"], s["st_size"]) for s in symbols if s.name}
        functions = {
            s["st_value"] & ~1: (s["st_value"] & ~1, s["st_size"], s.name)
            for s in symbols
            if s["st_info"]["type"] == "STT_FUNC"
        }
        self._functions = sorted(functions.values())

    @cached_property
    def _starts(self) -> list[int]:
        return [begin for begin, _, _ in self._functions]

    def symbol(self, name: str) -> tuple[int, int] | None:
        """Address, without the Thumb bit if it is a function's, and size of a symbol."""
        found = self._symbols.get(name)
        if found is None:
            return None
        address, size = found
        return (address & ~1 if (address & ~1) in self._starts else address), size

    def function_at(self, address: int) -> str:
        """Name of the function that holds an address; empty if there is none."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0:
            begin, size, name = self._functions[index]
            # Hand-written assembly may come without sizes.
            if address < begin + max(size, 2) or size == 0:
                return str(name)
        return ""

    def _code(self, address: int, most_bytes: int) -> bytes:
        for begin, data in self._segments:
            if begin <= address < begin + len(data):
                return bytes(memoryview(data)[address - begin :][:most_bytes])
        raise BuildError(f"{self._path}: has no code at 0x{address:x}")

    def instructions(self, address: int, count: int) -> tuple[Instruction, ...]:
        """Decode a run of instructions.

        Raises
        ------
        BuildError
            If there is no code, or an instruction that the disassembler does not know.
        """
        key = (address, count)
        if key not in self._decoded:
            code = self._code(address, 4 * count)
            decoded = tuple(map(_describe, self._decoder.disasm(code, address, count)))
            if len(decoded) != count:
                raise BuildError(f"{self._path}: cannot be disassembled at 0x{address:x}")
            self._decoded[key] = decoded
        return self._decoded[key]

    def is_wide(self, address: int) -> bool:
        """Whether the instruction at an address has 32 bits (Armv7-M ARM, A5.1)."""
        return int.from_bytes(self._code(address, 2), "little") >> 11 in (0b11101, 0b11110, 0b11111)


def _decoder() -> Any:
    try:
        import capstone
    except ModuleNotFoundError as error:
        raise ToolMissingError(
            f"the Python package {error.name!r}, which disassembles, is not installed",
            hint="pip install 'tvm-patch[full]'",
        ) from error
    decoder = capstone.Cs(
        capstone.CS_ARCH_ARM,
        capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS,
    )
    decoder.detail = True
    return decoder


def _describe(decoded: Any) -> Instruction:
    """A record out of capstone's."""
    from capstone import arm

    name = str(decoded._cs.insn_name(decoded.id))
    register = decoded._cs.reg_name
    memory = [operand for operand in decoded.operands if operand.type == arm.ARM_OP_MEM]
    bases = {
        register(number)
        for operand in memory
        for number in (operand.mem.base, operand.mem.index)
        if number
    }
    written = {register(number) for number in decoded.regs_access()[1]}
    kind = _kind(name, decoded, memory)
    writes_pc = "pc" in written and kind not in (Kind.BRANCH, Kind.INDIRECT, Kind.TABLE_BRANCH)
    immediate = [operand.imm for operand in decoded.operands if operand.type == arm.ARM_OP_IMM]
    return Instruction(
        address=decoded.address,
        size_bytes=decoded.size,
        name=name,
        kind=kind,
        address_registers=frozenset(bases) if memory else _multiple_base(name, decoded, register),
        results=frozenset(written - (bases if memory else set()) - {"cpsr", "itstate"})
        | _loaded(kind, decoded, register),
        transfers=_transfers(name, decoded, register),
        writes_pc=writes_pc,
        target=immediate[-1] if kind is Kind.BRANCH and immediate else None,
    )


def _kind(name: str, decoded: Any, memory: list[Any]) -> Kind:
    if name in _PAIRS or name in _MULTIPLES:
        return Kind.MULTIPLE
    for names, kind in (
        (_DIVIDES, Kind.DIVIDE),
        (_BRANCHES, Kind.BRANCH),
        (_INDIRECT, Kind.INDIRECT),
        (_TABLE_BRANCHES, Kind.TABLE_BRANCH),
        (_FLOAT_MULTIPLY_ADDS, Kind.FLOAT_MULTIPLY_ADD),
        (_FLOAT_DIVIDES, Kind.FLOAT_DIVIDE),
    ):
        if name in names:
            return kind
    if memory:
        if name.startswith(("str", "vstr")):
            return Kind.STORE_REGISTER_OFFSET if memory[0].mem.index else Kind.STORE
        return Kind.SIMPLE if name.startswith("pld") else Kind.LOAD
    if name == "vmov" and len(decoded.operands) > 2:
        return Kind.FLOAT_MOVE_PAIR
    return Kind.SIMPLE


def _loaded(kind: Kind, decoded: Any, register: Any) -> frozenset[str]:
    """The register that a load fills: its base too, if that is the one."""
    if kind is not Kind.LOAD:
        return frozenset()
    return frozenset({register(decoded.operands[0].reg)})


def _multiple_base(name: str, decoded: Any, register: Any) -> frozenset[str]:
    if name not in _MULTIPLES:
        return frozenset()
    if name in ("push", "pop", "vpush", "vpop"):
        return frozenset({"sp"})
    return frozenset({register(decoded.operands[0].reg)})


def _transfers(name: str, decoded: Any, register: Any) -> int:
    """Words moved; a double-precision register is two."""
    if name in _PAIRS:
        return 2
    if name not in _MULTIPLES:
        return 0
    listed = decoded.operands
    if name not in ("push", "pop", "vpush", "vpop"):
        listed = listed[1:]
    return sum(2 if register(operand.reg).startswith("d") else 1 for operand in listed)
