"""When each byte is needed: time in ticks, and tensors that grow and shrink row by row.

A tick is one operator in one tile, or one run of operators that go through a row together. A stage
whose tiles are as wide as the image goes through its rows once, from top to bottom, so each of its
tiles has ticks of its own, and what it reads and hands on is counted by rows. All tiles of any
other stage share one set of ticks: what such a stage touches is needed throughout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm_patch.compat import zip_strict
from tvm_patch.memory import Piece, merge_pieces
from tvm_patch.plan.graph import Access, Graph
from tvm_patch.plan.layout.group import Group, OperatorLayout


@dataclass(frozen=True)
class _Place:
    """Where an operator stands.

    Parameters
    ----------
    group : Group
        Its group.
    base : int
        The group's first tick.
    offsets : tuple of int
        Ticks within a step at which it runs.
    """

    group: Group
    base: int
    offsets: tuple[int, ...]

    @cached_property
    def ticks(self) -> list[int]:
        """All ticks at which the operator runs."""
        length = len(self.group.order)
        return [
            self.base + step * length + offset
            for step in range(self.group.steps)
            for offset in self.offsets
        ]


class Timeline:
    """Ticks of all groups, and how much of each whole tensor is alive in each.

    Parameters
    ----------
    graph : Graph
        The network.
    groups : sequence of Group
        In execution order.
    """

    def __init__(self, graph: Graph, groups: Sequence[Group]) -> None:
        self._graph = graph
        self._places: dict[str, _Place] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        base = 0
        for group in groups:
            for unit, layout in zip_strict(group.unit_of, group.operators):
                offsets = tuple(tick for tick, number in enumerate(group.order) if number == unit)
                self._places[layout.operator.name] = _Place(group, base, offsets)
            length = group.steps * len(group.order)
            self._spans[group.name] = (base, base + length - 1)
            base += length
        self.end = base

    def group_span(self, group: Group) -> tuple[int, int]:
        """First and last tick of a group."""
        return self._spans[group.name]

    def each_time(
        self, group: Group, first: str, last: str, size_bytes: int, positions: range
    ) -> tuple[tuple[int, int], tuple[Piece, ...]]:
        """From one operator to another each time that they run at one of ``positions``."""
        ticks = list(zip_strict(self._places[first].ticks, self._places[last].ticks))
        if group.steps == 1 and len(group.rates) == 1:
            return ticks[0], ()
        assert group.tiling is not None
        if group.steps > 1:
            layout = next(each for each in group.operators if each.operator.name == first)
            before = layout.positions(group.tiling).start
            ticks = ticks[positions.start - before : positions.stop - before]
        pieces = tuple(Piece(begin, end, 0, size_bytes) for begin, end in ticks)
        return (pieces[0].first_use, pieces[-1].last_use), merge_pieces(pieces)

    def operator_span(self, name: str) -> tuple[int, int]:
        """An operator's first and last tick."""
        return self._places[name].ticks[0], self._places[name].ticks[-1]

    def held_span(
        self, layout: OperatorLayout, readers: Sequence[OperatorLayout]
    ) -> tuple[int, int]:
        """Ticks from when an operator is first active to the last row made from what it makes.

        ``readers`` are operators of the same group.
        """
        active = self._places[layout.operator.name].group.active[layout.operator.name]
        first, last = self._ticks_of(layout, active)
        return first, max([last, *(self.made_span(reader)[1] for reader in readers)])

    def stored_span(
        self, layout: OperatorLayout, readers: Sequence[OperatorLayout]
    ) -> tuple[int, int]:
        """Ticks from an operator's first row of the image to the last row made from any."""
        first, last = self.made_span(layout)
        return first, max([last, *(self.made_span(reader)[1] for reader in readers)])

    def made_span(self, layout: OperatorLayout) -> tuple[int, int]:
        """Ticks from an operator's first row of the image to its last."""
        return self._ticks_of(
            layout, self._places[layout.operator.name].group.made[layout.operator.name]
        )

    def _ticks_of(self, layout: OperatorLayout, positions: range) -> tuple[int, int]:
        """First and last tick of some positions of an operator; the group's if there are none."""
        place = self._places[layout.operator.name]
        if place.group.steps == 1 or not positions:
            return self._spans[place.group.name]
        assert place.group.tiling is not None
        before = layout.positions(place.group.tiling).start
        return place.ticks[positions.start - before], place.ticks[positions.stop - 1 - before]

    @cached_property
    def _source_of_view(self) -> Mapping[str, str]:
        return {
            operator.output: operator.inputs[0]
            for operator in self._graph.operators
            if operator.access is Access.VIEW
        }

    @cached_property
    def last_ticks(self) -> Mapping[str, int]:
        """Last tick in which any byte of each whole tensor is needed, through views as well."""
        last = {tensor.name: -1 for tensor in self._graph.tensors}
        for operator in self._graph.operators:
            place = self._places.get(operator.name)
            if place is None:
                continue
            needed = place.ticks[-1]
            if place.group.stage is not None and place.group.steps == 1:
                needed = self._spans[place.group.name][1]
            for name in (*operator.inputs, operator.output):
                last[name] = max(last[name], needed)
        for name in self._graph.outputs:
            last[name] = self.end
        for view, source in reversed(list(self._source_of_view.items())):
            last[source] = max(last[source], last[view])
        for name in self._graph.inputs:
            last[name] = max(last[name], 0)
        return last

    def first_tick(self, name: str) -> int:
        """First tick in which a whole tensor holds anything."""
        index = self._graph.producer.get(name)
        if index is None:
            return 0
        place = self._places[self._graph.operators[index].name]
        if place.group.accumulates or (place.group.stage is not None and place.group.steps == 1):
            return place.base
        return place.ticks[0]

    def growth(self, name: str) -> list[tuple[int, int]]:
        """(tick, end in bytes) as the rows of a whole tensor are written; empty if all at once."""
        index = self._graph.producer.get(name)
        place = None if index is None else self._places.get(self._graph.operators[index].name)
        if place is None or place.group.steps == 1 or place.group.output != name:
            return []
        if place.group.accumulates:
            # The sums are there, and all needed, from the first row on.
            return []
        return list(zip_strict(place.ticks, counted_growth(place.group)))

    def shrinkage(self, name: str) -> list[tuple[int, int]]:
        """(tick, begin in bytes) as the rows of a whole tensor are used up; empty if all at once.

        Rows shrink in the last group that reads the tensor, if it goes through it once from top
        to bottom and nothing else shows the same bytes.
        """
        last = self.last_ticks[name]
        readers = [self._graph.operators[i] for i in self._graph.consumers[name]]
        if any(reader.access is Access.VIEW for reader in readers) or name in self._graph.outputs:
            return []
        places = [self._places[reader.name] for reader in readers]
        places = [place for place in places if self._spans[place.group.name][1] >= last]
        if not places or places[0].group.steps == 1:
            return []
        group, tensor = places[0].group, self._graph.tensor[name]
        layouts = [each for each in group.operators if name in each.operator.inputs]
        if any(name in layout.operator.whole_inputs for layout in layouts):
            return []
        rows = rows_in_use(group, layouts, name)
        base = self._spans[group.name][0]
        return [(base + tick, row * tensor.row_bytes) for tick, row in enumerate(rows)]


