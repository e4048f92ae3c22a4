"""Tables for terminals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from tvm_patch.analysis.cost import NetworkCost
from tvm_patch.board import Board
from tvm_patch.lower import KernelChoice
from tvm_patch.measurement import Measurement
from tvm_patch.plan import BufferMode, Plan, StagePlan
from tvm_patch.report.cells import Cells, Column
from tvm_patch.report.export import unit_of


def figure(value: int | None) -> str:
    """A whole number with thousands apart; a dash where there is none."""
    return "-" if value is None else f"{value:,}"


def shape_text(shape: Sequence[int]) -> str:
    """``1x56x56x24``."""
    return "x".join(map(str, shape))


_NEVER_FOLDED = ("board", "core")


def figures_table(*columns: str, left: Sequence[str] = (), title: str | None = None) -> Table:
    """Columns of figures, right aligned but for those named."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        justify = "left" if column in left else "right"
        table.add_column(
            column,
            justify=justify,  # type: ignore[arg-type]
            overflow="fold" if column in left else "ellipsis",
            no_wrap=column not in left or column in _NEVER_FOLDED,
        )
    return table


def operators_table(cost: NetworkCost) -> Cells:
    """Every operator with its cost, and the totals; the greatest in + out is marked."""
    rows = []
    marked = []
    for index, operator in enumerate(cost.operators):
        if operator is cost.heaviest:
            marked.append(index)
        rows.append(
            (
                str(index),
                operator.name,
                operator.kind,
                shape_text(operator.output_shape[1:] or operator.output_shape),
                figure(operator.macs or None),
                figure(operator.live_macs if operator.macs else None),
                figure(operator.weight_bytes or None),
                figure(operator.output_bytes),
                "view" if operator.is_view else figure(operator.working_bytes),
            )
        )
    rows.append(
        (
            *("", "total", "", "", figure(cost.macs), figure(cost.live_macs)),
            *(figure(cost.weight_bytes), "", f"peak {figure(cost.naive_peak_bytes)}"),
        )
    )
    columns = (
        Column("#"),
        Column("operator", left=True, shrinks_to=12),
        Column("kind", left=True, shrinks_to=10, goes=3),
        Column("output", left=True),
        Column("MACs"),
        Column("live MACs", goes=1),
        Column("weights B"),
        Column("out B", goes=2),
        Column("in + out B"),
    )
    return Cells(columns, tuple(rows), marked=marked, totals=1)


def kernels_table(choices: Sequence[KernelChoice]) -> Cells:
    """The kernel of every operator, what one MAC costs by its model, and why it was chosen."""
    rows = tuple(
        (
            choice.operator,
            choice.kernel,
            choice.instructions,
            f"{choice.estimate / choice.macs:.2f}" if choice.estimate and choice.macs else "-",
            choice.why,
        )
        for choice in choices
    )
    columns = (
        Column("operator", left=True, shrinks_to=12),
        Column("kernel", left=True, shrinks_to=16, goes=1),
        Column("core", left=True),
        Column("est. instr/MAC", goes=2),
        Column("why", left=True, shrinks_to=24),
    )
    return Cells(columns, rows, title="kernels, layer by layer")


def stages_text(stages: Sequence[StagePlan]) -> str:
    """A choice of stages in words: how many operators, how large the tiles, how they are held."""
    if not stages:
        return "layer by layer"
    patched = any(b.mode is BufferMode.PATCH for stage in stages for b in stage.buffering)
    if len(stages) == 1 and patched:
        (stage,) = stages
        return f"{len(stage.operators)} operators in tiles of {stage.tile_h}x{stage.tile_w}"
    counts = "+".join(str(len(stage.operators)) for stage in stages)
    plural = "s" if len(stages) > 1 or counts != "1" else ""
    return f"{counts} operator{plural} row by row"


@dataclass(frozen=True)
class Row:
    """One way of running a network, planned and perhaps measured.

    Parameters
    ----------
    label : str
        ``layer by layer``, ``patched`` or the like.
    plan : Plan
        How.
    measurement : Measurement or None
        None where it was planned only.
    """

    label: str
    plan: Plan
    measurement: Measurement | None = None


