"""The memory map: every buffer of the arena over time, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm_patch.memory import Buffer
from tvm_patch.plan import Access, BufferMode, Execution, Graph, Plan, StagePlan, execution_of
from tvm_patch.report.figures import new_figure, png_of
from tvm_patch.report.stages import short_kind

_COLOURS: Mapping[str, str] = {
    "input": "#8dd3c7",
    "activation": "#80b1d3",
    "patch buffer": "#fdb462",
    "line buffer": "#fccde5",
    "row window": "#bebada",
    "output": "#b3de69",
}
_STAGE_COLOUR = "#fff3d6"
_STAGE_TEXT_COLOUR = "#8a5a00"
_DPI = 130
_LABEL_POINTS = 6.5
_STAGE_POINTS = 8


def memory_map_png(
    graph: Graph, plan: Plan, *, limit_bytes: int | None = None, scale_bytes: int | None = None
) -> bytes:
    """Draw a plan's arena: operators in order along x, bytes along y.

    Parameters
    ----------
    graph : Graph
        The network.
    plan : Plan
        Made for it.
    limit_bytes : int or None
        A RAM limit to draw beside the arena.
    scale_bytes : int or None
        How far the y axis goes at least, so that pictures of several plans can be compared.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    ToolMissingError
        When matplotlib is not installed.
    PlanError
        When the plan belongs to another network.
    """
    execution = execution_of(graph, plan)
    steps = len(graph.operators)
    figure = new_figure(max(9.0, 3.0 + 0.2 * steps), 6.5, _DPI)
    axes = figure.add_subplot()
    top_bytes = max(plan.memory.arena_bytes, limit_bytes or 0, scale_bytes or 0)
    _set_axes(axes, graph, plan, top_bytes)
    draw_arena(axes, graph, plan)
    _draw_lines(axes, plan, limit_bytes)
    _place_legend(axes, legend_handles(graph, [execution]))
    return png_of(figure)


def draw_arena(axes: Any, graph: Graph, plan: Plan, *, labels: bool = True) -> None:
    """Draw stages and buffers into axes whose limits are set.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        One unit along x is an operator, one along y a byte.
    graph : Graph
        The network.
    plan : Plan
        Made for it.
    labels : bool
        Whether stages and buffers are named where there is room.
    """
    _draw_stages(axes, graph, plan, labels)
    _draw_buffers(axes, graph, plan, labels)


def legend_handles(graph: Graph, executions: Sequence[Execution]) -> list[Any]:
    """What the colours of some pictures of one network mean."""
    from matplotlib.patches import Patch

    present = {kind_of(graph, each, storage) for each in executions for storage in each.storages}
    handles = [
        Patch(facecolor=colour, edgecolor="#333333", linewidth=0.5, label=kind)
        for kind, colour in _COLOURS.items()
        if kind in present
    ]
    if any(group.stage is not None for each in executions for group in each.groups):
        handles.append(Patch(facecolor=_STAGE_COLOUR, label="runs tile by tile"))
    return handles


def kind_of(graph: Graph, execution: Execution, storage: Buffer) -> str:
    """What a storage holds: a key of the legend."""
    holders = [name for name, held_by in execution.storage_of.items() if held_by == storage.name]
    if not holders:
        return "row window"
    if any(name in graph.inputs for name in holders):
        return "input"
    if any(name in graph.outputs for name in holders):
        return "output"
    for group in execution.groups:
        for name in holders:
            if group.stage is not None and name in group.blocks and group.blocks[name].region:
                keeps_rows = group.stage.mode_of(name) is BufferMode.ROWS
                return "line buffer" if keeps_rows else "patch buffer"
    return "activation"


def _set_axes(axes: Any, graph: Graph, plan: Plan, top_bytes: int) -> None:
    steps = len(graph.operators)
    axes.set_xlim(-0.5, steps + 0.5)
    # Room above for the labels of the stages.
    axes.set_ylim(0, top_bytes * (1.1 if plan.stages else 1.06))
    axes.set_ylabel("offset in the arena, bytes")
    axes.yaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    axes.set_xlabel("operator, in execution order")
    axes.set_xticks([i for i, op in enumerate(graph.operators) if op.access is not Access.VIEW])
    axes.set_xticklabels(
        [
            f"{i} {short_kind(op.kind)}"
            for i, op in enumerate(graph.operators)
            if op.access is not Access.VIEW
        ],
        rotation=90,
        fontsize=6.5,
    )
    axes.set_title(
        f"{graph.name}: arena {plan.memory.arena_bytes:,} bytes, F {plan.mac_overhead:.3f}"
        f" ({plan.manner})",
        fontsize=11,
        loc="left",
        # Room for the legend, which stands between title and picture.
        pad=24,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="y", linewidth=0.4, color="#dddddd")


def _draw_stages(axes: Any, graph: Graph, plan: Plan, labels: bool) -> None:
    """Shade what runs tile by tile, and name it as far as there is room."""
    top = axes.get_ylim()[1]
    for index, stage in enumerate(plan.stages):
        first = graph.operator_index[stage.operators[0]]
        last = graph.operator_index[stage.operators[-1]]
        axes.axvspan(first - 0.5, last + 0.5, color=_STAGE_COLOUR, zorder=0)
        if first > 0:
            # Stages may touch.
            axes.axvline(first - 0.5, color=_STAGE_TEXT_COLOUR, linewidth=0.4, zorder=0)
        if not labels:
            continue
        room = (last - first + 1) * _points_per_operator(axes, graph)
        axes.text(
            first - 0.4,
            top * 0.99,
            _stage_label(index, stage, int(room / (_STAGE_POINTS * 0.58))),
            fontsize=_STAGE_POINTS,
            va="top",
            color=_STAGE_TEXT_COLOUR,
        )


def _stage_label(index: int, stage: StagePlan, room: int) -> str:
    """The longest of some labels that has at most ``room`` characters, or none."""
    tile = f"{stage.tile_h}x{stage.tile_w}"
    wanted = (f"stage {index}: tiles of {tile}", f"{index}: {tile}", f"{index}")
    return next((text for text in wanted if len(text) <= room), "")


def _points_per_operator(axes: Any, graph: Graph) -> float:
    """Width of one operator on paper."""
    return float(axes.figure.get_figwidth() * 72 * 0.88 / (len(graph.operators) + 1))


class _Clock:
    """Where on the picture's x axis, which counts operators, a tick of the execution begins."""

    def __init__(self, graph: Graph, execution: Execution) -> None:
        self._spans: list[tuple[int, int, float, float]] = []
        for group in execution.groups:
            first, last = execution.ticks[group.name]
            known = [graph.operator_index.get(each.operator.name) for each in group.operators]
            left = min(index for index in known if index is not None) - 0.5
            right = graph.operator_index[group.operators[-1].operator.name] + 0.5
            self._spans.append((first, last, left, right))
        self._end = len(graph.operators) - 0.5

    def __call__(self, tick: int) -> float:
        for first, last, left, right in self._spans:
            if tick <= last:
                return left + (right - left) * max(0, tick - first) / (last - first + 1)
        return self._end + 1.0


