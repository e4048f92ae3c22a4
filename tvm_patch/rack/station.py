"""An agent with its board: everything that ``tvm-patch serve`` puts together."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tvm_patch.board import Board
from tvm_patch.errors import BoardError
from tvm_patch.micro.lock import BoardLock
from tvm_patch.rack.agent import Agent, AgentSettings
from tvm_patch.rack.bench import Bench, BoardBench
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
    port : str or None
        Serial port of a real board.
    timeout_s : float
        How long the device may work without a word.
    power_cycle_command : str or None
        Cuts a real board's power and gives it back.
    virtual_time : bool
        Whether ``time_evaluator`` takes an emulator's instructions for nanoseconds.
    """

    board: Board
    agent: AgentSettings
    port: str | None = None
    timeout_s: float = 60.0
    power_cycle_command: str | None = None
    virtual_time: bool = False


def serve_board(
    station: Station,
    say: Say,
    *,
    lifeline: Connection | None = None,
    make_bench: Callable[[Station], Bench] | None = None,
) -> None:
    """Serve a board until it is lost, or the process is ended.

    Parameters
    ----------
    station : Station
        The board.
    say : Say
        Told what goes on.
    lifeline : Connection or None
        The agent ends when the other end of it is closed.
    make_bench : callable or None
        Makes what acts on the board; None takes what this package has for it.

    Raises
    ------
    BoardError
        If it is the host, or a real board without a port.
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
    if board.is_real and station.port is None:
        raise BoardError(f"{board.name}: a real board needs a port", hint="name it with --port")
    bench = _board_bench(station) if make_bench is None else make_bench(station)
    lock = nullcontext() if station.port is None else BoardLock(station.port)
    with lock, ended_by_sigterm(), tempfile.TemporaryDirectory(prefix="tvm-patch-agent-") as folder:
        memory, uploads = Path(folder) / "memory", Path(folder) / "uploads"
        memory.mkdir()

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


def _board_bench(station: Station) -> Bench:
    return BoardBench(
        station.board.name,
        port=station.port,
        timeout_s=station.timeout_s,
        power_cycle_command=station.power_cycle_command,
    )
