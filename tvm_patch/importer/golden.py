"""The original model run by its own runtime, for golden inputs and outputs.

TFLite files are run by LiteRT's *reference* kernels, whose integers are the definition of
correct here (LiteRT's optimised kernels differ from them by up to three steps). ONNX files are
run by onnxruntime, which computes QDQ models in floating point: good for accuracy, not bit for
bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.errors import ModelFileError, ToolMissingError, ValidationError
from tvm_patch.importer.model import ImportedModel, TensorInfo

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class GoldenRun:
    """What the original runtime computed.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        By variable name, in the layout and type of :attr:`ImportedModel.outputs`.
    tensors : mapping of str to ndarray
        Every activation by variable name; only where it was asked for and only for TFLite.
    bit_exact : bool
        True where the runtime's integers are the reference (LiteRT), False for onnxruntime.
    """

    outputs: Mapping[str, Array]
    tensors: Mapping[str, Array]
    bit_exact: bool


def random_inputs(model: ImportedModel, seed: int) -> dict[str, Array]:
    """Make inputs for a model, the same ones for the same seed.

    Parameters
    ----------
    model : ImportedModel
        Asked for the shapes and types of its inputs.
    seed : int
        At least 0.

    Returns
    -------
    dict of str to ndarray
        By variable name. int8 inputs are uniform over [-128, 127]; float32 inputs are uniform
        over the range that the model's first quantisation represents, as images are.
    """
    generator = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    for info in model.inputs:
        if info.dtype == "int8":
            inputs[info.var_name] = generator.integers(-128, 128, info.shape, dtype=np.int8)
        else:
            low, high = _real_range(model, info)
            values = generator.uniform(low, high, info.shape)
            inputs[info.var_name] = values.astype(np.float32)
    return inputs


def golden_outputs(
    model: ImportedModel, inputs: Mapping[str, Array], *, all_tensors: bool = False
) -> GoldenRun:
    """Run the original file.

    Parameters
    ----------
    model : ImportedModel
        Imported from a file.
    inputs : mapping of str to ndarray
        By variable name, shaped and typed as :attr:`ImportedModel.inputs`.
    all_tensors : bool
        Also return every activation (TFLite).

    Returns
    -------
    GoldenRun

    Raises
    ------
    ModelFileError
        The model came from Python, not from a file, or the file has changed since.
    ValidationError
        An input is missing or has another shape or type.
    ToolMissingError
        The runtime is not installed.
    """
    _check_inputs(model, inputs)
    if model.source_path is None:
        raise ModelFileError(
            f"{model.name}: a Relax module has no original file to run",
            hint="compare with the interpreter of the integer dialect instead",
        )
    data = _unchanged_bytes(model)
    if model.format == "onnx":
        return _run_onnx(model, data, inputs)
    return _run_litert(model, data, inputs, all_tensors)


def _unchanged_bytes(model: ImportedModel) -> bytes:
    import hashlib

    assert model.source_path is not None
    try:
        data = model.source_path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{model.source_path}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(data).hexdigest() != model.sha256:
        raise ModelFileError(
            f"{model.source_path}: has changed since it was imported", hint="import it again"
        )
    return data


def _check_inputs(model: ImportedModel, inputs: Mapping[str, Array]) -> None:
    for info in model.inputs:
        value = inputs.get(info.var_name)
        if value is None:
            raise ValidationError(f"{model.name}: input {info.var_name!r} is missing")
        if tuple(value.shape) != info.shape or str(value.dtype) != info.dtype:
            raise ValidationError(
                f"{model.name}: input {info.var_name!r} is {value.dtype}{list(value.shape)}, "
                f"not {info.dtype}{list(info.shape)}"
            )


def _run_litert(
    model: ImportedModel, data: bytes, inputs: Mapping[str, Array], all_tensors: bool
) -> GoldenRun:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ModuleNotFoundError as error:
        raise ToolMissingError(
            "LiteRT, which computes the reference, is not installed",
            hint="pip install 'tvm-patch[full]'",
        ) from error
    try:
        interpreter = Interpreter(
            model_content=data,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=all_tensors,
        )
        interpreter.allocate_tensors()
        for info in model.inputs:
            interpreter.set_tensor(model.tensor_indices[info.var_name], inputs[info.var_name])
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(f"{model.source_path}: LiteRT refuses it ({error})") from error
    outputs = {
        info.var_name: np.array(interpreter.get_tensor(model.tensor_indices[info.var_name]))
        for info in model.outputs
    }
    tensors: dict[str, Array] = {}
    if all_tensors:
        tensors = {
            variable: np.array(interpreter.get_tensor(index))
            for variable, index in model.tensor_indices.items()
        }
    return GoldenRun(outputs, tensors, bit_exact=True)


def _run_onnx(model: ImportedModel, data: bytes, inputs: Mapping[str, Array]) -> GoldenRun:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ToolMissingError(
            "onnxruntime, which computes the reference, is not installed",
            hint="pip install 'tvm-patch[onnx]'",
        ) from error
    options = onnxruntime.SessionOptions()
    # Optimisations fuse QDQ into integer kernels with roundings of their own.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    feeds = {info.name: _to_source_layout(inputs[info.var_name], info) for info in model.inputs}
    results = session.run([info.name for info in model.outputs], feeds)
    outputs = {
        info.var_name: _from_source_layout(np.asarray(result), info)
        for info, result in zip(model.outputs, results, strict=True)
    }
    return GoldenRun(outputs, {}, bit_exact=False)


def _to_source_layout(value: Array, info: TensorInfo) -> Array:
    if info.source_layout == info.layout:
        return value
    return np.ascontiguousarray(value.transpose(0, 3, 1, 2))


def _from_source_layout(value: Array, info: TensorInfo) -> Array:
    if info.source_layout == info.layout:
        return value
    return np.ascontiguousarray(value.transpose(0, 2, 3, 1))


def _real_range(model: ImportedModel, info: TensorInfo) -> tuple[float, float]:
    from tvm_patch.importer.relax import first_quantisation

    found = first_quantisation(model.module, info.var_name)
    if found is None:
        return -1.0, 1.0
    scale, zero_point = found
    return (-128 - zero_point) * scale, (127 - zero_point) * scale
