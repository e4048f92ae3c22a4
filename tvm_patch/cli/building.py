"""From a plan to firmware, for the verbs that need one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tvm_patch.errors import DoesNotFitError

if TYPE_CHECKING:
    from tvm_patch.board import Board
    from tvm_patch.cli.terminal import Activity
    from tvm_patch.kernel_times import KernelTimes
    from tvm_patch.micro import Firmware
    from tvm_patch.micro.tools import Tool
    from tvm_patch.pipeline import Generated, Prepared
    from tvm_patch.plan import Plan


@dataclass(frozen=True)
class Target:
    """Where firmware is to run.

    Parameters
    ----------
    board : Board
        As named on the command line.
    emulate : bool
        Run a real board's limits on an emulated one.
    """

    board: Board
    emulate: bool

    def check_tools(self, *, runs: bool) -> None:
        """Make sure that compiler and emulator are there, before any work.

        Raises
        ------
        ToolMissingError
            Naming the first that is not.
        BoardError
            When no emulated board can stand in.
        """
        from tvm_patch.micro import tools
        from tvm_patch.micro.zephyr import find_zephyr

        for tool in self._tools(runs=runs):
            tools.find_tool(tool)
        if self._built_board.port == "zephyr":
            find_zephyr()

    def check_plugged_in(self, port: str | None, serial: str | None, runner: str | None) -> None:
        """Make sure that a real board is there and can be flashed, before any work.

        Raises
        ------
        BoardError
            When it is not plugged in, or several are and none is chosen.
        ToolMissingError
            When no tool that flashes it is installed.
        """
        from tvm_patch.micro import check_board

        if self._built_board.is_real:
            check_board(self._built_board, port=port, serial=serial, runner=runner)

    def tool_versions(self) -> dict[str, str]:
        """Versions of the compiler and of the emulator."""
        from tvm_patch.micro import tools

        return {tool.name: tools.inspect_tool(tool).version for tool in self._tools(runs=True)}

    @property
    def _built_board(self) -> Board:
        return self.board.emulate() if self.emulate else self.board

    def _tools(self, *, runs: bool) -> list[Tool]:
        from tvm_patch.micro import tools

        board = self._built_board
        needed = {
            "host": [tools.HOST_COMPILER],
            "bare_metal": [tools.ARM_COMPILER],
            # Which compiler is Zephyr's affair.
            "zephyr": [tools.CMAKE, tools.NINJA, tools.DTC],
        }[board.port]
        if runs and board.machine is not None:
            needed.append(tools.EMULATOR)
        return needed


def find_target(name: str, emulate: bool, link: str | None = None) -> Target:
    """The board called ``name``, spoken to over ``link``.

    Raises
    ------
    BoardError
        When there is none, or it has no such link.
    """
    from tvm_patch.board import load_board

    board = load_board(name)
    return Target(board if link is None else board.with_link(link), emulate)


def output_folder(output: Path | None, model: Path) -> Path:
    """The folder for C and firmware, made and found writable."""
    from tvm_patch.report.files import prepare_folder

    return prepare_folder(output or Path("out") / model.stem)


def build_model(
    prepared: Prepared,
    plan: Plan,
    target: Target,
    folder: Path,
    shown: Activity,
    *,
    small_code: bool = False,
    times: KernelTimes | None = None,
) -> tuple[Generated, Firmware]:
    """Generate C in ``folder/model``, build it in ``folder/firmware`` and describe it there.

    Raises
    ------
    DoesNotFitError
        When the board is too small; the hint names a plan or boards that would do.
    """
    from tvm_patch.cli.fitting import with_what_fits
    from tvm_patch.kernel_times import NO_TIMES
    from tvm_patch.micro import build_firmware
    from tvm_patch.pipeline import generate
    from tvm_patch.rack.artifact import write as write_artifact
    from tvm_patch.report import Built, write_built
    from tvm_patch.report.records import write_planned

    shown.step("generate C")
    generated = generate(
        prepared,
        plan,
        folder / "model",
        target.board,
        small_code=small_code,
        times=times or NO_TIMES,
    )
    shown.step(f"build firmware for {target.board.name}")
    graph = prepared.network.graph
    write_planned(folder, graph, plan)
    try:
        firmware = build_firmware(
            generated.folder,
            target.board,
            folder / "firmware",
            emulate=target.emulate,
            progress=shown.report,
        )
    except DoesNotFitError as error:
        raise with_what_fits(error, prepared, plan, shown) from error
    built = Built(
        firmware=firmware,
        model=prepared.imported.name,
        planned_arena_bytes=plan.memory.arena_bytes,
        planned_macs=plan.macs,
        operators=profiled_operators(generated),
        input_dtypes=tuple(graph.tensor[name].dtype for name in graph.inputs),
    )
    write_built(built)
    if firmware.board.port != "host":
        write_artifact(folder)
    return generated, firmware


def built_lines(folder: Path, plan: Plan, firmware: Firmware | None) -> list[str]:
    """What was built and where it is; ``firmware`` is None where there is C only."""
    lines = [
        f"C:        {folder / 'model'} (arena {plan.memory.arena_bytes:,} bytes, "
        f"F {plan.mac_overhead:.3f})"
    ]
    if firmware is not None:
        lines.append(
            f"firmware: {firmware.elf_path} ({firmware.flash_bytes:,} bytes of flash, "
            f"{firmware.static_sram_bytes:,} of static SRAM)"
        )
        if firmware.hex_path is not None:
            lines.append(f"to flash: {firmware.hex_path}")
        if firmware.board.is_real:
            lines.append(f"next:     tvm-patch flash {folder}, then tvm-patch measure {folder}")
        else:
            lines.append(f"next:     tvm-patch measure {folder}")
    return lines


def profiled_operators(generated: Generated) -> tuple[tuple[str, str, int], ...]:
    """Name, kind and MACs of what the firmware's profile lists."""
    return tuple(
        (
            entry.name,
            "stage" if entry.group.stage else entry.group.operators[0].operator.kind,
            entry.group.macs,
        )
        for entry in generated.model.groups
    )