def _outlines(storage: Buffer, clock: _Clock) -> list[list[tuple[float, float]]]:
    """Corners of the shapes that a storage's live bytes have over time."""
    outlines: list[list[tuple[float, float]]] = []
    lower: list[tuple[float, float]] = []
    upper: list[tuple[float, float]] = []
    previous = None
    for piece in storage.live_pieces:
        if previous is not None and piece.first_use != previous + 1:
            outlines.append([*lower, *reversed(upper)])
            lower, upper = [], []
        left, right = clock(piece.first_use), clock(piece.last_use + 1)
        lower += [(left, piece.begin_bytes), (right, piece.begin_bytes)]
        upper += [(left, piece.end_bytes), (right, piece.end_bytes)]
        previous = piece.last_use
    return [*outlines, [*lower, *reversed(upper)]]


def _draw_buffers(axes: Any, graph: Graph, plan: Plan, labels: bool) -> None:
    from matplotlib.patches import Polygon

    execution = execution_of(graph, plan)
    names = short_names(graph, execution)
    clock = _Clock(graph, execution)
    for storage in execution.storages:
        offset = plan.memory.offsets_bytes[storage.name]
        colour = _COLOURS[kind_of(graph, execution, storage)]
        outlines = _outlines(storage, clock)
        for outline in outlines:
            axes.add_patch(
                Polygon(
                    [(x, offset + y) for x, y in outline],
                    facecolor=colour,
                    edgecolor="#333333",
                    linewidth=0.5 if len(outlines) == 1 else 0.2,
                )
            )
        if labels:
            _label(axes, graph, storage, offset, names[storage.name], clock)


