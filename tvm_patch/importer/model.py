"""What an import yields: the QDQ module and everything a later layer asks about the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tvm

ModelFormat = Literal["tflite", "onnx", "relax"]

#: Attribute of ``main`` that maps Relax variable names to the tensor names of the source file.
TENSOR_NAMES_ATTR = "tensor_names"


#: No tensor may have more elements. Microcontrollers end far below; damaged files begin above.
MAX_ELEMENTS = 1 << 26


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a model.

    Parameters
    ----------
    name : str
        The tensor's name in the source file.
    var_name : str
        Its name in the Relax module and in generated C.
    shape : tuple of int
        NHWC for images, batch 1.
    dtype : str
        ``"int8"`` or ``"float32"``.
    scale : float or None
        Real value of one step; exactly a float32. None where the tensor itself is float32.
    zero_point : int or None
        The integer that stands for 0.0; None where the tensor itself is float32.
    layout : str
        ``"NHWC"`` for 4-D tensors stored so, else the axes in the order of the source file
        (``"as_is"``).
    source_layout : str
        The layout of the same tensor in the source file: ``"NCHW"`` where the importer turned
        it round, else equal to ``layout``.
    """

    name: str
    var_name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None
    layout: str
    source_layout: str


@dataclass(frozen=True)
class ImportedModel:
    """A quantised network in QDQ form.

    Parameters
    ----------
    name : str
        Stem of the file name, or the name given by the caller.
    c_name : str
        The same as a C identifier.
    format : {"tflite", "onnx", "relax"}
        Where it came from.
    module : tvm.IRModule
        One function ``main``: ``quantize(op(dequantize(x)))`` around every operator that
        computes, plain int8 Relax operators where bytes only move. Activations are NHWC with
        batch 1; every weight is a constant; each variable that holds an output of a source
        operator has that tensor's name.
    inputs, outputs : tuple of TensorInfo
        In the order of the source file.
    source_path : pathlib.Path or None
        The file, None for a module handed over in Python.
    sha256 : str
        Of the file's bytes, or of the module's serialised form.
    tensor_names : mapping of str to str
        Relax variable name to tensor name in the source file, one entry per operator output.
    tensor_indices : mapping of str to int
        Relax variable name to TFLite tensor index; empty for other formats.
    input_layout : {"NHWC", "NCHW"}
        Layout of images in the *source file*; the module itself always takes NHWC.
    """

    name: str
    c_name: str
    format: ModelFormat
    module: tvm.IRModule = field(repr=False)
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    source_path: Path | None
    sha256: str
    tensor_names: Mapping[str, str] = field(repr=False)
    tensor_indices: Mapping[str, int] = field(repr=False)
    input_layout: Literal["NHWC", "NCHW"] = "NHWC"
