"""What serving and measuring behind a tracker say when they cannot."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tvm_patch.errors import BoardError, RackError, ToolMissingError, TrackerError

from .conftest import Run


@pytest.fixture
def no_tracker() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("verb", ["measure", "serve"])
def test_an_unreachable_tracker(verb: str, tvm_patch: Run, built: Path, no_tracker: str) -> None:
    arguments = [built] if verb == "measure" else ["--board", "qemu_cortex_m7"]
    result = tvm_patch(verb, *arguments, "--tracker", no_tracker)
    assert result.exit_code == TrackerError.exit_code
    assert f"error: {no_tracker}: no tracker answers: Connection refused" in result.stderr
    assert "start one: python -m tvm.exec.rpc_tracker" in result.stderr


def test_somebody_else_at_the_trackers_address(tvm_patch: Run, built: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        server.settimeout(20)
        import threading

        def hang_up() -> None:
            client, _ = server.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n")
            client.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        result = tvm_patch("measure", built, "--tracker", address)
        thread.join(5)
    assert result.exit_code == TrackerError.exit_code
    assert "somebody answers who is no tracker" in result.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--tracker", "lab"], "'lab' is not an address"),
        (["--tracker", "lab:1", "--port", "/dev/ttyACM0"], "both name a board"),
        (["--tracker", "lab:1", "--profile"], "a profile is not measured behind a tracker"),
        (["--key", "disco"], "--key needs a tracker to ask"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], complaint: str, tvm_patch: Run, built: Path
) -> None:
    result = tvm_patch("measure", built, *options)
    assert result.exit_code == RackError.exit_code
    assert complaint in result.stderr


def test_the_host_is_no_board_to_serve(tvm_patch: Run) -> None:
    result = tvm_patch("serve", "--board", "host")
    assert result.exit_code == BoardError.exit_code
    assert "host is no board to serve" in result.stderr


def test_a_real_board_that_is_not_there(
    tvm_patch: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tvm_patch.micro.ports.list_serial_ports", lambda: [])
    (tmp_path / "openocd").write_text("#!/bin/sh\n")
    (tmp_path / "openocd").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    result = tvm_patch("serve", "--board", "stm32f746g_disco")
    assert result.exit_code == BoardError.exit_code
    assert "stm32f746g_disco" in result.stderr
    assert "plug" in result.stderr


def test_an_address_that_is_not_ours(tvm_patch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tvm_patch("serve", "--board", "qemu_cortex_m7", "--host", "192.0.2.1")
    if result.exit_code == ToolMissingError.exit_code:
        pytest.skip("qemu-system-arm is not installed")
    assert result.exit_code == RackError.exit_code
    assert "cannot listen at 192.0.2.1:9091" in result.stderr


@pytest.mark.parametrize("key", ["", "two words"])
def test_a_key_that_is_none(key: str, tvm_patch: Run) -> None:
    result = tvm_patch("serve", "--board", "qemu_cortex_m7", "--key", key)
    if result.exit_code == ToolMissingError.exit_code:
        pytest.skip("qemu-system-arm is not installed")
    assert result.exit_code == RackError.exit_code
    assert f"{key!r} is no key" in result.stderr


def test_a_rack_of_other_boards(tvm_patch: Run) -> None:
    result = tvm_patch("rack", "--boards", "stm32f746g_disco:2")
    assert result.exit_code == BoardError.exit_code
    assert "is not an emulated board" in result.stderr
