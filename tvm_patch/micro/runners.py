"""Flash runners: the tools that put firmware on a board through its debug probe."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tvm_patch.board import Board, Probe
from tvm_patch.errors import BoardError, FlashError, ToolMissingError
from tvm_patch.micro.tools import (
    OPENOCD,
    PYOCD,
    WEST,
    Tool,
    find_tool,
    look_for,
    search_path,
)

RUNNERS: dict[str, Tool] = {"west": WEST, "pyocd": PYOCD, "openocd": OPENOCD}

_TIMEOUT_S = 300
_WORDS_BYTES = 400


@dataclass(frozen=True)
class FlashImage:
    """What is flashed.

    Parameters
    ----------
    path : Path
        Intel HEX or ELF file.
    zephyr_build_path : Path or None
        Folder of Zephyr's build, which west flashes from; west cannot flash without.
    """

    path: Path
    zephyr_build_path: Path | None


def choose_runner(board: Board, wanted: str | None = None, image: FlashImage | None = None) -> str:
    """Return the runner to flash a board with: the one wanted, or the first that is installed.

    Parameters
    ----------
    board : Board
        Gives the runners that can.
    wanted : str or None
        One of :data:`RUNNERS`.
    image : FlashImage or None
        What is to be flashed, where that is known already.

    Raises
    ------
    BoardError
        If the board cannot be flashed by it, or by any.
    ToolMissingError
        If it, or all of them, are not installed; the hint says how to get one.
    """
    usable = _usable(board)
    if image is not None and image.zephyr_build_path is None:
        usable = [name for name in usable if name != "west"]
    if wanted is not None:
        if wanted not in usable:
            raise BoardError(
                f"{board.name}: cannot be flashed by {wanted}",
                hint="runners: " + ", ".join(usable),
            )
        find_tool(RUNNERS[wanted])
        return wanted
    for name in usable:
        if look_for(RUNNERS[name]) is not None:
            return name
    ways = dict.fromkeys(RUNNERS[name].install_command for name in usable)
    raise ToolMissingError(
        f"no tool that flashes {board.name} is installed: {', '.join(usable)}",
        hint="; or ".join(ways),
    )


def flash_command(
    board: Board, runner: str, image: FlashImage, serial: str | None = None
) -> list[str]:
    """Return the command line that flashes ``image``, verifies where the tool can, and resets.

    Parameters
    ----------
    runner : str
        One of :data:`RUNNERS`.
    serial : str or None
        Serial number of the debug probe; None where it is the only one.
    """
    tool, probe = str(find_tool(RUNNERS[runner])), _probe(board)
    number = _tool_serial(probe, serial)
    if runner == "west":
        command = [tool, "flash", "--skip-rebuild", "-d", str(image.zephyr_build_path)]
        option = "--serial" if probe.kind == "stlink" else "--dev-id"
        return [*command, option, number] if number else command
    if runner == "pyocd":
        command = [tool, "flash", "--no-wait", "-t", probe.pyocd_target]
        return [*command, *(("-u", number) if number else ()), str(image.path)]
    command = [tool, *probe.openocd]
    if number:
        command += ["-c", f"adapter serial {number}"]
    return [*command, "-c", f"program {{{image.path}}} verify reset exit"]


def reset_command(board: Board, serial: str | None = None, runner: str | None = None) -> list[str]:
    """Return the command line that resets a board through its debug probe.

    Parameters
    ----------
    serial : str or None
        Serial number of the debug probe; None where it is the only one.
    runner : str or None
        One of :data:`RUNNERS`, to be taken if it can reset; west cannot.

    Raises
    ------
    ToolMissingError
        If neither pyocd nor openocd is installed, or the board knows neither.
    """
    probe = _probe(board)
    number = _tool_serial(probe, serial)
    usable = sorted(_usable(board), key=lambda name: name != runner)
    for name in (name for name in usable if name != "west"):
        path = look_for(RUNNERS[name])
        if path is None:
            continue
        if name == "pyocd":
            command = [str(path), "reset", "--no-wait", "-t", probe.pyocd_target]
            return [*command, *(("-u", number) if number else ())]
        chosen = ["-c", f"adapter serial {number}"] if number else []
        return [str(path), *probe.openocd, *chosen, "-c", "init; reset run; shutdown"]
    raise ToolMissingError(
        f"no tool that resets {board.name} is installed: pyocd, openocd",
        hint=f"{PYOCD.install_command}; or {OPENOCD.install_command}",
    )


def run_tool(board: Board, command: list[str], log_path: Path, what: str) -> None:
    """Run a command line of this module and keep what the tool says.

    Raises
    ------
    FlashError
        If it fails; says what can be done where the tool's words are known.
    """
    # West calls pyocd, which pip has put beside it.
    environment = {**os.environ, "LC_ALL": "C", "PATH": search_path()}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            env=environment,
        )
        said, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        raise FlashError(
            f"{board.name}: {Path(command[0]).name} did not finish within {_TIMEOUT_S} s",
            hint="unplug the board, plug it in again, and try again",
        ) from error
    log_path.write_text(said, encoding="utf-8")
    # openocd leaves with 0 after some failures.
    if code != 0 or re.search(r"\*\* (Programming|Verify) Failed \*\*", said):
        raise _explain(board, command, said, log_path, what)


def _explain(board: Board, command: list[str], said: str, log_path: Path, what: str) -> FlashError:
    tool = Path(command[0]).name
    whole = f"everything {tool} said: {log_path}"
    if re.search(r"LIBUSB_ERROR_ACCESS|[Pp]ermission denied|Access denied", said):
        return FlashError(
            f"{board.name}: no permission to use its debug probe",
            hint="install the udev rule of docs/hardware.md and plug the board in again",
        )
    if re.search(
        r"No (available|connected) debug probe|open failed|unable to open|No J-Link device found|"
        r"unable to find|No probe|not find a (probe|device)|No matching (debug )?probe",
        said,
        re.IGNORECASE,
    ):
        return FlashError(
            f"{board.name}: {tool} finds no debug probe",
            hint="check the cable and `tvm-patch boards`; another program may hold the probe",
        )
    unknown = re.search(r"[Tt]arget type '?([\w-]+)'? (is )?not recognized", said)
    if unknown is not None:
        return FlashError(
            f"{board.name}: pyocd does not know its chip, {unknown[1]}, yet",
            hint=f"pyocd pack install {unknown[1]}",
        )
    if "unknown command" in said and "west" in tool:
        return FlashError(
            f"{board.name}: west knows no `flash` outside a Zephyr workspace",
            hint="set ZEPHYR_BASE to a tree that west manages, or choose --runner",
        )
    words = next(
        (line.strip() for line in said.splitlines() if re.search(r"error|fail", line, re.I)),
        said.strip().splitlines()[-1] if said.strip() else "it said nothing",
    )
    return FlashError(f"{board.name}: {tool} did not {what}: {words[:_WORDS_BYTES]}", hint=whole)


def _usable(board: Board) -> list[str]:
    probe = _probe(board)
    able = {"west": True, "pyocd": bool(probe.pyocd_target), "openocd": bool(probe.openocd)}
    return [name for name in probe.runners if able[name]]


def _probe(board: Board) -> Probe:
    if board.probe is None:
        raise BoardError(
            f"{board.name}: its file names no debug probe",
            hint="add a table [probe] to it (docs/add-a-board.md), or flash firmware.hex by other "
            "means and run `tvm-patch measure` with --port",
        )
    return board.probe


def _tool_serial(probe: Probe, serial: str | None) -> str:
    """A J-Link's number has leading zeros on USB, and none where its tools ask for it."""
    number = serial or ""
    return number.lstrip("0") if probe.kind == "jlink" else number
