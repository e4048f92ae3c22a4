"""Finding Zephyr, and what goes wrong when building with it: with tools that only say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_patch.board import load_board
from tvm_patch.errors import (
    BoardError,
    BuildError,
    DoesNotFitError,
    ToolMissingError,
    TvmPatchError,
)
from tvm_patch.micro import build_firmware
from tvm_patch.micro.zephyr import Zephyr, find_zephyr
from tvm_patch.micro.zephyr.workspace import build_environment, workspace_modules

from .conftest import HERE

SAMPLE = HERE / "sample_model"
DISCO = load_board("stm32f746g_disco")


def make_tree(base: Path, major: int = 3, minor: int = 2) -> Path:
    base.mkdir(parents=True)
    version = f"VERSION_MAJOR = {major}\nVERSION_MINOR = {minor}\nPATCHLEVEL = 1\nEXTRAVERSION =\n"
    (base / "VERSION").write_text(version)
    return base


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without Zephyr, in an empty folder."""
    for name in ("ZEPHYR_BASE", "ZEPHYR_MODULES", "ZEPHYR_TOOLCHAIN_VARIANT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ZEPHYR_SDK_INSTALL_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tvm_patch.micro.zephyr.workspace._SDK_PARENTS", ("~",))
    (tmp_path / "home").mkdir()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


def test_no_zephyr_at_all() -> None:
    with pytest.raises(ToolMissingError, match="there is no Zephyr to build with") as raised:
        find_zephyr()
    assert "ZEPHYR_BASE" in str(raised.value) and "docs/hardware.md" in str(raised.value)


def test_zephyr_base_names_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(make_tree(tmp_path / "zephyr", 4, 1)))
    zephyr = find_zephyr()
    assert (zephyr.base, zephyr.version_text) == (tmp_path / "zephyr", "4.1.1")
    monkeypatch.setenv("ZEPHYR_BASE", str(tmp_path / "elsewhere"))
    with pytest.raises(ToolMissingError, match=r"ZEPHYR_BASE=.*elsewhere: there is no Zephyr tree"):
        find_zephyr()


@pytest.mark.parametrize(("major", "minor"), [(2, 7), (3, 1)])
def test_a_tree_that_is_too_old(
    major: int, minor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(make_tree(tmp_path / "zephyr", major, minor)))
    with pytest.raises(ToolMissingError, match=rf"{major}\.{minor}\.1 is too old; 3\.2 or newer"):
        find_zephyr()


def test_the_workspace_around_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "workspace/.west").mkdir(parents=True)
    (tmp_path / "workspace/.west/config").write_text(
        "[manifest]\npath = manifest\n[zephyr]\nbase = os/zephyr\n"
    )
    make_tree(tmp_path / "workspace/os/zephyr")
    (tmp_path / "workspace/application").mkdir()
    monkeypatch.chdir(tmp_path / "workspace/application")
    assert find_zephyr().base == tmp_path / "workspace/os/zephyr"


def test_a_tree_known_to_cmake_is_found(tmp_path: Path) -> None:
    base = make_tree(tmp_path / "known/zephyr")
    package = base / "share/zephyr-package/cmake"
    package.mkdir(parents=True)
    registry = tmp_path / "home/.cmake/packages/Zephyr"
    registry.mkdir(parents=True)
    (registry / "0123").write_text(f"{package}\n")
    (registry / "4567").write_text("/gone/share/zephyr-package/cmake\n")
    assert find_zephyr().base == base


@pytest.mark.parametrize(
    ("version", "expected"),
    [((3, 2, 0), "nrf52840dk_nrf52840"), ((3, 7, 0), "nrf52840dk/nrf52840")],
)
def test_boards_have_the_names_of_the_version(version: tuple[int, int, int], expected: str) -> None:
    zephyr = Zephyr(Path("zephyr"), version)
    assert zephyr.board_name(load_board("nrf52840dk")) == expected
    assert zephyr.board_name(DISCO) == "stm32f746g_disco"
    with pytest.raises(BoardError, match="host: is not a board of Zephyr's"):
        zephyr.board_name(load_board("host"))


def test_modules_beside_the_tree_are_taken_where_west_manages_none(tmp_path: Path) -> None:
    zephyr = Zephyr(make_tree(tmp_path / "zephyr"), (3, 2, 0))
    module = tmp_path / "modules/hal/stm32"
    (module / "zephyr").mkdir(parents=True)
    (module / "zephyr/module.yml").write_text("name: hal_stm32\n")
    assert workspace_modules(zephyr) == [module]
    (tmp_path / ".west").mkdir()
    (tmp_path / ".west/config").write_text("[zephyr]\nbase = zephyr\n")
    assert workspace_modules(zephyr) == []


