"""Groups: which part of each tensor is held, where rows are gathered, what is computed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plan.graphs import GraphBuilder, pooled_chain, residual_block, small_chain
from tvm_patch.errors import PlanError
from tvm_patch.plan import Graph, StagePlan, Window, patch_stage, row_stage, stage_from_split
from tvm_patch.plan.layout.stage import groups_of, layer_group, stage_group


def counted_macs(graph: Graph, stage: StagePlan) -> int:
    """MACs of a stage, counted row by row and tile by tile from the layout's own regions."""
    group = stage_group(graph, stage, "stage0")
    assert group.tiling is not None
    total = 0
    for layout in group.operators:
        output = graph.tensor[layout.operator.output]
        per_pixel = layout.operator.macs // (output.height * output.width)
        for position in layout.positions(group.tiling):
            for _ in group.tiling.col_starts:
                for row in range(layout.rows):
                    y = layout.holding.computed.rows.start(position) + row
                    if 0 <= y < output.height:
                        total += layout.columns * per_pixel
    return total


@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from(["second", "third"]))
def test_macs_are_those_of_the_rows_in_the_image(rows: int, cols: int, split: str) -> None:
    graph = small_chain()
    stage = stage_from_split(graph, split, (rows, cols))
    group = stage_group(graph, stage, "stage0")
    assert group.macs == counted_macs(graph, stage)
    layers = sum(graph.operators[graph.operator_index[name]].macs for name in stage.operators)
    assert group.macs >= layers


def test_one_tile_recomputes_nothing() -> None:
    graph = small_chain()
    stage = stage_from_split(graph, "third", (1, 1))
    assert stage_group(graph, stage, "stage0").macs == sum(op.macs for op in graph.operators)


def test_a_padded_layer_gathers_its_rows() -> None:
    graph = small_chain()
    (window,) = layer_group(graph, graph.operators[0]).operators[0].windows
    assert window is not None
    assert (window.rows, window.columns, window.pixel_bytes) == (3, 18, 3)


def test_an_unpadded_layer_reads_its_input_in_place() -> None:
    builder = GraphBuilder(8, 8, 4)
    graph = builder.finish(builder.window("valid", "image", Window(3, 3), 4))
    assert layer_group(graph, graph.operators[0]).operators[0].windows == (None,)


def test_only_the_first_operator_of_a_stage_gathers_rows() -> None:
    graph = small_chain()
    group = stage_group(graph, stage_from_split(graph, "third", (4, 4)), "stage0")
    assert [layout.windows[0] is not None for layout in group.operators] == [True, False, False]


def test_every_operator_is_in_one_group_in_order() -> None:
    graph = small_chain()
    groups = groups_of(graph, (stage_from_split(graph, "second", (2, 2)),))
    names = [layout.operator.name for group in groups for layout in group.operators]
    assert names == [operator.name for operator in graph.operators]
    assert [group.name for group in groups] == ["stage0", "third", "head"]


