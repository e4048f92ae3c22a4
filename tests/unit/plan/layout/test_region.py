"""Receptive fields: affine spans against counting pixels one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plan.graphs import GraphBuilder, residual_block, small_chain
from tvm_patch.errors import PlanError
from tvm_patch.plan import Graph, Operator, Window
from tvm_patch.plan.layout.region import Region, Span, Tiling, stage_holdings

windows = st.builds(
    Window,
    kernel_h=st.integers(1, 5),
    kernel_w=st.integers(1, 5),
    stride_h=st.integers(1, 3),
    stride_w=st.integers(1, 3),
    dilation_h=st.integers(1, 2),
    dilation_w=st.integers(1, 2),
    pad_top=st.integers(0, 3),
    pad_left=st.integers(0, 3),
)


def regions_of(graph: Graph, operators: tuple[Operator, ...], tiling: Tiling) -> dict[str, Region]:
    holdings, _ = stage_holdings(graph, operators, tiling)
    return {name: holding.region for name, holding in holdings.items()}


def rows_read(rows: range, window: Window) -> set[int]:
    """Input rows of some output rows, counted tap by tap."""
    return {
        y * window.stride_h - window.pad_top + j * window.dilation_h
        for y in rows
        for j in range(window.kernel_h)
    }


@given(st.lists(windows, min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 4))
def test_span_covers_exactly_from_first_to_last_row_read(
    chain: list[Window], tile: int, index: int
) -> None:
    span = Span(1, 0, tile)
    rows = range(index * tile, (index + 1) * tile)
    for window in chain:
        span = span.through(stride=window.stride_h, span=window.span_h, pad=window.pad_top)
        read = rows_read(rows, window)
        rows = range(min(read), max(read) + 1)
    assert span.start(index * tile) == rows.start
    assert span.extent == len(rows)


def test_union_of_spans_of_different_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="stride"):
        Span(1, 0, 4).union(Span(2, 0, 4))


def test_residual_keeps_the_wider_of_two_regions() -> None:
    graph = residual_block()
    regions = regions_of(graph, graph.operators[:3], Tiling(12, 10, 4, 5))
    assert regions["joined"].rows == Span(4, 0, 4)
    assert regions["body"].rows == Span(4, 0, 4)
    # The block's own convolution needs one row above and below what the addition needs.
    assert regions["stem"].rows == Span(4, 1, 6)
    assert regions["image"].cols == Span(1, 2, 9)


def test_branches_of_different_stride_cannot_share_a_stage() -> None:
    builder = GraphBuilder(16, 16, 3)
    stem = builder.conv3("stem", "image", 4)
    fine = builder.conv3("fine", stem, 4, stride=2)
    coarse = builder.window("coarse", stem, Window(stride_h=4, stride_w=4), 4)
    graph = builder.finish(builder.add("joined", fine, coarse))
    with pytest.raises(PlanError, match="stem"):
        regions_of(graph, graph.operators, Tiling(4, 4, 2, 2))


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_tiles_cover_the_output_and_columns_stay_inside(
    height: int, width: int, data: st.DataObject
) -> None:
    tile_h, tile_w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    tiling = Tiling(height, width, tile_h, tile_w)
    rows = {step * tile_h + r for step in tiling.steps for r in range(tile_h)}
    cols = {x + c for x in tiling.col_starts for c in range(tile_w)}
    assert rows >= set(range(height))
    assert cols == set(range(width))
    assert len(tiling.steps) == -(-height // tile_h)


def test_halos_do_not_grow_outside_the_image() -> None:
    graph = small_chain()
    regions = regions_of(graph, graph.operators[:3], Tiling(8, 8, 2, 8))
    # Full rows: each tensor is as wide as itself and its own reader's padding.
    widths = {name: region.cols.extent for name, region in regions.items()}
    assert widths == {"third": 8, "second": 10, "first": 17, "image": 18}


@given(st.integers(1, 3), st.integers(0, 6), st.integers(1, 12), st.integers(1, 6))
def test_within_keeps_what_some_tile_has_inside(
    scale: int, offset: int, extent: int, tile: int
) -> None:
    size, starts = 9, tuple(range(0, 9, tile))
    span = Span(scale, offset, extent)
    inside = {
        index
        for start in starts
        for index in range(extent)
        if 0 <= span.start(start) + index < size
    }
    part = span.within(starts, size)
    first = span.offset - part.offset
    if inside:
        assert set(range(first, first + part.extent)) == set(range(min(inside), max(inside) + 1))
    else:
        assert part.extent == 0


def test_line_buffers_hold_a_kernel_of_rows_however_deep_the_stage() -> None:
    builder = GraphBuilder(32, 8, 3)
    name = "image"
    for i in range(6):
        name = builder.conv3(f"conv{i}", name, 4)
    graph = builder.finish(name)
    inside = [operator.output for operator in graph.operators[:-1]]
    holdings, tiling = stage_holdings(graph, graph.operators, Tiling(32, 8, 1, 8), inside)
    assert {holdings[name].region.rows.extent for name in inside} == {3}
    assert {holdings[name].kept_rows for name in inside} == {2}
    # Each layer lags one row behind the one before it.
    assert tiling.first_step == -5


def test_operators_in_front_of_strides_run_once_a_row() -> None:
    builder = GraphBuilder(32, 8, 3)
    first = builder.conv3("first", "image", 4)
    second = builder.conv3("second", first, 4, stride=2)
    third = builder.conv3("third", second, 4, stride=2)
    graph = builder.finish(third)
    holdings, _ = stage_holdings(graph, graph.operators, Tiling(8, 2, 1, 2), ["first", "second"])
    assert {name: holdings[name].rate for name in ("first", "second", "third")} == {
        "first": 4,
        "second": 2,
        "third": 1,
    }
    assert holdings["first"].computed.rows.extent == 1
    assert holdings["first"].region.rows.extent == 3
