"""The database of kernel times: nothing is lost, nothing foreign is believed."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tvm_patch.errors import TuningError
from tvm_patch.kernel_times import (
    KernelTime,
    MeasuredOn,
    TimesWriter,
    file_of,
    kernels_digest,
    load_times,
)

ON = MeasuredOn("board", "cortex-m7", "instructions", "gcc 12.2.1", "-mcpu=cortex-m7 -O3", "0.27.0")


def record(way: str, units: float | None, **others: object) -> KernelTime:
    fields = {"kernels": kernels_digest(), "error": None if units else "faults", **others}
    return KernelTime("task", {"form": way}, units, **fields)  # type: ignore[arg-type]


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    records = [
        record("a", 10.5, scratch_bytes=96, interval=(10.0, 11.0), features=(1.0, 0.5)),
        record("b", None),
        record("c", 9.0, outlier=True, macs=7, model="m", trace=[["x"], 1]),
    ]
    writer = TimesWriter(tmp_path, ON, {"commit": "abc"})
    writer.add(records[:1])
    writer.add(records[1:])
    times = load_times(tmp_path, ON)
    assert list(times.records) == records
    lines = file_of(tmp_path, "board").read_text().splitlines()
    assert [json.loads(line).get("session") for line in lines].count({"commit": "abc"}) == 1


def test_the_fastest_that_fits_is_best(tmp_path: Path) -> None:
    TimesWriter(tmp_path, ON, {}).add(
        [
            record("slow", 30.0),
            record("fast", 10.0, scratch_bytes=100),
            record("failed", None),
            record("as fast", 10.0, scratch_bytes=300),
            replace(record("of other C", 1.0), kernels="other"),
        ]
    )
    times = load_times(tmp_path, ON)
    ways = [time.choice["form"] for time in times.times("task")]
    assert ways == ["fast", "as fast", "slow"]
    best = [times.best("task", scratch) for scratch in (0, 99, 100)]
    assert [time.choice["form"] if time else None for time in best] == ["slow", "slow", "fast"]
    assert times.best("unknown", 1000) is None and times


def test_what_is_measured_again_replaces_what_was(tmp_path: Path) -> None:
    writer = TimesWriter(tmp_path, ON, {})
    writer.add([record("a", 10.0)])
    writer.add([record("a", 20.0)])
    assert [time.units for time in load_times(tmp_path, ON).times("task")] == [20.0]


@pytest.mark.parametrize("cut", [1, 20, 57])
def test_a_torn_line_costs_itself_alone(tmp_path: Path, cut: int) -> None:
    TimesWriter(tmp_path, ON, {}).add([record("a", 10.0)])
    path = file_of(tmp_path, "board")
    whole = path.read_bytes()
    TimesWriter(tmp_path, ON, {}).add([record("b", 20.0)])
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:cut])
    assert [time.units for time in load_times(tmp_path, ON).records] == [10.0]
    TimesWriter(tmp_path, ON, {}).add([record("c", 30.0)])
    assert [time.units for time in load_times(tmp_path, ON).records] == [10.0, 30.0]


@pytest.mark.parametrize(
    ("field", "word"),
    [("tvm", "TVM"), ("core", "core"), ("compiler", "compiler"), ("flags", "flags")],
)
def test_what_was_measured_otherwise_is_refused(tmp_path: Path, field: str, word: str) -> None:
    TimesWriter(tmp_path, ON, {}).add([record("a", 10.0)])
    other = replace(ON, **{field: "another"})
    with pytest.raises(TuningError, match=f"another {word}.*this is another") as caught:
        load_times(tmp_path, other)
    assert "--database" in str(caught.value.hint)
    with pytest.raises(TuningError):
        TimesWriter(tmp_path, other, {})


def test_another_boards_times_are_not_looked_at(tmp_path: Path) -> None:
    TimesWriter(tmp_path, ON, {}).add([record("a", 10.0)])
    assert not load_times(tmp_path, replace(ON, board="other"))
    file_of(tmp_path, "board").rename(file_of(tmp_path, "other"))
    with pytest.raises(TuningError, match="another board: board, this is other"):
        load_times(tmp_path, replace(ON, board="other"))


@pytest.mark.parametrize("text", ["{}\n", "no JSON\n", '{"format": "tvm-patch kernel times"}\n'])
def test_what_is_no_database_is_refused(tmp_path: Path, text: str) -> None:
    file_of(tmp_path, "board").write_text(text)
    with pytest.raises(TuningError, match="no database of kernel times"):
        load_times(tmp_path, ON)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    TimesWriter(tmp_path, ON, {}).add([record("a", 10.0)])
    with file_of(tmp_path, "board").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(TuningError, match="line 4"):
        load_times(tmp_path, ON)


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = TimesWriter(tmp_path, ON, {})
    writer.add([record("a", 10.0)])
    before = file_of(tmp_path, "board").read_bytes()
    write, calls = os.pwrite, []

    def fill_up(descriptor: int, data: bytes, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:40], offset)

    monkeypatch.setattr(os, "pwrite", fill_up)
    with pytest.raises(TuningError, match="No space left") as caught:
        writer.add([record("b", 20.0)])
    assert "make room" in str(caught.value.hint)
    assert len(calls) == 2 and file_of(tmp_path, "board").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TuningError, match="cannot be"):
        TimesWriter(tmp_path / "file", ON, {})
