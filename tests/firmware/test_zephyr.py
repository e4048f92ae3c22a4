"""Firmware on Zephyr, where there is a tree to build with: ``ZEPHYR_BASE`` names it.

Boards of the emulator run it; for real boards it is linked, into the memory that they have.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support import DIGITS, need_emulator, real_model
from tvm_patch.board import load_board
from tvm_patch.errors import DoesNotFitError, ToolMissingError
from tvm_patch.measurement import measure
from tvm_patch.micro import Firmware, build_firmware, elf, open_session
from tvm_patch.micro.zephyr import find_zephyr
from tvm_patch.pipeline import Prepared, deploy, generate, make_plan, prepare, reference_run
from tvm_patch.plan import InputMode, Requirements

MODELS = Path(__file__).parent.parent / "unit" / "micro"
REAL_BOARDS = (
    "stm32f746g_disco",
    "nucleo_f746zg",
    "nrf52840dk",
    "nrf5340dk",
    "nucleo_f767zi",
    "nucleo_h743zi",
    "nucleo_l4r5zi",
)

pytestmark = [pytest.mark.slow, pytest.mark.emulator]


@pytest.fixture(scope="module", autouse=True)
def zephyr() -> None:
    """A Zephyr tree and what it needs, or a skip that says what is missing."""
    if not os.environ.get("ZEPHYR_BASE"):
        pytest.skip("ZEPHYR_BASE is not set: no Zephyr tree to build with")
    for tool in ("cmake", "ninja", "dtc"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: sh scripts/install_toolchain.sh")
    try:
        find_zephyr()
    except ToolMissingError as error:
        pytest.skip(str(error))
    need_emulator()


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare(DIGITS)


@pytest.mark.parametrize("board", ["mps2_an385", "mps2_an521"])
def test_emulated_boards_are_bit_exact_over_rpc(
    board: str, digits: Prepared, tmp_path: Path
) -> None:
    requirements = Requirements(ram_bytes=48 * 1024)
    deployment = deploy(digits, board=board, requirements=requirements, folder=tmp_path)
    assert deployment.validation.bit_exact
    measured = deployment.measurement
    assert measured.instructions is not None and measured.runs == 1
    assert measured.arena_bytes == deployment.plan.memory.arena_bytes
    assert measured.stack_bytes is not None and 0 < measured.stack_bytes < 2048


@pytest.fixture(scope="module")
def mcunet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """C of a real network, in the least memory."""
    prepared = prepare(real_model("mcunet-vww1"))
    folder = tmp_path_factory.mktemp("mcunet-vww1")
    generate(prepared, make_plan(prepared), folder)
    return folder


@pytest.mark.parametrize("name", REAL_BOARDS)
def test_a_real_network_links_into_the_memory_of_real_boards(
    name: str, mcunet: Path, tmp_path: Path
) -> None:
    board = load_board(name)
    firmware = build_firmware(mcunet, board, tmp_path)
    elf.check_fits(firmware.elf_path, board)
    flash = board.region("flash")
    assert flash is not None and firmware.flash_bytes < flash.size_bytes
    sram_bytes = firmware.static_sram_bytes + firmware.stack_reserve_bytes
    assert sram_bytes < board.writable_bytes
    assert firmware.stack_reserve_bytes == board.stack_reserve_bytes
    assert firmware.hex_path is not None
    assert firmware.hex_path.read_text().startswith(":")
    # Zephyr with a UART and the runtime, beside network and stack.
    assert sram_bytes - firmware.arena_symbol_bytes - firmware.stack_reserve_bytes < 9_000
    if board.region("dtcm") is not None:
        section = next(s for s in _sections(firmware) if s[0] == ".tvmgen_arena")
        assert board.region("dtcm").contains(section[1])  # type: ignore[union-attr]


def _sections(firmware: Firmware) -> list[tuple[str, int]]:
    from elftools.elf.elffile import ELFFile

    with firmware.elf_path.open("rb") as file:
        return [(section.name, section["sh_addr"]) for section in ELFFile(file).iter_sections()]


def test_usb_links_where_the_board_has_it(mcunet: Path, tmp_path: Path) -> None:
    for name in ("stm32f746g_disco", "nrf52840dk"):
        board = load_board(name).with_link("usb")
        firmware = build_firmware(mcunet, board, tmp_path / name)
        elf.check_fits(firmware.elf_path, board)


def test_rows_reset_and_several_runs_on_zephyr(digits: Prepared, tmp_path: Path) -> None:
    plan = make_plan(digits, Requirements(input_mode=InputMode.ROWS))
    generated = generate(digits, plan, tmp_path / "model")
    firmware = build_firmware(generated.folder, load_board("mps2_an385"), tmp_path / "firmware")
    golden = reference_run(digits)
    expected = [
        np.ascontiguousarray(golden.tensors[name]).tobytes()
        for name in digits.network.graph.outputs
    ]
    with open_session(firmware) as session:
        assert session.inputs[0].by_rows
        assert session.infer(golden.inputs) == expected
        run = measure(session, firmware, golden.inputs, runs=3)
        assert run.measurement.minimum == run.measurement.maximum
        session.reset()
        assert session.infer(golden.inputs) == expected


def test_a_network_too_large_is_refused_in_bytes(tmp_path: Path) -> None:
    prepared = prepare(real_model("person-det"))
    with pytest.raises(DoesNotFitError, match="does not fit the sram of nrf52840dk") as raised:
        deploy(prepared, board="nrf52840dk", layers=True, folder=tmp_path)
    error = raised.value
    assert error.section == "sram" and error.available_bytes == 256 * 1024
    assert error.required_bytes > error.available_bytes


def test_a_workspace_without_the_chips_module_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = find_zephyr().base
    modules = [path.parent.parent for path in (base.parent / "modules").glob("**/module.yml")]
    cmsis = [path for path in modules if "cmsis" in path.name.lower()]
    if not cmsis:
        pytest.skip("no CMSIS beside the tree")
    monkeypatch.setenv("ZEPHYR_MODULES", ";".join(map(str, cmsis)))
    board = load_board("nucleo_f746zg")
    with pytest.raises(ToolMissingError, match="module hal_stm32 is not in the workspace"):
        build_firmware(MODELS / "sample_model", board, tmp_path)
