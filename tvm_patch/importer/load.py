"""One entry for every model format, told apart by content."""

from __future__ import annotations

import os
from pathlib import Path

import tvm

from tvm_patch.errors import ModelFileError, ToolMissingError
from tvm_patch.importer.flatbuffer import TFLITE_IDENTIFIER
from tvm_patch.importer.model import ImportedModel


def load_model(
    source: str | os.PathLike[str] | tvm.IRModule, *, name: str | None = None
) -> ImportedModel:
    """Import a quantised network from a file or from Relax.

    Parameters
    ----------
    source : path or tvm.IRModule
        An int8 TFLite file, an ONNX file in QDQ form, or a Relax module in QDQ form. Files are
        told apart by their content, whatever they are called.
    name : str or None
        What to call the model; the stem of the file name, or ``"model"``, if None.

    Returns
    -------
    ImportedModel

    Raises
    ------
    ModelFileError
        Missing, unreadable, truncated, damaged or of a foreign format.
    FloatModelError
        The model computes in floating point; the hint says how to quantise it.
    UnsupportedOperatorError, UnsupportedShapeError
        Naming the operator or tensor.
    ToolMissingError
        A package that reads this format is not installed.
    """
    if isinstance(source, tvm.IRModule):
        from tvm_patch.importer.relax import load_relax

        return load_relax(source, name=name or "model")
    path = Path(source)
    data = _read(path)
    stem = name or path.stem
    if data[4:8] == TFLITE_IDENTIFIER:
        try:
            from tvm_patch.importer.tflite import load_tflite
        except ModuleNotFoundError as error:
            raise _missing(error, path, "full") from error
        return load_tflite(data, name=stem, source_path=path)
    if looks_like_onnx(data):
        try:
            from tvm_patch.importer.onnx import load_onnx
        except ModuleNotFoundError as error:
            raise _missing(error, path, "onnx") from error
        return load_onnx(data, name=stem, source_path=path)
    raise ModelFileError(
        f"{path}: neither a TFLite nor an ONNX file ({len(data)} bytes)",
        hint="give an int8 .tflite file or an .onnx file in QDQ form",
    )


def looks_like_onnx(data: bytes) -> bool:
    """Tell whether bytes start like a serialised ONNX ``ModelProto``.

    Writers put ``ir_version`` (field 1, a small varint) first; 0x08 is that field's tag.
    """
    return len(data) > 2 and data[0] == 0x08 and 1 <= data[1] < 0x40


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file", hint="check the path of the model") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error


def _missing(error: ModuleNotFoundError, path: Path, extra: str) -> ToolMissingError:
    return ToolMissingError(
        f"{path}: the Python package {error.name!r} that reads it is not installed",
        hint=f"pip install 'tvm-patch[{extra}]'",
    )
