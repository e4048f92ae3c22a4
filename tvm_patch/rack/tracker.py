"""TVM's tracker: starting one, and speaking to it with time-outs and errors in words.

``tvm.rpc.connect_tracker`` works with it like with any other. It waits for an answer however long
it takes, though, be the tracker gone or the key unknown; so the verbs of this package ask for
boards themselves, in TVM's protocol.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from tvm.rpc import base
from tvm.rpc.base import TrackerCode

from tvm_patch.errors import RackError, ToolMissingError, TrackerError, UnknownKeyError
from tvm_patch.rack.address import Address

ANSWER_TIMEOUT_S = 10.0
_LOOK_PERIOD_S = 2.0


@dataclass(frozen=True)
class Grant:
    """A board that the tracker has handed out: ``tvm.rpc.connect`` takes these."""

    host: str
    port: int
    match_key: str


class TrackerConnection:
    """A connection to a tracker; a context manager.

    Parameters
    ----------
    address : Address
        Where it listens.

    Raises
    ------
    TrackerError
        If nobody listens there, or no tracker.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        try:
            self.socket = socket.create_connection((address.host, address.port), ANSWER_TIMEOUT_S)
        except OSError as error:
            raise TrackerError(
                f"{address}: no tracker answers: {error.strerror or error}",
                hint=f"start one: python -m tvm.exec.rpc_tracker --host {address.host} "
                f"--port {address.port}, or tvm-patch rack",
            ) from error
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            self.socket.sendall(struct.pack("<i", base.RPC_TRACKER_MAGIC))
            is_tracker = base.recvall(self.socket, 4) == struct.pack("<i", base.RPC_TRACKER_MAGIC)
        except OSError:
            is_tracker = False
        if not is_tracker:
            self.socket.close()
            raise TrackerError(
                f"{address}: somebody answers who is no tracker",
                hint="a board's own port is not the tracker's; the tracker's is 9190 by default",
            )

    def __enter__(self) -> TrackerConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; a board that was offered here leaves the pool, a request the queue."""
        self.socket.close()

    def ask(self, *message: Any) -> Any:
        """Send a message and return the answer.

        Raises
        ------
        TrackerError
            If the tracker is gone.
        """
        try:
            base.sendjson(self.socket, list(message))
            return base.recvjson(self.socket)
        except (OSError, ValueError, struct.error) as error:
            raise TrackerError(f"{self.address}: the tracker is gone: {error}") from error

    def offer(self, key: str, port: int, match_key: str, custom_host: str | None) -> None:
        """Put a board into the pool."""
        self._expect(TrackerCode.PUT, key, (port, match_key), custom_host)

    def introduce(self, key: str, port: int, custom_host: str | None) -> None:
        """Say which board this connection belongs to."""
        self._expect(TrackerCode.UPDATE_INFO, {"key": f"server:{key}", "addr": [custom_host, port]})

    def offered_keys(self) -> set[str]:
        """Return the match keys that were offered here and not taken."""
        return set(self.ask(TrackerCode.GET_PENDING_MATCHKEYS))

    def board_counts(self) -> dict[str, int]:
        """Return how many boards of each key are there, free or busy."""
        counts: dict[str, int] = {}
        for server in self._summary()["server_info"]:
            key = str(server["key"]).removeprefix("server:")
            counts[key] = counts.get(key, 0) + 1
        return counts

    def queue(self, key: str) -> tuple[int, int]:
        """Return how many boards of a key are free, and how many requests wait for one."""
        entry = self._summary()["queue_info"].get(key, {"free": 0, "pending": 0})
        return int(entry["free"]), int(entry["pending"])

    def _summary(self) -> dict[str, Any]:
        status, summary = self.ask(TrackerCode.SUMMARY)
        if status != TrackerCode.SUCCESS:
            raise TrackerError(f"{self.address}: the tracker gives no summary")
        return dict(summary)

    def _expect(self, *message: Any) -> None:
        if self.ask(*message) != TrackerCode.SUCCESS:
            raise TrackerError(f"{self.address}: the tracker refuses a board")


def request_board(
    address: Address,
    key: str,
    *,
    priority: int = 1,
    wait_s: float | None = None,
    grace_s: float = 0.0,
    on_wait: Callable[[int], None] = lambda waiting: None,
) -> Grant:
    """Wait until the tracker hands out a board.

    Parameters
    ----------
    address : Address
        The tracker's.
    key : str
        Of the boards that will do.
    priority : int
        The higher, the sooner.
    wait_s : float or None
        How long to wait at most.
    grace_s : float
        How long the tracker may have no board of that key at all: agents that are started again
        come back.
    on_wait : callable
        Told now and then how many requests are waiting.

    Raises
    ------
    TrackerError
        If the tracker does not answer.
    UnknownKeyError
        If it has no board of that key, or has it no more.
    RackError
        If no board has become free in time.
    """
    started = time.monotonic()
    with TrackerConnection(address) as observer, TrackerConnection(address) as requester:
        _await_key(observer, key, grace_s)
        message = json.dumps([TrackerCode.REQUEST, key, "", priority]).encode()
        requester.socket.sendall(struct.pack("<i", len(message)) + message)
        while not select.select([requester.socket], [], [], _LOOK_PERIOD_S)[0]:
            _await_key(observer, key, grace_s)
            if wait_s is not None and time.monotonic() - started > wait_s:
                raise RackError(
                    f"{key}: no board has become free in {wait_s:.0f} s",
                    hint="allow it more time, or give it a higher priority",
                )
            on_wait(observer.queue(key)[1])
        try:
            status, (host, port, match_key) = base.recvjson(requester.socket)
        except (OSError, ValueError) as error:
            raise TrackerError(f"{address}: the tracker is gone: {error}") from error
        if status != TrackerCode.SUCCESS:
            raise TrackerError(f"{address}: the tracker refuses the request")
    return Grant(str(host), int(port), str(match_key))


def _await_key(connection: TrackerConnection, key: str, grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        if key in connection.board_counts():
            return
        time.sleep(min(_LOOK_PERIOD_S, grace_s) / 4)
    check_key(connection, key)


def check_key(connection: TrackerConnection, key: str) -> None:
    """Make sure that a tracker has boards of a key: a request for others would wait for ever.

    Raises
    ------
    UnknownKeyError
        If it has none; names the keys that it has.
    """
    counts = connection.board_counts()
    if key not in counts:
        there = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
        raise UnknownKeyError(
            f"{connection.address}: the tracker has no board with key {key!r}",
            hint=f"it has: {there}"
            if there
            else "it has no boards; start one: "
            f"tvm-patch serve --board NAME --tracker {connection.address}",
        )


class TrackerProcess:
    """TVM's tracker in a process that ends with this one; a context manager.

    Parameters
    ----------
    host : str
        Address to listen at.
    port, port_count : int
        The first free one of ``port_count`` ports from ``port`` on is taken.

    Raises
    ------
    ToolMissingError
        If tornado is not installed, which TVM's tracker needs.
    TrackerError
        If it cannot listen there.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 9190, port_count: int = 100) -> None:
        try:
            import tvm.rpc.tracker  # noqa: F401
        except ImportError as error:
            raise ToolMissingError(
                "tornado is not installed; TVM's tracker needs it",
                hint="pip install 'tvm-patch[rack]'",
            ) from error
        context = get_context("fork")
        ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_run_tracker, args=(theirs, ours, host, port, port + port_count), daemon=True
        )
        self._process.start()
        theirs.close()
        self._lifeline = ours
        answer = ours.recv()
        if isinstance(answer, str):
            self.close()
            raise TrackerError(f"{host}:{port}: the tracker cannot listen: {answer}")
        self.address = Address(host, answer)

    def __enter__(self) -> TrackerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._lifeline.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _run_tracker(
    pipe: Connection, parents_end: Connection, host: str, port: int, port_end: int
) -> None:
    from tvm.rpc.tracker import PopenTrackerServerState

    parents_end.close()
    try:
        state = PopenTrackerServerState(host, port, port_end, silent=True)
    except (OSError, ValueError) as error:
        pipe.send(str(error))
        os._exit(1)
    pipe.send(state.port)
    threading.excepthook = lambda _: None
    try:
        pipe.recv()
    except (EOFError, KeyboardInterrupt):
        os._exit(0)
