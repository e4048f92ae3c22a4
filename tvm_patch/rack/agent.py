"""A board's agent: offers it to a tracker, and gives each client a session in a process of its own.

``tvm.rpc.Server`` does the same for the machine that it runs on. It is not used here, because it
stays in the pool whatever becomes of the board, leaves it silently when a session's process
crashes, and waits for ever for a client that connects and says nothing. The handshake, the
tracker's messages and the server loop are TVM's.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection as multiprocessing_connection
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess

from tvm.rpc import _ffi_api as rpc_api
from tvm.rpc import base

from tvm_patch.errors import BoardLostError, RackError, TrackerError
from tvm_patch.rack.address import Address
from tvm_patch.rack.ending import end_with_parent
from tvm_patch.rack.keeper import Say
from tvm_patch.rack.tracker import TrackerConnection

_HANDSHAKE_TIMEOUT_S = 3.0
_PING_PERIOD_S = 2.0
_REJOIN_PERIOD_S = 5.0
# A board that was handed out and not called for in that time is offered again.
_CALL_TIMEOUT_S = 6.0
_KEY_MAX_BYTES = 1024


@dataclass(frozen=True)
class AgentSettings:
    """How a board is offered.

    Parameters
    ----------
    name : str
        What the board is called in messages.
    key : str
        What clients ask the tracker for.
    host : str
        Address to listen at.
    port, port_count : int
        The first free one of ``port_count`` ports from ``port`` on is taken.
    tracker : Address or None
        None offers it to whoever connects to the port.
    custom_host : str or None
        What the tracker is to tell clients instead of the address that it sees.
    """

    name: str
    key: str
    host: str = "127.0.0.1"
    port: int = 9091
    port_count: int = 108
    tracker: Address | None = None
    custom_host: str | None = None


@dataclass
class _Session:
    process: ForkProcess
    client: socket.socket
    peer: str
    deadline: float | None

    def is_over(self) -> bool:
        """Whether its time is up."""
        return self.deadline is not None and time.monotonic() >= self.deadline


@dataclass
class _Pool:
    """The tracker's view of this board."""

    connection: TrackerConnection | None = None
    match_key: str | None = None
    taken_since: float | None = None
    rejoin_at: float = 0.0


