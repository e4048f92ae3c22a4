"""``tvm-patch serve``: trackers that come and go, boards that die, and what is said about it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import rpc

from tests.support import need_emulator
from tvm_patch.errors import BoardLostError, DeviceSilentError, TrackerError, UnknownKeyError
from tvm_patch.rack import client as rack_client
from tvm_patch.rack.address import Address
from tvm_patch.rack.client import RackClient
from tvm_patch.rack.tracker import TrackerConnection, TrackerProcess, request_board

from .conftest import Start, children_of, emulators_of

pytestmark = pytest.mark.emulator

M7 = "qemu_cortex_m7"
QUICK = {"_REJOIN_PERIOD_S": 1.0, "_CALL_TIMEOUT_S": 1.0, "_PING_PERIOD_S": 0.3}
IMAGE = np.zeros((1, 64, 64, 1), np.int8)


@pytest.fixture
def tracker() -> Iterator[Address]:
    need_emulator()
    with TrackerProcess(port=25190) as running:
        yield running.address


def await_count(tracker: Address, key: str, count: int) -> None:
    deadline = time.monotonic() + 30
    with TrackerConnection(tracker) as connection:
        while connection.board_counts().get(key, 0) != count:
            assert time.monotonic() < deadline, connection.board_counts()
            time.sleep(0.05)


def breakable_emulator(folder: Path) -> tuple[Path, dict[str, str]]:
    """An emulator that works until a file is there; the file, and a PATH with it in front."""
    emulator, broken = folder / "qemu-system-arm", folder / "broken"
    emulator.write_text(
        f'#!/bin/sh\n[ -e "{broken}" ] && {{ echo dead >&2; exit 1; }}\n'
        f'exec "{shutil.which("qemu-system-arm")}" "$@"\n'
    )
    emulator.chmod(0o755)
    return broken, {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_a_board_that_stays_dead_leaves_the_pool_and_says_so(
    start: Start,
    tracker: Address,
    digits_m7: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, path = breakable_emulator(tmp_path)
    agent = start("serve", "--board", M7, "--tracker", tracker, "--key", "mine", environment=path)
    agent.await_words("key mine at the tracker")
    client = RackClient(tracker, "mine")
    assert client.measure(digits_m7, [IMAGE]).outputs

    def break_it(step: str) -> None:
        if step.startswith("run on"):
            broken.touch()
            for emulator in emulators_of(agent.pid):
                os.kill(emulator, signal.SIGKILL)

    # The client asks for another one, and there is none.
    monkeypatch.setattr(rack_client, "_GRACE_S", 1.0)
    with pytest.raises(UnknownKeyError, match="no board with key 'mine'"):
        RackClient(tracker, "mine", on_step=break_it).measure(digits_m7, [IMAGE])
    assert agent.await_end() == BoardLostError.exit_code
    assert "does not come back after 4 tries" in agent.said
    assert "does not come back; it has left the pool" in agent.said
    await_count(tracker, "mine", 0)


def test_a_firmware_that_never_answers_leaves_the_board_in_the_pool(
    start: Start, tracker: Address, digits_m7: Path, tmp_path: Path
) -> None:
    broken, path = breakable_emulator(tmp_path)
    broken.touch()
    agent = start("serve", "--board", M7, "--tracker", tracker, environment=path)
    agent.await_words("at the tracker")
    with pytest.raises(DeviceSilentError, match="none has yet here") as raised:
        RackClient(tracker, M7).measure(digits_m7, [IMAGE])
    assert "whether the firmware runs on the emulator" in str(raised.value.hint)
    broken.unlink()
    assert RackClient(tracker, M7).measure(digits_m7, [IMAGE]).outputs


def test_an_agent_finds_its_tracker_again(start: Start, digits_m7: Path) -> None:
    need_emulator()
    with TrackerProcess(port=25290) as first:
        address = first.address
        agent = start("serve", "--board", M7, "--tracker", address, constants=QUICK)
        agent.await_words("at the tracker")
        await_count(address, M7, 1)
    agent.await_words("tries again every 1 s")
    with TrackerProcess(port=address.port, port_count=1):
        agent.await_words("back at the tracker")
        assert RackClient(address, M7).measure(digits_m7, [IMAGE]).outputs


def test_a_board_handed_out_and_not_called_for_is_offered_again(
    start: Start, tracker: Address, digits_m7: Path
) -> None:
    agent = start("serve", "--board", M7, "--tracker", tracker, constants=QUICK)
    agent.await_words("at the tracker")
    grant = request_board(tracker, M7, grace_s=10)
    agent.await_words("not called for; offered again", timeout_s=30)
    with pytest.raises(RuntimeError, match="cannot find server that matches key"):
        rpc.connect(grant.host, grant.port, grant.match_key)
    assert RackClient(tracker, M7).measure(digits_m7, [IMAGE]).outputs


def test_without_a_tracker_the_key_is_enough(start: Start, digits_m7: Path) -> None:
    need_emulator()
    agent = start("serve", "--board", M7, "--key", "secret")
    words = agent.await_words(r"serves at (\S+):(\d+), without a tracker")
    with pytest.raises(RuntimeError, match="cannot find server that matches key"):
        rpc.connect(words[1], int(words[2]), "wrong")
    for nonsense in ("never", "nan\0", "x" * 2000):
        with pytest.raises(RuntimeError):
            rpc.connect(words[1], int(words[2]), f"secret -timeout={nonsense}")
    remote = rpc.connect(words[1], int(words[2]), "secret")
    remote.upload(str(digits_m7 / "firmware.tar"))
    firmware = remote.load_module("firmware.tar")
    # An emulator has no time to tell unless it is asked to make one up.
    with pytest.raises(RuntimeError, match="is emulated and has no time: it counts instructions"):
        timer = firmware.time_evaluator("main", remote.cpu())
        timer(tvm.runtime.tensor(IMAGE, remote.cpu()))
    # A second client has to wait until the first one is through.
    with pytest.raises(RuntimeError, match="cannot find server that matches key"):
        rpc.connect(words[1], int(words[2]), "secret")
    remote.get_function("CloseRPCConnection")()


def test_it_listens_on_this_machine_alone_unless_told(start: Start) -> None:
    need_emulator()
    agent = start("serve", "--board", M7)
    port = int(agent.await_words(r"serves at 127\.0\.0\.1:(\d+)")[1])
    others = {
        address[4][0]
        for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if not address[4][0].startswith("127.")
    }
    for address in others:
        with pytest.raises(OSError):
            socket.create_connection((address, port), 2)


def test_nothing_is_left_when_an_agent_ends(start: Start, tracker: Address) -> None:
    agent = start("serve", "--board", M7, "--tracker", tracker)
    agent.await_words("at the tracker")
    grant = request_board(tracker, M7, grace_s=10)
    remote = rpc.connect(grant.host, grant.port, grant.match_key)
    below = children_of(agent.pid)
    assert below
    os.kill(agent.pid, signal.SIGTERM)
    assert agent.await_end() == 130
    assert not any(Path(f"/proc/{child}").exists() for child in below)
    await_count(tracker, M7, 0)
    with pytest.raises(RuntimeError):
        remote.listdir("")


def test_a_tracker_that_goes_away_is_told(tracker: Address) -> None:
    with TrackerProcess(port=25390) as short, TrackerConnection(short.address) as connection:
        assert connection.board_counts() == {}
        short.close()
        with pytest.raises(TrackerError, match="the tracker is gone"):
            connection.board_counts()
