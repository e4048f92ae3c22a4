"""Global pools in two operators: the same integers under the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm_ffi
from tvm import relax

from tvm_patch.qnn import (
    SplitGlobalPools,
    ops,
    output_names,
    run_reference,
    split_global_pools,
    to_integer,
)

from .qdq import operators

SCALES = {"input_zero_point": -9, "output_zero_point": 4, "multiplier": 1500000001, "shift": -4}


def mean(x: Any, *, keepdims: bool = False) -> Any:
    return ops.mean(x, axes=[1, 2], keepdims=keepdims, **SCALES)


def average(x: Any, window: list[int], padding: tuple[int, ...] = (0, 0, 0, 0)) -> Any:
    return ops.avg_pool2d(
        x, pool_size=window, strides=[1, 1], padding=padding, clamp_min=-20, clamp_max=30
    )


def module_of(*steps: tuple[str, Callable[[Any], Any]], shape: tuple[int, ...]) -> Any:
    """Steps one after the other; all are outputs."""
    builder = relax.BlockBuilder()
    image = relax.Var("image", relax.TensorType(list(shape), "int8"))
    with builder.function("main", [image]):
        with builder.dataflow():
            made = [image]
            for name, call in steps:
                made.append(builder.emit(call(made[-1]), name))
            outputs = [builder.emit_output(value) for value in made[1:]]
        builder.emit_func_output(relax.Tuple(outputs))
    return builder.get()


@pytest.mark.parametrize(
    ("call", "finish"),
    [
        (mean, "qnn.mean_of_sum"),
        (lambda x: mean(x, keepdims=True), "qnn.mean_of_sum"),
        (lambda x: average(x, [7, 5]), "qnn.average_of_sum"),
    ],
)
def test_a_global_pool_becomes_a_sum_and_what_finishes_it(
    call: Callable[[Any], Any], finish: str
) -> None:
    module = module_of(("pooled", call), shape=(1, 7, 5, 6))
    split = split_global_pools(module)
    assert operators(split) == [("qnn.global_sum", "pooled_sum"), (finish, "pooled")]
    for image in (
        np.random.default_rng(1).integers(-128, 128, (1, 7, 5, 6)).astype(np.int8),
        np.full((1, 7, 5, 6), -128, np.int8),
        np.full((1, 7, 5, 6), 127, np.int8),
    ):
        before, after = run_reference(module, [image]), run_reference(split, [image])
        assert after["pooled_sum"].dtype == np.int32
        assert after["pooled"].dtype == np.int8
        np.testing.assert_array_equal(after["pooled"], before["pooled"])


@pytest.mark.parametrize(
    ("shape", "call"),
    [
        ((1, 7, 5, 2), lambda x: average(x, [7, 4])),
        ((1, 7, 5, 2), lambda x: average(x, [7, 5], padding=(0, 1, 0, 1))),
        ((1, 1, 5, 2), lambda x: average(x, [1, 5])),
        ((1, 1, 5, 2), mean),
    ],
)
def test_other_pools_and_maps_of_one_row_stay(
    shape: tuple[int, ...], call: Callable[[Any], Any]
) -> None:
    module = module_of(("pooled", call), shape=shape)
    assert tvm_ffi.structural_equal(split_global_pools(module), module)


def test_names_of_the_model_are_kept_though_the_sum_would_take_one() -> None:
    table = np.arange(-128, 128)
    module = module_of(
        ("pooled_sum", lambda x: ops.lookup(x, table)),
        ("pooled", lambda x: mean(x, keepdims=True)),
        ("pooled_sum_2", lambda x: ops.lookup(x, table)),
        shape=(1, 3, 3, 2),
    )
    split = split_global_pools(module)
    assert [name for _, name in operators(split)] == [
        "pooled_sum",
        "pooled_sum_3",
        "pooled",
        "pooled_sum_2",
    ]
    assert output_names(split["main"]) == ["pooled_sum", "pooled", "pooled_sum_2"]


def test_the_pass_is_the_end_of_the_way_to_integers_and_changes_nothing_twice() -> None:
    module = module_of(("pooled", mean), shape=(1, 4, 4, 3))
    once = SplitGlobalPools()(module)
    assert tvm_ffi.structural_equal(to_integer(module), once)
    assert tvm_ffi.structural_equal(to_integer(once), once)
