"""How often QEMU executes what, by the plugin of ``micro_project/emulator_plugin``."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tvm_patch.board import Board
from tvm_patch.errors import BoardError, BuildError, ProtocolError
from tvm_patch.micro.tools import HOST_COMPILER, find_tool

_SOURCE = Path(__file__).parent.parent / "micro_project/emulator_plugin/count_executions.c"
_FLAGS = ("-std=c11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")


@dataclass(frozen=True)
class BlockCount:
    """A run of instructions that is entered at the first one.

    Parameters
    ----------
    address : int
        Of the first one.
    instructions : int
        How many they are.
    executions : int
        How often it was executed.
    taken : int
        How often what came next was not what stands behind it.
    flash_reads : int
        Accesses to flash, constants above all.
    misaligned : int
        Cycles that a Cortex-M3 or M4 needs for accesses which are not aligned.
    """

    address: int
    instructions: int
    executions: int
    taken: int
    flash_reads: int
    misaligned: int


@dataclass(frozen=True)
class Region:
    """What was executed in one inference, by spans of a profiling build; 0 is the only one else."""

    spans: dict[int, tuple[BlockCount, ...]]


@dataclass(frozen=True)
class SpanArray:
    """The firmware's array that a mark writes to: address, and size and number of its elements."""

    address: int
    element_bytes: int
    count: int


class Counter:
    """The plugin for one firmware: what to count, and where the counts go.

    Parameters
    ----------
    folder : Path
        Where the plugin is built and counts are written.
    begin, end : tuple of int
        Addresses of instructions that open and close a region.
    spans : SpanArray or None
        Of a profiling build.

    Raises
    ------
    ToolMissingError
        If there is no compiler for this machine.
    BuildError
        If the plugin does not compile.
    """

    def __init__(
        self,
        folder: Path,
        begin: tuple[int, ...],
        end: tuple[int, ...],
        spans: SpanArray | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._plugin = build_plugin(folder)
        self._out = folder / "executions.txt"
        self._out.unlink(missing_ok=True)
        self._begin, self._end, self._spans = begin, end, spans

    def emulator_options(self, board: Board) -> list[str]:
        """What makes QEMU count.

        Raises
        ------
        BoardError
            If a path has a comma, which QEMU takes for the end of an option.
        """
        flash = board.region("flash")
        assert flash is not None
        options = [
            str(self._plugin.resolve()),
            f"out={self._out.resolve()}",
            *(f"begin=0x{address:x}" for address in self._begin),
            *(f"end=0x{address:x}" for address in self._end),
            f"flash=0x{flash.origin:x}:0x{flash.origin + flash.size_bytes:x}",
        ]
        if self._spans is not None:
            spans = self._spans
            options.append(f"spans=0x{spans.address:x}:{spans.element_bytes}:{spans.count}")
        if any("," in option for option in options):
            raise BoardError(
                f"{self._out.parent}: QEMU takes no plugin from a folder with a comma",
                hint="give another output folder",
            )
        return ["-plugin", ",".join(options)]

    def regions(self) -> list[Region]:
        """All regions closed so far.

        Raises
        ------
        ProtocolError
            If what the plugin has written is cut short or foreign.
        """
        try:
            text = self._out.read_text(encoding="ascii")
            return _parse(text)
        except (OSError, ValueError) as error:
            raise ProtocolError(f"{self._out}: has no counts: {error}") from error


def build_plugin(folder: Path) -> Path:
    """Compile the plugin for this machine's QEMU; return the shared library's path.

    Raises
    ------
    ToolMissingError
        If there is no compiler.
    BuildError
        If it does not compile; the message has the compiler's first words.
    """
    target = folder / "count_executions.so"
    command = [str(find_tool(HOST_COMPILER)), *_FLAGS, str(_SOURCE), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise BuildError(f"{_SOURCE.name} does not compile: {said[0] if said else 'no message'}")
    return target


def _parse(text: str) -> list[Region]:
    """Regions out of the plugin's lines; blocks translated more than once are added up."""
    regions: list[Region] = []
    spans: dict[int, dict[tuple[int, int], list[int]]] | None = None
    for line in text.splitlines():
        if line == "region":
            spans = {}
        elif spans is None:
            raise ValueError(f"{line!r} outside a region")
        elif line == "end":
            regions.append(Region({span: _blocks(counts) for span, counts in spans.items()}))
            spans = None
        else:
            span, address, length, *counts = line.split(" ")
            blocks = spans.setdefault(int(span), {})
            sums = blocks.setdefault((int(address, 16), int(length)), [0, 0, 0, 0])
            for index, count in zip(range(len(sums)), counts, strict=True):
                sums[index] += int(count)
    if spans is not None:
        raise ValueError("the last region is cut short")
    return regions


def _blocks(counts: dict[tuple[int, int], list[int]]) -> tuple[BlockCount, ...]:
    return tuple(BlockCount(*place, *sums) for place, sums in sorted(counts.items()))
