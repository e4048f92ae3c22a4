"""What a report says: a study, and what was measured of it, as sections of a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tvm_patch.plan import InputMode
from tvm_patch.report.cells import Cells, Column
from tvm_patch.report.frontier_plot import frontier_png
from tvm_patch.report.memory_map import memory_map_png
from tvm_patch.report.page import Page, Picture, Section
from tvm_patch.report.planned import frontier_table, input_words, moment_text, peaks_table
from tvm_patch.report.profile import (
    operator_profile_note,
    operator_profile_of,
    operator_profile_table,
    profile_png,
)
from tvm_patch.report.stages import fallbacks_text, held_tensors_table, stages_table
from tvm_patch.report.study import Study
from tvm_patch.report.tables import figure, stages_text


def report_page(study: Study, measured: Mapping[str, Any] | None = None) -> Page:
    """The whole report.

    Parameters
    ----------
    study : Study
        The plan.
    measured : mapping or None
        The record that `deploy` or `measure` has left beside the firmware.

    Raises
    ------
    ToolMissingError
        When matplotlib is not installed.
    """
    plan = study.plan
    lead = (
        f"{_sentence(stages_text(plan.stages))}, {input_words(plan.input_mode)}: an arena of "
        f"{plan.memory.arena_bytes:,} bytes at F {plan.mac_overhead:.3f}."
    )
    sections = [*_planned(study)]
    if measured is not None:
        sections += _measured(study, measured)
    return Page(f"{study.graph.name}: memory and time", lead, tuple(sections))


def _planned(study: Study) -> Iterator[Section]:
    graph, plan = study.graph, study.plan
    peak_lines = [
        "Figures are bytes. F is the MACs executed over those of the network layer by layer."
    ]
    if study.layers is not None:
        peak_lines.append(
            f"Layer by layer the arena would take {study.layers.memory.arena_bytes:,} bytes."
        )
    if study.moment is not None:
        peak_lines.append(f"{_sentence(moment_text(study.moment))}.")
    if study.cut_short is not None:
        peak_lines.append(
            f"The search was cut short by {study.cut_short}; there may be better plans."
        )
    yield Section("Peak", tuple(peak_lines), (peaks_table(study.peaks),) if study.peaks else ())
    caption = "Buffers of the arena over time: each as wide as it is live, each row where it lies"
    picture = memory_map_png(graph, plan, limit_bytes=study.limit_bytes)
    yield Section("Memory over time", (), (), (Picture("memory.png", caption, picture),))
    tables = [stages_table(graph, study.parts)]
    if study.stages:
        tables.append(held_tensors_table(graph, study.parts))
    yield Section(
        "Stages",
        (
            "Tile: rows x columns of the stage's output made in one step. Lag: rows by which the "
            "output is behind the first layer, and by which a tensor is ahead of the output.",
            *map(_sentence, fallbacks_text(graph, study.parts)),
        ),
        tuple(tables),
    )
    if study.frontiers:
        yield _frontier(study)


def _frontier(study: Study) -> Section:
    picture = frontier_png(
        study.graph.name,
        study.frontiers,
        chosen=study.plan,
        layers=study.layers,
        limit_bytes=study.limit_bytes,
    )
    tables = [_frontier_cells(study, mode) for mode in study.frontiers]
    return Section(
        "Frontier",
        ("Plans that no other one beats in both arena and MACs.",),
        tuple(tables),
        (Picture("frontier.png", "What memory costs in MACs", picture),),
    )


def _frontier_cells(study: Study, mode: InputMode) -> Cells:
    cells = frontier_table(study.frontiers[mode], study.plan)
    return Cells(cells.columns, cells.rows, title=input_words(mode), marked=cells.marked)


def _measured(study: Study, record: Mapping[str, Any]) -> Iterator[Section]:
    measured = record["measured"]
    board = str(record["board"])
    if record.get("emulated_by"):
        board += f" (emulated by {record['emulated_by']})"
    rows = [
        ("arena, planned, B", figure(study.plan.memory.arena_bytes)),
        ("arena, measured, B", figure(measured["arena_bytes"])),
        ("stack, B", figure(measured["stack_bytes"])),
        ("peak SRAM, B", figure(measured["peak_sram_bytes"])),
        ("flash of the firmware, B", figure(measured["flash_bytes"])),
        ("static SRAM of the firmware, B", figure(measured["static_sram_bytes"])),
        (str(measured["unit"]), figure(measured["minimum"])),
    ]
    notes = []
    validation = record.get("validation")
    if validation is not None:
        verdict = "bit-exact against" if validation["bit_exact"] else "DIFFERENT from"
        notes.append(f"Outputs: {verdict} {validation['source']}.")
    columns = (Column("", left=True), Column(board))
    yield Section("Measured", tuple(notes), (Cells(columns, tuple(rows)),))
    operators = record.get("operators")
    if operators:
        profile = operator_profile_of(operators)
        picture = profile_png(profile, title=f"{study.graph.name} on {board}")
        caption = f"{profile.unit.capitalize()} of every operator"
        yield Section(
            "Profile",
            (
                f"{caption}: in its kernel, and in moving rows around it.",
                f"{_sentence(operator_profile_note(profile))}.",
            ),
            (operator_profile_table(profile),),
            (Picture("profile.png", caption, picture),),
        )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