def _label(axes: Any, graph: Graph, storage: Buffer, offset: int, name: str, clock: _Clock) -> None:
    """Write name and size where the storage is whole, as much of it as there is room for."""
    whole = max(storage.live_pieces, key=lambda p: p.size_bytes * (p.last_use - p.first_use + 1))
    left, right = clock(whole.first_use), clock(whole.last_use + 1)
    per_byte = axes.figure.get_figheight() * 72 * 0.72 / axes.get_ylim()[1]
    width_points = (right - left) * _points_per_operator(axes, graph)
    height_points = whole.size_bytes * per_byte
    upright = width_points < height_points and width_points < 60
    along, across = (height_points, width_points) if upright else (width_points, height_points)
    if across < _LABEL_POINTS * 1.15:
        return
    text = _fitting_text(name, storage.size_bytes, int(along / (_LABEL_POINTS * 0.58)))
    if text:
        axes.text(
            (left + right) / 2,
            offset + (whole.begin_bytes + whole.end_bytes) / 2,
            text,
            rotation=90 if upright else 0,
            fontsize=_LABEL_POINTS,
            ha="center",
            va="center",
            clip_on=True,
        )


def _fitting_text(name: str, size_bytes: int, room: int) -> str:
    """Name and size, the size alone, or nothing, in at most ``room`` characters."""
    size = f"{size_bytes:,}"
    wanted = (f"{name}: {size}", size)
    return next((text for text in wanted if len(text) <= room), "")


def short_names(graph: Graph, execution: Execution) -> dict[str, str]:
    """What to call each storage: the number and kind of the operator that makes or needs it.

    Names of layers are long and differ in their middles; the numbers are those of the axis and of
    ``tvm-patch inspect``.
    """
    names = {
        operator.output: f"{index} {short_kind(operator.kind)}"
        for index, operator in enumerate(graph.operators)
    }
    names |= {name: name for name in graph.inputs}
    for group in execution.groups:
        for layout in group.operators:
            index = graph.operator_index.get(layout.operator.name, 0)
            names |= {w.buffer: f"{index} window" for w in layout.windows if w is not None}
    return names


def _draw_lines(axes: Any, plan: Plan, limit_bytes: int | None) -> None:
    lines: list[tuple[int, str, str]] = [(plan.memory.arena_bytes, "arena", "#b30000")]
    if limit_bytes is not None:
        lines.append((limit_bytes, "RAM limit", "#555555"))
    right = axes.get_xlim()[1]
    for value, name, colour in lines:
        axes.axhline(value, color=colour, linewidth=1.0, linestyle="--", zorder=3)
        axes.text(
            *(right, value, f"{name} {value:,} "),
            color=colour,
            fontsize=8,
            ha="right",
            va="bottom",
        )


def _place_legend(axes: Any, handles: Sequence[Any]) -> None:
    axes.legend(
        handles=list(handles),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.3,
        ncols=len(handles),
        fontsize=8,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.2,
    )
