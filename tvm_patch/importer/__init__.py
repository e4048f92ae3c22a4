"""Model files to Relax in QDQ form: the first step of the flow.

:func:`load_model` takes a TFLite file, an ONNX file or a Relax module and returns an
:class:`ImportedModel`, whose module has NHWC activations, constant weights and variables named
after the tensors of the source.
"""

from __future__ import annotations

from tvm_patch.importer.golden import GoldenRun, golden_outputs, random_inputs
from tvm_patch.importer.load import load_model
from tvm_patch.importer.model import TENSOR_NAMES_ATTR, ImportedModel, TensorInfo

__all__ = [
    "TENSOR_NAMES_ATTR",
    "GoldenRun",
    "ImportedModel",
    "TensorInfo",
    "golden_outputs",
    "load_model",
    "random_inputs",
]
