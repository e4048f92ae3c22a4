"""Boards: those there are, and files that are none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import REPOSITORY
from tvm_patch.board import Board, list_boards, load_board, read_board
from tvm_patch.errors import BoardError

BARE_METAL = """\
description = "mine"
port = "bare_metal"
cpu = "cortex-m7"
core_flags = ["-mcpu=cortex-m7"]
dsp = true
fpu = true
clock_hz = 1
memory = [
  {name = "flash", kind = "flash", origin = 0, size_bytes = 10},
  {name = "sram", kind = "sram", origin = 0x20000000, size_bytes = 20},
]
"""


def test_the_boards_there_are() -> None:
    assert list_boards() == [
        "host",
        "mps2_an385",
        "mps2_an521",
        "nrf52840dk",
        "nrf5340dk",
        "nucleo_f746zg",
        "nucleo_f767zi",
        "nucleo_h743zi",
        "nucleo_l4r5zi",
        "qemu_cortex_m3",
        "qemu_cortex_m33",
        "qemu_cortex_m4",
        "qemu_cortex_m7",
        "stm32f746g_disco",
    ]


@pytest.mark.parametrize("name", list_boards())
def test_every_board_is_whole(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert board.description
    if board.port == "host":
        assert board.region("sram") is None
        return
    flash, sram = board.region("flash"), board.region("sram")
    assert flash is not None and sram is not None
    assert 0 < board.stack_reserve_bytes < sram.size_bytes
    assert f"-mcpu={board.cpu}" in board.core_flags
    # The timer of an emulated board ticks at its clock, and an instruction takes 1 ns.
    if board.machine is not None:
        assert board.machine.instructions_per_tick * board.clock_hz == 10**9
    assert (board.machine is None) == board.is_real


@pytest.mark.parametrize(
    ("name", "stand_in", "flash_bytes", "sram_bytes"),
    [
        ("stm32f746g_disco", "qemu_cortex_m7", 1024 * 1024, 320 * 1024),
        ("nrf52840dk", "qemu_cortex_m4", 1024 * 1024, 256 * 1024),
    ],
)
def test_an_emulated_real_board_keeps_its_sizes(
    name: str, stand_in: str, flash_bytes: int, sram_bytes: int
) -> None:
    real, emulator = load_board(name), load_board(stand_in)
    board = real.emulate()
    assert not board.is_real
    assert (board.name, board.emulated_by, board.cpu) == (name, stand_in, real.cpu)
    assert board.machine == emulator.machine
    for kind, size in (("flash", flash_bytes), ("sram", sram_bytes)):
        region, place = board.region(kind), emulator.region(kind)  # type: ignore[arg-type]
        assert region is not None and place is not None
        assert (region.size_bytes, region.origin) == (size, place.origin)
        assert region.contains(region.origin + size - 1)
        assert not region.contains(region.origin + size)


@pytest.mark.parametrize("name", ["host", "qemu_cortex_m33"])
def test_what_is_no_real_board_stays_as_it_is(name: str) -> None:
    board = load_board(name)
    assert board.emulate() is board


def test_an_unknown_board_names_those_there_are() -> None:
    with pytest.raises(BoardError, match="no board called 'arduino'") as raised:
        load_board("arduino")
    assert "qemu_cortex_m7" in str(raised.value)
    with pytest.raises(BoardError):
        load_board("../boards/host")


def read(tmp_path: Path, text: str) -> Board:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return read_board(path)


def test_a_board_of_ones_own(tmp_path: Path) -> None:
    board = read(tmp_path, BARE_METAL)
    assert (board.name, board.is_real) == ("mine", True)
    with pytest.raises(BoardError, match="no emulated board has its core"):
        board.emulate()
    emulated = read(tmp_path, 'emulator = "qemu_cortex_m7"\n' + BARE_METAL).emulate()
    assert emulated.emulated_by == "qemu_cortex_m7"


def test_the_board_of_the_docs_takes_less_than_ten_lines(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/add-a-board.md").read_text()
    text = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
    assert len(text.splitlines()) < 10
    path = tmp_path / "weact.toml"
    path.write_text(text)
    board = load_board(str(path))
    assert (board.name, board.is_real, board.dsp, board.fpu) == ("weact", True, True, True)
    assert "-mfpu=fpv4-sp-d16" in board.core_flags
    assert (board.stack_reserve_bytes, board.link) == (8192, "uart")
    assert board.probe is not None and board.probe.runners == ("west", "pyocd", "openocd")


@pytest.mark.parametrize(
    ("name", "board"),
    [
        ("nrf52840dk_nrf52840", "nrf52840dk"),
        ("nrf52840dk/nrf52840", "nrf52840dk"),
        ("nrf5340dk_nrf5340_cpuapp", "nrf5340dk"),
        ("nrf5340dk/nrf5340/cpuapp", "nrf5340dk"),
        ("mps2/an385", "mps2_an385"),
        ("mps2/an521/cpu0", "mps2_an521"),
    ],
)
def test_zephyrs_names_do_too(name: str, board: str) -> None:
    assert load_board(name).name == board


@pytest.mark.parametrize("name", [name for name in list_boards() if load_board(name).is_real])
def test_every_real_board_can_be_found_flashed_and_emulated(name: str) -> None:
    board = load_board(name)
    assert board.zephyr is not None and board.probe is not None
    assert board.probe.ids
    able = {"west": True, "pyocd": board.probe.pyocd_target, "openocd": board.probe.openocd}
    assert all(able[runner] for runner in board.probe.runners)
    assert board.with_link("usb").link == "usb"
    assert board.usb_id is not None
    assert not board.emulate().is_real
    with pytest.raises(BoardError, match="has no link over pigeon"):
        board.with_link("pigeon")


def test_an_emulator_with_less_memory_is_refused(tmp_path: Path) -> None:
    text = 'emulator = "qemu_cortex_m7"\n' + BARE_METAL.replace("= 20}", "= 5_000_000}")
    with pytest.raises(BoardError, match="sram is larger"):
        read(tmp_path, text).emulate()


@pytest.mark.parametrize(
    "spoilt",
    [
        "not toml",
        BARE_METAL.replace("clock_hz = 1", ""),
        BARE_METAL.replace("clock_hz", "clock_mhz"),
        BARE_METAL.replace('kind = "sram"', 'kind = "flash"'),
        BARE_METAL.replace("size_bytes = 10", "size_bytes = 0"),
        BARE_METAL.replace('port = "bare_metal"', 'port = "mars"'),
        BARE_METAL.replace('kind = "sram"', 'kind = "tape"'),
        BARE_METAL.replace('port = "bare_metal"', 'port = "zephyr"'),
        BARE_METAL + 'links = ["uart", "usb"]\n',
        BARE_METAL + 'links = ["usb"]\nlink = "uart"\nusb_id = "2fe3:0100"\n',
        BARE_METAL + 'links = ["usb"]\nusb_id = "2fe3"\n',
        BARE_METAL + 'probe = {kind = "magic"}\n',
        BARE_METAL + 'probe = {kind = "stlink", runners = ["hope"]}\n',
        BARE_METAL + 'probe = {kind = "x", usb_ids = ["zzzz:0000"]}\n',
        BARE_METAL + "[machine]\nname = 'x'\n",
    ],
)
def test_a_file_that_is_no_board_is_refused(spoilt: str, tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"mine\.toml"):
        read(tmp_path, spoilt)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="cannot be read"):
        read_board(tmp_path / "none.toml")
