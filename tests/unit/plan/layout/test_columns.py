"""Column runs: every column once, within its working tile; buffers last long enough."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tvm_patch.errors import PlanError
from tvm_patch.plan import (
    Access,
    Evaluator,
    Graph,
    Operator,
    Tensor,
    Window,
    stepped_stage,
)
from tvm_patch.plan.layout.columns import ColumnRun, ColumnSteps, column_steps


def chain(widths: list[tuple[int, int, int]], width: int) -> Graph:
    """Windows (kernel, stride, pad) one after the other over maps of 8 rows."""
    tensors = [Tensor("t0", (1, 8, width, 4))]
    operators = []
    for number, (kernel, stride, pad) in enumerate(widths):
        size = (tensors[-1].width + 2 * pad - kernel) // stride + 1
        height = (tensors[-1].height + 2 * pad - kernel) // stride + 1
        tensors.append(Tensor(f"t{number + 1}", (1, height, size, 4)))
        window = Window(kernel, kernel, stride, stride, 1, 1, pad, pad, pad, pad)
        operators.append(
            Operator(
                f"op{number}",
                "conv2d",
                (f"t{number}",),
                f"t{number + 1}",
                Access.ROWS,
                window,
                macs=height * size,
                pad_value=0 if pad else None,
            )
        )
    return Graph("chain", tuple(tensors), tuple(operators), ("t0",), (tensors[-1].name,), "f")


@st.composite
def runs(draw: st.DrawFn) -> tuple[Graph, ColumnRun, dict[str, ColumnSteps]]:
    kernels = st.sampled_from([(1, 1, 0), (3, 1, 1), (3, 2, 1), (5, 1, 2), (2, 2, 0), (5, 2, 0)])
    windows = [(1, 1, 0), *draw(st.lists(kernels, min_size=1, max_size=4))]
    graph = chain(windows, draw(st.integers(1, 24)))
    assume(all(tensor.width >= 1 and tensor.height >= 1 for tensor in graph.tensors))
    last = graph.tensor[graph.operators[-1].output]
    run = ColumnRun(0, len(windows) - 1, draw(st.integers(1, last.width)))
    inside = {operator.output for operator in graph.operators[:-1]}
    return graph, run, dict(column_steps(graph, graph.operators, run, inside))


@given(runs())
def test_no_column_is_made_twice_and_all_that_are_read_are_made(
    drawn: tuple[Graph, ColumnRun, dict[str, ColumnSteps]],
) -> None:
    graph, _, steps = drawn
    made = {
        operator.output: [c for begin, end in steps[operator.name].new for c in range(begin, end)]
        for operator in graph.operators
    }
    for columns in made.values():
        assert columns == sorted(set(columns))
    last = graph.operators[-1].output
    assert made[last] == list(range(graph.tensor[last].width))


@given(runs())
def test_what_a_step_reads_is_in_the_working_tile(
    drawn: tuple[Graph, ColumnRun, dict[str, ColumnSteps]],
) -> None:
    graph, _, steps = drawn
    for operator in graph.operators[1:]:
        source = graph.operators[graph.producer[operator.inputs[0]]]
        tile, window = steps[source.name], operator.window
        width = graph.tensor[source.output].width
        done = 0
        for number, (begin, end) in enumerate(steps[operator.name].new):
            start = tile.starts[number]
            done = max(done, tile.new[number][1])
            if tile.new[number][0] < tile.new[number][1]:
                assert start <= tile.new[number][0]
                assert tile.new[number][1] <= start + tile.extent
            if begin == end:
                continue
            first = begin * window.stride_w - window.pad_left
            last = (end - 1) * window.stride_w - window.pad_left + window.span_w
            assert start <= first
            assert last <= start + tile.extent
            assert min(last, width) <= done


@given(runs())
def test_a_deep_run_needs_no_wider_tiles_than_windows_and_steps(
    drawn: tuple[Graph, ColumnRun, dict[str, ColumnSteps]],
) -> None:
    graph, run, steps = drawn
    pace = run.tile_w
    for operator in reversed(graph.operators[1:]):
        source = graph.operators[graph.producer[operator.inputs[0]]]
        window = operator.window
        reads = (pace - 1) * window.stride_w + window.span_w
        pace *= window.stride_w
        assert steps[source.name].extent <= max(reads, pace) + window.span_w + window.stride_w


def test_rows_that_a_run_hands_on_are_held_until_they_are_read() -> None:
    graph = chain([(1, 1, 0), (3, 1, 1), (1, 1, 0), (3, 1, 1), (1, 1, 0)], 12)
    stage = stepped_stage(graph.operators, 1, 2, ((0, 1), (2, 4)))
    execution = Evaluator(graph).evaluate((stage,)).execution
    stores = {storage.name: storage for storage in execution.storages}
    assert stores["t1.rows"].size_bytes == 2 * 12 * 4
    assert stores["t2"].pieces, "a row that is read in the same turn is free in between"
    behind = stepped_stage(graph.operators, 1, 2, ((0, 2),))
    execution = Evaluator(graph).evaluate((behind,)).execution
    (line_buffer,) = (s for s in execution.storages if s.name == "t3")
    # Its rows are under a window of three in the next operator: kept from turn to turn.
    assert line_buffer.size_bytes == 3 * 14 * 4
    assert not line_buffer.pieces


def test_a_run_does_not_begin_with_a_window_that_pads_the_stages_input() -> None:
    graph = chain([(3, 1, 1), (1, 1, 0)], 8)
    with pytest.raises(PlanError, match="held whole"):
        Evaluator(graph).evaluate((stepped_stage(graph.operators, 1, 2, ((0, 1),)),))
