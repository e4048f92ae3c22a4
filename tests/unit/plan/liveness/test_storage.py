"""Storages: live ranges, views, and outputs that take their input's place."""

from __future__ import annotations

from tests.unit.plan.graphs import GraphBuilder, pooled_chain, residual_block, small_chain
from tvm_patch.memory import allocate
from tvm_patch.plan import (
    Access,
    Execution,
    Graph,
    Operator,
    Tensor,
    Window,
    row_stage,
    stage_from_split,
)
from tvm_patch.plan.layout.stage import groups_of
from tvm_patch.plan.liveness.storage import build_execution


def execute(graph: Graph, *stages: object) -> Execution:
    return build_execution(graph, groups_of(graph, stages))  # type: ignore[arg-type]


def live(execution: Execution, name: str) -> tuple[int, int]:
    buffer = next(b for b in execution.storages if b.name == name)
    return buffer.first_use, buffer.last_use


def test_live_ranges_reach_from_producer_to_last_reader() -> None:
    graph = residual_block()
    execution = execute(graph)
    ticks = execution.ticks
    assert live(execution, "image")[0] == 0
    assert live(execution, "image")[1] <= ticks["stem"][1]
    assert live(execution, "stem")[1] == ticks["joined"][1]
    assert execution.storage_of["joined"] == "body"
    assert live(execution, "body")[1] > ticks["joined"][1]


def test_an_addition_takes_the_place_of_an_input_that_dies() -> None:
    execution = execute(residual_block())
    assert execution.storage_of["joined"] == execution.storage_of["body"]


def test_an_input_that_is_read_again_keeps_its_place() -> None:
    builder = GraphBuilder(6, 6, 2)
    one = builder.add("one", "image", "image")
    graph = builder.finish(builder.add("two", one, "image"))
    execution = execute(graph)
    assert execution.storage_of["one"] != execution.storage_of["image"]


def test_a_windowed_layer_may_run_in_place_and_a_growing_one_needs_a_margin() -> None:
    builder = GraphBuilder(8, 8, 4)
    same = builder.conv3("same", "image", 4)
    wider = builder.conv3("wider", same, 5)
    execution = execute(builder.finish(wider))
    buffers = {buffer.name: buffer for buffer in execution.storages}

    def may_begin_together(first: str, second: str) -> bool:
        spans = buffers[first].forbidden_differences(buffers[second])
        return not any(low < 0 < high for low, high in spans)

    assert may_begin_together("image", "same")
    assert not may_begin_together("same", "wider")


def test_rows_already_read_make_room_for_rows_written() -> None:
    builder = GraphBuilder(8, 8, 4)
    execution = execute(builder.finish(builder.conv3("same", "image", 4)))
    arena = allocate(execution.problem(), "exact").arena_bytes
    window = next(b.size_bytes for b in execution.storages if b.name == "same.window0")
    assert arena <= 8 * 8 * 4 + window + 8 * 4


def test_a_view_keeps_its_source_alive() -> None:
    builder = GraphBuilder(4, 4, 2)
    conv = builder.conv3("conv", "image", 2)
    builder.tensors.append(Tensor("flat", (1, 32)))
    builder.operators.append(Operator("flat", "reshape", (conv,), "flat", Access.VIEW))
    head = builder.whole("head", "flat", (1, 3))
    execution = execute(builder.finish(head))
    assert execution.storage_of["flat"] == execution.storage_of["conv"]
    assert live(execution, execution.storage_of["conv"])[1] == execution.ticks["head"][1]
    assert [group.name for group in execution.groups] == ["conv", "head"]


def test_what_a_stage_reads_and_hands_on_lives_through_all_of_it() -> None:
    graph = small_chain()
    execution = execute(graph, stage_from_split(graph, "third", (4, 4)))
    assert live(execution, "image") == (0, 2)
    assert live(execution, "third") == (0, 3)
    assert live(execution, "first") == (0, 1)
    assert live(execution, "second") == (1, 2)


def test_a_streamed_stage_is_counted_by_rows() -> None:
    graph = small_chain()
    execution = execute(graph, row_stage(graph.operators[:3], 1, 8))
    buffers = {buffer.name: buffer for buffer in execution.storages}
    begins = [piece.begin_bytes for piece in buffers["image"].pieces]
    ends = [piece.end_bytes for piece in buffers["third"].pieces]
    assert begins == sorted(begins)
    assert begins[-1] > 0
    assert ends == sorted(ends)
    assert ends[-1] == buffers["third"].size_bytes
    # Line buffers keep their rows from step to step.
    assert not buffers["first"].pieces
    assert buffers["first"].size_bytes == 3 * 17 * 8


def test_patch_buffers_hold_a_tile_with_its_halo() -> None:
    graph = small_chain()
    execution = execute(graph, stage_from_split(graph, "third", (4, 4)))
    sizes = {b.name: b.size_bytes for b in execution.storages}
    # third: 2x2 tile -> second: 4x4 of 16 channels -> first: 9x9 of 8 channels.
    assert sizes["second"] == 4 * 4 * 16
    assert sizes["first"] == 9 * 9 * 8


def test_float_input_quantised_in_place() -> None:
    builder = GraphBuilder(4, 4, 3)
    builder.tensors[0] = Tensor("image", (1, 4, 4, 3), "float32")
    builder.tensors.append(Tensor("integers", (1, 4, 4, 3)))
    builder.operators.append(
        Operator("integers", "quantize", ("image",), "integers", Access.ROWS, elementwise=True)
    )
    graph = builder.finish(builder.window("conv", "integers", Window(3, 3), 2))
    assert execute(graph).storage_of["integers"] == "image"


def test_sums_are_there_from_a_group_s_beginning_and_what_they_add_shrinks() -> None:
    graph = pooled_chain()
    execution = execute(graph)
    buffers = {buffer.name: buffer for buffer in execution.storages}
    assert buffers["total"].size_bytes == 24 * 4
    assert not buffers["total"].pieces
    assert live(execution, "total")[0] == execution.ticks["total"][0]
    begins = [piece.begin_bytes for piece in buffers["second"].pieces]
    assert begins[-1] == buffers["second"].size_bytes - 5 * 24
    # Sums are finished where they are.
    assert execution.storage_of["mean"] == "total"
    assert live(execution, "total")[1] == execution.ticks["head"][1]


def test_a_map_that_is_added_up_as_it_is_made_is_never_whole() -> None:
    graph = pooled_chain()
    execution = execute(graph, row_stage(graph.operators[:3], 1, 5))
    buffers = {buffer.name: buffer for buffer in execution.storages}
    assert buffers["second"].size_bytes == 5 * 24
    assert live(execution, "total")[0] == execution.ticks["stage0"][0]
