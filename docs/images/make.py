"""Draw the picture of the README: memory over time of the digits network under three plans.

python docs/images/make.py
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tvm_patch import Plan, Requirements, make_plan, prepare
from tvm_patch.plan import Graph, execution_of
from tvm_patch.report.files import write_atomically
from tvm_patch.report.memory_map import draw_arena, legend_handles

_FOLDER = Path(__file__).resolve().parent
_MODEL = _FOLDER.parent.parent / "examples" / "digits" / "digits.tflite"
# As in examples/demo.py.
_REQUIREMENTS = {
    "patch by patch": Requirements(objective="memory", max_overhead=1.25, buffering="patch"),
    "row by row": Requirements(objective="memory", max_overhead=1.0, buffering="rows"),
}


def draw_plan(axes: Any, graph: Graph, plan: Plan, title: str) -> None:
    """Every buffer of the arena: operators along x, bytes along y."""
    draw_arena(axes, graph, plan, labels=False)
    arena_bytes = plan.memory.arena_bytes
    axes.axhline(arena_bytes, color="#b30000", linewidth=1.0, linestyle="--")
    axes.set_title(f"{title}: {arena_bytes:,} bytes, F {plan.mac_overhead:.2f}", loc="left")
    axes.set_xlabel("operator, in execution order")
    axes.set_xlim(-0.5, len(graph.operators) - 0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="y", linewidth=0.4, color="#dddddd")


def main() -> None:
    """All plans beside each other, on one scale."""
    prepared = prepare(_MODEL)
    graph = prepared.network.graph
    plans = {"layer by layer": make_plan(prepared, layers=True)}
    plans |= {name: make_plan(prepared, wishes) for name, wishes in _REQUIREMENTS.items()}
    figure = Figure(figsize=(13, 4.2), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(plans), sharey=True)
    panels[0].set_ylim(0, max(plan.memory.arena_bytes for plan in plans.values()) * 1.05)
    panels[0].set_ylabel("offset in the arena, bytes")
    panels[0].yaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    for axes, (title, plan) in zip(panels, plans.items(), strict=True):
        draw_plan(axes, graph, plan, title)
    handles = legend_handles(graph, [execution_of(graph, plan) for plan in plans.values()])
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    target = io.BytesIO()
    canvas.print_png(target, metadata={"Software": None})
    write_atomically(_FOLDER / "memory-map.png", target.getvalue())


if __name__ == "__main__":
    main()
