"""What a TFLite file must be before it is converted: whole, int8, static, of batch one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tflite

from tvm_patch.errors import (
    FloatModelError,
    ModelFileError,
    UnsupportedOperatorError,
    UnsupportedShapeError,
)
from tvm_patch.importer.model import MAX_ELEMENTS

# Operators whose job is to stand between real numbers and integers.
_BOUNDARY_OPERATORS = frozenset({"QUANTIZE", "DEQUANTIZE"})

_IO_TYPES = frozenset({tflite.TensorType.FLOAT32, tflite.TensorType.INT8})
_REAL_TYPES = frozenset({tflite.TensorType.FLOAT32, tflite.TensorType.FLOAT16})

_DTYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype(np.float32),
    tflite.TensorType.FLOAT16: np.dtype(np.float16),
    tflite.TensorType.INT32: np.dtype(np.int32),
    tflite.TensorType.UINT8: np.dtype(np.uint8),
    tflite.TensorType.INT64: np.dtype(np.int64),
    tflite.TensorType.BOOL: np.dtype(np.bool_),
    tflite.TensorType.INT16: np.dtype(np.int16),
    tflite.TensorType.INT8: np.dtype(np.int8),
}

_OPERATOR_NAMES: dict[int, str] = {
    code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)
}
_TYPE_NAMES: dict[int, str] = {
    code: name.lower() for name, code in vars(tflite.TensorType).items() if isinstance(code, int)
}

QUANTISE_HINT = "quantise it: tvm-patch quantize model.onnx --calibration data.npz"


def operator_name(model: Any, operator: Any) -> str:
    """Return the name of a builtin operator, or ``CUSTOM:<code>``."""
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Files older than schema 3a hold the number in an 8-bit field; the larger one is valid.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name: str = _OPERATOR_NAMES.get(number, f"BUILTIN_{number}")
    if name == "CUSTOM":
        return f"CUSTOM:{(code.CustomCode() or b'').decode('utf-8', 'replace')}"
    return name


def tensor_name(subgraph: Any, index: int) -> str:
    """Return a tensor's name as text; the front end of TVM calls nameless ones the same."""
    raw = subgraph.Tensors(index).Name()
    return str(raw, "utf-8", "replace") if raw is not None else f"tvmgen_tensor_{index}"


def tensor_shape(tensor: Any) -> tuple[int, ...]:
    """Return a tensor's static shape, () for a scalar."""
    return tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()


def operators(subgraph: Any) -> Iterator[tuple[int, Any]]:
    """Yield each operator with its index."""
    for index in range(subgraph.OperatorsLength()):
        yield index, subgraph.Operators(index)


def boundary(graph: Any) -> list[int]:
    """Return the indices of a graph's inputs, then of its outputs."""
    ends = [int(graph.Inputs(i)) for i in range(graph.InputsLength())]
    return ends + [int(graph.Outputs(i)) for i in range(graph.OutputsLength())]


def operator_tensors(operator: Any) -> list[int]:
    """Return the indices of an operator's inputs and outputs without absent ones."""
    indices = [int(operator.Inputs(i)) for i in range(operator.InputsLength())]
    indices += [int(operator.Outputs(i)) for i in range(operator.OutputsLength())]
    return [index for index in indices if index >= 0]


