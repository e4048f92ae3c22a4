"""From groups to storages: which bytes are needed when, and which tensors share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm_patch.compat import zip_strict
from tvm_patch.memory import Buffer, Piece, Problem
from tvm_patch.plan.graph import Access, Graph
from tvm_patch.plan.layout.group import Group, OperatorLayout
from tvm_patch.plan.layout.stage import FETCH
from tvm_patch.plan.liveness.inside import ALIGNMENT_BYTES, assign_inside, may_take_place_of
from tvm_patch.plan.liveness.timeline import Timeline


@dataclass(frozen=True)
class Execution:
    """Groups in order, with every tensor and window assigned to a storage.

    Parameters
    ----------
    groups : tuple of Group
        What runs.
    storage_of : mapping of str to str
        Storage of each tensor. Views and operators in place share their input's.
    storages : tuple of Buffer
        Size and live range of each storage, row windows included, in ticks.
    ticks : mapping of str to (int, int)
        First and last tick of each group.
    """

    groups: tuple[Group, ...]
    storage_of: Mapping[str, str]
    storages: tuple[Buffer, ...]
    ticks: Mapping[str, tuple[int, int]]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(group.macs for group in self.groups)

    def problem(self, capacity_bytes: int | None = None) -> Problem:
        """The packing problem of the arena."""
        return Problem(self.storages, capacity_bytes)


def build_execution(graph: Graph, groups: Sequence[Group]) -> Execution:
    """Assign storages.

    Parameters
    ----------
    graph : Graph
        The network.
    groups : sequence of Group
        From :func:`tvm_patch.plan.layout.groups_of`.
    """
    return _Assignment(graph, groups).finish()


class _Assignment:
    """Storages while they are being assigned."""

    def __init__(self, graph: Graph, groups: Sequence[Group]) -> None:
        self._graph = graph
        self._groups = tuple(groups)
        self._timeline = Timeline(graph, groups)
        self._members: dict[str, list[str]] = {}
        self._storage_of: dict[str, str] = {}
        self._inner: list[Buffer] = []

    def finish(self) -> Execution:
        """Assign whole tensors first, then what lives inside each group."""
        graph = self._graph
        fetched = {
            layout.operator.output
            for group in self._groups
            for layout in group.operators
            if layout.operator.kind == FETCH
        }
        for name in graph.inputs:
            if name not in fetched:
                self._open(name)
        placed = {
            layout.operator.name: (layout, group)
            for group in self._groups
            for layout in group.operators
        }
        for operator in graph.operators:
            if operator.access is Access.VIEW:
                self._share(operator.output, operator.inputs[0])
                continue
            layout, group = placed[operator.name]
            if group.blocks[operator.output].region is not None:
                continue
            source = self._shared_input(layout, group)
            if source is None:
                self._open(operator.output)
            else:
                self._share(operator.output, source)
        for group in self._groups:
            inner = assign_inside(graph, self._timeline, group)
            self._storage_of.update(inner.storage_of)
            self._inner.extend(inner.buffers)
        storages = (*(self._whole(name) for name in self._members), *self._inner)
        ticks = {group.name: self._timeline.group_span(group) for group in self._groups}
        return Execution(self._groups, dict(self._storage_of), storages, ticks)

    def _open(self, name: str) -> None:
        self._members[name] = [name]
        self._storage_of[name] = name

    def _share(self, name: str, other: str) -> None:
        storage = self._storage_of[other]
        self._members[storage].append(name)
        self._storage_of[name] = storage

    def _last_tick(self, storage: str) -> int:
        return max(self._timeline.last_ticks[name] for name in self._members[storage])

    def _shared_input(self, layout: OperatorLayout, group: Group) -> str | None:
        """The whole input whose place the output takes, if nobody needs it any more."""
        if group.stage is not None:
            # Its rows are written while other tiles still read what the stage was given.
            return None
        now = self._timeline.operator_span(layout.operator.name)[1]
        for name in layout.operator.inputs:
            storage = self._storage_of[name]
            if self._last_tick(storage) == now and may_take_place_of(layout, group, name):
                return name
        return None

    def _whole(self, storage: str) -> Buffer:
        """A storage of whole tensors: it grows with its first and shrinks with its last."""
        members = self._members[storage]
        size_bytes = max(self._graph.tensor[name].size_bytes for name in members)
        first = self._timeline.first_tick(members[0])
        last = self._last_tick(storage)
        latest = max(members, key=lambda name: self._timeline.last_ticks[name])
        growth = self._timeline.growth(members[0])
        shrinkage = self._timeline.shrinkage(latest)
        pieces = _pieces(first, last, size_bytes, growth, shrinkage)
        if len(pieces) == 1 and pieces[0] == Piece(first, last, 0, size_bytes):
            pieces = ()
        if pieces:
            first, last = pieces[0].first_use, pieces[-1].last_use
        return Buffer(storage, size_bytes, first, last, ALIGNMENT_BYTES, pieces)


def _pieces(
    first: int,
    last: int,
    size_bytes: int,
    growth: Sequence[tuple[int, int]],
    shrinkage: Sequence[tuple[int, int]],
) -> tuple[Piece, ...]:
    """Pieces of a storage that lives from ``first`` to ``last``."""
    begins = dict(shrinkage)
    ends = dict(growth)
    changes = sorted({first, *begins, *ends})
    pieces: list[Piece] = []
    begin, end = 0, size_bytes if not growth else 0
    for tick, following in zip_strict(changes, [*changes[1:], last + 1]):
        begin, end = begins.get(tick, begin), ends.get(tick, end)
        if tick > last or begin >= end:
            continue
        until = min(following - 1, last)
        previous = pieces[-1] if pieces else None
        if (
            previous is not None
            and (previous.begin_bytes, previous.end_bytes) == (begin, end)
            and previous.last_use == tick - 1
        ):
            pieces[-1] = Piece(previous.first_use, until, begin, end)
        else:
            pieces.append(Piece(tick, until, begin, end))
    return tuple(pieces)
