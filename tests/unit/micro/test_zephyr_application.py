"""The Zephyr application, as far as it can be checked without Zephyr: what it asks of Kconfig,
devicetree, CMake and the linker. ``tests/firmware/test_zephyr.py`` builds and runs it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from kconfiglib import TYPE_TO_STR, Kconfig

from tvm_patch.board import Board, list_boards, load_board
from tvm_patch.micro.project import GUARD_BYTES, MICRO_PROJECT_DIR, create_project

from .conftest import HERE

STUB = HERE / "zephyr_stub"
APPLICATION = MICRO_PROJECT_DIR.resolve() / "zephyr"
SAMPLE = HERE / "sample_model"

ZEPHYR_BOARDS = [name for name in list_boards() if load_board(name).port == "zephyr"]


def configured(
    board: Board, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[Kconfig, dict[str, str]]:
    """Read the application's Kconfig with the stub's, merge ``files``, and return assignments."""
    monkeypatch.setenv("srctree", str(STUB))
    monkeypatch.setenv("KCONFIG_FUNCTIONS", "kconfigfunctions")
    monkeypatch.syspath_prepend(str(STUB / "kconfig"))
    monkeypatch.setenv("TVM_PATCH_MODULE_KCONFIG", str(APPLICATION / "module/Kconfig"))
    monkeypatch.setenv("BOARD", board.zephyr.board if board.zephyr else "")
    monkeypatch.setenv("STUB_CHOSEN", "zephyr,dtcm" if board.region("dtcm") else "")
    monkeypatch.setenv("STUB_LABELS", "timer0" if board.machine else "")
    kconfig = Kconfig(str(APPLICATION / "Kconfig"), warn_to_stderr=False)
    assert kconfig.warnings == []
    assigned: dict[str, str] = {}
    for file in files:
        kconfig.load_config(str(file), replace=False)
        for name, value in re.findall(r"^CONFIG_(\w+)=(.*)$", file.read_text(), re.MULTILINE):
            assigned[name] = value.strip('"')
    return kconfig, assigned


def check_assignments(kconfig: Kconfig, assigned: dict[str, str]) -> None:
    """Every symbol must be known, and have the value that it is given: Zephyr refuses others."""
    for name, value in assigned.items():
        symbol = kconfig.syms.get(name)
        assert symbol is not None and symbol.nodes, f"CONFIG_{name} is no symbol"
        if TYPE_TO_STR[symbol.orig_type] == "hex":
            assert int(symbol.str_value, 16) == int(value, 16), name
        else:
            assert symbol.str_value == value, f"CONFIG_{name}={value} becomes {symbol.str_value}"


@pytest.mark.parametrize("name", ZEPHYR_BOARDS)
def test_kconfig_takes_what_a_project_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = load_board(name)
    create_project(SAMPLE, board, tmp_path)
    kconfig, assigned = configured(
        board, [APPLICATION / "prj.conf", tmp_path / "project.conf"], monkeypatch
    )
    check_assignments(kconfig, assigned)
    assert assigned["TVM_PATCH_BOARD_NAME"] == name
    assert ("TVM_PATCH_ARENA_DTCM" in assigned) == (board.region("dtcm") is not None)
    # What the module needs is on, whatever the application says.
    for selected in ("RING_BUFFER", "SERIAL", "UART_INTERRUPT_DRIVEN", "REBOOT"):
        assert kconfig.syms[selected].str_value == "y"
    clock = "CMSDK" if board.machine else "DWT"
    assert kconfig.syms[f"TVM_PATCH_STOPWATCH_{clock}"].str_value == "y"


@pytest.mark.parametrize("conf", ["usb.conf", "usb_next.conf"])
def test_kconfig_takes_either_usb_stack(conf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    board = load_board("stm32f746g_disco")
    files = [APPLICATION / "prj.conf", APPLICATION / conf]
    kconfig, assigned = configured(board, files, monkeypatch)
    check_assignments(kconfig, assigned)
    assert board.usb_id is not None
    vendor, product = board.usb_id.split(":")
    prefix = "USB_DEVICE" if conf == "usb.conf" else "CDC_ACM_SERIAL"
    assert int(assigned[f"{prefix}_VID"], 16) == int(vendor, 16)
    assert int(assigned[f"{prefix}_PID"], 16) == int(product, 16)
    assert kconfig.syms[f"{prefix}_PRODUCT{'_STRING' * (conf != 'usb.conf')}"].str_value == (
        "tvm-patch"
    )


def test_an_arena_too_large_for_dtcm_goes_to_sram(tmp_path: Path) -> None:
    board = load_board("stm32f746g_disco")
    dtcm = board.region("dtcm")
    assert dtcm is not None
    # The sample's arena has 576 bytes; its guards and their alignment come on top.
    for size, fits in ((576 + 2 * GUARD_BYTES + 16, True), (576 + 2 * GUARD_BYTES + 15, False)):
        memory = tuple(
            replace(region, size_bytes=size) if region == dtcm else region
            for region in board.memory
        )
        create_project(SAMPLE, replace(board, memory=memory), tmp_path)
        assert ("ARENA_DTCM=y" in (tmp_path / "project.conf").read_text()) == fits


def test_the_usb_overlay_gives_the_link_a_port(tmp_path: Path) -> None:
    from devicetree.dtlib import DT

    tree = tmp_path / "board.dts"
    tree.write_text(
        '/dts-v1/;\n/ { soc { zephyr_udc0: usb@50000000 { status = "okay"; }; }; };\n'
        + (APPLICATION / "usb.overlay").read_text()
    )
    link = DT(str(tree)).get_node("/chosen").props["tvm-patch,link"].to_path()
    assert link.props["compatible"].to_string() == "zephyr,cdc-acm-uart"
    assert link.parent.labels == ["zephyr_udc0"]


def configure(
    board: Board, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, dict[Path, str]]:
    """Configure the application with the stub of Zephyr.

    Returns what CMake said, and the command that compiles each file.
    """
    for tool in ("cmake", "ninja"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: sh scripts/install_toolchain.sh")
    project, build = folder / "project", folder / "build"
    create_project(SAMPLE, board, project)
    files = [APPLICATION / "prj.conf", project / "project.conf"]
    kconfig, _ = configured(board, files, monkeypatch)
    kconfig.write_config(str(folder / ".config"))
    command = ["cmake", "-GNinja", "-S", APPLICATION, "-B", build, "-Wno-dev"]
    command += [f"-DTVM_PATCH_PROJECT={project}", f"-DSTUB_DOTCONFIG={folder / '.config'}"]
    command += [f"-DZephyr_DIR={STUB / 'share/zephyr-package/cmake'}"]
    command += ["-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compiled = json.loads((build / "compile_commands.json").read_text())
    return done.stdout, {Path(entry["file"]).resolve(): entry["command"] for entry in compiled}


@pytest.mark.parametrize("name", ["stm32f746g_disco", "mps2_an385"])
def test_cmake_builds_the_runtime_the_port_and_the_network(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, commands = configure(load_board(name), tmp_path, monkeypatch)
    root = MICRO_PROJECT_DIR.resolve()
    # The runtime whole and as it is: what the other ports are built of.
    expected = {*(root / "runtime/src").glob("*.c"), root / "cortex_m/src/fault_report.c"}
    expected |= {(SAMPLE / "src/sample.c").resolve(), APPLICATION / "libc/setjmp.S"}
    expected |= {
        path for path in (APPLICATION / "src").glob("*.c") if not path.name.startswith("stopwatch_")
    }
    clock = "cmsdk" if name == "mps2_an385" else "dwt"
    expected |= {APPLICATION / f"src/stopwatch_{clock}.c"}
    expected |= {path for path in commands if path.name == "model_binding.c"}
    assert set(commands) == expected
    assert "-O3" in commands[(SAMPLE / "src/sample.c").resolve()]
    assert "-ffp-contract=off" in commands[(SAMPLE / "src/sample.c").resolve()]
    assert f"linker RAM_SECTIONS: {APPLICATION / 'module/arena.ld'}" in said
    assert "--wrap=z_arm_fault" in said


def test_cmake_says_what_is_missing(tmp_path: Path) -> None:
    command = ["cmake", "-S", str(APPLICATION), "-B", str(tmp_path)]
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed: sh scripts/install_toolchain.sh")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "TVM_PATCH_PROJECT" in done.stderr and "tvm-patch build" in done.stderr


@pytest.mark.parametrize("in_dtcm", [False, True])
def test_the_linker_puts_guards_around_the_arena(in_dtcm: bool, tmp_path: Path) -> None:
    compiler = shutil.which("arm-none-eabi-gcc")
    if compiler is None:
        pytest.skip("arm-none-eabi-gcc is not installed: sh scripts/install_toolchain.sh")
    script = tmp_path / "whole.ld"
    script.write_text(
        "#define SECTION_PROLOGUE(name, options, align) name options : align\n"
        "#define GROUP_LINK_IN(where) > where\n"
        "#define RAMABLE_REGION RAM\n"
        "MEMORY { FLASH : ORIGIN = 0, LENGTH = 1M RAM : ORIGIN = 0x20010000, LENGTH = 64K\n"
        "  DTCM : ORIGIN = 0x20000000, LENGTH = 64K }\n"
        "SECTIONS {\n  .text : { *(.text*) *(.rodata*) } > FLASH\n"
        f"{(APPLICATION / 'module/arena.ld').read_text()}\n"
        "  bss (NOLOAD) : { *(.bss .bss.*) } > RAM }\n"
    )
    flags = ["-DCONFIG_TVM_PATCH_ARENA_DTCM=1"] if in_dtcm else []
    preprocessed = subprocess.run(
        [compiler, "-E", "-P", "-x", "c", *flags, str(script)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    script.write_text(preprocessed)
    elf = tmp_path / "sample.elf"
    subprocess.run(
        [
            *(compiler, "-mcpu=cortex-m7", "-mthumb", "-nostartfiles", "-Wl,-e,0"),
            *("-T", script, f"-I{SAMPLE / 'include'}", SAMPLE / "src/sample.c", "-o", elf),
        ],
        capture_output=True,
        check=True,
    )
    symbols = subprocess.run(
        ["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True
    ).stdout
    at = {name: int(address, 16) for address, name in re.findall(r"(\w+) \w (\w+)", symbols)}
    front, back = at["tvm_patch_guard_front_begin"], at["tvm_patch_guard_back_begin"]
    assert front == (0x20000000 if in_dtcm else 0x20010000)
    assert at["tvm_patch_guard_front_end"] - front == GUARD_BYTES
    assert at["tvmgen_sample_arena"] == at["tvm_patch_guard_front_end"]
    assert back == at["tvmgen_sample_arena"] + 576
    assert at["tvm_patch_guard_back_end"] - back == GUARD_BYTES


def test_the_manifest_takes_the_modules_that_the_boards_need() -> None:
    import yaml

    manifest = yaml.safe_load((APPLICATION / "west.yml").read_text())["manifest"]
    (zephyr,) = manifest["projects"]
    assert zephyr["name"] == "zephyr"
    assert {"hal_stm32", "hal_nordic", "cmsis"} <= set(zephyr["import"]["name-allowlist"])
    module = yaml.safe_load((APPLICATION / "module.yml").read_text())
    for entry in ("cmake", "kconfig"):
        assert (MICRO_PROJECT_DIR / module["build"][entry]).exists()
