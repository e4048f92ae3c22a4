"""What readings of a stopwatch amount to."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvm_patch.measurement import Measurement, median_interval
from tvm_patch.report import spread_text

CYCLES = Measurement(
    arena_bytes=0,
    linked_arena_bytes=0,
    stack_bytes=0,
    flash_bytes=0,
    static_sram_bytes=0,
    instructions=None,
    cycles=2_160_000,
    nanoseconds=None,
    runs=30,
    minimum=2_159_000,
    maximum=2_170_000,
    median=2_160_100.0,
    interval=(2_160_000, 2_161_000),
    clock_hz=216_000_000,
    profile=(),
)


# Ranks of the interval for n readings as tables of the sign test have them.
@pytest.mark.parametrize(
    ("n", "rank"), [(6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (20, 6), (30, 10), (100, 40)]
)
def test_the_interval_is_that_of_the_sign_test(n: int, rank: int) -> None:
    readings = list(range(1, n + 1))
    random.Random(n).shuffle(readings)
    assert median_interval(readings) == (rank, n + 1 - rank)


@pytest.mark.parametrize("n", range(6))
def test_few_readings_have_no_interval(n: int) -> None:
    assert median_interval(list(range(n))) is None


@given(st.lists(st.integers(0, 2**40), min_size=6, max_size=60))
def test_the_interval_holds_the_median(readings: list[int]) -> None:
    found = median_interval(readings)
    assert found is not None
    low, high = found
    assert min(readings) <= low <= statistics.median(readings) <= high <= max(readings)


def test_milliseconds_come_from_the_clock_that_the_device_tells() -> None:
    assert CYCLES.latency_ms == pytest.approx(10.000463)
    assert replace(CYCLES, clock_hz=0).latency_ms is None
    emulated = replace(CYCLES, cycles=None, instructions=5)
    assert emulated.latency_ms is None
    on_host = replace(CYCLES, cycles=None, nanoseconds=3_000_000, median=3_000_000.0)
    assert on_host.latency_ms == pytest.approx(3.0)


def test_the_spread_is_told_in_cycles_and_in_milliseconds() -> None:
    text = spread_text(CYCLES)
    for part in (
        "30 runs, cycles: median 2,160,100, min 2,159,000, max 2,170,000",
        "95 % interval of the median 2,160,000 to 2,161,000",
        "latency: median 10.000 ms, min 9.995 ms, max 10.046 ms",
        "95 % interval of the median 10.000 ms to 10.005 ms at 216 MHz",
    ):
        assert part in text
    emulated = replace(CYCLES, cycles=None, instructions=5)
    assert " ms" not in spread_text(emulated)
    assert spread_text(replace(CYCLES, runs=1)) == ""
