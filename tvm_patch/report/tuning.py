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
    unit = _unit([default])
    table = Table()
    table.add_column("plan")
    table.add_column("kernels")
    for heading in (unit, "of default", "peak SRAM", "flash"):
        table.add_column(heading, justify="right")
    table.add_column("outputs")
    table.add_column("frontier")
    for whole in wholes:
        measurement = whole.measurement
        table.add_row(
            whole.name,
            "tuned" if whole.is_tuned else "default",
            f"{whole.units:,.0f}",
            f"{whole.units / default.units:.3f}",
            f"{_peak(whole):,}",
            f"{measurement.flash_bytes:,}",
            "bit-exact" if whole.bit_exact else "DIFFER",
            "yes" if any(each is whole for each in frontier) else "",
        )
    return table


def tuning_figure(
    history: Sequence[tuple[int, float]],
    default_units: float,
    wholes: Sequence[MeasuredPlan],
    frontier: Sequence[MeasuredPlan],
) -> Any:
    """The estimate of all tuned kernels over the candidates measured; plans by time and SRAM."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    axes, plane = figure.subplots(1, 2)
    trials = [point[0] for point in history]
    ratios = [point[1] / default_units if default_units else 1.0 for point in history]
    axes.step(trials, ratios, where="post", marker="o")
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set_xlabel("candidates measured")
    axes.set_ylabel("tuned kernels / default")
    axes.grid(alpha=0.3)
    _draw_plans(plane, wholes, frontier)
    return figure


def _draw_plans(
    axes: Any, wholes: Sequence[MeasuredPlan], frontier: Sequence[MeasuredPlan]
) -> None:
    for is_tuned, marker in ((False, "x"), (True, "o")):
        shown = [whole for whole in wholes if whole.is_tuned == is_tuned]
        label = "tuned" if is_tuned else "default"
        axes.scatter(
            [_peak(whole) / 1024 for whole in shown],
            [whole.units / 1e6 for whole in shown],
            marker=marker,
            label=label,
        )
    for whole in wholes:
        place = (_peak(whole) / 1024, whole.units / 1e6)
        axes.annotate(whole.name, place, fontsize=7, xytext=(3, 3), textcoords="offset points")
    axes.plot(
        [_peak(whole) / 1024 for whole in frontier],
        [whole.units / 1e6 for whole in frontier],
        linewidth=0.8,
        color="grey",
    )
    axes.set_xlabel("peak SRAM in KiB")
    axes.set_ylabel(f"million {_unit(wholes)}")
    axes.legend()
    axes.grid(alpha=0.3)


def _peak(whole: MeasuredPlan) -> int:
    measurement = whole.measurement
    return int(measurement.peak_sram_bytes or measurement.arena_bytes)


def _unit(wholes: Sequence[MeasuredPlan]) -> str:
    if not wholes or wholes[0].measurement.nanoseconds is not None:
        return "ns"
    return "instructions" if wholes[0].measurement.instructions is not None else "cycles"
