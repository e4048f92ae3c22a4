"""Float ONNX networks to int8 QDQ, by onnxruntime's static quantisation."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.errors import (
    ModelFileError,
    ToolMissingError,
    TvmPatchError,
    UnsupportedOperatorError,
)

#: Operators around which QDQ is put; those of the importer that onnxruntime leaves out by default
#: (hard swish and its parts, means, differences) are among them.
QUANTISED_OPERATORS = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Conv",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
)


def quantize_onnx(
    model_path: str | os.PathLike[str],
    calibration_npz: str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    *,
    max_samples: int | None = None,
) -> Path:
    """Quantise a float ONNX network so that the importer takes it.

    Weights become int8, symmetric, one scale per output channel; activations int8 with one scale
    and zero point each, from the smallest and largest value seen in calibration. Batch
    normalisation is folded into convolutions beforehand.

    Parameters
    ----------
    model_path : path
        Float ONNX file with inputs of batch one or an open batch.
    calibration_npz : path
        One array per input, called as the input, of shape [samples, ...] in the layout of the
        file. With a single input and a single array the name does not matter.
    out_path : path
        Where to write; replaced only when everything has worked.
    max_samples : int or None
        Use the first so many samples only.

    Returns
    -------
    pathlib.Path
        ``out_path``.

    Raises
    ------
    ToolMissingError
        onnx or onnxruntime is not installed.
    ModelFileError
        A file is missing or damaged, or calibration data do not fit the inputs.
    UnsupportedOperatorError
        onnxruntime refuses the network.
    """
    model_file, target = Path(model_path), Path(out_path)
    onnx, quantization = _tools()
    inputs = _float_inputs(onnx, model_file)
    samples = _samples(Path(calibration_npz), inputs, max_samples)
    with tempfile.TemporaryDirectory(dir=_directory(target)) as folder:
        prepared, result = Path(folder) / "prepared.onnx", Path(folder) / "quantised.onnx"
        try:
            # Shape inference by symbols needs sympy and adds nothing for fixed shapes.
            quantization.quant_pre_process(
                str(model_file), str(prepared), skip_symbolic_shape=True, auto_merge=True
            )
            quantization.quantize_static(
                str(prepared),
                str(result),
                _reader(quantization, samples),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED_OPERATORS),
                per_channel=True,
                activation_type=quantization.QuantType.QInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
                extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
            )
        except TvmPatchError:
            raise
        except Exception as error:
            # onnxruntime raises many kinds of its own, none of them documented.
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error)
            raise UnsupportedOperatorError(
                f"{model_file}: onnxruntime cannot quantise it ({reason})"
            ) from error
        result.replace(target)
    return target


def _tools() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime.quantization as quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ModuleNotFoundError as error:
        raise ToolMissingError(
            f"the Python package {error.name!r}, which quantises, is not installed",
            hint="pip install 'tvm-patch[onnx]'",
        ) from error
    quantization.quant_pre_process = quant_pre_process
    return onnx, quantization


def _directory(target: Path) -> Path:
    if not target.parent.is_dir():
        raise ModelFileError(f"{target.parent}: no such directory to write {target.name} to")
    return target.parent


def _float_inputs(onnx: Any, path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of one sample of each input, without the batch; -1 where it is open."""
    try:
        model = onnx.load(str(path))
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file") from error
    except Exception as error:
        raise ModelFileError(f"{path}: truncated, damaged or not an ONNX file") from error
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise ModelFileError(f"{path}: is quantised already", hint="deploy it as it is")
    stored = {initializer.name for initializer in model.graph.initializer}
    inputs = {}
    for info in model.graph.input:
        if info.name in stored:
            continue
        if info.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            raise ModelFileError(f"{path}: input {info.name!r} is not float32")
        sizes = [
            int(dimension.dim_value) if dimension.HasField("dim_value") else -1
            for dimension in info.type.tensor_type.shape.dim
        ]
        inputs[info.name] = tuple(sizes[1:])
    if not inputs:
        raise ModelFileError(f"{path}: has no inputs")
    return inputs


def _samples(
    path: Path, inputs: dict[str, tuple[int, ...]], max_samples: int | None
) -> dict[str, npt.NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"{path}: not an .npz file of numbers", hint="write it with numpy.savez"
        ) from error
    except AttributeError as error:
        raise ModelFileError(
            f"{path}: one bare array, not an .npz file", hint="write it with numpy.savez"
        ) from error
    if len(inputs) == 1 and len(arrays) == 1:
        arrays = dict(zip(inputs, arrays.values(), strict=True))
    samples: dict[str, npt.NDArray[np.float32]] = {}
    for name, shape in inputs.items():
        if name not in arrays:
            raise ModelFileError(
                f"{path}: has no array {name!r} (it has {', '.join(sorted(arrays)) or 'none'})"
            )
        array = arrays[name]
        fits = array.ndim == len(shape) + 1 and all(
            wanted in (-1, size) for wanted, size in zip(shape, array.shape[1:], strict=False)
        )
        if not fits or array.shape[0] == 0:
            raise ModelFileError(
                f"{path}: array {name!r} has shape {list(array.shape)}, "
                f"not [samples, {', '.join(map(str, shape))}]"
            )
        if not np.issubdtype(array.dtype, np.number) or not np.all(np.isfinite(array)):
            raise ModelFileError(f"{path}: array {name!r} holds something else than finite numbers")
        samples[name] = np.ascontiguousarray(array[:max_samples], dtype=np.float32)
    counts = {name: len(array) for name, array in samples.items()}
    if len(set(counts.values())) != 1:
        raise ModelFileError(f"{path}: arrays of different numbers of samples: {counts}")
    return samples


def _reader(quantization: Any, samples: dict[str, npt.NDArray[np.float32]]) -> Any:
    def feeds() -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        for index in range(len(next(iter(samples.values())))):
            yield {name: array[index : index + 1] for name, array in samples.items()}

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Hands out one sample at a time, as onnxruntime asks for them."""

        def __init__(self) -> None:
            self._feeds = feeds()

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            return next(self._feeds, None)

    return Reader()
