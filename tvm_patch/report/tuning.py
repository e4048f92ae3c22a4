"""How tuning went, and what it has come to: a picture and a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rich.table import Table


class MeasuredPlan(Protocol):
    """A plan measured whole."""

    @property
    def name(self) -> str:
        """What plan it is."""

    @property
    def is_tuned(self) -> bool:
        """Whether its kernels are."""

    @property
    def measurement(self) -> Any:
        """On the device."""

    @property
    def bit_exact(self) -> bool:
        """Whether its outputs are right."""

    @property
    def units(self) -> float:
        """Of an inference."""


def wholes_table(
    default: MeasuredPlan, wholes: Sequence[MeasuredPlan], frontier: Sequence[MeasuredPlan]
) -> Table:
    """Plans measured whole, those on the frontier of time against peak SRAM marked."""
    unit = "instructions" if default.measurement.instructions is not None else "cycles"
    if default.measurement.nanoseconds is not None:
        unit = "ns"
    table = Table()
    table.add_column("plan")
    table.add_column("kernels")
    for heading in (unit, "of default", "peak SRAM", "flash"):
        table.add_column(heading, justify="right")
    table.add_column("outputs")
    table.add_column("frontier")
    for whole in wholes:
        measurement = whole.measurement
        peak = measurement.peak_sram_bytes or measurement.arena_bytes
        table.add_row(
            whole.name,
            "tuned" if whole.is_tuned else "default",
            f"{whole.units:,.0f}",
            f"{whole.units / default.units:.3f}",
            f"{peak:,}",
            f"{measurement.flash_bytes:,}",
            "bit-exact" if whole.bit_exact else "DIFFER",
            "yes" if any(each is whole for each in frontier) else "",
        )
    return table


def tuning_figure(history: Sequence[tuple[int, float]], default_units: float) -> Any:
    """The estimate of all tuned kernels over the candidates measured."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    trials = [point[0] for point in history]
    ratios = [point[1] / default_units if default_units else 1.0 for point in history]
    axes.step(trials, ratios, where="post", marker="o")
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set_xlabel("candidates measured")
    axes.set_ylabel("tuned kernels / default")
    axes.grid(alpha=0.3)
    return figure
