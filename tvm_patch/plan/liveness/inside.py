"""Buffers inside a group: patch and line buffers, row windows, scratch, and when they matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from tvm_patch.memory import Buffer, Piece
from tvm_patch.plan.graph import Graph
from tvm_patch.plan.layout.group import Group, OperatorLayout, RowWindow, covering, scratch_of
from tvm_patch.plan.liveness.timeline import Timeline

ALIGNMENT_BYTES = 4


@dataclass(frozen=True)
class Inside:
    """What a group holds for itself.

    Parameters
    ----------
    storage_of : mapping of str to str
        Storage of each tensor that is not held whole; operators in place share their input's. And
        that of each operator's scratch, by the name that ``scratch_of`` gives it.
    buffers : tuple of Buffer
        Those storages, row windows and scratch, in ticks.
    """

    storage_of: Mapping[str, str]
    buffers: tuple[Buffer, ...]


def may_take_place_of(layout: OperatorLayout, group: Group, name: str) -> bool:
    """Whether the operator may write its output over its input ``name``, from the same address.

    An elementwise operator may where both hold the same region and elements do not grow: kernels
    go through them in ascending order.
    """
    operator = layout.operator
    if not operator.elementwise or name in operator.whole_inputs:
        return False
    source, target = group.blocks[name], group.blocks[operator.output]
    shrinks = target.tensor.element_bytes <= source.tensor.element_bytes
    as_many = prod(source.tensor.shape) == prod(target.tensor.shape)
    return source.region == target.region and as_many and shrinks


def assign_inside(graph: Graph, timeline: Timeline, group: Group) -> Inside:
    """Storages of a group's own buffers."""
    assignment = _Assignment(graph, timeline, group)
    assignment.assign()
    return Inside(assignment.storage_of, tuple(assignment.buffers))


class _Assignment:
    """Storages of one group while they are being assigned."""

    def __init__(self, graph: Graph, timeline: Timeline, group: Group) -> None:
        self._graph = graph
        self._timeline = timeline
        self._group = group
        self._place = {layout.operator.name: i for i, layout in enumerate(group.operators)}
        self._users: dict[str, list[int]] = {}
        self._sizes: dict[str, int] = {}
        self._kept: set[str] = set()
        self.storage_of: dict[str, str] = {}
        self.buffers: list[Buffer] = []

    def assign(self) -> None:
        """Open a storage for each tensor, row window, store and scratch; share where possible."""
        for place, layout in enumerate(self._group.operators):
            for window in layout.windows:
                if window is not None:
                    self._window(layout, window)
            if layout.store is not None:
                span = self._timeline.stored_span(layout, self._readers(layout))
                store = layout.store
                self.buffers.append(Buffer(store.buffer, store.size_bytes, *span, ALIGNMENT_BYTES))
            name = layout.operator.output
            if self._group.blocks[name].region is not None:
                self._tensor(place, layout)
        for storage in self._users:
            self._buffer(storage)
        for unit in self._group.units:
            self._scratch(unit)

    def _scratch(self, unit: range) -> None:
        """One scratch memory for all operators of a unit, which take turns."""
        layouts = [self._group.operators[place] for place in unit]
        layouts = [layout for layout in layouts if layout.scratch_bytes]
        if not layouts:
            return
        largest = max(layouts, key=lambda layout: layout.scratch_bytes)
        storage = scratch_of(largest.operator.name)
        for layout in layouts:
            self.storage_of[scratch_of(layout.operator.name)] = storage
        self._fleeting(layouts, storage, largest.scratch_bytes)

    def _readers(self, layout: OperatorLayout) -> list[OperatorLayout]:
        """Operators of the group that read an operator's output."""
        name = layout.operator.output
        return [other for other in self._group.operators if name in other.operator.inputs]

    def _tensor(self, place: int, layout: OperatorLayout) -> None:
        name = layout.operator.output
        storage = self._shared(place, layout) or name
        self.storage_of[name] = storage
        readers = [self._place[reader.operator.name] for reader in self._readers(layout)]
        self._users.setdefault(storage, []).extend([place, *readers])
        size_bytes = self._group.blocks[name].size_bytes
        self._sizes[storage] = max(self._sizes.get(storage, 0), size_bytes)
        rates = {self._group.operators[user].holding.rate for user in (place, *readers)}
        if (layout.holding.kept_rows and layout.store is None) or len(rates) > 1:
            self._kept.add(storage)

    def _is_in_run(self, layout: OperatorLayout) -> bool:
        """Whether what the operator makes is a working tile of its column run."""
        place = self._place[layout.operator.name]
        return any(place in run and place < run.last for run in self._group.runs)

    def _buffer(self, storage: str) -> None:
        """The storage's live range: all the time, or from its maker to its readers each time."""
        users = sorted(set(self._users[storage]))
        makers = [
            self._group.operators[user]
            for user in users
            if self.storage_of.get(self._group.operators[user].operator.output) == storage
        ]
        size_bytes = self._sizes[storage]
        pieces: tuple[Piece, ...] = ()
        if storage in self._kept:
            spans = [self._timeline.held_span(layout, self._readers(layout)) for layout in makers]
            span = min(first for first, _ in spans), max(last for _, last in spans)
        else:
            first, last = (
                self._group.operators[user].operator.name for user in (users[0], users[-1])
            )
            active = [self._group.active[layout.operator.name] for layout in makers]
            positions = range(min(s.start for s in active), max(s.stop for s in active))
            span, pieces = self._timeline.each_time(self._group, first, last, size_bytes, positions)
        self.buffers.append(Buffer(storage, size_bytes, *span, ALIGNMENT_BYTES, pieces))

    def _window(self, layout: OperatorLayout, window: RowWindow) -> None:
        if not layout.continuous:
            self._fleeting([layout], window.buffer, window.size_bytes)
            return
        span = self._timeline.made_span(layout)
        self.buffers.append(Buffer(window.buffer, window.size_bytes, *span, ALIGNMENT_BYTES))

    def _fleeting(self, layouts: Sequence[OperatorLayout], buffer: str, size_bytes: int) -> None:
        """What is there while one unit's operators run, from the first that does to the last."""
        name, tiling = layouts[0].operator.name, self._group.tiling
        if tiling is None:
            span = self._timeline.group_span(self._group)
            self.buffers.append(Buffer(buffer, size_bytes, *span, ALIGNMENT_BYTES))
            return
        made = [self._group.made[layout.operator.name] for layout in layouts]
        # Operators of a column run begin and end at other rows than each other.
        positions = covering([span for span in made if span] or [layouts[0].positions(tiling)])
        span, pieces = self._timeline.each_time(self._group, name, name, size_bytes, positions)
        self.buffers.append(Buffer(buffer, size_bytes, *span, ALIGNMENT_BYTES, pieces))

    def _shared(self, place: int, layout: OperatorLayout) -> str | None:
        """The patch buffer whose place an elementwise output takes within a tile."""
        if layout.holding.kept_rows or layout.steps is not None:
            return None
        for name in layout.operator.inputs:
            storage = self.storage_of.get(name)
            if storage is None or storage in self._kept:
                continue
            dies = max(self._users[storage]) == place
            if dies and may_take_place_of(layout, self._group, name):
                return storage
        return None
