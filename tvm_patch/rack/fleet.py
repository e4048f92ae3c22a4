"""Many emulated boards and a tracker on one machine: a rack to try things out on."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection as multiprocessing_connection
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

from tvm_patch.board import load_board
from tvm_patch.errors import BoardError, RackError, TvmPatchError
from tvm_patch.rack.address import Address
from tvm_patch.rack.agent import AgentSettings
from tvm_patch.rack.keeper import Say
from tvm_patch.rack.station import Station, serve_board
from tvm_patch.rack.tracker import TrackerConnection, TrackerProcess

_BOARDS_MAX = 100
_RESTART_PAUSE_S = 0.5
_START_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class BoardCount:
    """So many boards of a kind."""

    name: str
    count: int


def parse_boards(text: str) -> list[BoardCount]:
    """Read ``qemu_cortex_m7:4,qemu_cortex_m4:2``; a name alone is one board.

    Raises
    ------
    RackError
        If it is not that.
    BoardError
        If there is no such board, or it is not an emulated one.
    """
    found: dict[str, int] = {}
    for entry in text.split(","):
        name, separator, count = entry.strip().partition(":")
        if not name or (separator and not (count.isdecimal() and int(count) > 0)):
            raise RackError(
                f"{entry.strip()!r} is no number of boards",
                hint="write NAME:COUNT,NAME:COUNT: qemu_cortex_m7:4,qemu_cortex_m4:2",
            )
        if load_board(name).machine is None:
            raise BoardError(
                f"{name}: is not an emulated board",
                hint="a real one is served with: tvm-patch serve --board NAME --port DEVICE",
            )
        found[name] = found.get(name, 0) + (int(count) if separator else 1)
    if sum(found.values()) > _BOARDS_MAX:
        raise RackError(f"{text}: more than {_BOARDS_MAX} boards")
    return [BoardCount(name, count) for name, count in found.items()]


@dataclass
class _Agent:
    label: str
    station: Station
    process: ForkProcess
    lifeline: Connection
    started_s: float


class Rack:
    """A tracker and emulated boards, each with an agent in a process of its own. A context manager.

    Agents that die are started again.

    Parameters
    ----------
    boards : sequence of BoardCount
        What is in it, each kind once. The key of a board is its name.
    host : str
        Address that all of them listen at.
    port : int
        The tracker's, or the first free one above it.
    virtual_time : bool
        Whether ``time_evaluator`` takes an emulator's instructions for nanoseconds.
    timeout_s : float
        How long a device may work without a word.
    say : Say
        Told what goes on.

    Raises
    ------
    ToolMissingError
        If tornado is not installed.
    RackError
        If something cannot listen, or does not start.
    """

    def __init__(
        self,
        boards: Sequence[BoardCount],
        *,
        host: str = "127.0.0.1",
        port: int = 9190,
        virtual_time: bool = False,
        timeout_s: float = 60.0,
        say: Say = lambda line: None,
    ) -> None:
        self._say = say
        self._context = get_context("fork")
        self._agents: list[_Agent] = []
        self._tracker = TrackerProcess(host, port)
        # Not the agents': what is killed cleans nothing up.
        self._folder = tempfile.TemporaryDirectory(prefix="tvm-patch-rack-")
        try:
            for kind in boards:
                for number in range(kind.count):
                    settings = AgentSettings(
                        kind.name, kind.name, host, tracker=self._tracker.address
                    )
                    label = f"{kind.name} {number + 1}"
                    folder = Path(self._folder.name) / label.replace(" ", "-")
                    folder.mkdir()
                    station = Station(
                        load_board(kind.name),
                        settings,
                        timeout_s=timeout_s,
                        virtual_time=virtual_time,
                        folder=folder,
                    )
                    self._agents.append(self._start(label, station))
            self._await_all(boards)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Rack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tracker(self) -> Address:
        """Where the tracker listens."""
        return self._tracker.address

    def process_ids(self) -> list[int]:
        """Return the process of each agent, in the order of the boards."""
        return [agent.process.pid or 0 for agent in self._agents]

    def supervise(self, timeout_s: float | None = None) -> None:
        """Start agents again that have died, for so long or for ever."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return
            sentinels = [agent.process.sentinel for agent in self._agents]
            dead = multiprocessing_connection.wait(sentinels, remaining)
            for place, agent in enumerate(self._agents):
                if agent.process.sentinel in dead:
                    self._agents[place] = self._restart(agent)

    def close(self) -> None:
        """End all of it."""
        for agent in self._agents:
            agent.lifeline.close()
        for agent in self._agents:
            agent.process.join(5)
            if agent.process.is_alive():
                agent.process.kill()
                agent.process.join()
        self._agents = []
        self._tracker.close()
        self._folder.cleanup()

    def _start(self, label: str, station: Station) -> _Agent:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_run_agent, args=(label, station, theirs, ours, self._say)
        )
        process.start()
        theirs.close()
        return _Agent(label, station, process, ours, time.monotonic())

    def _restart(self, agent: _Agent) -> _Agent:
        agent.process.join()
        agent.lifeline.close()
        self._say(f"{agent.label}: its agent has ended ({agent.process.exitcode}); started again")
        if time.monotonic() < agent.started_s + 2 * _RESTART_PAUSE_S:
            time.sleep(_RESTART_PAUSE_S)
        return self._start(agent.label, agent.station)

    def _await_all(self, boards: Sequence[BoardCount]) -> None:
        wanted = {kind.name: 0 for kind in boards}
        for kind in boards:
            wanted[kind.name] += kind.count
        deadline = time.monotonic() + _START_TIMEOUT_S
        with TrackerConnection(self.tracker) as connection:
            while connection.board_counts() != wanted:
                dead = [agent for agent in self._agents if not agent.process.is_alive()]
                if dead or time.monotonic() > deadline:
                    what = dead[0].label if dead else "the rack"
                    raise RackError(f"{what}: does not start", hint="it has said why above")
                time.sleep(0.05)


def _run_agent(
    label: str, station: Station, lifeline: Connection, parents_end: Connection, say: Say
) -> None:
    parents_end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rack closes the lifeline
    code = 0
    try:
        serve_board(station, lambda line: say(f"{label}: {line}"), lifeline=lifeline)
    except TvmPatchError as error:
        say(f"{label}: {error}")
        code = error.exit_code
    except KeyboardInterrupt:
        code = 1
    os._exit(code)
