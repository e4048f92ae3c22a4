"""Ways to stream operators: runs, their neighbours, what is made again, who runs ahead."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plan.graphs import GraphBuilder
from tvm_patch.plan import Graph, InputMode
from tvm_patch.plan.layout.stage import stage_group
from tvm_patch.plan.search.streams import StreamSpace
from tvm_patch.plan.search.variants import (
    narrow_runs,
    neighbouring_runs,
    reducing_runs,
    stepped_places,
    stream_variants,
    unstrided_runs,
    whole_run,
    window_runs,
)


def chain(strides: list[int], channels: list[int]) -> Graph:
    builder = GraphBuilder(16, 16, 3)
    last = "image"
    for number, (stride, depth) in enumerate(zip(strides, channels, strict=True)):
        last = builder.conv3(f"conv{number}", last, depth, stride=stride)
    return builder.finish(last)


chains = st.integers(2, 7).flatmap(
    lambda n: st.builds(
        chain,
        st.lists(st.sampled_from([1, 1, 2]), min_size=n, max_size=n),
        st.lists(st.integers(1, 9), min_size=n, max_size=n),
    )
)


@given(chains, st.booleans())
def test_runs_are_disjoint_and_begin_where_rows_are_not_gathered(
    graph: Graph, fetched: bool
) -> None:
    operators = graph.operators
    places = stepped_places(operators, graph.inputs if fetched else ())
    assert places == range(0 if fetched else 1, len(operators))
    patterns = [
        whole_run(operators, places),
        unstrided_runs(operators, places),
        window_runs(operators, places),
        narrow_runs(graph, operators, places),
        reducing_runs(graph, operators, places),
    ]
    for runs in patterns:
        ends = [place for run in runs for place in run]
        assert ends == sorted(set(ends)), "one behind the other, of two operators or more"
        assert all(place in places for place in ends)
    for first, last in unstrided_runs(operators, places):
        assert all(op.window.stride_h == 1 for op in operators[first + 1 : last + 1])


@given(chains)
def test_neighbours_differ_in_one_pair_and_lead_everywhere(graph: Graph) -> None:
    operators = graph.operators
    places = stepped_places(operators, graph.inputs)

    def joined(runs: tuple[tuple[int, int], ...]) -> frozenset[int]:
        return frozenset(place for first, last in runs for place in range(first, last))

    start = whole_run(operators, places)
    seen, waiting = {joined(start)}, [start]
    while waiting:
        runs = waiting.pop()
        for other in neighbouring_runs(operators, places, runs):
            assert len(joined(other) ^ joined(runs)) == 1
            if joined(other) not in seen:
                seen.add(joined(other))
                waiting.append(other)
    assert len(seen) == 2 ** (len(operators) - 1) - 1, "all but no run at all"


@given(chains)
def test_families_that_keep_rows_do_no_mac_twice_and_others_do(graph: Graph) -> None:
    variants = stream_variants(graph, 0, len(graph.operators))
    for family in variants.keeping:
        for variant in family:
            group = stage_group(graph, variant.stage(graph.operators, ()), "stage0")
            assert group.macs == graph.macs
    for family in variants.recomputing:
        macs = [
            stage_group(graph, variant.stage(graph.operators, ()), "stage0").macs
            for variant in family
        ]
        assert macs == sorted(macs), "each makes more again than the one before"
        assert all(each >= graph.macs for each in macs)


@given(chains, st.sampled_from(InputMode))
def test_narrower_steps_never_need_more_memory(graph: Graph, mode: InputMode) -> None:
    space = StreamSpace(graph, mode, recompute=False)
    variants = stream_variants(graph, 0, len(graph.operators), fetched=space.fetched)
    for family in variants.keeping:
        segments = [space.segments.between(0, len(graph.operators), variant) for variant in family]
        assert all(segment is not None for segment in segments)
        peaks = [segment.peak_bytes for segment in segments if segment is not None]
        assert peaks == sorted(peaks, reverse=True)


def shortcut(channels: int) -> Graph:
    """Rows of 16 x 8 bytes go in, and 8 x ``channels`` come out."""
    builder = GraphBuilder(16, 16, 8)
    first = builder.conv3("first", "image", 8)
    down = builder.conv3("down", first, channels, stride=2)
    main = builder.conv3("main", down, channels)
    around = builder.conv1("around", first, channels, stride=2)
    return builder.finish(builder.add("sum", main, around))


def test_a_shortcut_runs_ahead_where_its_rows_are_the_smaller_ones() -> None:
    for channels, rows_in, rows_around in ((8, 3, 2), (40, 4, 1)):
        graph = shortcut(channels)
        variant = stream_variants(graph, 0, 5).keeping[0][0]
        group = stage_group(graph, variant.stage(graph.operators, ()), "stage0")
        held = {name: block.region for name, block in group.blocks.items() if block.region}
        assert held["first"].rows.extent == rows_in
        assert held["around"].rows.extent == rows_around
        assert group.macs == graph.macs
