"""Options that several verbs have, and how shells complete them.

Nothing heavy is imported here: a shell that completes a command line must not wait for TVM.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from tvm_patch.errors import PlanError

if TYPE_CHECKING:
    from tvm_patch.board import Board
    from tvm_patch.plan import Requirements

# Typer reads these annotations at run time and gives `| None` its meaning on Python 3.10 only
# through Optional.


RUNS_ON_HARDWARE = 30


class Io(StrEnum):
    """What to do with a float32 boundary."""

    MODEL = "model"
    INT8 = "int8"


class Goal(StrEnum):
    """What a plan, or the code for it, is to be best at."""

    MEMORY = "memory"
    MACS = "macs"
    SIZE = "size"


_OBJECTIVES: Mapping[Goal, Literal["memory", "macs"]] = {Goal.MEMORY: "memory", Goal.MACS: "macs"}


class InputForm(StrEnum):
    """Where the input lives."""

    RESIDENT = "resident"
    ROWS = "rows"


class Buffers(StrEnum):
    """How stages may run."""

    ANY = "any"
    PATCH = "patch"
    ROWS = "rows"


class FlashRunner(StrEnum):
    """What puts firmware on a board."""

    WEST = "west"
    PYOCD = "pyocd"
    OPENOCD = "openocd"


class Search(StrEnum):
    """How a tuner looks for candidates."""

    EVOLUTIONARY = "evolutionary"
    RANDOM = "random"


class Link(StrEnum):
    """What carries the protocol to a real board."""

    UART = "uart"
    USB = "usb"


def _complete_board(incomplete: str) -> list[str]:
    from tvm_patch.board import list_boards

    return [name for name in list_boards() if name.startswith(incomplete)]


def _complete_algorithm(incomplete: str) -> list[str]:
    from tvm_patch.memory import ALGORITHMS

    return [name for name in ALGORITHMS if name.startswith(incomplete)]


Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="An int8 TFLite file, or an ONNX file in QDQ form."),
]
BuiltFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="What build or deploy has written.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")]
JsonFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--json", metavar="FILE", help="Write the results as JSON too."),
]
BoardName = Annotated[
    str,
    typer.Option(
        "--board",
        "-b",
        metavar="NAME",
        autocompletion=_complete_board,
        help="What to build for; `tvm-patch boards` lists them.",
    ),
]
Emulate = Annotated[
    bool,
    typer.Option("--emulate", help="Run a real board's memory limits on an emulated board."),
]
Port = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--port", metavar="DEVICE", help="Serial port of a real board; found by USB by default."
    ),
]
Serial = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--serial",
        metavar="NUMBER",
        help="Serial number of the board's debug probe, where several are plugged in.",
    ),
]
Runner = Annotated[
    Optional[FlashRunner],  # noqa: UP045
    typer.Option("--runner", help="Tool that flashes; the first one installed by default."),
]
LinkOption = Annotated[
    Optional[Link],  # noqa: UP045
    typer.Option(
        "--link", help="How a real board is spoken to: its debug probe's UART, or its own USB."
    ),
]
Runs = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--runs", min=1, help="Inferences to time; 30 on hardware by default, otherwise 1."
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the random inputs.")]
IoForm = Annotated[
    Io, typer.Option("--io", help="int8 strips a float32 input or output off the model.")
]
Algorithm = Annotated[
    str,
    typer.Option(
        "--algorithm",
        metavar="NAME",
        autocompletion=_complete_algorithm,
        help="Packing of the arena: hill_climb, exact (needs ortools), greedy_by_size, ...",
    ),
]
Layers = Annotated[
    bool, typer.Option("--layers", help="Layer by layer: nothing is run patch by patch.")
]
Ram = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--ram",
        metavar="SIZE",
        help="Limit of inference peak SRAM, arena and stack: 64K, 64KB or 65536.",
    ),
]
Optimize = Annotated[
    Optional[Goal],  # noqa: UP045
    typer.Option(
        "--optimize",
        help="Least memory, or fewest MACs; with --ram, fewest MACs that fit. Size: the plan of "
        "neither, in less code.",
    ),
]
MaxOverhead = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--max-overhead",
        metavar="F",
        min=1.0,
        help="Most MACs allowed, as a multiple of the layer-by-layer network's.",
    ),
]
MaxSlowdown = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--max-slowdown",
        metavar="X",
        min=1.0,
        help="Most instructions allowed, by estimate, as a multiple of the layer-by-layer "
        "network's. Without --ram it is 1.05 times --max-overhead.",
    ),
]
TimeLimit = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--time-limit",
        metavar="SECONDS",
        help="Take the best plan found in this time. Ctrl-C while planning does the same.",
    ),
]
InputOption = Annotated[
    InputForm,
    typer.Option(
        "--input",
        help="rows: the firmware fetches the input row by row, and no whole image is resident.",
    ),
]
BufferingOption = Annotated[
    Buffers,
    typer.Option(
        "--buffering",
        help="How stages run: patch recomputes halos; rows keeps whole rows in line buffers, does "
        "no MAC twice and moves little; any also goes through rows in steps of columns, which "
        "needs least memory and takes more instructions.",
    ),
]
Split = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--split",
        metavar="N|NAME",
        help="End the first stage after N operators, or after the one of this name.",
    ),
]
Grid = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--grid", metavar="RxC", help="Tiles of the stage along y and x: 4x4."),
]
PlanFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--plan", metavar="FILE", help="Carry out a plan that `plan` has written."),
]
DatabaseFolder = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--database",
        metavar="DIR",
        help="Kernel times that `tune` has measured; by default $TVM_PATCH_DATABASE, or the folder "
        "tuning here, if there is one. `none` for none.",
    ),
]
OutputFolder = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--output", "-o", metavar="DIR", help="Folder for C and firmware; out/MODEL by default."
    ),
]


def parse_grid(text: str) -> tuple[int, int]:
    """Rows and columns of ``4x4``.

    Raises
    ------
    PlanError
        When it is no grid.
    """
    rows, separator, columns = text.lower().partition("x")
    if not (separator and rows.isdecimal() and columns.isdecimal()):
        raise PlanError(f"{text!r} is not a grid of tiles", hint="write rows x columns: 4x4")
    return int(rows), int(columns)


def runs_or_default(runs: int | None, board: Board) -> int:
    """Inferences to time: hardware differs from run to run, an emulator does not."""
    return runs or (RUNS_ON_HARDWARE if board.is_real else 1)


def make_requirements(
    ram: str | None,
    optimize: Goal | None,
    max_overhead: float | None,
    max_slowdown: float | None = None,
    buffering: Buffers = Buffers.ANY,
    input_form: InputForm = InputForm.RESIDENT,
) -> Requirements:
    """Requirements from the options."""
    from tvm_patch.plan import InputMode, Requirements
    from tvm_patch.transform import parse_size

    return Requirements(
        ram_bytes=None if ram is None else parse_size(ram),
        objective=None if optimize is None else _OBJECTIVES.get(optimize),
        max_overhead=max_overhead,
        max_slowdown=max_slowdown,
        buffering=buffering.value,
        input_mode=InputMode(input_form.value),
    )
