"""Host and device over a lossy link, against a model of what the device must hold.

The device is the firmware's runtime, compiled for this machine with the sanitizers on. Whatever the
link does, a request is carried out once or fails in words; nothing wrong is taken for right.
"""

from __future__ import annotations

import os
import random
import struct
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tvm_patch.errors import DeviceError, DeviceRestartedError, DeviceSilentError, ProtocolError
from tvm_patch.micro import Firmware, Session
from tvm_patch.micro.transports import ProcessTransport

from .conftest import BuildOnce
from .links import LossyTransport, WrappedTransport

ARENA_BYTES, DATA_BYTES, COPY_AT, ORDER_AT, RUNS_AT = 6021, 3000, 3000, 6000, 6008
NOTHING, COPY, FAIL = 0, 1, 7
EXAMPLES = 12 * int(os.environ.get("TVM_PATCH_EXAMPLES_FACTOR", "1"))


def painted(size: int) -> bytearray:
    """As the runtime paints: a value for each position."""
    return bytearray(((i + 1) * 0x9E3779B1 >> 24) & 0xFF for i in range(size))


class Cable(WrappedTransport):
    """A cable that a device can be swapped behind: what a reset does."""


class HostAndDevice(RuleBasedStateMachine):
    """The probe network's arena, byte by byte, and how often it has run."""

    firmware: ClassVar[Firmware]

    def __init__(self) -> None:
        super().__init__()
        self.session: Session | None = None

    def start_device(self) -> ProcessTransport:
        self.arena = bytearray(ARENA_BYTES)
        self.runs = 0
        self.fresh = True
        return ProcessTransport([str(self.firmware.elf_path)], "host")

    @initialize(seed=st.integers(0, 1 << 16), bytes_between=st.sampled_from([300, 2000, 10**9]))
    def plug_in(self, seed: int, bytes_between: int) -> None:
        self.random = random.Random(seed)
        self.cable = Cable(self.start_device())
        self.lossy = LossyTransport(self.cable, seed, bytes_between)
        self.open()

    def open(self) -> None:
        """A session, however long it takes: each failure is the link's, and is put in words."""
        for _ in range(20):
            try:
                self.session = Session(Unowned(self.lossy), timeout_s=0.02)
                self.fresh = False
                return
            except (DeviceSilentError, ProtocolError):
                continue
        self.lossy.bytes_between = 10**9
        self.session = Session(Unowned(self.lossy), timeout_s=1)
        self.fresh = False

    def attempt(self, work: Any) -> tuple[bool, Any]:
        """Do something; where the link was too bad, nobody knows whether it was done."""
        assert self.session is not None
        try:
            return True, work(self.session)
        except (DeviceSilentError, ProtocolError):
            return False, None

    def start_over(self) -> None:
        self.cable.inner.close()
        self.cable.inner = self.start_device()
        self.open()

    @rule(seed=st.integers(0, 1 << 16))
    def write_data(self, seed: int) -> None:
        data = random.Random(seed).randbytes(DATA_BYTES)
        self.mutate(lambda session: session.write_input(0, data), {0: data})

    @rule(what=st.sampled_from([NOTHING, COPY, COPY, FAIL]), argument=st.integers(1, 99))
    def write_order(self, what: int, argument: int) -> None:
        data = struct.pack("<II", what, argument)
        self.mutate(lambda session: session.write_input(1, data), {ORDER_AT: data})

    @rule()
    def paint(self) -> None:
        self.mutate(lambda session: session.paint(), {0: bytes(painted(ARENA_BYTES))})

    @rule(runs=st.integers(1, 130))
    def run(self, runs: int) -> None:
        what, argument = struct.unpack_from("<II", self.arena, ORDER_AT)
        if self.fresh:
            self.expect_restarted(lambda session: session.run(runs))
            return
        try:
            done, result = self.attempt(lambda session: session.run(runs))
        except DeviceError as error:
            assert not isinstance(error, DeviceRestartedError)
            assert what == FAIL
            assert f"returned {argument}" in str(error)
            done, runs = True, 1
        else:
            assert not done or (what != FAIL and len(result.ticks) == runs)
        if not done:
            self.start_over()
            return
        self.runs += runs
        self.arena[RUNS_AT : RUNS_AT + 4] = struct.pack("<I", self.runs)
        if what == COPY:
            self.arena[COPY_AT : COPY_AT + DATA_BYTES] = self.arena[:DATA_BYTES]

    @rule(begin=st.integers(0, ARENA_BYTES - 1), size=st.integers(1, 3000))
    def read_arena(self, begin: int, size: int) -> None:
        size = min(size, ARENA_BYTES - begin)
        self.look(lambda session: session.read_arena(begin, size), self.arena[begin : begin + size])

    @rule()
    def read_outputs(self) -> None:
        self.look(lambda s: s.read_output(0), self.arena[COPY_AT : COPY_AT + DATA_BYTES])
        self.look(lambda s: s.read_output(1), self.arena[RUNS_AT : RUNS_AT + 4])

    @rule()
    def measure_memory(self) -> None:
        paint = painted(ARENA_BYTES)
        touched = max((i + 1 for i in range(ARENA_BYTES) if self.arena[i] != paint[i]), default=0)
        self.look(lambda session: session.memory().arena_high_water_bytes, touched)

    @rule()
    def reset(self) -> None:
        # What is known of the device afterwards: it has started anew, or it has not.
        done, _ = self.attempt(lambda session: session.reset())
        if not done:
            self.start_over()
        self.arena, self.runs, self.fresh = bytearray(ARENA_BYTES), 0, False

    @rule()
    def watchdog(self) -> None:
        """The device starts anew, and nobody tells the host."""
        self.cable.inner.close()
        self.cable.inner = self.start_device()

    @rule()
    def open_another_session(self) -> None:
        self.open()

    @precondition(lambda self: self.session is not None)
    @rule(bytes_between=st.sampled_from([300, 2000, 20_000, 10**9]))
    def bend_the_cable(self, bytes_between: int) -> None:
        self.lossy.bytes_between = bytes_between

    @invariant()
    def the_device_lives(self) -> None:
        """The sanitizers would have ended it."""
        if self.session is not None:
            assert self.cable.inner._process.poll() is None  # type: ignore[attr-defined]

    def teardown(self) -> None:
        if self.session is not None:
            self.cable.close()

    def mutate(self, work: Any, changes: dict[int, bytes]) -> None:
        if self.fresh:
            self.expect_restarted(work)
            return
        done, _ = self.attempt(work)
        if not done:
            self.start_over()
            return
        for begin, data in changes.items():
            self.arena[begin : begin + len(data)] = data

    def look(self, work: Any, expected: object) -> None:
        if self.fresh:
            self.expect_restarted(work)
            return
        done, result = self.attempt(work)
        if done:
            assert result == expected
        else:
            self.start_over()

    def expect_restarted(self, work: Any) -> None:
        assert self.session is not None
        with pytest.raises((DeviceRestartedError, DeviceSilentError, ProtocolError)):
            work(self.session)
        self.start_over()


class Unowned(WrappedTransport):
    """Stays open when a session that could not begin lets go of it."""

    def close(self) -> None:
        pass


def test_host_and_device_agree_whatever_the_link_does(firmware_of: BuildOnce) -> None:
    HostAndDevice.firmware = firmware_of("probe", "host")
    run_state_machine_as_test(
        HostAndDevice,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            # How long things take is not drawn: a failure need not come back when it is shrunk.
            phases=[Phase.generate],
        ),
    )
