"""An agent with its board: everything that ``tvm-patch serve`` puts together."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from tvm_patch.board import Board
from tvm_patch.errors import BoardError
from tvm_patch.micro.lock import lock_of
from tvm_patch.micro.ports import Connection, find_connection
from tvm_patch.rack.agent import Agent, AgentSettings
from tvm_patch.rack.bench import BoardBench
from tvm_patch.rack.ending import ended_by_sigterm
from tvm_patch.rack.keeper import BoardKeeper, BoardMemory, Say
from tvm_patch.rack.serving import ServedBoard, ServedSession


@dataclass(frozen=True)
class Station:
    """A board and how it is served.

    Parameters
    ----------
    board : Board
        Real or emulated; not the host.
    agent : AgentSettings
        How it is offered.
    port, serial : str or None
        Serial port of a real board and serial number of its debug probe; found by USB where there
        is one such board only.
    runner : str or None
        Tool that flashes a real board; None takes the first installed one that can.
    timeout_s : float
        How long the device may work without a word.
    power_cycle_command : str or None
        Cuts a real board's power and gives it back.
    virtual_time : bool
        Whether ``time_evaluator`` takes an emulator's instructions for nanoseconds.
    folder : Path or None
        For uploads and what is known of the board; None takes one that goes with the agent.
    """

    board: Board
    agent: AgentSettings
    port: str | None = None
    serial: str | None = None
    runner: str | None = None
    timeout_s: float = 60.0
    power_cycle_command: str | None = None
    virtual_time: bool = False
    folder: Path | None = None


def serve_board(
    station: Station,
    say: Say,
    *,
    lifeline: Pipe | None = None,
) -> None:
    """Serve a board until it is lost, or the process is ended.

    Parameters
    ----------
    station : Station
        The board.
    say : Say
        Told what goes on.
    lifeline : multiprocessing Connection or None
        The agent ends when the other end of it is closed.

    Raises
    ------
    BoardError
        If it is the host, or no board is plugged in, or several and none is chosen.
    ToolMissingError
        If nothing is installed that flashes it.
    BoardBusyError
        If another process works with the board.
    TrackerError
        If no tracker answers.
    BoardLostError
        If the board does not come back.
    """
    board = station.board
    if board.port == "host":
        raise BoardError(
            "host is no board to serve: its firmware would be any program, run on this machine",
            hint="serve an emulated board: --board qemu_cortex_m7",
        )
    found = _find(station)
    bench = BoardBench(
        board,
        port=station.port,
        # From now on it is this board, whatever else gets plugged in.
        serial=found.probe_serial,
        runner=station.runner,
        timeout_s=station.timeout_s,
        power_cycle_command=station.power_cycle_command,
    )
    # Everybody has emulators of his own.
    lock = lock_of(board, found) if board.is_real else nullcontext()
    with lock, ended_by_sigterm(), _folder_of(station) as folder:
        memory, uploads = Path(folder) / "memory", Path(folder) / "uploads"
        memory.mkdir(exist_ok=True)

        def serve(descriptor: int) -> bool:
            # A session that was killed has left its files.
            shutil.rmtree(uploads, ignore_errors=True)
            uploads.mkdir()
            keeper = BoardKeeper(bench, board.name, memory=BoardMemory(memory), say=say)
            session = ServedSession(ServedBoard(board, keeper, station.virtual_time, say), uploads)
            try:
                session.serve(descriptor)
            except Exception as error:  # the client's end of the link, or TVM's
                last_line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                say(f"the session broke off: {last_line}")
            if session.lost is not None:
                say(str(session.lost))
            return session.lost is None

        Agent(station.agent, serve, say=say, lifeline=lifeline).run()


def _find(station: Station) -> Connection:
    if not station.board.is_real:
        return Connection("", None)
    return find_connection(station.board, port=station.port, serial=station.serial)


def _folder_of(station: Station) -> AbstractContextManager[str | Path]:
    if station.folder is not None:
        return nullcontext(station.folder)
    return tempfile.TemporaryDirectory(prefix="tvm-patch-agent-")
