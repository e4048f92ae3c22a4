"""Where cycles cannot be estimated the firmware runs all the same, and the reason is told."""

from __future__ import annotations

import shutil
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import need_emulator
from tvm_patch.board import load_board
from tvm_patch.cycles import (
    CortexM4,
    Counter,
    Estimated,
    Program,
    counting,
    run_counted,
    why_not,
)
from tvm_patch.errors import BoardError, BuildError, ProtocolError, ToolMissingError
from tvm_patch.micro import Firmware, Session, build_firmware
from tvm_patch.micro.tools import HOST_COMPILER

TIMED = Path(__file__).parent / "timed_model"


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    need_emulator()
    folder = tmp_path_factory.mktemp("timed")
    return build_firmware(TIMED, load_board("qemu_cortex_m4"), folder)


def need_compiler() -> None:
    if not any(map(shutil.which, HOST_COMPILER.commands)):
        pytest.skip("no compiler for this machine")


def estimated(firmware: Firmware, folder: Path) -> Estimated:
    """Run once; what was computed must not depend on whether it was counted."""

    def work(session: Session) -> bytes:
        session.write_input(0, struct.pack("<I", 3))
        session.run()
        return session.read_output(0)

    done, found = run_counted(firmware, "timed", folder, CortexM4(), work)
    assert len(done) == 16
    return found


@pytest.mark.emulator
def test_with_everything_there_it_is_estimated(firmware: Firmware, tmp_path: Path) -> None:
    found = estimated(firmware, tmp_path)
    assert (found.core, found.missing) == ("Cortex-M4", "")


@pytest.mark.emulator
def test_without_a_compiler(
    firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = replace(HOST_COMPILER, commands=("no-such-compiler",))
    monkeypatch.setattr(counting, "HOST_COMPILER", nowhere)
    found = estimated(firmware, tmp_path)
    assert found.estimates == ()
    assert "cc is not installed" in found.missing


@pytest.mark.emulator
def test_with_a_plugin_that_does_not_compile(
    firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.c"
    broken.write_text("this is not C")
    monkeypatch.setattr(counting, "_SOURCE", broken)
    assert "broken.c does not compile" in estimated(firmware, tmp_path).missing


@pytest.mark.emulator
def test_with_a_qemu_that_takes_no_plugin(
    firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "foreign.c"
    foreign.write_text("int qemu_plugin_version = 99; int qemu_plugin_install(void) { return 0; }")
    monkeypatch.setattr(counting, "_SOURCE", foreign)
    monkeypatch.setattr(counting, "_FLAGS", ("-shared", "-fPIC"))
    missing = estimated(firmware, tmp_path).missing
    assert "QEMU does not run with the plugin" in missing
    assert "version" in missing


@pytest.mark.emulator
def test_in_a_folder_with_a_comma(firmware: Firmware, tmp_path: Path) -> None:
    assert "comma" in estimated(firmware, tmp_path / "a,b").missing


@pytest.mark.emulator
def test_without_a_disassembler(
    firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "capstone", None)
    missing = estimated(firmware, tmp_path).missing
    assert "capstone" in missing
    assert "pip install 'tvm-patch[full]'" in missing
    assert "\n" not in missing
    with pytest.raises(ToolMissingError) as raised:
        Program(firmware.elf_path)
    assert "pip install" in str(raised.value.hint)


def test_other_cores_and_boards_are_named() -> None:
    assert why_not(load_board("qemu_cortex_m4")) == ""
    assert why_not(load_board("nrf52840dk").emulate()) == ""
    assert "not for the cortex-m7" in why_not(load_board("qemu_cortex_m7"))
    assert "emulated boards only" in why_not(load_board("host"))
    assert "emulated boards only" in why_not(load_board("nrf52840dk"))


def test_counts_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    need_compiler()
    counter = Counter(tmp_path, (0,), (0,))
    out = tmp_path / "executions.txt"
    with pytest.raises(ProtocolError, match="no counts"):
        counter.regions()
    for text in ("region\n0 100 3 5 1 0 0\n", "0 100 3 5 1 0 0\n", "region\n0 1 2\nend\n"):
        out.write_text(text)
        with pytest.raises(ProtocolError, match="no counts"):
            counter.regions()
    out.write_text("region\n0 100 3 5 1 0 0\n0 100 3 2 1 4 1\n1 10 1 1 0 0 0\nend\n")
    (region,) = counter.regions()
    assert [len(blocks) for blocks in region.spans.values()] == [1, 1]
    (block,) = region.spans[0]
    assert (block.address, block.instructions, block.executions) == (0x100, 3, 7)
    assert (block.taken, block.flash_reads, block.misaligned) == (2, 4, 1)


def test_the_plugin_compiles_without_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_compiler()
    strict = (*counting._FLAGS, "-Wall", "-Wextra", "-Werror", "-pedantic")
    monkeypatch.setattr(counting, "_FLAGS", strict)
    assert counting.build_plugin(tmp_path).is_file()


def test_what_is_no_firmware_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "firmware.elf"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(BuildError, match="not a linked firmware"):
        Program(path)


@pytest.mark.emulator
def test_a_program_knows_its_functions_and_code(firmware: Firmware) -> None:
    program = Program(firmware.elf_path)
    found = program.symbol("tvmgen_timed_run")
    assert found is not None
    address, size = found
    assert address % 2 == 0
    assert program.function_at(address) == "tvmgen_timed_run"
    assert program.function_at(address + size - 2) == "tvmgen_timed_run"
    assert program.symbol("no_such_symbol") is None
    with pytest.raises(BuildError, match="no code at 0xf0000000"):
        program.instructions(0xF0000000, 1)
    with pytest.raises(BuildError, match="cannot be disassembled"):
        program.instructions(address, 1_000_000)


def test_a_comma_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    need_compiler()
    counter = Counter(tmp_path / "a,b", (0,), (0,))
    with pytest.raises(BoardError, match="comma") as raised:
        counter.emulator_options(load_board("qemu_cortex_m4"))
    assert raised.value.hint
