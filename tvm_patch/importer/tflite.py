"""TFLite int8 files to Relax in QDQ form, through TVM's front end."""

from __future__ import annotations

import functools
import hashlib
import struct
from pathlib import Path
from typing import Any

import tflite
import tvm
from tvm import relax
from tvm.relax.frontend.tflite import from_tflite

from tvm_patch.errors import ModelFileError, TvmPatchError
from tvm_patch.importer import tflite_checks as checks
from tvm_patch.importer.flatbuffer import verify_tflite
from tvm_patch.importer.model import TENSOR_NAMES_ATTR, ImportedModel, TensorInfo
from tvm_patch.importer.names import UniqueNames, sanitise
from tvm_patch.importer.refusal import REFUSALS, abandon, reason
from tvm_patch.importer.tflite_converter import (
    SUPPORTED_OPERATORS,
    QuantizedConverter,
    TensorRecord,
)

_IO_DTYPES = {tflite.TensorType.INT8: "int8", tflite.TensorType.FLOAT32: "float32"}


def load_tflite(data: bytes, *, name: str, source_path: Path | None = None) -> ImportedModel:
    """Import an int8 TFLite network.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What to call the model.
    source_path : pathlib.Path or None
        Where it came from, for messages.

    Returns
    -------
    ImportedModel
        ``main`` takes and returns the file's own inputs and outputs, int8 or float32.

    Raises
    ------
    ModelFileError
        Truncated, damaged or not TFLite.
    FloatModelError
        Not fully int8.
    UnsupportedOperatorError, UnsupportedShapeError
        Naming the operator or tensor.
    """
    source = source_path.name if source_path else name
    verify_tflite(data, source)
    try:
        model = tflite.Model.GetRootAs(data, 0)
        checks.check_references(model, source)
        checks.check_types(model, source)
        checks.check_operators(model, source, SUPPORTED_OPERATORS)
        checks.check_shapes(model, source)
    except (struct.error, IndexError, ValueError, UnicodeDecodeError) as error:
        # An operator's options are read without a schema; damage there shows up here.
        raise ModelFileError(
            f"{source}: damaged TFLite file ({error})", hint="copy or convert the file again"
        ) from error
    record = TensorRecord()
    converter = functools.partial(QuantizedConverter, record=record)
    try:
        module = from_tflite(model, op_converter=converter)
    except TvmPatchError as error:
        if record.unfinished is not None:
            abandon(record.unfinished)
        raise type(error)(f"{source}: {error.message}", hint=error.hint) from error
    except REFUSALS as error:
        raise ModelFileError(
            f"{source}: damaged TFLite file ({reason(error)})",
            hint="copy or convert the file again",
        ) from error
    graph = model.Subgraphs(0)
    module, inputs = _rename_inputs(module, graph, record)
    by_index = {index: variable for variable, index in record.indices.items()}
    outputs = []
    for position in range(graph.OutputsLength()):
        index = int(graph.Outputs(position))
        outputs.append(_tensor_info(graph, index, by_index.get(index, f"output_{position}")))
    return ImportedModel(
        name=name,
        c_name=sanitise(name, fallback="model"),
        format="tflite",
        module=module,
        inputs=inputs,
        outputs=tuple(outputs),
        source_path=source_path,
        sha256=hashlib.sha256(data).hexdigest(),
        tensor_names=dict(record.names),
        tensor_indices=dict(record.indices),
    )


def _tensor_info(graph: Any, index: int, var_name: str) -> TensorInfo:
    tensor = graph.Tensors(index)
    dtype = _IO_DTYPES.get(tensor.Type())
    if dtype is None:
        raise ModelFileError(
            f"input or output {checks.tensor_name(graph, index)!r} is neither int8 nor float32"
        )
    shape = checks.tensor_shape(tensor)
    layout = "NHWC" if len(shape) == 4 else "as_is"
    quantisation = tensor.Quantization() if dtype == "int8" else None
    return TensorInfo(
        name=checks.tensor_name(graph, index),
        var_name=var_name,
        shape=shape,
        dtype=dtype,
        scale=float(quantisation.Scale(0)) if quantisation else None,
        zero_point=int(quantisation.ZeroPoint(0)) if quantisation else None,
        layout=layout,
        source_layout=layout,
    )


@relax.expr_functor.mutator
class _ParameterRenamer(relax.PyExprMutator):  # type: ignore[misc]
    """Puts other parameters in the place of a function's own."""

    def rename(self, function: relax.Function, names: list[str]) -> relax.Function:
        parameters = []
        for old, name in zip(function.params, names, strict=True):
            new = relax.Var(name, old.ty)
            self.set_var_remap(old, new)
            parameters.append(new)
        return relax.Function(parameters, self.visit_expr(function.body), function.ret_ty)


def _rename_inputs(
    module: tvm.IRModule, graph: Any, record: TensorRecord
) -> tuple[tvm.IRModule, tuple[TensorInfo, ...]]:
    """Give the parameters C-safe names and replace the front end's attributes by our own."""
    taken = UniqueNames()
    for variable in record.names:
        taken.claim(variable)
    infos = []
    for position in range(graph.InputsLength()):
        index = int(graph.Inputs(position))
        variable = taken.claim(checks.tensor_name(graph, index), fallback="input")
        record.add(variable, checks.tensor_name(graph, index), index)
        infos.append(_tensor_info(graph, index, variable))
    function = _ParameterRenamer().rename(module["main"], [info.var_name for info in infos])
    function = function.with_attrs(
        {"global_symbol": "main", "num_input": len(infos), TENSOR_NAMES_ATTR: dict(record.names)}
    )
    return tvm.IRModule({"main": function}), tuple(infos)