def check_references(model: Any, source: str) -> None:
    """Refuse a file in which a number points at a tensor, buffer or operator that is not there.

    Raises
    ------
    ModelFileError
        Also for constants whose size disagrees with their shape and for models without
        inputs, outputs or operators.
    """

    def require(condition: bool, what: str) -> None:
        if not condition:
            raise ModelFileError(
                f"{source}: damaged TFLite file ({what})", hint="copy or convert the file again"
            )

    require(model.Version() == 3, f"schema version {model.Version()} instead of 3")
    require(model.SubgraphsLength() > 0, "no graph in it")
    graph = model.Subgraphs(0)
    require(graph.OperatorsLength() > 0, "no operators in it")
    require(graph.InputsLength() > 0 and graph.OutputsLength() > 0, "no inputs or outputs")
    count = graph.TensorsLength()
    ends = boundary(graph)
    require(all(0 <= end < count for end in ends), "an input or output that does not exist")
    for index in range(count):
        _check_tensor(model, graph, index, require)
    names = [tensor_name(graph, end) for end in ends[: graph.InputsLength()]]
    require(len(set(names)) == len(names), "two inputs of one name")
    known = {int(graph.Inputs(i)) for i in range(graph.InputsLength())}
    for index, operator in operators(graph):
        require(operator.OpcodeIndex() < model.OperatorCodesLength(), f"operator {index}'s code")
        require(operator.OutputsLength() > 0, f"operator {index} has no output")
        inputs = [int(operator.Inputs(i)) for i in range(operator.InputsLength())]
        outputs = [int(operator.Outputs(i)) for i in range(operator.OutputsLength())]
        require(all(-1 <= i < count for i in inputs), f"operator {index}'s inputs")
        require(all(0 <= i < count for i in outputs), f"operator {index}'s outputs")
        for tensor in inputs:
            stored = tensor < 0 or _buffer_bytes(model, graph.Tensors(tensor)) > 0
            empty = tensor >= 0 and 0 in tensor_shape(graph.Tensors(tensor))
            require(stored or empty or tensor in known, f"operator {index} reads an unset tensor")
        once = known.isdisjoint(outputs) and len(set(outputs)) == len(outputs)
        require(once, f"operator {index} writes a tensor that is set already")
        known.update(outputs)
    require(known.issuperset(ends), "an output that nothing computes")


def _buffer_bytes(model: Any, tensor: Any) -> int:
    return int(model.Buffers(tensor.Buffer()).DataLength())


