"""A profile as a table, as a picture, and as a record."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from tvm_patch.errors import ToolMissingError
from tvm_patch.profiling import OperatorProfile, Profile
from tvm_patch.report.tables import figure, figures_table

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


def operator_profile_table(
    profile: Profile, *, title: str | None = None, narrow: bool = False
) -> Table:
    """What every operator takes, its share of the whole, and the cost of one MAC.

    Parameters
    ----------
    profile : Profile
        What was measured. *kernel* is the time in the operator's kernel, *data* that in gathering,
        moving and blanking the rows around it; *per MAC* is of both together, *kernel/MAC* of the
        kernel alone.
    title : str or None
        Above the table.
    narrow : bool
        Fewer columns, for terminals of 80.
    """
    columns = [column for column in _COLUMNS if not narrow or column.always]
    if profile.core:
        columns += _ESTIMATES
    unit = profile.unit
    table = figures_table(
        *(column.title or unit for column in columns),
        left=[column.title for column in columns if column.left],
        title=title,
    )
    stage: str | None = None
    for index, operator in enumerate(profile.operators):
        if index and operator.stage != stage:
            table.add_section()
        stage = operator.stage
        table.add_row(*(column.cell(profile, index, operator) for column in columns))
    table.add_section()
    share = f"{profile.share(profile.loops_units):.1%}"
    loops = {
        "operator": "loops",
        "": figure(profile.loops_units),
        "share": share,
        "est. cycles": figure(profile.loops_cycles),
    }
    kernels = sum(operator.kernel_units for operator in profile.operators)
    total = {
        "operator": "total",
        "kernel": figure(kernels),
        "data": figure(sum(operator.data_units for operator in profile.operators)),
        "": figure(profile.units),
        "MACs": figure(profile.macs or None),
        "per MAC": _ratio(profile.units, profile.macs),
        "kernel/MAC": _ratio(kernels, profile.macs),
        "est. cycles": figure(profile.cycles),
        "est. cycles/MAC": _ratio(profile.cycles or 0, profile.macs),
    }
    table.add_row(*(loops.get(column.title, "") for column in columns))
    table.add_row(*(total.get(column.title, "") for column in columns), style="bold")
    return table


@dataclass(frozen=True)
class _Column:
    """One column: its title (the profile's unit if empty), and what stands in it."""

    title: str
    cell: Callable[[Profile, int, OperatorProfile], str]
    left: bool = False
    always: bool = False


_COLUMNS = (
    _Column("#", lambda _, index, o: str(index)),
    _Column("operator", lambda _, i, o: o.name, left=True, always=True),
    _Column("kind", lambda _, i, o: o.kind, left=True),
    _Column("stage", lambda _, i, o: o.stage or "", left=True),
    _Column("calls", lambda _, i, o: figure(o.calls)),
    _Column("kernel", lambda _, i, o: figure(o.kernel_units)),
    _Column("data", lambda _, i, o: figure(o.data_units), always=True),
    _Column("", lambda _, i, o: figure(o.units), always=True),
    _Column("share", lambda p, i, o: f"{p.share(o.units):.1%}", always=True),
    _Column("MACs", lambda _, i, o: figure(o.macs or None)),
    _Column("per MAC", lambda _, i, o: _ratio(o.units, o.macs), always=True),
    _Column("kernel/MAC", lambda _, i, o: _ratio(o.kernel_units, o.macs)),
)

_ESTIMATES = (
    _Column("est. cycles", lambda _, i, o: figure(o.cycles), always=True),
    _Column("est. cycles/MAC", lambda _, i, o: _ratio(o.cycles or 0, o.macs), always=True),
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
            f"{note}\ncycles are estimated, not measured: timing of the {profile.core}, flash with "
            f"{states} wait state{'' if states == 1 else 's'}"
        )
    return f"{note}\nno estimate of cycles: {profile.no_estimate}" if profile.no_estimate else note


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
            }
            for operator in profile.operators
        ],
    }


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
