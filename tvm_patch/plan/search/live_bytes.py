"""Live bytes of segments: what a part of the network needs, whatever runs before and behind it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from itertools import accumulate

from tvm_patch.memory import Buffer, Piece
from tvm_patch.plan.graph import Access, Graph
from tvm_patch.plan.layout.group import Group
from tvm_patch.plan.liveness.inside import assign_inside, may_take_place_of
from tvm_patch.plan.liveness.timeline import Timeline, counted_growth, rows_in_use


class LiveBytes:
    """Live bytes at the boundaries of a network, and at the worst tick between two of them.

    Parameters
    ----------
    graph : Graph
        The network.
    fetched : collection of str
        Inputs that are brought row by row, and so are never there as a whole.
    """

    def __init__(self, graph: Graph, fetched: Collection[str]) -> None:
        self._graph = graph
        self._fetched = fetched

    def floor_bytes(self, begin: int, end: int) -> int:
        """Live bytes that operators on their own or as a stage cannot do without.

        Before the first operator runs all that they are given is there, and behind the last one
        all that they hand on.
        """
        given = self._alive_at[begin]
        left = self._alive_at[end]
        return max(given, left)

    @cached_property
    def _alive_at(self) -> Sequence[int]:
        views = {op.output for op in self._graph.operators if op.access is Access.VIEW}
        alive = [0] * (len(self._graph.operators) + 1)
        for tensor in self._graph.tensors:
            if tensor.name in views or tensor.name in self._fetched:
                continue
            first = self._graph.producer.get(tensor.name, -1) + 1
            last = min(self._last_reader[tensor.name], len(self._graph.operators))
            for boundary in range(first, last + 1):
                alive[boundary] += tensor.size_bytes
        return alive

    @cached_property
    def _last_reader(self) -> Mapping[str, int]:
        """Index of the last operator that reads each tensor, itself or through a view."""
        graph, end = self._graph, len(self._graph.operators)
        last = {name: max(readers, default=-1) for name, readers in graph.consumers.items()}
        last.update(dict.fromkeys(graph.outputs, end))
        for operator in reversed(graph.operators):
            if operator.access is Access.VIEW:
                source = operator.inputs[0]
                last[source] = max(last[source], last[operator.output])
        return last

    def _passing_bytes(self, group: Group, begin: int, end: int) -> int:
        """Whole tensors that live through a segment without being read or written in it."""
        views = {op.output for op in self._graph.operators if op.access is Access.VIEW}
        return sum(
            tensor.size_bytes
            for tensor in self._graph.tensors
            if tensor.name not in group.blocks
            and tensor.name not in views
            and tensor.name not in self._fetched
            and self._graph.producer.get(tensor.name, -1) < begin
            and self._last_reader[tensor.name] >= end
        )

    def peak_bytes(self, group: Group, begin: int, end: int) -> int:
        """Live bytes at a segment's worst tick."""
        whole = {name: block for name, block in group.blocks.items() if block.region is None}
        output = whole.pop(group.output)
        timeline = Timeline(self._graph, (group,))
        ticks = group.steps * len(group.order)
        inside = _live_bytes(assign_inside(self._graph, timeline, group).buffers, ticks)
        steady = self._passing_bytes(group, begin, end)
        dying = [name for name in whole if self._last_reader[name] < end]
        steady += sum(block.tensor.size_bytes for block in whole.values())
        if group.steps == 1:
            last = group.operators[-1]
            takes_place = any(may_take_place_of(last, group, name) for name in dying)
            return steady + max(inside) + (0 if takes_place else output.tensor.size_bytes)
        freed = [0] * ticks
        for name in dying:
            readers = [layout for layout in group.operators if name in layout.operator.inputs]
            if any(name in layout.operator.whole_inputs for layout in readers):
                continue
            row_bytes = whole[name].tensor.row_bytes
            for tick, rows in enumerate(rows_in_use(group, readers, name)):
                freed[tick] += rows * row_bytes
        last_unit = len(group.units) - 1
        worst = tick = 0
        made = output.tensor.size_bytes if group.accumulates else 0
        for grown in counted_growth(group):
            for unit in group.order:
                made = grown if unit == last_unit else made
                worst = max(worst, inside[tick] + made - freed[tick])
                tick += 1
        return steady + worst


def _live_bytes(buffers: Sequence[Buffer], ticks: int) -> list[int]:
    """Bytes of all buffers at each tick."""
    changes = [0] * (ticks + 1)
    for buffer in buffers:
        pieces = buffer.pieces or (Piece(buffer.first_use, buffer.last_use, 0, buffer.size_bytes),)
        for piece in pieces:
            changes[piece.first_use] += piece.size_bytes
            changes[piece.last_use + 1] -= piece.size_bytes
    return list(accumulate(changes[:-1]))
