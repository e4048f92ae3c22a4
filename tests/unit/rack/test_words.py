"""Addresses, numbers of boards, and errors that travel as text."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tvm_patch.errors import (
    BoardBusyError,
    BoardError,
    BoardLostError,
    DeviceSilentError,
    DoesNotFitError,
    RackError,
    TvmPatchError,
)
from tvm_patch.micro import lock
from tvm_patch.micro.lock import BoardLock
from tvm_patch.rack.address import Address
from tvm_patch.rack.fleet import BoardCount, parse_boards
from tvm_patch.rack.wording import put_in_words, read_words


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9190", Address("127.0.0.1", 9190)),
        ("lab.example:1", Address("lab.example", 1)),
        ("[::1]:9190", Address("::1", 9190)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "lab", "lab:", ":9190", "lab:x", "lab:0", "lab:65536", "9190"]
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(RackError, match="is not an address"):
        Address.parse(text)


def test_boards() -> None:
    assert parse_boards("qemu_cortex_m7:3, qemu_cortex_m4,qemu_cortex_m7") == [
        BoardCount("qemu_cortex_m7", 4),
        BoardCount("qemu_cortex_m4", 1),
    ]


@pytest.mark.parametrize(
    "text", ["", "qemu_cortex_m7:0", "qemu_cortex_m7:-1", ",", "qemu_cortex_m7:"]
)
def test_no_boards(text: str) -> None:
    with pytest.raises(RackError, match="is no number of boards"):
        parse_boards(text)


def test_boards_that_do_not_belong_in_a_rack() -> None:
    with pytest.raises(BoardError, match="no board called 'toaster'"):
        parse_boards("toaster:2")
    for name in ("host", "stm32f746g_disco"):
        with pytest.raises(BoardError, match="is not an emulated board"):
            parse_boards(name)
    with pytest.raises(RackError, match="more than 100 boards"):
        parse_boards("qemu_cortex_m7:101")


@pytest.mark.parametrize(
    "error",
    [
        BoardLostError("it: is gone", hint="look for it"),
        DeviceSilentError("it: says nothing (run)"),
        TvmPatchError("two: colons: here", hint="a hint: too"),
    ],
)
def test_errors_survive_the_way(error: TvmPatchError) -> None:
    text = f"RPCError: Error caught from RPC call:\n{put_in_words(error)}"
    read = read_words(text)
    assert type(read) is type(error)
    assert (read.message, read.hint) == (error.message, error.hint)


def test_other_errors_are_not_ours() -> None:
    assert read_words("InternalError: Check failed: (code == RPCCode::kReturn)") is None
    # A class that needs more than text, and one that is none.
    assert type(read_words(put_in_words(DoesNotFitError("x")))) is TvmPatchError
    assert type(read_words("tvm-patch: annotations: x")) is TvmPatchError


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(lock, "lock_dir", lambda: tmp_path / "locks")
    (tmp_path / "ttyACM0").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyACM0")
    return str(tmp_path / "ttyACM0")


def take_elsewhere(port: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = (
        "import sys; sys.argv[0] = 'tvm-patch'  # which leaves TVM out\n"
        "from pathlib import Path; from tvm_patch.micro import lock\n"
        f"lock.lock_dir = lambda: Path({str(folder)!r})\n"
        "from tvm_patch.errors import BoardBusyError\n"
        "try:\n  lock.BoardLock(sys.argv[1]).take()\n"
        "except BoardBusyError as error:\n  print(error)"
    )
    command = [sys.executable, "-c", script, port]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)


def test_one_process_a_board(port: str, tmp_path: Path) -> None:
    with BoardLock(port), BoardLock(port):  # whoever holds it may open it again
        for name in (port, str(tmp_path / "by-id")):
            told = take_elsewhere(name, tmp_path / "locks").stdout
            assert f"{name}: in use by process {os.getpid()}" in told
            assert "wait for it or end it" in told
    assert take_elsewhere(port, tmp_path / "locks").stdout == ""
    with BoardLock(port):
        pass


def test_a_lock_ends_with_its_process(port: str, tmp_path: Path) -> None:
    ready, held = os.pipe()
    child = os.fork()
    if child == 0:
        BoardLock(port).take()
        os.write(held, b"x")
        signal.pause()
    os.read(ready, 1)
    with pytest.raises(BoardBusyError, match=f"in use by process {child}"):
        BoardLock(port).take()
    os.kill(child, 9)
    os.waitpid(child, 0)
    with BoardLock(port):
        pass
    os.close(ready)
    os.close(held)