def test_the_toolchain_is_the_users_choice_the_sdk_or_the_compiler_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "usr/bin"
    tools.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(ToolMissingError, match="neither its SDK nor arm-none-eabi-gcc") as raised:
        build_environment()
    assert "gcc-arm-none-eabi" in str(raised.value)
    compiler = tools / "arm-none-eabi-gcc"
    compiler.write_text("#!/bin/sh\necho /usr/lib/libc.a\n")
    compiler.chmod(0o755)
    environment = build_environment()
    assert environment["ZEPHYR_TOOLCHAIN_VARIANT"] == "gnuarmemb"
    assert environment["GNUARMEMB_TOOLCHAIN_PATH"] == str(tmp_path / "usr")
    (tmp_path / "home/zephyr-sdk-0.16.8").mkdir()
    assert "ZEPHYR_TOOLCHAIN_VARIANT" not in build_environment()
    monkeypatch.setenv("ZEPHYR_TOOLCHAIN_VARIANT", "llvm")
    assert build_environment()["ZEPHYR_TOOLCHAIN_VARIANT"] == "llvm"


def failing_build(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, at: str = "cmake"
) -> TvmPatchError:
    """Build with tools of which one says ``said`` and fails."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cmake", "ninja", "dtc", "arm-none-eabi-gcc"):
        script = tools / name
        words = f"cat <<'END'\n{said}\nEND\nexit 1\n" if name == at else "echo /usr/lib/libc.a\n"
        # What a real cmake would have made.
        script.write_text(f"#!/bin/sh\nmkdir -p {tmp_path}/build/zephyr\n{words}")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/bin:/usr/bin")
    monkeypatch.setenv("ZEPHYR_BASE", str(make_tree(tmp_path / "tree")))
    with pytest.raises(TvmPatchError) as raised:
        build_firmware(SAMPLE, DISCO, tmp_path / "build")
    assert said in (tmp_path / "build/build.log").read_text()
    return raised.value


@pytest.mark.parametrize(
    ("said", "kind", "match", "way_out"),
    [
        (
            "ModuleNotFoundError: No module named 'pykwalify'",
            ToolMissingError,
            "Python package 'pykwalify'",
            "pip install 'tvm-patch[boards]'",
        ),
        (
            "CMake Error at FindZephyr-sdk.cmake:75 (find_package):\n"
            '  Could not find a package configuration file provided by "Zephyr-sdk" with\n'
            "  any of the following names:",
            ToolMissingError,
            "finds no Zephyr SDK",
            "gnuarmemb",
        ),
        (
            '  Could not find a configuration file for package "Zephyr-sdk" that is\n'
            '  compatible with requested version "0.15".',
            ToolMissingError,
            r"needs Zephyr SDK 0\.15 or newer; the one installed is too old",
            "ZEPHYR_SDK_INSTALL_DIR",
        ),
        (
            "Nothing found at GNUARMEMB_TOOLCHAIN_PATH: '/opt/gone'",
            ToolMissingError,
            "finds no compiler: Nothing found at GNUARMEMB_TOOLCHAIN_PATH",
            "ZEPHYR_TOOLCHAIN_VARIANT",
        ),
        (
            "No board named 'stm32f746g_disco' found.\nCMake Error: Invalid BOARD; see above.",
            BoardError,
            r"Zephyr 3\.2\.1 in .* has no board stm32f746g_disco",
            "ZEPHYR_BASE",
        ),
        (
            "stm32f746g_disco.dts:10:10: fatal error: "
            "st/f7/stm32f746nghx-pinctrl.dtsi: No such file or directory",
            ToolMissingError,
            "module hal_stm32 is not in the workspace",
            "west update hal_stm32",
        ),
        ("gizmo.c:1: error: something else", BuildError, "error: something else", "build.log"),
    ],
)
def test_what_zephyr_says_is_explained(
    said: str,
    kind: type[TvmPatchError],
    match: str,
    way_out: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = failing_build(said, tmp_path, monkeypatch)
    assert type(error) is kind
    with pytest.raises(kind, match=match):
        raise error
    assert way_out in str(error)


@pytest.mark.parametrize(
    ("region", "section", "available"),
    [("RAM", "sram", 262_144), ("SRAM", "sram", 262_144), ("FLASH", "flash", 1_048_576)],
)
def test_firmware_too_large_says_which_memory_and_by_how_much(
    region: str,
    section: str,
    available: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = f"ld.bfd: region `{region}' overflowed by 70000 bytes"
    error = failing_build(said, tmp_path, monkeypatch, at="ninja")
    assert isinstance(error, DoesNotFitError)
    assert (error.section, error.available_bytes) == (section, available)
    assert error.required_bytes == available + 70_000
    assert f"does not fit the {section} of stm32f746g_disco" in str(error)
    assert "70,000 too many" in str(error)


@pytest.mark.parametrize("missing", ["cmake", "ninja", "dtc"])
def test_a_missing_build_tool_is_named(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in {"cmake", "ninja", "dtc", "arm-none-eabi-gcc"} - {missing}:
        (tools / name).write_text("#!/bin/sh\necho /usr/lib/libc.a\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("ZEPHYR_BASE", str(make_tree(tmp_path / "tree")))
    with pytest.raises(ToolMissingError, match=f"{missing} is not installed") as raised:
        build_firmware(SAMPLE, DISCO, tmp_path / "build")
    assert "apt-get install" in str(raised.value)
