"""Stage loops on networks of the dialect with windows that random models rarely have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tvm_patch import qnn
from tvm_patch.analysis import read_network
from tvm_patch.lower import lower_network
from tvm_patch.plan import (
    Access,
    Evaluator,
    StagePlan,
    layer_by_layer,
    patch_stage,
    row_stage,
    stage_from_split,
)
from tvm_patch.plan.search.patches import stepped_stage
from tvm_patch.testing.integer_networks import IntegerNetwork
from tvm_patch.testing.native import NativeModel


def assert_equal_to_reference(
    network: IntegerNetwork,
    output: object,
    grid: tuple[int, int],
    run: tuple[int, int] | None = None,
) -> None:
    """One stage of all operators, patched and streamed, against the numpy reference.

    The operators from one place of ``run`` to the other go through rows in steps of columns too,
    once with inner rows kept for the next time, once with all of them made again.
    """
    module = network.finish(output)
    read = read_network(module, name="network")
    operators = read.graph.operators
    shape = read.graph.tensor["image"].shape
    image = np.random.default_rng(7).integers(-128, 128, shape, dtype=np.int8)
    expected = qnn.run_reference(module, [image])
    evaluator = Evaluator(read.graph)
    patched = stage_from_split(read.graph, len(operators), grid)
    streamed = row_stage(operators, patched.tile_h, patched.tile_w)
    stages = [patched, streamed]
    if run is not None:
        step = (patched.tile_h, patched.tile_w)
        inner = [operator.output for operator in operators[run[0] : run[1]]]
        stages += [
            stepped_stage(operators, *step, [run], recomputed=again) for again in ([], inner)
        ]
    (name,) = read.graph.outputs
    for stage in stages:
        plan = evaluator.pack(evaluator.evaluate((stage,)))
        native = NativeModel(lower_network(read, plan, c_name="network"))
        np.testing.assert_array_equal(native.run(image)[name], expected[name])


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (3, 1), (4, 3), (8, 9)])
def test_asymmetric_padding_and_dilation(grid: tuple[int, int]) -> None:
    network = IntegerNetwork((1, 18, 20, 3), seed=1)
    data = network.conv2d(
        network.input, 5, (3, 2), padding=(0, 2, 3, 0), dilation=(2, 3), zero_point=-9
    )
    data = network.depthwise(data, (5, 3), strides=(2, 2), padding=(1, 0, 2, 2), zero_point=17)
    data = network.conv2d(data, 4, (1, 1))
    assert_equal_to_reference(network, data, grid, run=(1, 2))


@pytest.mark.parametrize("grid", [(2, 2), (5, 1), (1, 5)])
def test_padding_wider_than_the_kernel(grid: tuple[int, int]) -> None:
    network = IntegerNetwork((1, 7, 6, 2), seed=2)
    data = network.conv2d(network.input, 3, (1, 1), padding=(3, 4, 3, 4), zero_point=5)
    data = network.conv2d(data, 3, (2, 3), padding=(2, 3, 2, 3), zero_point=-100)
    assert_equal_to_reference(network, data, grid)


def test_a_window_that_reads_padding_alone() -> None:
    network = IntegerNetwork((1, 1, 1, 2), seed=2)
    data = network.conv2d(network.input, 1, (1, 1))
    data = network.conv2d(data, 1, (1, 1), strides=(2, 2), padding=(1, 0, 0, 0), zero_point=-100)
    assert_equal_to_reference(network, data, (1, 1), run=(0, 1))


@pytest.mark.parametrize("grid", [(2, 3), (4, 4), (8, 1)])
def test_strides_larger_than_the_kernel(grid: tuple[int, int]) -> None:
    network = IntegerNetwork((1, 33, 40, 3), seed=3)
    data = network.conv2d(network.input, 4, (2, 1), strides=(3, 4), padding=(1, 2, 0, 1))
    data = network.depthwise(data, (3, 3), padding=(1, 1, 1, 1), zero_point=33)
    assert_equal_to_reference(network, data, grid)


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (6, 5)])
def test_residual_branches_of_different_reach(grid: tuple[int, int]) -> None:
    network = IntegerNetwork((1, 12, 15, 4), seed=4)
    stem = network.conv2d(network.input, 4, (3, 3), padding=(1, 1, 1, 1), zero_point=-1, name="a")
    body = network.depthwise(stem, (7, 7), padding=(3, 3, 3, 3), zero_point=21, name="b")
    body = network.conv2d(body, 4, (1, 1), name="c")
    joined = network.emit(
        qnn.ops.add(
            body,
            stem,
            lhs_zero_point=3,
            rhs_zero_point=-4,
            output_zero_point=1,
            left_shift=20,
            lhs_multiplier=1 << 30,
            lhs_shift=0,
            rhs_multiplier=1518500250,
            rhs_shift=-1,
            output_multiplier=1 << 30,
            output_shift=-18,
            clamp_min=-128,
            clamp_max=127,
        ),
        "joined",
    )
    last = network.conv2d(joined, 3, (3, 3), padding=(1, 1, 1, 1), zero_point=1, name="d")
    assert_equal_to_reference(network, last, grid, run=(1, 4))


@pytest.mark.parametrize("grid", [(1, 1), (3, 2), (7, 7)])
def test_max_pool_pads_with_the_least_value(grid: tuple[int, int]) -> None:
    network = IntegerNetwork((1, 14, 14, 3), seed=5)
    data = network.conv2d(network.input, 6, (3, 3), padding=(1, 1, 1, 1), zero_point=8)
    pool = qnn.ops.max_pool2d(
        data, pool_size=(3, 3), strides=(2, 2), padding=(1, 1, 1, 1), clamp_min=-120, clamp_max=90
    )
    data = network.emit(pool, "pool")
    assert_equal_to_reference(network, data, grid)


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (5, 3)])
def test_padding_operators_inside_and_in_front(grid: tuple[int, int]) -> None:
    network = IntegerNetwork((1, 9, 8, 2), seed=6)
    front = qnn.ops.pad(network.input, pad_width=[0, 0, 1, 2, 3, 0, 0, 0], pad_value=44)
    data = network.emit(front, "front")
    data = network.conv2d(data, 3, (3, 3), zero_point=0)
    data = network.emit(
        qnn.ops.pad(data, pad_width=[0, 0, 0, 1, 2, 2, 0, 0], pad_value=-50), "inside"
    )
    data = network.depthwise(data, (2, 2), strides=(2, 1))
    assert_equal_to_reference(network, data, grid)


@pytest.mark.parametrize("grid", [(3, 9), (9, 9), (2, 5)])
def test_tiles_wholly_beside_the_image_of_an_inner_tensor(grid: tuple[int, int]) -> None:
    network = IntegerNetwork((1, 5, 6, 2), seed=8)
    data = network.conv2d(network.input, 3, (3, 3), padding=(1, 1, 1, 1), zero_point=7)
    pad = qnn.ops.pad(data, pad_width=[0, 0, 2, 2, 2, 2, 0, 0], pad_value=-9)
    data = network.emit(pad, "margin")
    data = network.conv2d(data, 4, (1, 1))
    assert_equal_to_reference(network, data, grid)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
def test_a_global_sum_at_the_end_of_a_stage(rows: int) -> None:
    network = IntegerNetwork((1, 15, 13, 3), seed=9)
    data = network.conv2d(network.input, 6, (3, 3), padding=(1, 1, 1, 1), zero_point=-4)
    data = network.depthwise(data, (3, 3), strides=(2, 2), padding=(1, 1, 1, 1), zero_point=8)
    total = network.emit(qnn.ops.global_sum(data), "total")
    assert_equal_to_reference(network, total, (rows, 1))


def test_a_global_sum_alone_in_a_stage_and_finished_behind_it() -> None:
    network = IntegerNetwork((1, 6, 5, 7), seed=10)
    total = network.emit(qnn.ops.global_sum(network.input), "total")
    assert_equal_to_reference(network, total, (6, 1))
    network = IntegerNetwork((1, 6, 5, 7), seed=10)
    total = network.emit(qnn.ops.global_sum(network.input), "total")
    pooled = network.emit(qnn.ops.average_of_sum(total, pixels=30), "pooled")
    read = read_network(network.finish(pooled), name="network")
    evaluator = Evaluator(read.graph)
    image = np.random.default_rng(7).integers(-128, 128, (1, 6, 5, 7), dtype=np.int8)
    sums = image.sum(axis=(1, 2), dtype=np.int64)
    expected = np.sign(sums) * ((np.abs(sums) + 15) // 30)
    for stages in ((), (row_stage(read.graph.operators[:1], 1, 5),)):
        plan = evaluator.pack(evaluator.evaluate(stages))
        native = NativeModel(lower_network(read, plan, c_name="network"))
        # Sums begin with zeros in every run.
        for _ in range(2):
            np.testing.assert_array_equal(native.run(image)["pooled"][:, 0, 0], expected)


@pytest.mark.parametrize("grid", [(3, 2), (9, 1)])
def test_channels_joined_inside_a_stage_and_at_its_end(grid: tuple[int, int]) -> None:
    network = IntegerNetwork((1, 9, 10, 3), seed=11)
    left = network.conv2d(network.input, 5, (3, 3), padding=(1, 1, 1, 1), zero_point=-4, name="l")
    right = network.depthwise(left, (5, 5), padding=(2, 2, 2, 2), zero_point=8, name="r")
    joined = network.emit(qnn.ops.concatenate([right, network.input, left, right], axis=3), "j")
    data = network.conv2d(joined, 4, (3, 3), padding=(1, 1, 1, 1), zero_point=21)
    last = network.emit(qnn.ops.concatenate([data, joined], axis=3), "last")
    assert_equal_to_reference(network, last, grid)


@pytest.mark.parametrize(
    ("make", "size", "rule"),
    [
        (row_stage, (14, 12), (False, False)),
        (row_stage, (9, 17), (True, False)),
        (row_stage, (21, 6), (False, True)),
        (patch_stage, (14, 12), (True, False)),
    ],
)
def test_rows_of_a_resize_are_made_as_a_stage_needs_them(
    make: Callable[..., StagePlan], size: tuple[int, int], rule: tuple[bool, bool]
) -> None:
    network = IntegerNetwork((1, 7, 6, 3), seed=12)
    small = network.conv2d(network.input, 4, (3, 3), padding=(1, 1, 1, 1), name="small")
    large = network.emit(
        qnn.ops.resize_nearest(
            small,
            out_height=size[0],
            out_width=size[1],
            align_corners=rule[0],
            half_pixel_centers=rule[1],
        ),
        "large",
    )
    data = network.depthwise(large, (3, 3), padding=(1, 1, 1, 1), zero_point=-9, name="data")
    joined = network.emit(qnn.ops.concatenate([large, data], axis=3), "joined")
    last = network.conv2d(joined, 3, (3, 3), strides=(2, 2), padding=(1, 1, 1, 1), name="last")
    module = network.finish(last)
    read = read_network(module, name="network")
    image = np.random.default_rng(7).integers(-128, 128, (1, 7, 6, 3), dtype=np.int8)
    expected = qnn.run_reference(module, [image])["last"]
    evaluator = Evaluator(read.graph)
    output = read.graph.tensor["last"]
    for tile_h in (1, 3):
        stage = make(read.graph.operators[1:], tile_h, output.width)
        plan = evaluator.pack(evaluator.evaluate((stage,)))
        native = NativeModel(lower_network(read, plan, c_name="network"))
        np.testing.assert_array_equal(native.run(image)["last"], expected)


def test_a_resize_whose_rows_follow_no_rule_runs_on_its_own() -> None:
    network = IntegerNetwork((1, 64, 2, 3), seed=13)
    resized = qnn.ops.resize_nearest(network.input, out_height=55, out_width=3, align_corners=True)
    module = network.finish(network.emit(resized, "resized"))
    read = read_network(module, name="network")
    (operator,) = read.graph.operators
    assert operator.access is Access.WHOLE
    image = np.random.default_rng(7).integers(-128, 128, (1, 64, 2, 3), dtype=np.int8)
    native = NativeModel(lower_network(read, layer_by_layer(read.graph), c_name="network"))
    expected = qnn.run_reference(module, [image])["resized"]
    np.testing.assert_array_equal(native.run(image)["resized"], expected)
