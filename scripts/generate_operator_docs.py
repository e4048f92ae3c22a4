"""Write ``docs/operators.md`` from the code: what models may hold, and what becomes of it.

    python scripts/generate_operator_docs.py [--check]

Kernels and the column "in a stage" are found by asking the planner and the lowering about one small
network for each operator. With ``--check`` nothing is written: the exit status is 1 if the file is
not what would be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tvm import IRModule, relax

from tvm_patch.analysis import read_network
from tvm_patch.importer.onnx import SUPPORTED_ONNX_OPERATORS
from tvm_patch.importer.tflite_converter import SUPPORTED_OPERATORS
from tvm_patch.lower.kernels import WithConstantOperand, choose_kernels
from tvm_patch.plan import Access
from tvm_patch.plan.layout.stage import groups_of
from tvm_patch.qnn import ops
from tvm_patch.report.files import write_atomically

TARGET = Path(__file__).resolve().parent.parent / "docs" / "operators.md"

_SHAPE = (1, 8, 8, 4)
_SUMS = (1, 1, 1, 4)
_BINARY_SCALES = {
    "left_shift": 20,
    "lhs_multiplier": 1 << 30,
    "lhs_shift": 0,
    "rhs_multiplier": 1 << 30,
    "rhs_shift": 0,
    "output_multiplier": 1 << 30,
    "output_shift": -19,
}
_ZERO_POINTS = {"lhs_zero_point": 0, "rhs_zero_point": 0, "output_zero_point": 0}
_WEIGHTED = {"input_zero_point": 0, "output_zero_point": 0}
_WINDOW: dict[str, Any] = {"pool_size": [3, 3], "strides": [1, 1]}


@dataclass(frozen=True)
class Example:
    """One operator of the dialect as a network of its own.

    Parameters
    ----------
    operator : str
        Full name.
    build : callable
        Makes the call from the network's input.
    note : str
        Limits and remarks.
    shape, dtype : tuple of int, str
        Of the input.
    """

    operator: str
    build: Callable[[Any], Any]
    note: str = ""
    shape: tuple[int, ...] = _SHAPE
    dtype: str = "int8"


def _int8(*shape: int) -> Any:
    return np.ones(shape, np.int8)


def _channels(count: int) -> tuple[Any, Any, Any]:
    """Bias, multiplier and shift."""
    scale = np.full(count, 1 << 30, np.int32)
    return np.zeros(count, np.int32), scale, np.zeros(count, np.int32)


def _conv2d(x: Any) -> Any:
    return ops.conv2d(x, _int8(4, 3, 3, 4), *_channels(4), **_WEIGHTED)


def _depthwise(x: Any) -> Any:
    return ops.depthwise_conv2d(x, _int8(3, 3, 4), *_channels(4), **_WEIGHTED)


def _dense(x: Any) -> Any:
    return ops.dense(x, _int8(4, 16), *_channels(4), **_WEIGHTED)


def _mean(x: Any) -> Any:
    scales = {"multiplier": 1 << 30, "shift": -5}
    return ops.mean(x, axes=[1, 2], keepdims=False, **_WEIGHTED, **scales)


def _mean_of_sum(x: Any) -> Any:
    scales = {"multiplier": 1 << 30, "shift": -5}
    return ops.mean_of_sum(x, pixels=64, keepdims=False, **_WEIGHTED, **scales)


def _pad(x: Any) -> Any:
    return ops.pad(x, pad_width=[0, 0, 1, 1, 1, 1, 0, 0], pad_value=0)


def _softmax(x: Any) -> Any:
    return ops.softmax(x, input_multiplier=1 << 30, input_left_shift=20, diff_min=-248)


_EXAMPLES = (
    Example(
        "qnn.conv2d",
        _conv2d,
        "per tensor or per channel; any kernel, stride, padding, dilation, groups",
    ),
    Example("qnn.depthwise_conv2d", _depthwise, "any channel multiplier"),
    Example("qnn.dense", _dense, "rounds once, as LiteRT's FULLY_CONNECTED", (1, 16)),
    Example(
        "qnn.add",
        lambda x: ops.add(x, x, **_ZERO_POINTS, **_BINARY_SCALES),
        "one operand of the same shape, one per channel, or a constant; one that differs "
        "from row to row outside of stages only",
    ),
    Example(
        "qnn.subtract", lambda x: ops.subtract(x, x, **_ZERO_POINTS, **_BINARY_SCALES), "as add"
    ),
    Example(
        "qnn.mul",
        lambda x: ops.mul(x, x, **_ZERO_POINTS, multiplier=1 << 30, shift=-6),
        "as add; in a stage, a factor per channel must come from before the stage",
    ),
    Example(
        "qnn.lookup",
        lambda x: ops.lookup(x, np.arange(-128, 128).astype(np.int8)),
        "every function of one int8 tensor, as a table made at compile time",
    ),
    Example("qnn.max_pool2d", lambda x: ops.max_pool2d(x, **_WINDOW)),
    Example("qnn.avg_pool2d", lambda x: ops.avg_pool2d(x, **_WINDOW), "without padding"),
    Example(
        "qnn.avg_pool2d",
        lambda x: ops.avg_pool2d(x, **_WINDOW, padding=[1, 1, 1, 1]),
        "with padding: the divisor changes along the border",
    ),
    Example(
        "qnn.mean",
        _mean,
        "over height and width; of maps of more than one row split into the two that follow",
    ),
    Example(
        "qnn.global_sum",
        ops.global_sum,
        "int32; first half of a mean, or of an average over the whole map; ends its stage",
    ),
    Example("qnn.mean_of_sum", _mean_of_sum, "second half of a mean", _SUMS, "int32"),
    Example(
        "qnn.average_of_sum",
        lambda x: ops.average_of_sum(x, pixels=64),
        "second half of an average over the whole map",
        _SUMS,
        "int32",
    ),
    Example("qnn.pad", _pad, "rows and columns; folded into a convolution where that is exact"),
    Example(
        "qnn.resize_nearest",
        lambda x: ops.resize_nearest(x, out_height=16, out_width=16),
        "pixels chosen as LiteRT does, all three conventions; in a stage as wide as the map, from "
        "a map made before it",
    ),
    Example("qnn.softmax", _softmax, "over the last axis; LiteRT's fixed point", (1, 16)),
    Example(
        "qnn.concatenate",
        lambda x: ops.concatenate([x, x], axis=3),
        "any axis, in a stage along channels; inputs are requantised before it",
    ),
    Example(
        "qnn.quantize",
        lambda x: ops.quantize(x, scale=0.5, zero_point=0),
        "at a float32 input; `--io int8` strips it",
        dtype="float32",
    ),
    Example(
        "qnn.dequantize",
        lambda x: ops.dequantize(x, scale=0.5, zero_point=0),
        "at a float32 output; `--io int8` strips it",
    ),
    Example("relax.reshape", lambda x: relax.op.reshape(x, (1, 256)), "on int8"),
    Example(
        "relax.permute_dims",
        lambda x: relax.op.permute_dims(x, [0, 3, 1, 2]),
        "on int8; free where only axes of size one move",
    ),
    Example(
        "relax.strided_slice",
        lambda x: relax.op.strided_slice(x, [1], [0], [8], [2]),
        "on int8; constant bounds",
    ),
)

_MULTIPLY_ACCUMULATE = "`qnn.conv2d`"
_VIEW = "`relax.reshape` (free)"
_TABLE = "`qnn.lookup`, or the clamp of the operator before it"

#: What each TFLite operator becomes; checked against the importer's own list.
_TFLITE: Mapping[str, str] = {
    "ADD": "`qnn.add`",
    "AVERAGE_POOL_2D": "`qnn.avg_pool2d`",
    "CONCATENATION": "`qnn.concatenate`",
    "CONV_2D": _MULTIPLY_ACCUMULATE,
    "DEPTHWISE_CONV_2D": "`qnn.depthwise_conv2d`",
    "DEQUANTIZE": "`qnn.dequantize`",
    "EXPAND_DIMS": _VIEW,
    "FULLY_CONNECTED": "`qnn.dense`",
    "HARD_SWISH": "`qnn.lookup`",
    "LEAKY_RELU": "`qnn.lookup`",
    "LOGISTIC": "`qnn.lookup`",
    "MAX_POOL_2D": "`qnn.max_pool2d`",
    "MEAN": "`qnn.mean`",
    "MUL": "`qnn.mul`",
    "PAD": "`qnn.pad`, or the padding of the convolution behind it",
    "PADV2": "`qnn.pad`, or the padding of the convolution behind it",
    "QUANTIZE": "`qnn.quantize` of float32, `qnn.lookup` of int8",
    "RELU": _TABLE,
    "RELU6": _TABLE,
    "RELU_N1_TO_1": _TABLE,
    "RESHAPE": _VIEW,
    "RESIZE_NEAREST_NEIGHBOR": "`qnn.resize_nearest`",
    "SOFTMAX": "`qnn.softmax`",
    "SQUEEZE": _VIEW,
    "STRIDED_SLICE": "`relax.strided_slice`",
    "SUB": "`qnn.subtract`",
    "TANH": "`qnn.lookup`",
    "TRANSPOSE": "`relax.permute_dims`",
}

_INTRODUCTION = """\
# Operators

