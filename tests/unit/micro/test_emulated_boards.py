"""Firmware on QEMU: what it computes, what it measures, and what it says when it dies."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tvm_patch.errors import DeviceError, DeviceSilentError
from tvm_patch.micro import Firmware, open_session
from tvm_patch.micro.emulator import emulator_command

from .conftest import BuildOnce

pytestmark = pytest.mark.emulator

BARE_METAL = ["qemu_cortex_m7", "qemu_cortex_m4", "qemu_cortex_m33"]
# The same runtime on Zephyr, where there is a tree to build with.
BOARDS = [*BARE_METAL, "mps2_an385", "mps2_an521"]
DATA = bytes(3000)
(
    NOTHING,
    COPY,
    LOOP,
    USE_STACK,
    OVERFLOW_STACK,
    UNDEFINED_INSTRUCTION,
    WRITE_AT,
    FAIL,
    HANG,
) = range(9)


def order(what: int, argument: int = 0) -> bytes:
    """The probe network's second input."""
    return struct.pack("<II", what, argument)


@pytest.fixture(params=BOARDS)
def probe(request: pytest.FixtureRequest, firmware_of: BuildOnce) -> Firmware:
    return firmware_of("probe", request.param)


@pytest.mark.parametrize(
    "board", [*BOARDS, "qemu_cortex_m7:uart", "qemu_cortex_m33:uart", "stm32f746g_disco"]
)
def test_an_inference_gives_the_reference(
    board: str,
    firmware_of: BuildOnce,
    sample_inputs: list[np.ndarray],
    sample_outputs: list[bytes],
) -> None:
    firmware = firmware_of("sample", board)
    with open_session(firmware) as session:
        assert session.info().board == board.partition(":")[0]
        assert session.infer(sample_inputs) == sample_outputs
        memory = session.memory()
        assert memory.arena_high_water_bytes == memory.arena_bytes == firmware.arena_symbol_bytes
        assert memory.guard_bytes == 128
        assert memory.guard_intact
        # Its last operator keeps 200 bytes of scratch on the stack.
        assert memory.stack_bytes is not None
        assert 200 <= memory.stack_bytes <= 300
        assert memory.stack_reserve_bytes == firmware.stack_reserve_bytes == 8192


def test_instructions_are_those_executed(probe: Firmware) -> None:
    """An inference that does nothing costs less than 100; a known loop costs what it has."""
    with open_session(probe) as session:

        def instructions(turns: int) -> int:
            session.infer([DATA, order(LOOP, turns) if turns else order(NOTHING)])
            session.write_input(1, order(LOOP, turns) if turns else order(NOTHING))
            measured = session.run().instructions
            assert measured is not None
            return measured

        per_tick = session.info().units_per_tick
        assert instructions(0) < 100
        assert instructions(1_000_000) == pytest.approx(2_000_000, abs=100)
        difference = instructions(2_000_000) - instructions(1_000_000)
        assert difference == pytest.approx(2_000_000, abs=per_tick)


def test_every_run_measures_the_same(
    firmware_of: BuildOnce, sample_inputs: list[np.ndarray]
) -> None:
    firmware = firmware_of("sample", "qemu_cortex_m7")
    readings = set()
    for _ in range(3):
        with open_session(firmware) as session:
            session.infer(sample_inputs)
            for index, data in enumerate(sample_inputs):
                session.write_input(index, data)
            readings.add((session.run(4).ticks, tuple(session.profile())))
    assert len(readings) == 1


def test_the_stack_is_that_of_the_inference(probe: Firmware) -> None:
    with open_session(probe) as session:
        used = []
        for depth in (0, 10, 20):
            session.infer([DATA, order(USE_STACK, depth)])
            used.append(session.memory().stack_bytes)
        session.infer([DATA, order(NOTHING)])
        idle = session.memory().stack_bytes
    assert all(isinstance(stack, int) for stack in [*used, idle])
    assert idle <= 64
    # Ten calls take ten frames, each with 96 bytes of its own.
    assert used[2] - used[1] >= 10 * 96
    assert used[0] < used[1] < used[2] < 8192


@pytest.mark.parametrize("offset", [0, 63])
def test_a_write_behind_the_arena_is_noticed(probe: Firmware, offset: int) -> None:
    with open_session(probe) as session:
        session.infer([DATA, order(NOTHING)])
        assert session.memory().guard_intact
        session.infer([DATA, order(WRITE_AT, probe.arena_symbol_bytes + offset)])
        assert not session.memory().guard_intact


def test_the_high_water_mark_is_the_last_byte_written(probe: Firmware) -> None:
    with open_session(probe) as session:
        session.infer([DATA, order(WRITE_AT, 6019)])
        assert session.memory().arena_high_water_bytes == 6020


def test_a_stack_overflow_is_named(probe: Firmware) -> None:
    with open_session(probe) as session:
        session.write_input(1, order(OVERFLOW_STACK))
        with pytest.raises(DeviceError, match=r"faulted.*stack overflow"):
            session.run()
        # It keeps saying so.
        with pytest.raises(DeviceError, match="faulted"):
            session.ping()


def test_a_fault_names_the_function(probe: Firmware) -> None:
    with open_session(probe) as session:
        session.write_input(1, order(UNDEFINED_INSTRUCTION))
        with pytest.raises(DeviceError, match="faulted in obey: undefined instruction"):
            session.run()


def test_a_failing_network_is_reported(probe: Firmware) -> None:
    with open_session(probe) as session:
        session.write_input(1, order(FAIL, 42))
        with pytest.raises(DeviceError, match="returned 42"):
            session.run()


def test_a_network_that_hangs_makes_the_device_silent(firmware_of: BuildOnce) -> None:
    firmware = firmware_of("probe", "qemu_cortex_m7")
    with open_session(firmware, timeout_s=0.5) as session:
        session.write_input(1, order(HANG))
        with pytest.raises(DeviceSilentError, match=r"does not answer \(run\)"):
            session.run()


def test_a_reset_starts_anew(probe: Firmware) -> None:
    with open_session(probe) as session:
        session.write_input(1, order(NOTHING))
        session.run(3)
        session.reset()
        session.run(1)
        assert struct.unpack("<I", session.read_output(1)) == (1,)


def emulators_of(elf_path: Path) -> list[int]:
    """Process ids of emulators that run this very file."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qemu" in words[0] and str(elf_path).encode() in words:
            found.append(int(process.name))
    return found


def test_no_emulator_outlives_a_killed_process(firmware_of: BuildOnce) -> None:
    """Even where nothing can be tidied up, and with a firmware that never comes to rest."""
    firmware = firmware_of("probe", "qemu_cortex_m4")
    command = emulator_command(firmware.board, firmware.elf_path)
    program = (
        "import os, struct, sys, time\n"
        "from tvm_patch.micro.session import Session\n"
        "from tvm_patch.micro.transports import ProcessTransport\n"
        "session = Session(ProcessTransport(sys.argv[1:], 'm4'))\n"
        f"session.write_input(1, {order(HANG)!r})\n"
        "print('ready', flush=True)\n"
        "session.run()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *command], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert emulators_of(firmware.elf_path)
        os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while emulators_of(firmware.elf_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert emulators_of(firmware.elf_path) == []
