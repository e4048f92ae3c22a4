"""A rack from the outside: stock clients of TVM, our own, and boards that are killed under them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import rpc
from typer.testing import CliRunner

from tests.support import REPOSITORY
from tvm_patch.cli.app import app
from tvm_patch.errors import RackError, UnknownKeyError
from tvm_patch.micro import open_session
from tvm_patch.rack.artifact import ARTIFACT_NAME, pack
from tvm_patch.rack.client import RackClient
from tvm_patch.rack.tracker import TrackerConnection, request_board
from tvm_patch.report import read_built

from .conftest import RunningRack, children_of, command_of, emulators_of, runs

pytestmark = pytest.mark.emulator

M7 = "qemu_cortex_m7"


def image(seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(-128, 128, (1, 64, 64, 1), dtype=np.int8)


@pytest.fixture(scope="module")
def expected(digits_m7: Path) -> bytes:
    """What the firmware computes of ``image()`` without any rack."""
    with open_session(read_built(digits_m7).firmware) as session:
        return session.infer([image()])[0]


@contextmanager
def board_of(rack: RunningRack, key: str = M7, **options: Any) -> Iterator[Any]:
    """A board, asked for as every client of TVM does."""
    remote = rpc.connect_tracker(rack.tracker.host, rack.tracker.port).request(key, **options)
    try:
        yield remote
    finally:
        close = getattr(remote, "get_function", None)
        if close is not None:
            close("CloseRPCConnection")()


# Long, since what is waited for takes a second where a machine has nothing else to do.
PATIENCE_S = 90.0


def await_free(rack: RunningRack, key: str = M7, count: int = 2) -> None:
    with TrackerConnection(rack.tracker) as tracker:
        deadline = time.monotonic() + PATIENCE_S
        while tracker.queue(key)[0] < count:
            assert time.monotonic() < deadline, rack.program.said
            time.sleep(0.05)


def test_a_stock_client_uploads_loads_runs_and_reads(
    rack: RunningRack, digits_m7: Path, expected: bytes
) -> None:
    with board_of(rack) as remote:
        remote.upload(str(digits_m7 / ARTIFACT_NAME))
        assert remote.listdir("") == ARTIFACT_NAME
        assert remote.download(ARTIFACT_NAME) == (digits_m7 / ARTIFACT_NAME).read_bytes()
        firmware = remote.load_module(ARTIFACT_NAME)
        device = remote.cpu()
        assert firmware["get_num_inputs"]() == firmware["get_num_outputs"]() == 1
        assert firmware["get_input_index"]("image") == 0
        given = tvm.runtime.tensor(image(), device)
        firmware["set_input"]("image", given)
        firmware["run"]()
        output = firmware["get_output"](0)
        assert output.numpy().tobytes() == expected
        assert output.shape == (1, 10)
        target = tvm.runtime.tensor(np.zeros((1, 10), np.int8), device)
        firmware["get_output"](0, target)
        assert target.numpy().tobytes() == expected
        assert firmware["main"](given).numpy().tobytes() == expected
        info = json.loads(firmware["info"]())
        assert (info["board"], info["clock_kind"]) == (M7, "instructions")
        measured = json.loads(firmware["measure"](2))
        assert measured["runs"] == 2
        assert measured["arena_bytes"] == info["arena_size_bytes"]
        # As many as without a rack: an emulator counts the same everywhere.
        timer = firmware.time_evaluator("run", device, number=1, repeat=3)
        assert timer().results == pytest.approx([measured["instructions"] * 1e-9] * 3)
        named = firmware.time_evaluator("main", device, number=1, min_repeat_ms=20)
        assert named(given).mean == pytest.approx(measured["instructions"] * 1e-9, rel=0.01)


def test_the_example_measures_on_two_boards_at_once(rack: RunningRack, digits_m7: Path) -> None:
    await_free(rack)
    seen = len(rack.program.said)
    done = subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / "examples" / "rack_client.py"),
            *(str(rack.tracker), M7, str(digits_m7 / ARTIFACT_NAME)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^qemu_cortex_m7: [\d,]+ instructions", done.stdout, re.M)) == 2
    await_free(rack)
    told = rack.program.said[seen:]
    # Both sessions had begun before one of them ended, on different boards.
    assert {line[1] for line in re.finditer(r"m7 (\d): session of \S+\n", told)} == {"1", "2"}
    begins = [match.start() for match in re.finditer(r"session of \S+\n", told)]
    assert max(begins) < told.index("has ended")


def test_our_client_measures_the_same(rack: RunningRack, digits_m7: Path, expected: bytes) -> None:
    run = RackClient(rack.tracker, M7).measure(digits_m7, [image()])
    assert run.outputs == (expected,)
    assert run.measurement.arena_bytes == run.measurement.linked_arena_bytes
    assert run.measurement.profile[0].name == "stage0"


def test_the_command_line_measures_behind_a_tracker(
    rack: RunningRack, digits_m7: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    for file, options in ((here, []), (there, ["--tracker", str(rack.tracker)])):
        arguments = ["measure", str(digits_m7), "--json", str(file), *options]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert json.loads(there.read_text()) == json.loads(here.read_text())
    arguments = ["measure", str(digits_m7), "--tracker", str(rack.tracker), "--key", "nrf52840dk"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == UnknownKeyError.exit_code
    assert "it has: qemu_cortex_m4 (1), qemu_cortex_m7 (2)" in result.stderr


def test_a_client_waits_for_its_turn(rack: RunningRack, digits_m7: Path) -> None:
    await_free(rack)
    steps: list[str] = []
    results: list[object] = []
    client = RackClient(rack.tracker, M7, on_step=steps.append)
    waiting = threading.Thread(
        target=lambda: results.append(client.measure(digits_m7, [image()])), daemon=True
    )
    with board_of(rack):
        with board_of(rack):
            waiting.start()
            deadline = time.monotonic() + PATIENCE_S
            while not any("all are busy, 1 waiting" in step for step in steps):
                assert time.monotonic() < deadline, steps
                time.sleep(0.05)
        waiting.join(60)
    assert len(results) == 1
    with (
        board_of(rack),
        board_of(rack),
        pytest.raises(RackError, match="no board has become free in 0 s"),
    ):
        request_board(rack.tracker, M7, wait_s=0.1)


def test_higher_priority_comes_first(rack: RunningRack) -> None:
    order: list[int] = []

    def ask(priority: int) -> None:
        with board_of(rack, "qemu_cortex_m4", priority=priority):
            order.append(priority)

    await_free(rack, "qemu_cortex_m4", 1)
    threads = [threading.Thread(target=ask, args=(priority,), daemon=True) for priority in (1, 5)]
    with (
        board_of(rack, "qemu_cortex_m4"),
        TrackerConnection(rack.tracker) as tracker,
    ):
        for count, thread in enumerate(threads, 1):
            thread.start()
            while tracker.queue("qemu_cortex_m4")[1] < count:
                time.sleep(0.02)
    for thread in threads:
        thread.join(30)
    assert order == [5, 1]


def test_a_session_that_takes_too_long_is_ended(rack: RunningRack, digits_m7: Path) -> None:
    await_free(rack)
    started = time.monotonic()
    with pytest.raises(RuntimeError), board_of(rack, session_timeout=1) as remote:
        while time.monotonic() < started + 20:
            remote.listdir("")
            time.sleep(0.1)
    assert 0.5 < time.monotonic() - started < 15
    await_free(rack)


def test_a_client_that_says_nothing_blocks_nobody(rack: RunningRack, digits_m7: Path) -> None:
    words = rack.program.await_words(r"m7 1: serves at (\S+):(\d+)")
    with socket.create_connection((words[1], int(words[2]))) as mute:
        run = RackClient(rack.tracker, M7).measure(digits_m7, [image()])
        assert run.outputs
        mute.sendall(b"GET / HTTP/1.1\r\n\r\n")
        mute.settimeout(20)
        with suppress(ConnectionResetError):
            assert mute.recv(10) == b""


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("../firmware.tar", b"x", "is not the name of a file"),
        ("/etc/passwd", b"x", "is not the name of a file"),
        ("a\\b", b"x", "is not the name of a file"),
        ("firmware.tar", b"no tar", "is not a firmware artifact"),
    ],
)
def test_bad_uploads_are_refused(
    name: str, content: bytes, complaint: str, rack: RunningRack
) -> None:
    with board_of(rack) as remote, pytest.raises(RuntimeError, match=complaint):
        remote.upload(bytearray(content), target=name)
        remote.load_module(name)


def test_only_a_boards_functions_can_be_called(rack: RunningRack, digits_m7: Path) -> None:
    with board_of(rack) as remote:
        for name in ("ffi.ModuleLoadFromFile", "ffi.Module.load_from_file.so", "rpc.Connect"):
            with pytest.raises(AttributeError):
                remote.get_function(name)
        remote.upload(bytearray(pack(digits_m7)), target="a.tar")
        firmware = remote.load_module("a.tar")
        with pytest.raises(RuntimeError, match=r"no function 'fly'\n  it has main, run"):
            firmware["fly"]
        with pytest.raises(RuntimeError, match="input 'image' has not been set"):
            firmware["run"]()
        with pytest.raises(RuntimeError, match=r"is int8 \(1, 64, 64, 1\), not float32 \(3,\)"):
            firmware["set_input"](0, tvm.runtime.tensor(np.zeros(3, "float32"), remote.cpu()))
        again = remote.load_module("a.tar")
        with pytest.raises(RuntimeError, match="another firmware has been loaded since"):
            firmware["run"]()
        again["set_input"](0, tvm.runtime.tensor(image(), remote.cpu()))
        again["run"]()


def test_an_emulator_killed_in_the_middle_costs_time_and_nothing_else(
    rack: RunningRack, digits_m7: Path, expected: bytes
) -> None:
    with board_of(rack) as remote:
        remote.upload(bytearray(pack(digits_m7)), target="a.tar")
        firmware = remote.load_module("a.tar")
        firmware["set_input"](0, tvm.runtime.tensor(image(), remote.cpu()))
        for _ in range(2):
            (emulator,) = emulators_of(rack.program.pid)
            os.kill(emulator, signal.SIGKILL)
            firmware["run"]()
            assert firmware["get_output"](0).numpy().tobytes() == expected
        assert "try 1 of 4" in rack.program.said


def test_an_agent_killed_in_the_middle_is_replaced(
    rack: RunningRack, digits_m7: Path, expected: bytes
) -> None:
    await_free(rack)
    steps: list[str] = []
    orphans: list[int] = []

    def kill_whoever_serves(step: str) -> None:
        steps.append(step)
        if step.startswith("run on") and not orphans:
            for agent in children_of(rack.program.pid):
                below = children_of(agent)
                if any("python" in command_of(child) for child in below):
                    orphans.extend(below)
                    os.kill(agent, signal.SIGKILL)

    client = RackClient(rack.tracker, M7, on_step=kill_whoever_serves)
    run = client.measure(digits_m7, [image()])
    assert run.outputs == (expected,)
    assert any("connection lost" in step for step in steps)
    rack.program.await_words(r"m7 \d: its agent has ended \(-9\); started again", PATIENCE_S)
    await_free(rack)
    # And neither the session's process nor its emulator has outlived the agent.
    deadline = time.monotonic() + PATIENCE_S
    while left := [process for process in orphans if runs(process)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_unknown_keys_are_told_apart(rack: RunningRack) -> None:
    with pytest.raises(UnknownKeyError, match="no board with key 'nrf'") as raised:
        request_board(rack.tracker, "nrf")
    assert raised.value.hint == "it has: qemu_cortex_m4 (1), qemu_cortex_m7 (2)"
