"""Inlined functions are told apart by debugging information."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import need_emulator
from tvm_patch.cycles import Program
from tvm_patch.cycles.inlining import inlined_functions
from tvm_patch.errors import BuildError

SOURCE = """
static inline __attribute__((always_inline)) int inner(int x) { return x / 3; }
static inline __attribute__((always_inline)) int outer(int x) { return inner(x) ^ 0x55; }
int kernel(int x);
int kernel(int x) { return outer(x + 1) + 7; }
void _start(void);
void _start(void) { kernel(0); }
"""


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    need_emulator()
    source, elf = tmp_path / "kernel.c", tmp_path / "kernel.elf"
    source.write_text(SOURCE)
    flags = ["-mcpu=cortex-m4", "-mthumb", "-O2", "-fno-inline-functions", "-g", "-nostdlib"]
    command = ["arm-none-eabi-gcc", *flags, str(source), "-o", str(elf)]
    subprocess.run(command, check=True, capture_output=True)
    return elf


def test_every_instruction_has_its_chain_of_functions(elf: Path) -> None:
    program = Program(elf)
    found = program.symbol("kernel")
    assert found is not None
    address, size = found
    addresses = range(address, address + size, 2)
    chains = inlined_functions(elf, addresses)
    assert set(chains) == set(addresses)
    assert {chain[-1] for chain in chains.values()} == {"kernel"}
    assert {("inner", "outer", "kernel"), ("outer", "kernel"), ("kernel",)} >= set(chains.values())
    # The division is a multiplication by hand-picked numbers.
    for instruction in program.instructions(address, 3):
        if instruction.name.startswith("smull"):
            assert chains[instruction.address] == ("inner", "outer", "kernel")
    assert any(chain[0] == "inner" for chain in chains.values())


def test_what_is_no_firmware_is_refused(tmp_path: Path) -> None:
    need_emulator()
    with pytest.raises(BuildError, match=r"nothing\.elf"):
        inlined_functions(tmp_path / "nothing.elf", [0])
