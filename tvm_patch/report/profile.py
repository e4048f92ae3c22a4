"""A profile as a table, as a picture, and as a record."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tvm_patch.errors import ToolMissingError
from tvm_patch.profiling import OperatorProfile, Profile
from tvm_patch.report.cells import Cells, Column
from tvm_patch.report.tables import figure

_KIND_COLOURS: Mapping[str, str] = {
    "conv2d": "#4c78a8",
    "depthwise_conv2d": "#f58518",
    "dense": "#72b7b2",
    "add": "#54a24b",
}
_OTHER_COLOUR = "#9d9da1"
_DATA_COLOUR = "#d9d9d9"
_DPI = 130
_ROW_INCHES = 0.2
_LABEL_POINTS = 7


@dataclass(frozen=True)
class _Figure:
    """A column of the table: what stands in it for an operator, the loops, and the whole."""

    column: Column
    operator: Callable[[Profile, int, OperatorProfile], str]
    loops: Callable[[Profile], str] = lambda _: ""
    total: Callable[[Profile], str] = lambda _: ""


def operator_profile_table(profile: Profile, *, title: str | None = None) -> Cells:
    """What every operator takes, its share of the whole, and the cost of one MAC.

    Parameters
    ----------
    profile : Profile
        What was measured. *kernel* is the time in the operator's kernel, *data* that in gathering,
        moving and blanking the rows around it; *per MAC* is of both together, *kernel/MAC* of the
        kernel alone. Cycles are estimated, and there only where there is an estimate.
    title : str or None
        Above the table.
    """
    figures = [*_FIGURES, *(_ESTIMATES if profile.core else ())]
    rows = [
        tuple(each.operator(profile, index, operator) for each in figures)
        for index, operator in enumerate(profile.operators)
    ]
    rows.append(tuple(each.loops(profile) for each in figures))
    rows.append(tuple(each.total(profile) for each in figures))
    columns = tuple(
        each.column if each.column.name else replace(each.column, name=profile.unit)
        for each in figures
    )
    return Cells(columns, tuple(rows), title=title, totals=2)


def _kernels(profile: Profile) -> int:
    return sum(operator.kernel_units for operator in profile.operators)


def _data(profile: Profile) -> int:
    return sum(operator.data_units for operator in profile.operators)


_FIGURES = (
    _Figure(Column("#", goes=5), lambda p, i, o: str(i)),
    _Figure(
        Column("operator", left=True, shrinks_to=12),
        lambda p, i, o: o.name,
        lambda p: "loops",
        lambda p: "total",
    ),
    _Figure(Column("kind", left=True, goes=6), lambda p, i, o: o.kind),
    _Figure(Column("stage", left=True, goes=3), lambda p, i, o: o.stage or ""),
    _Figure(Column("calls", goes=1), lambda p, i, o: figure(o.calls)),
    _Figure(
        Column("kernel", goes=4),
        lambda p, i, o: figure(o.kernel_units),
        total=lambda p: figure(_kernels(p)),
    ),
    _Figure(
        Column("data", goes=8),
        lambda p, i, o: figure(o.data_units),
        total=lambda p: figure(_data(p)),
    ),
    _Figure(
        Column(""),
        lambda p, i, o: figure(o.units),
        lambda p: figure(p.loops_units),
        lambda p: figure(p.units),
    ),
    _Figure(
        Column("share"),
        lambda p, i, o: f"{p.share(o.units):.1%}",
        lambda p: f"{p.share(p.loops_units):.1%}",
    ),
    _Figure(
        Column("MACs", goes=7),
        lambda p, i, o: figure(o.macs or None),
        total=lambda p: figure(p.macs or None),
    ),
    _Figure(
        Column("per MAC"),
        lambda p, i, o: _ratio(o.units, o.macs),
        total=lambda p: _ratio(p.units, p.macs),
    ),
    _Figure(
        Column("kernel/MAC", goes=2),
        lambda p, i, o: _ratio(o.kernel_units, o.macs),
        total=lambda p: _ratio(_kernels(p), p.macs),
    ),
)
_ESTIMATES = (
    _Figure(
        Column("est. cycles"),
        lambda p, i, o: figure(o.cycles),
        lambda p: figure(p.loops_cycles),
        lambda p: figure(p.cycles),
    ),
    _Figure(
        Column("est. cycles/MAC"),
        lambda p, i, o: _ratio(o.cycles or 0, o.macs),
        total=lambda p: _ratio(p.cycles or 0, p.macs),
    ),
)


def operator_profile_note(profile: Profile) -> str:
    """What has been taken off the figures of a profile, and what its cycles are."""
    note = (
        f"{profile.marks:,} readings of the stopwatch at {profile.mark_units:.1f} {profile.unit} "
        "each are taken off"
    )
    if profile.core:
        states = profile.flash_wait_states
        return (
            f"{note};\ncycles are estimated, not measured: timing of the {profile.core}, "
            f"flash with {states} wait state{'' if states == 1 else 's'}"
        )
    return f"{note};\nno estimate of cycles: {profile.no_estimate}" if profile.no_estimate else note


def profile_png(profile: Profile, *, title: str = "") -> bytes:
    """Draw a bar for each operator: kernel in the colour of its kind, data moved behind it in grey.

    Returns
    -------
    bytes
        A PNG file; the same profile gives the same bytes.

    Raises
    ------
    ToolMissingError
        When matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ToolMissingError(
            f"the Python package {error.name!r}, which draws, is not installed",
            hint="pip install 'tvm-patch[full]'",
        ) from error
    height = 1.6 + _ROW_INCHES * (len(profile.operators) + 1)
    picture = Figure(figsize=(9.5, height), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(picture)
    draw_profile(picture.add_subplot(), profile, title=title)
    target = io.BytesIO()
    # No date and version inside: the same profile gives the same picture.
    canvas.print_png(target, metadata={"Software": None})
    return target.getvalue()


def draw_profile(axes: Any, profile: Profile, *, title: str = "") -> None:
    """Draw the bars of :func:`profile_png` into axes."""
    operators = profile.operators
    places = list(range(len(operators)))
    kernel = [operator.kernel_units for operator in operators]
    data = [operator.data_units for operator in operators]
    colours = [_KIND_COLOURS.get(operator.kind, _OTHER_COLOUR) for operator in operators]
    axes.barh(places, kernel, color=colours)
    axes.barh(places, data, left=kernel, color=_DATA_COLOUR)
    axes.barh([len(operators)], [profile.loops_units], color=_DATA_COLOUR)
    names = [operator.name for operator in operators]
    axes.set_yticks([*places, len(operators)], [*names, "loops"], fontsize=_LABEL_POINTS)
    axes.set_ylim(len(operators) + 0.6, -0.6)
    for place, operator in zip(places, operators, strict=True):
        axes.annotate(
            _bar_text(profile, operator),
            (operator.units, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=_LABEL_POINTS,
        )
    axes.set_xlim(0, 1.25 * max([operator.units for operator in operators], default=1))
    axes.set_xlabel(f"{profile.unit} of one inference: {profile.units:,} in all")
    axes.set_title(title, fontsize=10, loc="left")
    _place_legend(axes, {operator.kind for operator in operators})


def operator_profile_record(profile: Profile) -> dict[str, Any]:
    """A profile for programs; counts are in ``unit``."""
    return {
        "unit": profile.unit,
        "total": profile.units,
        "loops": profile.loops_units,
        "marks": profile.marks,
        "mark_cost": profile.mark_units,
        "estimate": {
            "core": profile.core or None,
            "flash_wait_states": profile.flash_wait_states,
            "cycles": profile.cycles,
            "loops_cycles": profile.loops_cycles,
            "missing": profile.no_estimate or None,
        },
        "operators": [
            {
                "name": operator.name,
                "kind": operator.kind,
                "stage": operator.stage,
                "macs": operator.macs,
                "calls": operator.calls,
                "kernel": operator.kernel_units,
                "data": operator.data_units,
                "total": operator.units,
                "per_mac": operator.units_per_mac,
                "share": profile.share(operator.units),
                "estimated_cycles": operator.cycles,
                "estimated_kernel_cycles": operator.kernel_cycles,
                "estimated_data_cycles": operator.data_cycles,
            }
            for operator in profile.operators
        ],
    }


def operator_profile_of(record: Mapping[str, Any]) -> Profile:
    """The profile that :func:`operator_profile_record` has written down."""
    estimate = record.get("estimate", {})
    return Profile(
        unit=str(record["unit"]),
        operators=tuple(map(_operator_of, record["operators"])),
        loops_units=int(record["loops"]),
        mark_units=float(record["mark_cost"]),
        marks=int(record["marks"]),
        loops_cycles=estimate.get("loops_cycles"),
        core=estimate.get("core") or "",
        flash_wait_states=int(estimate.get("flash_wait_states", 0)),
        no_estimate=estimate.get("missing") or "",
    )


def _operator_of(record: Mapping[str, Any]) -> OperatorProfile:
    return OperatorProfile(
        name=str(record["name"]),
        kind=str(record["kind"]),
        stage=record["stage"],
        macs=int(record["macs"]),
        calls=int(record["calls"]),
        kernel_units=int(record["kernel"]),
        data_units=int(record["data"]),
        kernel_cycles=record.get("estimated_kernel_cycles"),
        data_cycles=record.get("estimated_data_cycles"),
    )


def _ratio(units: int, macs: int) -> str:
    return f"{units / macs:.2f}" if macs else "-"


def _bar_text(profile: Profile, operator: OperatorProfile) -> str:
    share = f"{profile.share(operator.units):.1%}"
    if operator.units_per_mac is None:
        return share
    return f"{share}, {operator.units_per_mac:.2f} per MAC"


def _place_legend(axes: Any, kinds: set[str]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(color=colour, label=kind) for kind, colour in _KIND_COLOURS.items() if kind in kinds
    ]
    if kinds - set(_KIND_COLOURS):
        handles.append(Patch(color=_OTHER_COLOUR, label="other kinds"))
    handles.append(Patch(color=_DATA_COLOUR, label="rows moved, loops"))
    axes.legend(handles=handles, fontsize=_LABEL_POINTS, loc="lower right")