<!-- Written by scripts/generate_operator_docs.py; `make docs` writes it anew. -->

Models are int8 throughout: activations quantised per tensor, weights per tensor or per channel,
batch one, static shapes. An operator that is not listed is refused with its name and place in the
model. `tvm-patch inspect MODEL` shows what a model's operators have become.
"""

_DIALECT = """\
## The integer-only dialect

What the importers' operators are folded into. "Kernel" is the class of `schedules/` that makes
the C function. "In a stage" says whether a stage, which runs tile by tile, may hold the operator:
it must make each row of its output from a window of input rows, or add rows up.
"""

_FOLDING = """\
Convolutions, sums and pools take the activation that follows into their clamp. Bias and input zero
point are folded at compile time. `tests/unit/qnn` compares every operator with LiteRT's reference
kernels, bit for bit.
"""

_ONNX = """\
## ONNX

Files in QDQ form, as onnxruntime's static quantisation writes them: `QuantizeLinear` and
`DequantizeLinear` around every operator. NCHW becomes NHWC. These operators may stand between them:
"""

_RELAX = """\
## Relax

Any module in QDQ form (`relax.quantize`, `relax.dequantize`) of the operators that the two
importers write. Convolutions and pools in NHWC, constants bound as such.
"""


def dialect_rows() -> list[tuple[str, ...]]:
    """One row for each example: operator, kernel, in a stage, note."""
    missing = set(ops.registered_names()) - {example.operator for example in _EXAMPLES}
    missing -= {"qnn.patch_stage"}
    if missing:
        raise SystemExit(f"no example for {', '.join(sorted(missing))}: add one to _EXAMPLES")
    return [_dialect_row(example) for example in _EXAMPLES]


def _dialect_row(example: Example) -> tuple[str, ...]:
    network = read_network(_module_of(example), name="example")
    operator = network.graph.operators[-1]
    (group,) = groups_of(network.graph, ()) or (None,)
    kernels: Sequence[Any] = ()
    if group is not None:
        kernels = choose_kernels(network, group, group.operators[0])
    inner = [k.kernel if isinstance(k, WithConstantOperand) else k for k in kernels]
    names = dict.fromkeys(f"`{type(kernel).__name__}`" for kernel in inner)
    how = "none: nothing runs" if operator.access is Access.VIEW else "none: rows are copied"
    return (
        f"`{example.operator}`",
        ", ".join(names) or how,
        "yes" if operator.streamable else "no",
        example.note,
    )


def _module_of(example: Example) -> IRModule:
    builder = relax.BlockBuilder()
    data = relax.Var("data", relax.TensorType(example.shape, example.dtype))
    with builder.function("main", [data]):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(example.build(data), name_hint="result"))
        builder.emit_func_output(result)
    return builder.get()


def tflite_rows() -> list[tuple[str, ...]]:
    """One row for each operator that the TFLite importer takes."""
    if set(_TFLITE) != SUPPORTED_OPERATORS:
        different = sorted(set(_TFLITE) ^ SUPPORTED_OPERATORS)
        raise SystemExit(f"_TFLITE and the importer differ in {', '.join(different)}")
    return [(f"`{name}`", becomes) for name, becomes in sorted(_TFLITE.items())]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def document() -> str:
    """The whole page."""
    onnx = ", ".join(f"`{name}`" for name in sorted(SUPPORTED_ONNX_OPERATORS))
    return "\n".join(
        [
            _INTRODUCTION,
            _DIALECT,
            _table(("operator", "kernel", "in a stage", "remarks"), dialect_rows()),
            _FOLDING,
            "## TFLite\n",
            _table(("operator", "becomes"), tflite_rows()),
            _ONNX,
            onnx + ".\n",
            _RELAX,
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description="Write docs/operators.md.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    text = document()
    if not options.check:
        write_atomically(TARGET, text)
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET.name} is stale: run make docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
