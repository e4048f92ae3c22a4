"""In which order the branches of a network run.

Stages are runs of operators in execution order, so operators that belong together have to stand
together. A file's order often goes through branches side by side; going through each to its end
lets it be streamed, and leaves fewer tensors waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tvm_patch.plan.graph import Graph, Operator
from tvm_patch.plan.record import InputMode
from tvm_patch.plan.search.streams import StreamSpace


def best_order(graph: Graph) -> tuple[Operator, ...]:
    """The order that needs least memory when streamed, of a few; the graph's own if none is better.

    Parameters
    ----------
    graph : Graph
        In any order that its dependencies allow.
    """
    orders = dict.fromkeys((graph.operators, *(_branch_by_branch(graph, last) for last in (0, 1))))
    if len(orders) == 1:
        return graph.operators
    return min(orders, key=lambda order: _peak_bytes(graph, order))


def _peak_bytes(graph: Graph, order: Sequence[Operator]) -> tuple[int, int]:
    """Least live bytes with the input by rows and resident, which hides what comes later."""
    ordered = replace(graph, operators=tuple(order))
    by_rows, resident = (
        StreamSpace(ordered, mode, recompute=False).least_peak_bytes
        for mode in (InputMode.ROWS, InputMode.RESIDENT)
    )
    return by_rows, resident


def _branch_by_branch(graph: Graph, last: int) -> tuple[Operator, ...]:
    """Each operator right behind one that it reads, if that can be.

    Where branches begin, the one that comes first in the graph goes first, or the one that comes
    ``last``.
    """
    waiting = {
        operator.name: {name for name in operator.inputs if name in graph.producer}
        for operator in graph.operators
    }
    made: set[str] = set()
    order: list[Operator] = []
    ready = [operator for operator in reversed(graph.operators) if not waiting[operator.name]]
    queued = {operator.name for operator in ready}
    while ready:
        operator = ready.pop()
        order.append(operator)
        made.add(operator.output)
        readers = [graph.operators[i] for i in graph.consumers[operator.output]]
        following = [
            reader
            for reader in (readers if last else reversed(readers))
            if reader.name not in queued and waiting[reader.name] <= made
        ]
        ready.extend(following)
        queued.update(reader.name for reader in following)
    return tuple(order)