def comparison_table(rows: Sequence[Row], *, title: str | None = None) -> Table:
    """Ways of running one network beside each other, planned and measured apart.

    One column each, so that it fits a terminal of 80 columns.
    """
    found = [row.measurement for row in rows]
    unit = next((unit_of(m) for m in found if m is not None), "instructions")
    table = figures_table("", *(row.label for row in rows), left=("",), title=title)
    lines: list[tuple[str, list[str]]] = [
        ("MAC overhead F", [f"{row.plan.mac_overhead:.3f}" for row in rows]),
        ("arena, planned, B", [figure(row.plan.memory.arena_bytes) for row in rows]),
        ("arena, measured, B", [figure(m.arena_bytes if m else None) for m in found]),
        ("stack, measured, B", [figure(m.stack_bytes if m else None) for m in found]),
        ("peak SRAM, measured, B", [figure(m.peak_sram_bytes if m else None) for m in found]),
        ("flash, B", [figure(m.flash_bytes if m else None) for m in found]),
        (unit, [figure(ticks_of(m) if m else None) for m in found]),
    ]
    if any(m is not None and m.latency_ms is not None for m in found):
        times = [m.latency_ms if m else None for m in found]
        lines.append(("latency, ms", ["-" if t is None else f"{t:.3f}" for t in times]))
    for label, cells in lines:
        table.add_row(label, *cells)
    return table


def spread_text(measurement: Measurement) -> str:
    """How much the runs differ, and how sure their median is; empty for a single run."""
    m = measurement
    if m.runs < 2:
        return ""
    unit = unit_of(m)
    parts = [f"{m.runs} runs, {unit}: median {m.median:,.0f}, min {m.minimum:,}, max {m.maximum:,}"]
    if m.interval is not None:
        parts.append(f"95 % interval of the median {m.interval[0]:,} to {m.interval[1]:,}")
    text = ", ".join(parts)
    if m.latency_ms is not None:
        median, least, most = (
            _milliseconds(m, units) for units in (m.median, m.minimum, m.maximum)
        )
        text += f"\nlatency: median {median}, min {least}, max {most}"
        if m.interval is not None:
            low, high = (_milliseconds(m, units) for units in m.interval)
            text += f", 95 % interval of the median {low} to {high}"
        if m.clock_hz:
            text += f" at {m.clock_hz / 1e6:g} MHz"
    return text


def _milliseconds(measurement: Measurement, units: float) -> str:
    value = measurement.milliseconds(units)
    return "-" if value is None else f"{value:.3f} ms"


def ticks_of(measurement: Measurement) -> int | None:
    """Instructions, cycles or nanoseconds of the first inference."""
    candidates = (measurement.instructions, measurement.cycles, measurement.nanoseconds)
    return next((value for value in candidates if value is not None), None)


def boards_table(boards: Sequence[Board], plugged_in: Mapping[str, str] | None = None) -> Cells:
    """Boards with their core and memory, how each one can be run, and what is plugged in.

    Parameters
    ----------
    boards : sequence of Board
        In the order of the rows.
    plugged_in : mapping of str to str, or None
        Ports that may be a board's, by its name.
    """
    plugged_in = plugged_in or {}
    rows = []
    for board in boards:
        flash = board.region("flash")
        rows.append(
            (
                board.name,
                board.cpu,
                f"{board.clock_hz / 1e6:g} MHz" if board.clock_hz else "-",
                f"{flash.size_bytes // 1024:,} K" if flash else "-",
                f"{board.writable_bytes // 1024:,} K" if board.memory else "-",
                runs_on(board),
                plugged_in.get(board.name, ""),
                board.description,
            )
        )
    # In a narrow terminal the columns go that tell least.
    is_empty = not any(plugged_in.values())
    columns = (
        Column("board", left=True),
        Column("core", left=True),
        Column("clock", goes=2),
        Column("flash"),
        Column("SRAM"),
        Column("runs on", left=True, goes=0 if is_empty else 3),
        Column("plugged in", left=True, goes=3 if is_empty else 0),
        Column("description", left=True, shrinks_to=16, goes=1),
    )
    return Cells(columns, tuple(rows))


def runs_on(board: Board) -> str:
    """How a board's firmware can be run."""
    if board.port == "host":
        return "this machine"
    if board.machine is not None:
        return "emulator"
    return "hardware, --emulate" if board.emulator else "hardware"
