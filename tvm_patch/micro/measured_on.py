"""What the times of kernels on a board depend on."""

from __future__ import annotations

from importlib import metadata

from tvm_patch.board import Board
from tvm_patch.kernel_times import MeasuredOn
from tvm_patch.micro.tools import ARM_COMPILER, HOST_COMPILER, inspect_tool

_UNITS = {True: "instructions", False: "cycles"}


def measured_on(board: Board, *, emulate: bool = False) -> MeasuredOn:
    """Of firmware that is built now for a board.

    Parameters
    ----------
    board : Board
        What is built for.
    emulate : bool
        As of ``build_firmware``.

    Raises
    ------
    ToolMissingError
        If there is no compiler.
    """
    if emulate:
        board = board.emulate()
    is_host = board.port == "host"
    compiler = inspect_tool(HOST_COMPILER if is_host else ARM_COMPILER)
    return MeasuredOn(
        board=board.name,
        core=board.cpu,
        unit="nanoseconds" if is_host else _UNITS[board.machine is not None],
        compiler=f"{compiler.tool.name} {compiler.version}",
        flags=" ".join((*board.core_flags, "-O3")),
        tvm=metadata.version("apache-tvm"),
    )
