"""What each stage of a plan does, and why the operators outside stages are there."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tvm_patch.plan import Access, BufferMode, Execution, Graph, Operator, Plan, execution_of
from tvm_patch.plan.layout.group import Group, OperatorLayout, scratch_of
from tvm_patch.plan.layout.stage import FETCH
from tvm_patch.report.cells import Cells, Column


@dataclass(frozen=True)
class HeldTensor:
    """A tensor that a stage holds a part of.

    Parameters
    ----------
    tensor : str
        Its name.
    mode : str
        Its buffer mode.
    rows, columns : int
        Held at a time, padding included; of a tensor that is made a few columns at a time, those
        of its working tile.
    stored_rows, stored_columns : int
        Rows kept beside the working tile for the next ones, and their width; 0 if there are none.
    channels : int
        Bytes of a pixel.
    held_bytes, whole_bytes : int
        Of the part that is held, and of the whole tensor.
    lag_rows : int
        How many rows its newest one is ahead of the stage's output, in its own rows: what the
        layers behind it still have to wait for.
    """

    tensor: str
    mode: str
    rows: int
    columns: int
    stored_rows: int
    stored_columns: int
    channels: int
    held_bytes: int
    whole_bytes: int
    lag_rows: int


@dataclass(frozen=True)
class StageSummary:
    """One stage of a plan.

    Parameters
    ----------
    index : int
        In execution order.
    first, last : str
        The operators that it begins and ends with.
    first_index, last_index : int
        Their numbers in the network.
    tile_h, tile_w : int
        Rows and columns of the output made in one step, or of the map that the stage adds up.
    turns : int
        Steps from top to bottom, those in which only buffers fill included.
    lag_rows : int
        Output rows by which the stage's output lags behind its first layer.
    modes : mapping of str to int
        How many tensors inside have each buffer mode.
    tensors : tuple of HeldTensor
        Those that it holds a part of, in execution order.
    window_bytes : int
        Of the buffers in which rows of whole tensors are gathered.
    buffer_bytes : int
        Of all its buffers; tensors that share one count once.
    macs : int
        Executed.
    mac_overhead : float
        Over those of the same operators layer by layer; 1 where there are none.
    """

    index: int
    first: str
    last: str
    first_index: int
    last_index: int
    tile_h: int
    tile_w: int
    turns: int
    lag_rows: int
    modes: dict[str, int]
    tensors: tuple[HeldTensor, ...]
    window_bytes: int
    buffer_bytes: int
    macs: int
    mac_overhead: float


@dataclass(frozen=True)
class OnTheirOwn:
    """A run of operators outside of stages.

    Parameters
    ----------
    operators : tuple of str
        Their names.
    first_index, last_index : int
        Numbers of the first and the last in the network.
    """

    operators: tuple[str, ...]
    first_index: int
    last_index: int


Part = StageSummary | OnTheirOwn


def summarise_stages(graph: Graph, plan: Plan) -> tuple[Part, ...]:
    """The whole network in execution order, stages and what runs between them; views left out.

    Raises
    ------
    PlanError
        When the plan belongs to another network.
    """
    execution = execution_of(graph, plan)
    found: list[Part] = []
    stages = itertools.count()
    for staged, groups in groupby(execution.groups, key=lambda group: group.stage is not None):
        if staged:
            found += [_stage(graph, execution, group, next(stages)) for group in groups]
            continue
        names = tuple(group.operators[0].operator.name for group in groups)
        first, last = (graph.operator_index[name] for name in (names[0], names[-1]))
        found.append(OnTheirOwn(names, first, last))
    return tuple(found)


def fallbacks(graph: Graph, parts: Sequence[Part]) -> dict[str, tuple[str, ...]]:
    """Operators that cannot be part of any stage, by the reason; those that could be are left out.

    Returns
    -------
    dict of str to tuple of str
        Reason, and names of the operators.
    """
    found: dict[str, list[str]] = {}
    for part in parts:
        if isinstance(part, OnTheirOwn):
            for name in part.operators:
                reason = why_on_its_own(graph.operators[graph.operator_index[name]])
                if reason is not None:
                    found.setdefault(reason, []).append(name)
    return {reason: tuple(names) for reason, names in found.items()}


def why_on_its_own(operator: Operator) -> str | None:
    """Why an operator cannot be part of any stage; None if it could be."""
    if operator.access is Access.WHOLE:
        return "needs its input whole"
    return None if operator.streamable else "takes a constant that differs from row to row"


def fallbacks_text(graph: Graph, parts: Sequence[Part]) -> list[str]:
    """The same in words, a line for each reason."""
    lines = []
    for reason, names in fallbacks(graph, parts).items():
        numbers = [graph.operator_index[name] for name in names]
        listed = ", ".join(
            f"{number} {short_kind(graph.operators[number].kind)}" for number in numbers
        )
        lines.append(f"in no stage, since it {reason}: {listed}")
    return lines


def _stage(graph: Graph, execution: Execution, group: Group, index: int) -> StageSummary:
    assert group.stage is not None and group.tiling is not None
    members = [each.operator for each in group.operators if each.operator.kind != FETCH]
    held = tuple(
        _held(group, layout)
        for layout in group.operators
        if group.blocks[layout.operator.output].region is not None
    )
    windows = {w.buffer: w.size_bytes for each in group.operators for w in each.windows if w}
    sizes = {storage.name: storage.size_bytes for storage in execution.storages}
    storages = {execution.storage_of[tensor.tensor] for tensor in held}
    scratch = (scratch_of(operator.name) for operator in members)
    storages |= {execution.storage_of[name] for name in scratch if name in execution.storage_of}
    stores = sum(each.store.size_bytes for each in group.operators if each.store)
    tiled = group.blocks[group.operators[-1].operator.paced_by].tensor
    own_macs = sum(operator.macs for operator in members)
    return StageSummary(
        index=index,
        first=members[0].name,
        last=members[-1].name,
        first_index=graph.operator_index[members[0].name],
        last_index=graph.operator_index[members[-1].name],
        tile_h=group.tiling.tile_h,
        # A column run has tiles of its own inside those of its stage.
        tile_w=min(group.stage.tile_w, tiled.width),
        turns=len(group.tiling.steps),
        lag_rows=-group.tiling.steps.start * group.tiling.tile_h,
        modes=dict(Counter(tensor.mode for tensor in held)),
        tensors=held,
        window_bytes=sum(windows.values()),
        buffer_bytes=sum(sizes[name] for name in storages) + stores + sum(windows.values()),
        macs=group.macs,
        mac_overhead=group.macs / own_macs if own_macs else 1.0,
    )


def _held(group: Group, layout: OperatorLayout) -> HeldTensor:
    assert group.stage is not None
    block = group.blocks[layout.operator.output]
    assert block.region is not None
    computed = layout.holding.computed.rows
    mode = group.stage.mode_of(block.tensor.name)
    keeps = mode is not BufferMode.PATCH
    store = layout.store
    return HeldTensor(
        tensor=block.tensor.name,
        mode=mode.value,
        rows=block.region.rows.extent,
        columns=block.region.cols.extent,
        stored_rows=store.rows if store else 0,
        stored_columns=store.width if store else 0,
        channels=block.tensor.pixel_bytes,
        held_bytes=block.size_bytes + (store.size_bytes if store else 0),
        whole_bytes=block.tensor.size_bytes,
        lag_rows=computed.extent - computed.offset - computed.scale if keeps else 0,
    )


def stages_table(graph: Graph, parts: Sequence[Part]) -> Cells:
    """A line for each stage, and one for each run of operators between stages."""
    rows = []
    for part in parts:
        where = _range_text(part.first_index, part.last_index)
        if isinstance(part, OnTheirOwn):
            rows.append(("", where, f"own: {_kinds_text(graph, part)}", "", "", "", "", ""))
            continue
        rows.append(
            (
                str(part.index),
                where,
                part.last,
                f"{part.tile_h}x{part.tile_w}",
                ", ".join(f"{mode} ({count})" for mode, count in part.modes.items()) or "none",
                str(part.lag_rows),
                f"{part.buffer_bytes:,}",
                f"{part.mac_overhead:.3f}",
            )
        )
    columns = (
        Column("stage"),
        Column("#"),
        Column("until", left=True, shrinks_to=14),
        Column("tile"),
        Column("buffers", left=True, shrinks_to=10),
        Column("lag"),
        Column("bytes"),
        Column("F"),
    )
    return Cells(columns, tuple(rows))


def _kinds_text(graph: Graph, part: OnTheirOwn) -> str:
    """``2 conv2d, add``."""
    indices = (graph.operator_index[name] for name in part.operators)
    kinds = Counter(short_kind(graph.operators[index].kind) for index in indices)
    return ", ".join(kind if n == 1 else f"{n} {kind}" for kind, n in kinds.items())


def held_tensors_table(graph: Graph, parts: Sequence[Part]) -> Cells:
    """A line for each tensor that a stage holds a part of."""
    rows = []
    for part in parts:
        if isinstance(part, OnTheirOwn):
            continue
        for tensor in part.tensors:
            producer = graph.producer.get(tensor.tensor)
            rows.append(
                (
                    str(part.index),
                    "input" if producer is None else str(producer),
                    tensor.tensor,
                    tensor.mode,
                    _held_text(tensor),
                    str(tensor.lag_rows),
                    f"{tensor.held_bytes:,}",
                    f"{tensor.whole_bytes:,}",
                )
            )
    return Cells(
        (
            Column("stage"),
            Column("#"),
            Column("tensor", left=True, shrinks_to=12),
            Column("mode", left=True),
            Column("held"),
            Column("lag"),
            Column("bytes"),
            Column("of"),
        ),
        tuple(rows),
    )


def _held_text(tensor: HeldTensor) -> str:
    """``3x34x16``; of a working tile with rows kept beside it ``2x34x16+1x6x16``."""
    tile = f"{tensor.rows}x{tensor.columns}x{tensor.channels}"
    if not tensor.stored_rows:
        return tile
    return f"{tensor.stored_rows}x{tensor.stored_columns}x{tensor.channels}+{tile}"


def short_kind(kind: str) -> str:
    """A kind of operator in a word."""
    shorter = {
        "average_of_sum": "average",
        "depthwise_conv2d": "depthwise",
        "global_sum": "sum",
        "mean_of_sum": "mean",
        "resize_nearest": "resize",
    }
    return shorter.get(kind, kind.removesuffix("2d"))


def _range_text(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
