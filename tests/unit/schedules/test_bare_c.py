"""The way from PrimFuncs to plain C."""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from tvm import tirx
from tvm.script import tirx as T  # noqa: N812

from tvm_patch.schedules import (
    AccumulateRow,
    AddFlat,
    AverageOfSum,
    AvgPoolPadded,
    ConvRow,
    Dense,
    DepthwiseRow,
    DequantizeFlat,
    Kernel,
    MeanOfSum,
    MeanSpatial,
    MulFlat,
    PoolRow,
    QuantizeFlat,
    SoftmaxRows,
    lower_to_bare,
    print_c,
)

from .execution import run_c

CONV = ConvRow(34, 16, 16, 32, 3, 3, 2, 1, 1, 1, -5, -128, 127, "double", -9, -6)
KERNELS: list[Kernel] = [
    CONV,
    replace(CONV, shift_max=3, small_accumulator=False),
    DepthwiseRow(18, 24, 16, 1, 3, 3, 1, 1, 1, -5, -128, 127, "double", -9, -6),
    Dense(64, 10, -5, -128, 127, "single", -9, 1),
    AddFlat(96, 96, 4, -3, -5, 20, 2**30, 0, 1500000000, -1, 1600000000, -18, -128, 127),
    AvgPoolPadded(8, 8, 3, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, -128, 127),
    MeanSpatial(49, 64, -128, -128, 1500000000, -8),
    AccumulateRow(7, 64),
    MeanOfSum(64, 49, -128, -128, 1500000000, -8),
    AverageOfSum(64, 49, -128, 127),
    SoftmaxRows(2, 10, 1500000000, 23, -200),
    QuantizeFlat(100, -3),
    DequantizeFlat(100, -3),
]


CLAMPED_TO_ONE_VALUE: list[Kernel] = [
    ConvRow(6, 4, 6, 12, 1, 1, 1, 1, 1, 1, -7, 5, 5, "double", -9, -5),
    DepthwiseRow(8, 12, 6, 1, 3, 3, 1, 1, 1, -7, 5, 5, "double", -9, -5),
    PoolRow("max", 26, 3, 4, 2, 2, 2, 5, 5),
    PoolRow("avg", 26, 3, 4, 2, 2, 2, 5, 5),
    AvgPoolPadded(7, 6, 3, 7, 6, 3, 3, 1, 1, 1, 1, 1, 1, 5, 5),
    AverageOfSum(24, 49, 5, 5),
    MulFlat(24, 24, 1, -2, 3, 1500000000, -7, 5, 5),
]


@T.prim_func(s_tir=True)
def loop_over_rows(arena: T.Buffer((4096,), "int8"), weights: T.Buffer((64,), "int8")):
    for y in range(8):
        if y > 1:
            T.evaluate(
                T.call_extern(
                    "void",
                    "row",
                    T.address_of(arena[y * 128]),
                    T.address_of(weights[0]),
                    T.address_of(arena[2048 + y * 64]),
                )
            )


def c_of(kernel: Kernel) -> str:
    return print_c({kernel.name: lower_to_bare(kernel.prim_func(), kernel.name)})


def test_calls_of_externs_print_as_plain_c() -> None:
    source = print_c({"stage": lower_to_bare(loop_over_rows, "stage")})
    assert "void stage(int8_t* arena, int8_t* weights)" in source
    assert re.search(r"row\(\(&\(arena\[\(y \* 128\)\]\)\), \(&\(weights\[0\]\)\)", source)


def test_functions_share_one_translation_unit() -> None:
    functions = {kernel.name: lower_to_bare(kernel.prim_func(), kernel.name) for kernel in KERNELS}
    source = print_c(functions)
    for kernel in KERNELS:
        assert re.search(rf"void {kernel.name}\([a-z0-9_]+\* (data|lhs|total)", source)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_c_needs_neither_doubles_nor_wide_division_nor_heap(kernel: Kernel) -> None:
    body = c_of(kernel).split("TVM_DLL")[-1]
    assert not re.search(r"\bdouble\b", body)
    assert not re.search(r"int64_t\)[^;]* [/%] ", body)
    assert "TVMBackend" not in body
    assert "malloc" not in body
    arrays = re.findall(r"^\s*int\w+ \w+\[(\d+)\];", body, re.MULTILINE)
    assert all(int(size) <= 8 for size in arrays)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_equal_kernels_print_equal_c(kernel: Kernel) -> None:
    assert c_of(kernel) == c_of(replace(kernel))  # type: ignore[type-var]


@pytest.mark.parametrize("kernel", CLAMPED_TO_ONE_VALUE, ids=lambda kernel: kernel.name)
def test_clamp_to_one_value_compiles_without_warnings(kernel: Kernel) -> None:
    data = [np.zeros(_size(p), str(p.dtype)) for p in kernel.prim_func().params]
    inputs = len(data) - len(kernel.constants) - 1
    constants = {
        "weight": np.ones(_weight_shape(kernel), np.int8),
        **{key: np.full(12, -8, np.int32) for key in ("bias", "shift")},
        "multiplier": np.full(12, 2**30, np.int32),
    }
    assert (run_c(kernel, list(data[:inputs]), constants) == 5).all()


def _size(param: tirx.Buffer) -> int:
    return prod(int(extent) for extent in param.shape)


def _weight_shape(kernel: Kernel) -> tuple[int, ...]:
    return (3, 3, 12) if isinstance(kernel, DepthwiseRow) else (12, 1, 1, 4)


def test_parameters_keep_their_order() -> None:
    func = lower_to_bare(CONV.prim_func(), CONV.name)
    assert [param.name for param in func.params] == ["data", "weight", "channels", "out"]
    assert all(isinstance(param, tirx.Var) for param in func.params)
