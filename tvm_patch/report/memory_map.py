"""The memory map: every buffer of the arena over time, as a picture."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm_patch.memory import Buffer
from tvm_patch.plan import Access, BufferMode, Execution, Graph, Plan, StagePlan, execution_of
from tvm_patch.plan.layout.group import scratch_of
from tvm_patch.report.figures import new_figure, png_of
from tvm_patch.report.stages import short_kind

_COLOURS: Mapping[str, str] = {
    "input": "#8dd3c7",
    "activation": "#80b1d3",
    "patch buffer": "#fdb462",
    "line buffer": "#fccde5",
    "working tile": "#fb8072",
    "row window": "#bebada",
    "scratch": "#ffed6f",
    "output": "#b3de69",
}
KINDS = tuple(_COLOURS)
"""What a storage can be."""

_KIND_OF_MODE: Mapping[BufferMode, str] = {
    BufferMode.PATCH: "patch buffer",
    BufferMode.ROWS: "line buffer",
    BufferMode.ROWS_COLS: "working tile",
    BufferMode.COLS: "working tile",
}
_LINE_COLOUR = "#b30000"
_LIVE_COLOUR = "#9db8cc"
_STAGE_COLOUR = "#fff3d6"
_STAGE_TEXT_COLOUR = "#8a5a00"
_DPI = 130
_LABEL_POINTS = 6.5
_STAGE_POINTS = 8
# Of the picture's height; the rest shows how many bytes are live.
_MAP_SHARE = 0.82


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
    figure = new_figure(max(9.0, 3.0 + 0.2 * steps), 7.5, _DPI)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(_MAP_SHARE, 1 - _MAP_SHARE))
    top_bytes = max(plan.memory.arena_bytes, limit_bytes or 0, scale_bytes or 0)
    _set_axes(axes, graph, plan, top_bytes)
    axes.tick_params(labelbottom=False)
    axes.set_xlabel("")
    _draw_live(below, graph, execution, top_bytes)
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
        stores = {
            layout.store.buffer
            for group in execution.groups
            for layout in group.operators
            if layout.store is not None
        }
        return "line buffer" if storage.name in stores else "row window"
    if not any(name in graph.tensor for name in holders):
        return "scratch"
    if any(name in graph.inputs for name in holders):
        return "input"
    if any(name in graph.outputs for name in holders):
        return "output"
    for group in execution.groups:
        for name in holders:
            if group.stage is not None and name in group.blocks and group.blocks[name].region:
                return _KIND_OF_MODE[group.stage.mode_of(name)]
    return "activation"


def _set_axes(axes: Any, graph: Graph, plan: Plan, top_bytes: int) -> None:
    steps = len(graph.operators)
    axes.set_xlim(-0.5, steps + 0.5)
    # Room above for the labels of the stages.
    axes.set_ylim(0, top_bytes * (1.1 if plan.stages else 1.06))
    axes.set_ylabel("offset in the arena, bytes")
    axes.yaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    _name_operators(axes, graph)
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


def _name_operators(axes: Any, graph: Graph) -> None:
    shown = [i for i, op in enumerate(graph.operators) if op.access is not Access.VIEW]
    names = [f"{i} {short_kind(graph.operators[i].kind)}" for i in shown]
    axes.set_xticks(shown, names, rotation=90, fontsize=6.5)
    axes.set_xlabel("operator, in execution order")


def _draw_live(axes: Any, graph: Graph, execution: Execution, top_bytes: int) -> None:
    """How many bytes are live at each time, without the room between them."""
    clock = Clock(graph, execution)
    ticks, live_bytes = live_steps(execution)
    places = [clock(tick) for tick in ticks]
    axes.fill_between(places, [*live_bytes, 0], step="post", color=_LIVE_COLOUR, linewidth=0)
    highest = max(live_bytes, default=0)
    if highest:
        axes.axhline(highest, color=_LINE_COLOUR, linewidth=0.8, linestyle=":")
        axes.text(
            *(len(graph.operators) + 0.5, highest, f"most {highest:,} "),
            color=_LINE_COLOUR,
            fontsize=7,
            ha="right",
            va="bottom",
        )
    axes.set_ylim(0, top_bytes * 1.1)
    axes.set_ylabel("live bytes", fontsize=8)
    axes.yaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    axes.tick_params(axis="y", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    _name_operators(axes, graph)


def live_steps(execution: Execution) -> tuple[list[int], list[int]]:
    """Ticks at which the number of live bytes changes, and the bytes from each to the next.

    One tick more than numbers: the end.
    """
    change: dict[int, int] = {}
    for storage in execution.storages:
        for piece in storage.live_pieces:
            change[piece.first_use] = change.get(piece.first_use, 0) + piece.size_bytes
            after = piece.last_use + 1
            change[after] = change.get(after, 0) - piece.size_bytes
    ticks = sorted(change)
    return ticks, list(itertools.accumulate(change[tick] for tick in ticks[:-1]))


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
        room = (last - first + 1) * _Paper.of(axes, graph).operator_points
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


@dataclass(frozen=True)
class _Paper:
    """Sizes on paper, in points: of an operator along x and of a byte along y."""

    operator_points: float
    byte_points: float

    @staticmethod
    def of(axes: Any, graph: Graph) -> _Paper:
        """Before anything is laid out, so roughly."""
        width, height = axes.figure.get_size_inches() * 72
        share = _MAP_SHARE if len(axes.figure.axes) > 1 else 1.0
        return _Paper(
            operator_points=float(width) * 0.88 / (len(graph.operators) + 1),
            byte_points=float(height) * share * 0.72 / axes.get_ylim()[1],
        )


class Clock:
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


def outlines(storage: Buffer, clock: Clock) -> list[list[tuple[float, float]]]:
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
    clock = Clock(graph, execution)
    for storage in execution.storages:
        offset = plan.memory.offsets_bytes[storage.name]
        colour = _COLOURS[kind_of(graph, execution, storage)]
        shapes = outlines(storage, clock)
        for shape in shapes:
            axes.add_patch(
                Polygon(
                    [(x, offset + y) for x, y in shape],
                    facecolor=colour,
                    edgecolor="#333333",
                    linewidth=0.5 if len(shapes) == 1 else 0.2,
                )
            )
        if labels:
            _label(axes, _Paper.of(axes, graph), storage, offset, names[storage.name], clock)


def _label(axes: Any, paper: _Paper, storage: Buffer, offset: int, name: str, clock: Clock) -> None:
    """Write name and size, or the size alone, where there is most room for it, if anywhere."""
    size = f"{storage.size_bytes:,}"
    across = _LABEL_POINTS * 1.3
    for text in (f"{name}: {size}", size):
        along = (len(text) + 1) * _LABEL_POINTS * 0.58
        for rotation, width, height in ((0, along, across), (90, across, along)):
            place = roomiest_place(
                storage, clock, width / paper.operator_points, height / paper.byte_points
            )
            if place is not None:
                axes.text(
                    *(place[0], offset + place[1], text),
                    rotation=rotation,
                    fontsize=_LABEL_POINTS,
                    ha="center",
                    va="center",
                    clip_on=True,
                )
                return


def roomiest_place(
    storage: Buffer, clock: Clock, width: float, height: float
) -> tuple[float, float] | None:
    """Middle of a box of a size that lies within a storage's shape; None if there is none.

    Of all such places the one with most room above and below.
    """
    pieces = storage.live_pieces
    best: tuple[float, float, float] | None = None
    for first, piece in enumerate(pieces):
        left, bottom, top = clock(piece.first_use), piece.begin_bytes, piece.end_bytes
        previous = piece.first_use - 1
        for other in pieces[first:]:
            bottom, top = max(bottom, other.begin_bytes), min(top, other.end_bytes)
            if other.first_use != previous + 1 or top - bottom < height:
                break
            previous = other.last_use
            right = clock(other.last_use + 1)
            if right - left >= width:
                if best is None or top - bottom > best[0]:
                    best = (top - bottom, (left + right) / 2, (bottom + top) / 2)
                break
    return None if best is None else best[1:]


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
            if layout.store is not None:
                names[layout.store.buffer] = f"{index} rows"
            names[scratch_of(layout.operator.name)] = f"{index} scratch"
    return names


def _draw_lines(axes: Any, plan: Plan, limit_bytes: int | None) -> None:
    lines: list[tuple[int, str, str]] = [(plan.memory.arena_bytes, "arena", _LINE_COLOUR)]
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