@pytest.mark.parametrize(
    ("operators", "said"),
    [
        (("first", "third"), "run of operators"),
        (("first", "nonsense"), "nonsense"),
        (("third", "head"), "head"),
        ((), "run of operators"),
    ],
)
def test_stages_that_cannot_be_are_refused(operators: tuple[str, ...], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        stage_group(small_chain(), StagePlan(operators, 1, 1, ()), "stage0")


def test_a_stage_hands_on_one_tensor_only() -> None:
    with pytest.raises(PlanError, match="stem leaves the stage"):
        stage_group(residual_block(), StagePlan(("stem", "body"), 1, 1, ()), "stage0")


def test_overlapping_stages_are_refused() -> None:
    graph = small_chain()
    stage = stage_from_split(graph, "second", (2, 2))
    with pytest.raises(PlanError, match="shares"):
        groups_of(graph, (stage, stage))


def test_readers_that_pad_differently_end_the_stage() -> None:
    builder = GraphBuilder(8, 8, 2)
    stem = builder.conv3("stem", "image", 2)
    window = Window(3, 3, 1, 1, 1, 1, 1, 1, 1, 1)
    low = builder.window("low", stem, window, 2, pad_value=-128)
    high = builder.window("high", stem, window, 2, pad_value=5)
    graph = builder.finish(builder.add("joined", low, high))
    stage = StagePlan(("stem", "low", "high", "joined"), 2, 2, ())
    with pytest.raises(PlanError, match="stem is padded"):
        stage_group(graph, stage, "stage0")


@given(st.integers(1, 9), st.sampled_from([2, 3]))
def test_streamed_rows_are_computed_once(tile_h: int, count: int) -> None:
    graph = small_chain()
    operators = graph.operators[:count]
    output = graph.tensor[operators[-1].output]
    stage = row_stage(operators, min(tile_h, output.height), output.width)
    group = stage_group(graph, stage, "stage0")
    assert group.macs == counted_macs(graph, stage)
    assert group.macs == sum(operator.macs for operator in operators)


def test_a_stage_runs_what_is_in_front_of_a_stride_more_often() -> None:
    graph = small_chain()
    group = stage_group(graph, row_stage(graph.operators[:3], 1, 8), "stage0")
    assert group.rates == (2, 1)
    assert group.order == (0, 0, 1, 2)


@pytest.mark.parametrize("tile_h", [1, 2, 5])
def test_a_stage_that_adds_up_goes_over_the_rows_that_it_adds(tile_h: int) -> None:
    graph = pooled_chain()
    group = stage_group(graph, row_stage(graph.operators[:3], tile_h, 5), "stage0")
    assert group.accumulates
    assert group.tiling is not None
    assert (group.tiling.height, group.tiling.width) == (5, 5)
    assert group.macs == sum(operator.macs for operator in graph.operators)
    total = group.operators[-1]
    rows = [
        total.holding.computed.rows.start(position) + row
        for position in total.positions(group.tiling)
        for row in range(total.rows)
    ]
    assert [row for row in rows if 0 <= row < 5] == list(range(5))


def test_a_sum_on_its_own_reads_row_by_row() -> None:
    graph = pooled_chain()
    group = layer_group(graph, graph.operators[2])
    assert group.accumulates
    assert group.steps == graph.tensor["second"].height


def test_a_sum_in_strips_would_add_what_overlaps_twice() -> None:
    graph = pooled_chain()
    for make in (row_stage, patch_stage):
        with pytest.raises(PlanError, match="total cannot run in tiles narrower") as caught:
            stage_group(graph, make(graph.operators[:3], 1, 4), "stage0")
        assert caught.value.hint == "make the stage's tiles 5 columns wide"


def test_a_sum_ends_its_stage() -> None:
    builder = GraphBuilder(4, 4, 2)
    total = builder.total("total", builder.conv3("conv", "image", 2))
    graph = builder.finish(builder.conv3("next", total, 2))
    with pytest.raises(PlanError, match=r"total \(global_sum\)") as caught:
        stage_group(graph, row_stage(graph.operators, 1, 1), "stage0")
    assert caught.value.hint == "end the stage with it"


def test_a_resize_makes_whole_rows_of_a_map_from_before_its_stage() -> None:
    builder = GraphBuilder(6, 5, 2)
    small = builder.conv3("small", "image", 4)
    large = builder.resize("large", small, (12, 15))
    graph = builder.finish(builder.conv3("last", large, 3))
    group = stage_group(graph, row_stage(graph.operators[1:], 1, 15), "stage0")
    held = group.operators[0].holding
    assert (held.region.cols.extent, held.computed.cols.extent) == (17, 15)
    assert held.kept_rows == 2
    assert group.blocks["small"].region is None
    with pytest.raises(PlanError, match="large cannot run in tiles narrower") as caught:
        stage_group(graph, patch_stage(graph.operators[1:], 1, 5), "stage0")
    assert caught.value.hint == "make the stage's tiles 15 columns wide"
    with pytest.raises(PlanError, match="large needs a tensor of its own stage whole"):
        stage_group(graph, row_stage(graph.operators, 1, 15), "stage0")
