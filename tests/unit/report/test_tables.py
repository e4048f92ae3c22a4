"""Tables say what they should, and keep planned and measured apart."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from tests.support import DIGITS
from tvm_patch.board import list_boards, load_board
from tvm_patch.measurement import Measurement
from tvm_patch.micro import OperatorTime
from tvm_patch.pipeline import make_plan, prepare
from tvm_patch.plan import Requirements
from tvm_patch.report import Row, boards_table, comparison_table
from tvm_patch.report.export import measured_record, profile_records, unit_of


def text_of(table: RenderableType) -> str:
    target = io.StringIO()
    Console(file=target, width=240).print(table)
    return target.getvalue()


def measurement(**changes: object) -> Measurement:
    values: dict[str, object] = {
        "arena_bytes": 1000,
        "linked_arena_bytes": 1000,
        "stack_bytes": 200,
        "flash_bytes": 5000,
        "static_sram_bytes": 2000,
        "instructions": 123456,
        "cycles": None,
        "nanoseconds": None,
        "runs": 1,
        "minimum": 123456,
        "maximum": 123456,
        "median": 123456,
        "interval": None,
        "clock_hz": 0,
        "profile": (OperatorTime("a", 3, 300), OperatorTime("b", 1, 100)),
    }
    return Measurement(**{**values, **changes})  # type: ignore[arg-type]


def test_comparison_keeps_planned_and_measured_apart() -> None:
    prepared = prepare(DIGITS)
    layers = make_plan(prepared, layers=True)
    patched = make_plan(prepared, Requirements(ram_bytes=48 * 1024))
    rows = [Row("layer by layer", layers), Row("patched", patched, measurement())]
    lines = text_of(comparison_table(rows)).splitlines()
    cells = {
        parts[1].strip(): [part.strip() for part in parts[2:4]]
        for parts in (line.split("│") for line in lines)
        if len(parts) > 3
    }
    assert cells["arena, planned, B"][0] == f"{layers.memory.arena_bytes:,}"
    assert cells["arena, measured, B"] == ["-", "1,000"]
    assert cells["instructions"] == ["-", "123,456"]
    assert max(map(len, lines)) <= 80


def test_records_of_what_the_firmware_lists() -> None:
    records = profile_records(measurement(), (("a", "conv2d", 100),))
    assert records[0] == {"name": "a", "kind": "conv2d", "macs": 100, "instructions": 300}
    assert records[1]["kind"] is None


def test_latency_comes_from_clocks_only() -> None:
    board = load_board("stm32f746g_disco")
    emulated = measured_record(measurement(), board)
    assert emulated["latency_us"] is None
    hardware = measurement(instructions=None, cycles=216_000, median=216_000, clock_hz=216_000_000)
    assert unit_of(hardware) == "cycles"
    assert measured_record(hardware, board)["latency_us"] == 1000
    host = measurement(instructions=None, nanoseconds=2500, median=2500, stack_bytes=None)
    record = measured_record(host, load_board("host"))
    assert record["latency_us"] == 2.5
    assert record["peak_sram_bytes"] is None


def test_boards_say_how_they_run() -> None:
    text = text_of(boards_table([load_board(name) for name in list_boards()]))
    assert "--emulate" in text
    assert "this machine" in text
