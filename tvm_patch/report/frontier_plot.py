"""The frontier as a picture: what memory costs in MACs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm_patch.plan import InputMode, Plan
from tvm_patch.report.figures import new_figure, png_of
from tvm_patch.report.planned import input_words

_DPI = 130
_COLOURS: Mapping[InputMode, str] = {InputMode.RESIDENT: "#1f78b4", InputMode.ROWS: "#e6700f"}
# Beyond that many, labels would lie on each other.
_LABELLED = 6


def frontier_png(
    name: str,
    frontiers: Mapping[InputMode, Sequence[Plan]],
    *,
    chosen: Plan | None = None,
    limit_bytes: int | None = None,
    layers: Plan | None = None,
) -> bytes:
    """Draw arena bytes over MAC overhead, one line for each way of giving the input.

    Parameters
    ----------
    name : str
        Of the network.
    frontiers : mapping of InputMode to sequence of Plan
        Fewest MACs first, as :func:`tvm_patch.plan.find_frontier` gives them; may be empty.
    chosen : Plan or None
        Marked by a ring.
    limit_bytes : int or None
        A RAM limit to draw.
    layers : Plan or None
        Layer by layer, to compare with.

    Raises
    ------
    ToolMissingError
        When matplotlib is not installed.
    """
    figure = new_figure(9.0, 5.5, _DPI)
    axes = figure.add_subplot()
    overheads = [plan.mac_overhead for plans in frontiers.values() for plan in plans]
    right = max(overheads, default=1.0)
    # A frontier of one point still needs some width.
    right += max(0.05, 0.05 * (right - 1.0))
    for mode, plans in frontiers.items():
        if plans:
            _draw(axes, plans, input_words(mode), _COLOURS[mode], right)
    if layers is not None:
        axes.plot(
            *([layers.mac_overhead], [layers.memory.arena_bytes]),
            *("s",),
            color="#555555",
            label="layer by layer",
        )
    if chosen is not None:
        axes.plot(
            *([chosen.mac_overhead], [chosen.memory.arena_bytes]),
            *("o",),
            markersize=13,
            markerfacecolor="none",
            markeredgecolor="#b30000",
            label="chosen",
        )
    if limit_bytes is not None:
        axes.axhline(limit_bytes, color="#555555", linewidth=1.0, linestyle="--")
        axes.text(right, limit_bytes, f"RAM limit {limit_bytes:,} ", ha="right", va="bottom")
    axes.set_xlim(1.0 - 0.02 * (right - 1.0), right)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("MAC overhead F: MACs executed over those of the layer-by-layer network")
    axes.set_ylabel("arena, bytes")
    axes.yaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    axes.set_title(f"{name}: plans that no other one beats", loc="left", fontsize=11)
    axes.grid(linewidth=0.4, color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
    return png_of(figure)


def _draw(axes: Any, plans: Sequence[Plan], label: str, colour: str, right: float) -> None:
    xs = [plan.mac_overhead for plan in plans]
    ys = [plan.memory.arena_bytes for plan in plans]
    # Between two plans there is none: what one needs is needed until the next one is allowed.
    axes.step([*xs, right], [*ys, ys[-1]], where="post", color=colour, linewidth=1.2, alpha=0.7)
    axes.plot(xs, ys, "o", color=colour, markersize=4, label=label)
    ends = plans if len(plans) <= _LABELLED else (plans[0], plans[-1])
    for plan in ends:
        axes.annotate(
            f"{plan.memory.arena_bytes:,}",
            (plan.mac_overhead, plan.memory.arena_bytes),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=7.5,
            color=colour,
        )
