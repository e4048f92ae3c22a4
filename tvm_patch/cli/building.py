"""From a plan to firmware, for the verbs that need one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tvm_patch.board import Board
    from tvm_patch.cli.terminal import Activity
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

        for tool in self._tools(runs=runs):
            tools.find_tool(tool)

    def tool_versions(self) -> dict[str, str]:
        """Versions of the compiler and of the emulator."""
        from tvm_patch.micro import tools

        return {tool.name: tools.inspect_tool(tool).version for tool in self._tools(runs=True)}

    def _tools(self, *, runs: bool) -> list[Tool]:
        from tvm_patch.micro import tools

        board = self.board.emulate() if self.emulate else self.board
        needed = [tools.HOST_COMPILER if board.port == "host" else tools.ARM_COMPILER]
        if runs and board.machine is not None:
            needed.append(tools.EMULATOR)
        return needed


def find_target(name: str, emulate: bool) -> Target:
    """The board called ``name``.

    Raises
    ------
    BoardError
        When there is none.
    """
    from tvm_patch.board import load_board

    return Target(load_board(name), emulate)


def output_folder(output: Path | None, model: Path) -> Path:
    """The folder for C and firmware, made and found writable."""
    from tvm_patch.report.files import prepare_folder

    return prepare_folder(output or Path("out") / model.stem)


def build_model(
    prepared: Prepared, plan: Plan, target: Target, folder: Path, shown: Activity
) -> tuple[Generated, Firmware]:
    """Generate C in ``folder/model``, build it in ``folder/firmware`` and describe it there."""
    from tvm_patch.micro import build_firmware
    from tvm_patch.pipeline import generate
    from tvm_patch.rack.artifact import write as write_artifact
    from tvm_patch.report import Built, write_built
    from tvm_patch.report.records import write_planned

    shown.step("generate C")
    generated = generate(prepared, plan, folder / "model", target.board)
    shown.step(f"build firmware for {target.board.name}")
    graph = prepared.network.graph
    write_planned(folder, graph, plan)
    firmware = build_firmware(
        generated.folder, target.board, folder / "firmware", emulate=target.emulate
    )
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