def _is_text(name: bytes | None) -> bool:
    try:
        (name or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _check_tensor(model: Any, graph: Any, index: int, require: Any) -> None:
    tensor = graph.Tensors(index)
    label = f"tensor {index}"
    require(tensor.Buffer() < model.BuffersLength(), f"{label}'s buffer")
    require(model.Buffers(tensor.Buffer()).Offset() <= 1, f"{label} is stored outside the file")
    require(_is_text(tensor.Name()), f"{label}'s name is not UTF-8")
    quantisation = tensor.Quantization()
    if quantisation is not None and quantisation.ScaleLength():
        scales = quantisation.ScaleAsNumpy()
        require(
            quantisation.ZeroPointLength() == quantisation.ScaleLength(), f"{label}'s zero points"
        )
        require(bool(np.all(np.isfinite(scales))), f"{label}'s scales")
        limits = np.iinfo(np.int8 if tensor.Type() == tflite.TensorType.INT8 else np.int32)
        points = quantisation.ZeroPointAsNumpy()
        inside = np.all((points >= limits.min) & (points <= limits.max))
        require(bool(inside), f"{label}'s zero points")
        # Weights may have negative scales (folded batch norms of the MCUNet zoo): LiteRT runs
        # them with a negative multiplier.
        constant = _buffer_bytes(model, tensor) > 0
        require(constant or bool(np.all(scales > 0)), f"{label}'s scale")
    size_bytes = _buffer_bytes(model, tensor)
    dtype = _DTYPES.get(tensor.Type())
    if size_bytes and dtype is not None:
        shape = tensor_shape(tensor)
        needed = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        require(size_bytes == needed, f"{label} holds {size_bytes} bytes, its shape {needed}")


def check_types(model: Any, source: str) -> None:
    """Refuse operators that compute in anything but int8.

    Raises
    ------
    FloatModelError
        An operator reads or writes real numbers (float models, dynamic-range quantisation).
    UnsupportedOperatorError
        Activations are uint8 or int16, or an int8 tensor has no scale.
    """
    graph = model.Subgraphs(0)
    for end in boundary(graph):
        kind = graph.Tensors(end).Type()
        if kind not in _IO_TYPES:
            raise UnsupportedOperatorError(
                f"{source}: input or output {tensor_name(graph, end)!r} is "
                f"{_TYPE_NAMES.get(kind, f'of type {kind}')}; int8 and float32 are supported",
                hint="convert the model again with int8 inputs, outputs and activations",
            )
    for index, operator in operators(graph):
        name = operator_name(model, operator)
        for position in operator_tensors(operator):
            tensor = graph.Tensors(position)
            kind = tensor.Type()
            where = f"{source}: operator {index} ({name}), tensor {tensor_name(graph, position)!r}"
            if kind in _REAL_TYPES and name not in _BOUNDARY_OPERATORS:
                raise FloatModelError(
                    f"{where}: computes in {_TYPE_NAMES[kind]}, the model is not fully int8",
                    hint=QUANTISE_HINT,
                )
            if kind in (tflite.TensorType.UINT8, tflite.TensorType.INT16):
                raise UnsupportedOperatorError(
                    f"{where}: is {_TYPE_NAMES[kind]}; only int8 activations are supported",
                    hint="convert the model again with int8 inputs, outputs and activations",
                )
            quantisation = tensor.Quantization()
            scaled = quantisation is not None and quantisation.ScaleLength() > 0
            if kind == tflite.TensorType.INT8 and not scaled:
                raise UnsupportedOperatorError(f"{where}: is int8 without a scale")


def check_shapes(model: Any, source: str) -> None:
    """Refuse dynamic shapes, zero-size dimensions and batches other than one.

    A batch that the file leaves open (``-1`` in the shape signature) is run as one.

    Raises
    ------
    UnsupportedShapeError
        Naming the tensor and its shape.
    """
    graph = model.Subgraphs(0)
    used = {position for _, operator in operators(graph) for position in operator_tensors(operator)}
    inputs = [int(graph.Inputs(i)) for i in range(graph.InputsLength())]
    for position in sorted(used.union(inputs)):
        tensor = graph.Tensors(position)
        shape = tensor_shape(tensor)
        label = f"{source}: tensor {tensor_name(graph, position)!r} of shape {list(shape)}"
        signature = (
            [int(size) for size in tensor.ShapeSignatureAsNumpy()]
            if tensor.ShapeSignatureLength()
            else list(shape)
        )
        if any(size < 0 for size in (*shape, *signature[1:])):
            raise UnsupportedShapeError(
                f"{label}: has a dynamic shape {signature}",
                hint="convert the model again with a fixed input shape",
            )
        if 0 in shape:
            raise UnsupportedShapeError(f"{label}: has a dimension of size zero")
        if math.prod(shape) > MAX_ELEMENTS:
            raise UnsupportedShapeError(f"{label}: has more than {MAX_ELEMENTS} elements")
    for position in inputs:
        shape = tensor_shape(graph.Tensors(position))
        if shape and shape[0] != 1:
            raise UnsupportedShapeError(
                f"{source}: input {tensor_name(graph, position)!r} has a batch of {shape[0]}",
                hint="convert the model again with a batch of one",
            )


def check_operators(model: Any, source: str, supported: frozenset[str]) -> None:
    """Refuse operators that the converter does not know, and control flow.

    Raises
    ------
    UnsupportedOperatorError
        Naming the first such operator, its output, and what is supported.
    """
    if model.SubgraphsLength() > 1:
        raise UnsupportedOperatorError(f"{source}: has {model.SubgraphsLength()} graphs, not one")
    graph = model.Subgraphs(0)
    for index, operator in operators(graph):
        name = operator_name(model, operator)
        if name not in supported:
            output = tensor_name(graph, int(operator.Outputs(0)))
            raise UnsupportedOperatorError(
                f"{source}: operator {index} ({name}, output {output!r}) is not supported",
                hint="supported: " + ", ".join(sorted(supported)),
            )
