"""ONNX files in QDQ form, as onnxruntime's static quantisation writes them, to Relax in NHWC."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import tvm
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tvm import relax

from tvm_patch.errors import (
    FloatModelError,
    ModelFileError,
    TvmPatchError,
    UnsupportedOperatorError,
    UnsupportedShapeError,
)
from tvm_patch.importer import onnx_elementwise as elementwise
from tvm_patch.importer import onnx_movement as movement
from tvm_patch.importer import onnx_windows as windows
from tvm_patch.importer.model import MAX_ELEMENTS, TENSOR_NAMES_ATTR, ImportedModel, TensorInfo
from tvm_patch.importer.names import sanitise
from tvm_patch.importer.onnx_graph import (
    Converter,
    Graph,
    dequantize_linear,
    label,
    quantize_linear,
    shape_of,
)
from tvm_patch.importer.onnx_values import (
    NHWC,
    Constant,
    Flattened,
    Order,
    Quantised,
    Real,
    identity,
)
from tvm_patch.importer.refusal import REFUSALS, abandon, reason

_CONVERTERS: dict[str, Converter] = {
    "Add": elementwise.binary(relax.op.add),
    "AveragePool": windows.average_pool,
    "Clip": elementwise.clip,
    "Concat": elementwise.concat,
    "Constant": movement.constant,
    "Conv": windows.conv,
    "DequantizeLinear": dequantize_linear,
    "Dropout": movement.identity_op,
    "Flatten": movement.flatten,
    "Gemm": windows.gemm,
    "GlobalAveragePool": windows.global_average_pool,
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_swish,
    "Identity": movement.identity_op,
    "LeakyRelu": elementwise.leaky_relu,
    "MatMul": windows.matmul,
    "MaxPool": windows.max_pool,
    "Mul": elementwise.binary(relax.op.multiply),
    "Pad": movement.pad,
    "QuantizeLinear": quantize_linear,
    "ReduceMean": elementwise.reduce_mean,
    "Relu": elementwise.relu,
    "Reshape": movement.reshape,
    "Resize": movement.resize,
    "Sigmoid": elementwise.sigmoid,
    "Slice": movement.strided_slice,
    "Softmax": elementwise.softmax,
    "Squeeze": movement.squeeze,
    "Sub": elementwise.binary(relax.op.subtract),
    "Tanh": elementwise.tanh,
    "Transpose": movement.transpose,
    "Unsqueeze": movement.unsqueeze,
    "Upsample": movement.resize,
}

#: ONNX operators that the importer takes, between ``DequantizeLinear`` and ``QuantizeLinear``.
SUPPORTED_ONNX_OPERATORS = frozenset(_CONVERTERS)

_BOUNDARY_OPERATORS = ("QuantizeLinear", "DequantizeLinear")
_QUANTISE_HINT = "quantise it: tvm-patch quantize model.onnx --calibration data.npz"


def load_onnx(data: bytes, *, name: str, source_path: Path | None = None) -> ImportedModel:
    """Import an ONNX network in QDQ form.

    Inputs and outputs keep their type. Images become NHWC: an input [1, C, H, W] of the file is
    [1, H, W, C] of the module, unless the file transposes it first thing, as converters from
    TensorFlow write it; :attr:`TensorInfo.source_layout` says which.

    Parameters
    ----------
    data : bytes
        The whole file, weights inside.
    name : str
        What to call the model.
    source_path : pathlib.Path or None
        Where it came from, for messages.

    Returns
    -------
    ImportedModel

    Raises
    ------
    ModelFileError
        Truncated, damaged, or with weights in another file.
    FloatModelError
        Without any QuantizeLinear.
    UnsupportedOperatorError, UnsupportedShapeError
        Naming the node or tensor.
    """
    source = source_path.name if source_path else name
    model = _parse(data, source)
    _check_operators(model, source)
    graph = Graph(source, model)
    stored = {initializer.name for initializer in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in stored]
    declared = [_declare_input(graph, model, value_info) for value_info in inputs]
    infos = [info for _, info in declared]
    function, output_infos = _build(graph, model, [parameter for parameter, _ in declared])
    turned: Literal["NHWC", "NCHW"] = (
        "NCHW" if any(info.source_layout == "NCHW" for info in infos) else "NHWC"
    )
    return ImportedModel(
        name=name,
        c_name=sanitise(name, fallback="model"),
        format="onnx",
        module=relax.transform.DeadCodeElimination()(tvm.IRModule({"main": function})),
        inputs=tuple(_with_parameters(info, graph) for info in infos),
        outputs=tuple(output_infos),
        source_path=source_path,
        sha256=hashlib.sha256(data).hexdigest(),
        tensor_names=dict(graph.tensor_names),
        tensor_indices={},
        input_layout=turned,
    )


def _build(
    graph: Graph, model: onnx.ModelProto, parameters: list[relax.Var]
) -> tuple[relax.Function, list[TensorInfo]]:
    """Convert every node and return ``main`` with the description of its outputs."""
    builder = graph.builder
    try:
        with builder.function("main"):
            with builder.dataflow():
                for node in model.graph.node:
                    _convert(graph, node)
                declared = [_output(graph, value_info) for value_info in model.graph.output]
                results = [result for result, _ in declared]
                result = results[0] if len(results) == 1 else relax.Tuple(results)
                output = builder.emit_output(result)
            builder.emit_func_output(output, parameters)
    except TvmPatchError:
        abandon(builder)
        raise
    attributes = {
        "global_symbol": "main",
        "num_input": len(parameters),
        TENSOR_NAMES_ATTR: dict(graph.tensor_names),
    }
    return builder.get()["main"].with_attrs(attributes), [info for _, info in declared]


def _parse(data: bytes, source: str) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "cannot be parsed"
        raise ModelFileError(
            f"{source}: truncated, damaged or not an ONNX file ({reason})",
            hint="copy or export the file again",
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ModelFileError(f"{source}: an ONNX file without operators or outputs")
    return model


def _check_operators(model: onnx.ModelProto, source: str) -> None:
    kinds = {node.op_type for node in model.graph.node}
    if any(kind.startswith("QLinear") for kind in kinds):
        raise UnsupportedOperatorError(
            f"{source}: is quantised in operator form (QLinear...)",
            hint="quantise it with QuantFormat.QDQ",
        )
    if "QuantizeLinear" not in kinds:
        raise FloatModelError(
            f"{source}: computes in floating point (no QuantizeLinear)", hint=_QUANTISE_HINT
        )
    for node in model.graph.node:
        if node.op_type not in SUPPORTED_ONNX_OPERATORS or node.domain not in ("", "ai.onnx"):
            names = sorted(SUPPORTED_ONNX_OPERATORS.difference(_BOUNDARY_OPERATORS))
            raise UnsupportedOperatorError(
                f"{source}: {label(node)} is not supported", hint="supported: " + ", ".join(names)
            )


def _convert(graph: Graph, node: onnx.NodeProto) -> None:
    try:
        graph.values[node.output[0]] = _CONVERTERS[node.op_type](graph, node)
    except REFUSALS as error:
        raise graph.refuse(node, f"cannot be imported: {reason(error)}") from error
    shape = shape_of(graph.values[node.output[0]])
    if 0 in shape or math.prod(shape) > MAX_ELEMENTS:
        raise UnsupportedShapeError(
            f"{graph.source}: {label(node)} yields shape {list(shape)}, "
            + ("a dimension of size zero" if 0 in shape else f"over {MAX_ELEMENTS} elements")
        )


def _declare_input(
    graph: Graph, model: onnx.ModelProto, value_info: onnx.ValueInfoProto
) -> tuple[relax.Var, TensorInfo]:
    shape = _static_shape(value_info, graph.source)
    kinds = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT8: "int8"}
    dtype = kinds.get(value_info.type.tensor_type.elem_type)
    if dtype is None:
        kind = _type_name(value_info)
        raise UnsupportedOperatorError(
            f"{graph.source}: input {value_info.name!r} is {kind}; float32 and int8 are supported"
        )
    order = _input_order(model, value_info.name, len(shape))
    physical = tuple(shape[axis] for axis in order)
    var_name = graph.names.claim(value_info.name, fallback="input")
    graph.tensor_names[var_name] = value_info.name
    graph.parameters.add(value_info.name)
    parameter = relax.Var(var_name, relax.TensorType(physical, dtype))
    graph.values[value_info.name] = (
        Real(parameter, order) if dtype == "float32" else Quantised(parameter, order, None, 0)
    )
    layout = "NHWC" if len(shape) == 4 else "as_is"
    source_layout = "NCHW" if order == NHWC else layout
    return parameter, TensorInfo(
        value_info.name, var_name, physical, dtype, None, None, layout, source_layout
    )


def _type_name(value_info: onnx.ValueInfoProto) -> str:
    number = value_info.type.tensor_type.elem_type
    names = {value: name.lower() for name, value in onnx.TensorProto.DataType.items()}
    return str(names.get(number, f"of type {number}"))


def _static_shape(value_info: onnx.ValueInfoProto, source: str) -> tuple[int, ...]:
    sizes = []
    for axis, dimension in enumerate(value_info.type.tensor_type.shape.dim):
        if dimension.HasField("dim_value"):
            sizes.append(int(dimension.dim_value))
        elif axis == 0:
            # A batch that the file leaves open is run as one.
            sizes.append(1)
        else:
            raise UnsupportedShapeError(
                f"{source}: input {value_info.name!r} has a dynamic dimension "
                f"{dimension.dim_param or '?'!r}",
                hint="export the model again with a fixed input shape",
            )
    if any(size <= 0 for size in sizes):
        raise UnsupportedShapeError(
            f"{source}: input {value_info.name!r} of shape {sizes} has a dimension of size zero"
        )
    if math.prod(sizes) > MAX_ELEMENTS:
        raise UnsupportedShapeError(
            f"{source}: input {value_info.name!r} of shape {sizes} has over {MAX_ELEMENTS} elements"
        )
    if sizes and sizes[0] != 1:
        raise UnsupportedShapeError(
            f"{source}: input {value_info.name!r} has a batch of {sizes[0]}",
            hint="export the model again with a batch of one",
        )
    return tuple(sizes)


def _input_order(model: onnx.ModelProto, name: str, rank: int) -> Order:
    """Return NHWC for an NCHW image, and the file's own order where it is NHWC already.

    It is where everything that reads it, behind its quantisation, turns it to NCHW.
    """
    if rank != 4:
        return identity(rank)
    aliases = {name}
    readers = []
    for node in model.graph.node:
        if not node.input or node.input[0] not in aliases:
            continue
        if node.op_type in _BOUNDARY_OPERATORS:
            aliases.add(node.output[0])
        else:
            readers.append(node)
    turned = [
        node.op_type == "Transpose"
        and any(list(attribute.ints) == [0, 3, 1, 2] for attribute in node.attribute)
        for node in readers
    ]
    return identity(4) if turned and all(turned) else NHWC


def _with_parameters(info: TensorInfo, graph: Graph) -> TensorInfo:
    """Fill in the scale of an int8 input, known from the DequantizeLinear that reads it."""
    if info.dtype != "int8":
        return info
    for value in graph.values.values():
        known = isinstance(value, Quantised) and value.scale is not None
        if known and isinstance(value, Quantised) and value.expr.name == info.var_name:
            return TensorInfo(
                info.name,
                info.var_name,
                info.shape,
                info.dtype,
                value.scale,
                value.zero_point,
                info.layout,
                info.source_layout,
            )
    return info


def _output(graph: Graph, value_info: onnx.ValueInfoProto) -> tuple[relax.Expr, TensorInfo]:
    name = value_info.name
    value = graph.values.get(name)
    if isinstance(value, Flattened):
        value = graph.materialised(value, name)
    if value is None or isinstance(value, Real | Constant) or value.scale is None:
        raise UnsupportedOperatorError(
            f"{graph.source}: output {name!r} is not quantised",
            hint="quantise every activation: tvm-patch quantize model.onnx --calibration data.npz",
        )
    rank = len(value.order)
    order = NHWC if rank == 4 and value.order != identity(4) else identity(rank)
    value = graph.ordered(value, order, name)
    kind = value_info.type.tensor_type.elem_type
    layout = "NHWC" if rank == 4 else "as_is"
    source_layout = "NCHW" if order == NHWC else layout
    if kind == onnx.TensorProto.FLOAT:
        result = graph.emit(value.dequantised(), name)
        scale, zero_point, dtype = None, None, "float32"
    elif kind == onnx.TensorProto.INT8:
        result, dtype = value.expr, "int8"
        scale, zero_point = value.scale, value.zero_point
    else:
        raise UnsupportedOperatorError(
            f"{graph.source}: output {name!r} is "
            f"{_type_name(value_info)}; float32 and int8 are supported"
        )
    shape = tuple(int(size) for size in np.asarray(value.physical_shape))
    return result, TensorInfo(
        name, result.name, shape, dtype, scale, zero_point, layout, source_layout
    )
