"""The moment that sets the peak."""

from __future__ import annotations

import pytest

from tests.unit.plan.graphs import residual_block, small_chain
from tvm_patch.plan import (
    Execution,
    Graph,
    Requirements,
    choose_plan,
    execution_of,
    layer_by_layer,
    worst_moment,
)


def live_by_tick(execution: Execution) -> dict[int, dict[str, int]]:
    """Live bytes of each storage at each tick, counted piece by piece."""
    live: dict[int, dict[str, int]] = {}
    for storage in execution.storages:
        for piece in storage.live_pieces:
            for tick in range(piece.first_use, piece.last_use + 1):
                live.setdefault(tick, {})[storage.name] = piece.size_bytes
    return live


@pytest.mark.parametrize("graph", [small_chain(), residual_block()], ids=["chain", "residual"])
@pytest.mark.parametrize("buffering", ["patch", "rows"])
def test_no_tick_has_more_live_bytes(graph: Graph, buffering: str) -> None:
    wishes = Requirements(objective="memory", buffering=buffering)  # type: ignore[arg-type]
    for plan in (layer_by_layer(graph), choose_plan(graph, wishes)):
        execution = execution_of(graph, plan)
        moment = worst_moment(execution)
        assert moment is not None
        live = live_by_tick(execution)
        assert sum(size for _, size in moment.holders) == max(
            sum(v.values()) for v in live.values()
        )
        assert dict(moment.holders) in live.values()
        assert moment.live_bytes <= plan.memory.arena_bytes
        running = next(g for g in execution.groups if g.name == moment.group)
        assert moment.operator in [layout.operator.name for layout in running.operators]
        assert moment.in_stage == (running.stage is not None)
        sizes = [size for _, size in moment.holders]
        assert sizes == sorted(sizes, reverse=True)