def rows_in_use(group: Group, readers: Sequence[OperatorLayout], name: str) -> list[int]:
    """First row of a whole tensor that is still to be read, at each tick of a group."""
    length = len(group.order) * group.steps
    rows = [group.blocks[name].tensor.height] * length
    for layout in readers:
        unit = group.unit_of[group.operators.index(layout)]
        needs = rows_needed(layout, name, group)
        time = 0
        for tick in range(length):
            rows[tick] = min(rows[tick], needs[time])
            if group.order[tick % len(group.order)] == unit:
                time += 1
    return rows


def _gathers_first(group: Group) -> bool:
    """Whether in each step the only input is gathered whole before the only row is written.

    Then an output row may lie where the input rows lay that have just been gathered.
    """
    if len(group.operators) != 1:
        return False
    (layout,) = group.operators
    single = len(layout.operator.inputs) == 1 and layout.rows == 1
    return single and layout.continuous and layout.windows[0] is not None


def counted_growth(group: Group) -> list[int]:
    """Bytes of a group's output that count as written in each of its steps."""
    assert group.tiling is not None
    tensor, tile_h = group.blocks[group.output].tensor, group.tiling.tile_h
    if group.accumulates:
        return [tensor.size_bytes] * group.steps
    ends = [
        max(0, min(tensor.height, (step + 1) * tile_h)) * tensor.row_bytes
        for step in group.tiling.steps
    ]
    if _gathers_first(group) and len(ends) > 1:
        # A row written after all that its step reads is counted from the next step on; but the
        # last one within its own, in which the window is still there.
        ends = [0, *ends[:-2], ends[-1]]
    return ends


def rows_needed(layout: OperatorLayout, name: str, group: Group) -> list[int]:
    """First row of a whole tensor that an operator reads each time it runs, or later.

    One entry more than that: after the last time nothing is needed.
    """
    assert group.tiling is not None
    tensor = group.blocks[name].tensor
    height = group.blocks[layout.operator.paced_by].tensor.height
    geometry = layout.operator.window
    window = layout.windows[layout.operator.inputs.index(name)]
    computed = layout.holding.computed.rows
    needed = [tensor.height]
    for position in reversed(layout.positions(group.tiling)):
        first = max(0, computed.start(position))
        last = min(height, computed.start(position) + computed.extent)
        row = needed[-1]
        if first < last:
            read = first * geometry.stride_h - geometry.pad_top
            gathered = window is not None and layout.continuous and first > 0
            if gathered and window is not None:
                # What the window keeps need not be read again.
                read += max(0, window.rows - geometry.stride_h)
            row = min(row, max(0, read))
        needed.append(row)
    return needed[::-1]