class Agent:
    """Offers one board until it is lost or the process is ended.

    Parameters
    ----------
    settings : AgentSettings
        How.
    serve : callable
        Serves a client on a socket's descriptor; called in a forked process. Returns whether the
        board is still there.
    say : Say
        Told what goes on.
    lifeline : Connection or None
        The agent ends when the other end of it is closed.

    Raises
    ------
    RackError
        If it cannot listen where it is to, or its key is none.
    """

    def __init__(
        self,
        settings: AgentSettings,
        serve: Callable[[int], bool],
        *,
        say: Say,
        lifeline: Connection | None = None,
    ) -> None:
        if not settings.key or settings.key.split() != [settings.key]:
            raise RackError(f"{settings.key!r} is no key", hint="a key is one word")
        self._settings = settings
        self._serve = serve
        self._say = say
        self._lifeline = lifeline
        self._pool = _Pool()
        self._session: _Session | None = None
        self._listener = _listen(settings)
        self.address = Address(settings.host, self._listener.getsockname()[1])

    def run(self) -> None:
        """Serve clients, one at a time.

        Raises
        ------
        TrackerError
            If there is a tracker to be, and none answers at the start.
        BoardLostError
            If the board is lost; it has left the pool.
        """
        try:
            if self._settings.tracker is not None:
                self._join()
            self._say(f"serves at {self.address}, {self._offer_in_words()}")
            while self._wait():
                self._keep_in_pool()
        finally:
            self._leave()

    def _wait(self) -> bool:
        """Wait for something to do, and do it; False when it is time to end."""
        waited: list[socket.socket | int | Connection] = [self._listener]
        timeout_s = _PING_PERIOD_S
        if self._session is not None:
            waited.append(self._session.process.sentinel)
            if self._session.deadline is not None:
                timeout_s = min(timeout_s, max(0.0, self._session.deadline - time.monotonic()))
        if self._lifeline is not None:
            waited.append(self._lifeline)
        ready = multiprocessing_connection.wait(waited, timeout_s)  # type: ignore[arg-type]
        if self._lifeline in ready:
            return False
        session = self._session
        if session is not None and session.process.sentinel in ready:
            self._end_session(session)
        elif session is not None and session.is_over():
            self._cut_off(session)
        if self._listener in ready:
            self._take_client()
        return True

    # ---- The pool.

    def _join(self) -> None:
        settings, pool = self._settings, self._pool
        assert settings.tracker is not None
        connection = TrackerConnection(settings.tracker)
        try:
            connection.introduce(settings.key, self.address.port, settings.custom_host)
        except TrackerError:
            connection.close()
            raise
        pool.connection, pool.match_key, pool.taken_since = connection, None, None

    def _keep_in_pool(self) -> None:
        """Offer the board if it is free, and join the tracker again if it has been away."""
        pool = self._pool
        if self._settings.tracker is None:
            return
        try:
            if pool.connection is None:
                if time.monotonic() < pool.rejoin_at:
                    return
                self._join()
                self._say(f"back at the tracker {self._settings.tracker}")
            if self._session is None:
                self._offer()
        except TrackerError as error:
            if pool.connection is not None:
                self._say(f"{error.message}; tries again every {_REJOIN_PERIOD_S:.0f} s")
                pool.connection.close()
                pool.connection = None
            pool.rejoin_at = time.monotonic() + _REJOIN_PERIOD_S

    def _offer(self) -> None:
        pool = self._pool
        assert pool.connection is not None
        if pool.match_key is not None:
            if pool.match_key in pool.connection.offered_keys():
                pool.taken_since = None
                return
            # Handed out: a client is on its way, or has died on it.
            if pool.taken_since is None:
                pool.taken_since = time.monotonic()
            if time.monotonic() < pool.taken_since + _CALL_TIMEOUT_S:
                return
            self._say("was handed out and not called for; offered again")
        pool.match_key, pool.taken_since = base.random_key(self._settings.key), None
        pool.connection.offer(
            self._settings.key, self.address.port, pool.match_key, self._settings.custom_host
        )

    def _leave(self) -> None:
        if self._pool.connection is not None:
            self._pool.connection.close()
            self._pool.connection = None
        self._listener.close()
        if self._session is not None:
            self._session.process.terminate()
            self._session.process.join()
            self._session.client.close()

    # ---- Clients.

    def _take_client(self) -> None:
        try:
            client, address = self._listener.accept()
        except OSError:
            return
        try:
            options = self._shake_hands(client)
            timeout_s = None if options is None else _session_timeout_s(options)
        except (OSError, struct.error, ValueError):
            options = None
        if options is None:
            client.close()
        else:
            self._begin_session(client, f"{address[0]}:{address[1]}", timeout_s)

    def _shake_hands(self, client: socket.socket) -> list[str] | None:
        """Let in who knows the match key; None for everybody else."""
        client.settimeout(_HANDSHAKE_TIMEOUT_S)
        (magic,) = struct.unpack("<i", base.recvall(client, 4))
        if magic != base.RPC_MAGIC:
            return None
        (size,) = struct.unpack("<i", base.recvall(client, 4))
        if not 0 < size <= _KEY_MAX_BYTES:
            return None
        key, *options = base.recvall(client, size).decode("utf-8").split() or [""]
        tracked = self._settings.tracker is not None
        expected = self._pool.match_key if tracked else self._settings.key
        if self._session is not None or expected is None or key != f"client:{expected}":
            client.sendall(struct.pack("<i", base.RPC_CODE_MISMATCH))
            return None
        ours = f"server:{self._settings.key}".encode()
        client.sendall(struct.pack("<ii", base.RPC_CODE_SUCCESS, len(ours)) + ours)
        client.settimeout(None)
        _notice_dead_peers(client)
        return options

    def _begin_session(self, client: socket.socket, peer: str, timeout_s: float | None) -> None:
        process = get_context("fork").Process(
            target=self._serve_in_child, args=(client, os.getpid())
        )
        process.start()
        self._pool.match_key = None
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._session = _Session(process, client, peer, deadline)
        self._say(f"session of {peer}")

    def _serve_in_child(self, client: socket.socket, parent_id: int) -> None:
        end_with_parent(parent_id)
        # An interrupt at the terminal is for the agent, which then ends this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._listener.close()
        if self._pool.connection is not None:
            self._pool.connection.close()
        there = self._serve(client.fileno())
        os._exit(0 if there else BoardLostError.exit_code)

    def _cut_off(self, session: _Session) -> None:
        self._say(f"session of {session.peer}: its time is up")
        with contextlib.suppress(Exception):
            rpc_api.ReturnException(
                session.client.fileno(),
                "RPCSessionTimeoutError: the session's time is up; ask for more by session_timeout",
            )
        session.process.terminate()
        session.process.join()
        self._end_session(session)

    def _end_session(self, session: _Session) -> None:
        session.process.join()
        code = session.process.exitcode
        with contextlib.suppress(OSError):
            session.client.shutdown(socket.SHUT_RDWR)
        session.client.close()
        session.process.close()
        self._session = None
        if code == BoardLostError.exit_code:
            raise BoardLostError(
                f"{self._settings.name}: does not come back; it has left the pool",
                hint="look at its cable and supply, then serve it again",
            )
        abnormal = "" if code in (0, -signal.SIGTERM) else f" abnormally ({code})"
        self._say(f"session of {session.peer} has ended{abnormal}")

    def _offer_in_words(self) -> str:
        settings = self._settings
        if settings.tracker is None:
            return f"without a tracker: tvm.rpc.connect(host, port, {settings.key!r})"
        return f"key {settings.key} at the tracker {settings.tracker}"


def _listen(settings: AgentSettings) -> socket.socket:
    last: OSError | None = None
    for port in range(settings.port, settings.port + settings.port_count):
        try:
            family = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((settings.host, port), family=family, backlog=8)
        except OSError as error:
            last = error
    assert last is not None
    raise RackError(
        f"{settings.name}: cannot listen at {settings.host}:{settings.port}: "
        f"{last.strerror or last}",
        hint="choose another --rpc-port or --host",
    )


def _session_timeout_s(options: list[str]) -> float | None:
    """Read what the client has behind its key: ``-timeout=SECONDS``."""
    for option in options:
        name, _, value = option.partition("=")
        if name == "-timeout" and math.isfinite(seconds := float(value)) and seconds > 0:
            return seconds
    return None


def _notice_dead_peers(client: socket.socket) -> None:
    """A client whose machine or network is gone sends no end: a board must not wait for it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            client.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
