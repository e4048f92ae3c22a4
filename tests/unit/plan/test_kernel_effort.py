"""Estimates of kernels beside counts on an emulated Cortex-M7 (`benchmarks/widths.py`)."""

from __future__ import annotations

import pytest

from tvm_patch.plan import Access, Operator, Scratch, Tensor, Window
from tvm_patch.plan.kernel_effort import row_instructions, whole_instructions

_WIDTHS = (1, 2, 4, 8, 40)
#: Kernel size, stride, channels, outputs (none: depthwise), instructions a MAC at these widths.
_COUNTED: list[tuple[int, int, int, int | None, tuple[float, ...]]] = [
    (3, 1, 48, None, (2.87, 2.55, 2.38, 2.40, 2.39)),
    (3, 2, 48, None, (2.87, 2.67, 2.50, 2.53, 2.53)),
    (5, 1, 48, None, (2.52, 2.11, 2.06, 1.79, 1.62)),
    (7, 1, 48, None, (2.31, 1.91, 1.88, 1.41, 1.29)),
    (7, 2, 48, None, (2.31, 1.96, 1.95, 1.67, 1.51)),
    (1, 2, 16, 48, (1.90, 1.71, 1.75, 1.68, 1.64)),
    (1, 2, 48, 16, (1.46, 1.40, 1.33, 1.32, 1.29)),
    (1, 2, 64, 64, (1.37, 1.33, 1.27, 1.26, 1.23)),
    (3, 1, 16, 16, (1.27, 1.26, 1.19, 1.19, 1.17)),
    (3, 2, 3, 16, (2.02, 1.95, 1.89, 1.89, 1.85)),
]
#: Depthwise rows from which on pixels are gathered, by kernel size and stride.
_LEAST_GATHERED = {(5, 1): 8, (7, 1): 6, (7, 2): 7}


def _layer(kernel: int, stride: int, channels: int, outputs: int | None) -> Operator:
    least = _LEAST_GATHERED.get((kernel, stride)) if outputs is None else None
    return Operator(
        "layer",
        "depthwise_conv2d" if outputs is None else "conv2d",
        ("image",),
        "layer",
        Access.ROWS,
        Window(kernel, kernel, stride, stride),
        macs=1,
        scratch=None if least is None else Scratch(0, 4, 64, 2, least),
    )


@pytest.mark.parametrize("case", _COUNTED, ids=lambda case: f"{case[0]}s{case[1]}_{case[2]}")
def test_rows_of_any_width_are_estimated(
    case: tuple[int, int, int, int | None, tuple[float, ...]],
) -> None:
    kernel, stride, channels, outputs, counted = case
    operator = _layer(kernel, stride, channels, outputs)
    taps = kernel * kernel * (channels if outputs else 1)
    made = outputs or channels
    for width, per_mac in zip(_WIDTHS, counted, strict=True):
        columns = (width - 1) * stride + kernel
        source = Tensor("image", (1, kernel, columns, channels))
        output = Tensor("layer", (1, 8, 40, made))
        found = row_instructions(operator, source, output, width, source.row_bytes)
        assert found / (taps * made * width) == pytest.approx(per_mac, rel=0.12), width


@pytest.mark.parametrize(
    ("kind", "shape", "window", "per_output"),
    [
        ("max_pool2d", (8, 8, 32), Window(2, 2, 2, 2), 3.73),
        ("max_pool2d", (14, 14, 64), Window(3, 3, 2, 2), 6.26),
        ("avg_pool2d", (7, 7, 32), Window(3, 3, 2, 2), 9.88),
        ("lookup", (14, 14, 40), Window(), 3.50),
        ("mul", (14, 14, 40), Window(), 9.70),
        ("softmax", (1, 1, 1000), Window(), 19.36),
        ("quantize", (16, 16, 3), Window(), 10.52),
        ("dequantize", (1, 1, 1000), Window(), 7.51),
        ("resize_nearest", (16, 16, 32), Window(), 0.68),
        ("permute_dims", (14, 14, 40), Window(), 0.74),
    ],
)
def test_operators_without_macs_have_figures_of_their_own(
    kind: str, shape: tuple[int, int, int], window: Window, per_output: float
) -> None:
    operator = Operator("layer", kind, ("image",), "layer", Access.ROWS, window)
    output = Tensor("layer", (1, *shape))
    found = whole_instructions(operator, output, output) / output.size_bytes
    assert found == pytest.approx(per_output, rel=0.15)


def test_what_adds_up_is_paid_for_by_what_it_reads() -> None:
    operator = Operator("sum", "global_sum", ("image",), "sum", Access.ACCUMULATE)
    source, output = Tensor("image", (1, 7, 7, 256)), Tensor("sum", (1, 1, 1, 256), "int32")
    found = 7 * row_instructions(operator, source, output, 7, source.row_bytes)
    assert found / 256 == pytest.approx(70.36, rel=0.15)
