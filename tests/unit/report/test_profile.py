"""A profile's table, picture and record."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from tvm_patch.profiling import OperatorProfile, Profile
from tvm_patch.report import (
    operator_profile_note,
    operator_profile_of,
    operator_profile_record,
    operator_profile_table,
    profile_png,
)

PROFILE = Profile(
    unit="instructions",
    operators=(
        OperatorProfile("stem", "conv2d", "stage0", 1000, 16, 2500, 250),
        OperatorProfile("sum", "add", None, 0, 1, 900, 100),
    ),
    loops_units=250,
    mark_units=33.125,
    marks=1311,
)


NAMES = ("loops", "total")


def lines_of(profile: Profile) -> list[list[str]]:
    target = io.StringIO()
    Console(file=target, width=240).print(operator_profile_table(profile))
    lines = target.getvalue().splitlines()
    return [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in lines]


def test_every_operator_has_its_share_and_the_cost_of_a_mac() -> None:
    rows = {row[1]: row for row in lines_of(PROFILE) if len(row) > 2}
    assert rows["stem"][2:] == [
        *("conv2d", "stage0", "16", "2,500", "250", "2,750", "68.8%", "1,000", "2.75", "2.50")
    ]
    assert rows["sum"][7:] == ["1,000", "25.0%", "-", "-", "-"]


def test_in_80_columns_names_and_figures_are_whole() -> None:
    target = io.StringIO()
    Console(file=target, width=80).print(operator_profile_table(PROFILE))
    text = target.getvalue()
    assert "…" not in text
    for word in ("operator", "instructions", "stem", "2,750", "68.8%", "2.75", "4,000"):
        assert word in text


def test_operators_and_loops_are_the_whole() -> None:
    total = next(row for row in lines_of(PROFILE) if "total" in row)
    assert "4,000" in total
    assert PROFILE.units == 4000
    assert any("loops" in row and "250" in row and "6.2%" in row for row in lines_of(PROFILE))
    record = operator_profile_record(PROFILE)
    assert sum(o["total"] for o in record["operators"]) + record["loops"] == record["total"] == 4000
    assert sum(o["share"] for o in record["operators"]) == pytest.approx(1 - 250 / 4000)
    assert record["operators"][1]["per_mac"] is None


def test_what_was_taken_off_is_said() -> None:
    note = operator_profile_note(PROFILE)
    assert "1,311" in note
    assert "33.1 instructions" in note


def test_estimated_cycles_are_a_column_that_says_so() -> None:
    operators = tuple(
        replace(operator, kernel_cycles=cycles, data_cycles=10)
        for operator, cycles in zip(PROFILE.operators, (3000, 1200), strict=True)
    )
    estimated = replace(
        PROFILE, operators=operators, loops_cycles=280, core="Cortex-M4", flash_wait_states=1
    )
    rows = {row[1]: row for row in lines_of(estimated) if len(row) > 2}
    assert any("est. cycles/MAC" in cell for row in lines_of(estimated) for cell in row)
    assert rows["stem"][-2:] == ["3,010", "3.01"]
    loops, total = (next(row for row in lines_of(estimated) if name in row) for name in NAMES)
    assert "280" in loops
    assert total[-2:] == ["4,500", "4.50"]
    note = operator_profile_note(estimated)
    assert "estimated, not measured: timing of the Cortex-M4, flash with 1 wait state" in note
    record = operator_profile_record(estimated)
    assert record["estimate"]["cycles"] == 4500
    assert record["operators"][0]["estimated_cycles"] == 3010


def test_a_record_gives_the_profile_again() -> None:
    estimated = replace(
        PROFILE,
        operators=tuple(
            replace(operator, kernel_cycles=7, data_cycles=3) for operator in PROFILE.operators
        ),
        loops_cycles=280,
        core="Cortex-M4",
        flash_wait_states=5,
    )
    for profile in (PROFILE, estimated, replace(PROFILE, no_estimate="no compiler")):
        record = json.loads(json.dumps(operator_profile_record(profile)))
        assert operator_profile_of(record) == profile


def test_why_there_is_no_estimate_is_said() -> None:
    without = replace(PROFILE, no_estimate="cc is not installed")
    assert "no estimate of cycles: cc is not installed" in operator_profile_note(without)
    assert operator_profile_record(without)["estimate"]["missing"] == "cc is not installed"
    assert not any("est." in cell for row in lines_of(without) for cell in row)


def test_the_picture_has_a_bar_for_each_operator_in_scale() -> None:
    picture = profile_png(PROFILE, title="two operators")
    assert picture == profile_png(PROFILE, title="two operators")
    pixels = imread(io.BytesIO(picture))[:, :, :3]

    def longest_run(colour: tuple[int, int, int]) -> int:
        same = np.all(np.abs(pixels - np.array(colour) / 255) < 0.02, axis=2)
        return int(same.sum(axis=1).max())

    stem, other = longest_run((0x4C, 0x78, 0xA8)), longest_run((0x54, 0xA2, 0x4B))
    assert stem / other == pytest.approx(2500 / 900, rel=0.03)


def test_an_empty_network_has_a_profile() -> None:
    empty = Profile("cycles", (), 0, 1.0, 0)
    assert profile_png(empty)
    assert operator_profile_record(empty)["operators"] == []
    assert len(lines_of(empty)) > 3
