"""Counts what an emulated firmware executes, or says why that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tvm_patch.board import Board
from tvm_patch.cycles.cortex_m4 import CortexM4
from tvm_patch.cycles.counting import Counter, Region, SpanArray
from tvm_patch.cycles.estimate import Estimate, estimate_region
from tvm_patch.cycles.program import Program
from tvm_patch.errors import DeviceSilentError, TvmPatchError
from tvm_patch.micro import Firmware, Session, open_session

MODELLED_CORES: Mapping[str, str] = {"cortex-m4": "Cortex-M4"}
"""Cores with a timing model, by what boards call them."""

# struct tvm_patch_span_of_code: ticks, visits, and what aligns it.
_SPAN_BYTES = 16
_BEGINS = ("run", "run_operator")
_END = "tvm_patch_measure_elapsed"
_PROFILE_END = "tvm_patch_profile_end"
_SPANS = "tvm_patch_profile_spans"

Result = TypeVar("Result")
OpenSession = Callable[[Sequence[str]], Session]


@dataclass(frozen=True)
class Estimated:
    """Estimates of a session's inferences, or the reason why there are none.

    Parameters
    ----------
    estimates : tuple of Estimate
        One for each inference, or operator run alone, in order.
    core : str
        The core whose timing it is; empty where there is no estimate.
    missing : str
        Why there is none; empty where there is.
    """

    estimates: tuple[Estimate, ...] = ()
    core: str = ""
    missing: str = ""


def why_not(board: Board) -> str:
    """Why a board's cycles cannot be estimated; empty where they can."""
    if board.machine is None:
        return "cycles are estimated for emulated boards only"
    if board.cpu not in MODELLED_CORES:
        cores = ", ".join(MODELLED_CORES.values())
        return f"cycles are estimated for the {cores} only, not for the {board.cpu}"
    return ""


@dataclass(frozen=True)
class Counted:
    """What a session's inferences executed, or the reason why that is not known.

    Parameters
    ----------
    program : Program or None
        The firmware; None where nothing was counted.
    regions : tuple of Region
        One for each inference, or operator run alone, in order.
    missing : str
        Why nothing was counted; empty where it was.
    """

    program: Program | None = None
    regions: tuple[Region, ...] = ()
    missing: str = ""


def count_executions(
    firmware: Firmware,
    c_name: str,
    folder: Path,
    work: Callable[[Session], Result],
    opened: OpenSession | None = None,
) -> tuple[Result, Counted]:
    """Run a firmware and count what each inference executes.

    Where nothing can be counted the firmware runs all the same.

    Parameters
    ----------
    firmware : Firmware
        What to run.
    c_name : str
        Of the model in it.
    folder : Path
        For the plugin and the counts.
    work : callable
        Given the open session; what it returns is returned.
    opened : callable or None
        Opens the session, given options for the emulator.

    Returns
    -------
    (Result, Counted)
        What ``work`` returned, and the counts or why there are none.
    """

    def plain(options: Sequence[str]) -> Session:
        return open_session(firmware, emulator_options=options)

    opened = opened or plain
    missing = "" if firmware.board.machine else "instructions are counted on emulated boards only"
    counter: Counter | None = None
    session: Session | None = None
    if not missing:
        try:
            program = Program(firmware.elf_path)
            counter = _counter(program, c_name, folder)
            session = opened(counter.emulator_options(firmware.board))
        except DeviceSilentError as error:
            missing = f"QEMU does not run with the plugin that counts: {_in_one_line(error)}"
        except TvmPatchError as error:
            missing = _in_one_line(error)
    with session or opened(()) as running:
        result = work(running)
        if missing or counter is None:
            return result, Counted(missing=missing)
        return result, Counted(program, tuple(counter.regions()))


def run_counted(
    firmware: Firmware,
    c_name: str,
    folder: Path,
    core: CortexM4,
    work: Callable[[Session], Result],
    opened: OpenSession | None = None,
) -> tuple[Result, Estimated]:
    """Run a firmware on the emulator and estimate the cycles of each inference.

    Parameters are those of :func:`count_executions`, and ``core``, the timing model. Where there is
    no estimate the firmware runs all the same.

    Returns
    -------
    (Result, Estimated)
        What ``work`` returned, and the estimates or why there are none.
    """
    missing = why_not(firmware.board)
    if missing:
        with opened(()) if opened else open_session(firmware) as session:
            return work(session), Estimated(missing=missing)
    result, counted = count_executions(firmware, c_name, folder, work, opened)
    program = counted.program
    if program is None:
        return result, Estimated(missing=counted.missing)
    estimates = tuple(estimate_region(program, region, core) for region in counted.regions)
    return result, Estimated(estimates, MODELLED_CORES[firmware.board.cpu])


def _in_one_line(error: TvmPatchError) -> str:
    return " ".join(str(error).split())


def _counter(program: Program, c_name: str, folder: Path) -> Counter:
    """What opens and closes an inference in a firmware."""
    begins = [program.symbol(f"tvmgen_{c_name}_{name}") for name in _BEGINS]
    spans = program.symbol(_SPANS)
    end = program.symbol(_END if spans is None else _PROFILE_END)
    if end is None or not any(begins):
        raise TvmPatchError(f"{c_name}: its firmware has no symbols to count by")
    array = None
    if spans is not None:
        address, size_bytes = spans
        array = SpanArray(address, _SPAN_BYTES, size_bytes // _SPAN_BYTES)
    return Counter(folder, tuple(begin[0] for begin in begins if begin), (end[0],), array)
