"""The container of a TFLite file: buffers, tensors, operator codes and one subgraph.

File format: ``tensorflow/lite/schema/schema.fbs``, version 3, through the Python classes that
LiteRT ships. Knows nothing of what an operator means; see :mod:`tvm_patch.testing.tflite_builder`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

_BUFFER_ALIGNMENT_BYTES = 16
_LAST_DEPRECATED_CODE = 127
_TENSOR_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
}


@dataclass(frozen=True)
class TensorRef:
    """A tensor of the file under construction.

    Parameters
    ----------
    index : int
        Position in the subgraph.
    name : str
        Unique within the file.
    shape : tuple of int
        NHWC for feature maps.
    dtype : str
        NumPy name of the element type.
    scale : float or None
        Real value of one step; None for tensors without quantisation. For per-channel weights the
        scale of the first channel.
    zero_point : int
        Quantised value that stands for zero.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: float | None = None
    zero_point: int = 0

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating point."""
        return self.dtype == "float32"


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose bytes start on 16, as the schema demands and the plain packer forgets."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - name fixed by flatbuffers
        if self.data is None:
            return int(super().Pack(builder))
        raw = bytes(self.data)
        builder.StartVector(1, len(raw), _BUFFER_ALIGNMENT_BYTES)
        head = builder.head - len(raw)
        builder.head = head
        builder.Bytes[head : head + len(raw)] = raw
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


class TFLiteWriter:
    """Collects tensors and operators and packs them into a file.

    Parameters
    ----------
    name : str
        Name of the subgraph, also the file's description.
    """

    def __init__(self, name: str = "model") -> None:
        self.name = name
        self._buffers: list[Any] = [_AlignedBuffer()]
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, str], tuple[int, Any]] = {}
        self._inputs: list[int] = []
        self._outputs: list[int] = []
        self._names: set[str] = set()

    def input(
        self,
        name: str,
        shape: Sequence[int],
        scale: float | None = None,
        zero_point: int = 0,
        *,
        dtype: str | None = None,
        shape_signature: Sequence[int] | None = None,
    ) -> TensorRef:
        """Add an input of the network.

        Parameters
        ----------
        name : str
            Name of the tensor.
        shape : sequence of int
            Static shape, NHWC.
        scale : float or None
            Quantisation scale; None makes a float32 input unless `dtype` says otherwise.
        zero_point : int
            -128..127 for int8.
        dtype : str or None
            Element type; by default int8 with a scale, float32 without.
        shape_signature : sequence of int or None
            Shape with -1 for dynamic dimensions.
        """
        if dtype is None:
            dtype = "float32" if scale is None else "int8"
        ref = self.tensor(name, shape, dtype, scale, zero_point, shape_signature=shape_signature)
        self._inputs.append(ref.index)
        return ref

    def output(self, ref: TensorRef) -> TensorRef:
        """Make a tensor an output of the network and return it."""
        self._outputs.append(ref.index)
        return ref

    def constant(
        self,
        name: str,
        values: npt.ArrayLike,
        dtype: str,
        scales: float | Sequence[float] | npt.NDArray[Any] | None = None,
        zero_point: int = 0,
        quantized_dimension: int = 0,
    ) -> TensorRef:
        """Add a tensor with data in the file: weights, bias, axes, paddings.

        `scales` holds one scale, or one per index of `quantized_dimension`.
        """
        array = np.ascontiguousarray(np.asarray(values, dtype=dtype))
        buffer = _AlignedBuffer()
        buffer.data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        self._buffers.append(buffer)
        return self.tensor(
            name,
            array.shape,
            dtype,
            scales,
            zero_point,
            buffer=len(self._buffers) - 1,
            quantized_dimension=quantized_dimension,
        )

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        scales: float | Sequence[float] | npt.NDArray[Any] | None = None,
        zero_point: int = 0,
        *,
        buffer: int = 0,
        quantized_dimension: int = 0,
        shape_signature: Sequence[int] | None = None,
    ) -> TensorRef:
        """Add a tensor; the general form behind :meth:`input` and :meth:`constant`.

        Raises
        ------
        ValueError
            If the element type is unknown or a scale is not positive and finite.
        """
        if dtype not in _TENSOR_TYPES:
            raise ValueError(
                f"tensor {name!r}: element type {dtype} is not one of {[*_TENSOR_TYPES]}"
            )
        tensor = schema.TensorT()
        tensor.name = self._unique(name)
        tensor.shape = [int(extent) for extent in shape]
        tensor.type = _TENSOR_TYPES[dtype]
        tensor.buffer = buffer
        tensor.hasRank = True
        if shape_signature is not None:
            tensor.shapeSignature = [int(extent) for extent in shape_signature]
        scale_list = [] if scales is None else [float(s) for s in np.atleast_1d(scales)]
        if any(not (math.isfinite(s) and s > 0) for s in scale_list):
            raise ValueError(f"tensor {name!r}: scales must be positive and finite")
        tensor.quantization = schema.QuantizationParametersT()
        if scale_list:
            tensor.quantization.scale = np.asarray(scale_list, dtype=np.float32)
            zero_points = np.full(len(scale_list), zero_point, dtype=np.int64)
            tensor.quantization.zeroPoint = zero_points
            tensor.quantization.quantizedDimension = quantized_dimension
        self._tensors.append(tensor)
        # What the file stores is float32; arithmetic on the reference must see the same value.
        scale = float(np.float32(scale_list[0])) if scale_list else None
        index = len(self._tensors) - 1
        return TensorRef(
            index, str(tensor.name), tuple(tensor.shape), dtype, scale, int(zero_point)
        )

    def operator(
        self,
        kind: str,
        inputs: Sequence[TensorRef | None],
        outputs: Sequence[TensorRef],
        *,
        version: int = 1,
        options: Any = None,
        custom_code: str | None = None,
    ) -> None:
        """Add an operator.

        Parameters
        ----------
        kind : str
            Name in the schema's ``BuiltinOperator``, such as ``"CONV_2D"``; ``"CUSTOM"`` with
            `custom_code`.
        inputs : sequence of TensorRef or None
            None stands for an optional input left out.
        outputs : sequence of TensorRef
            Tensors made by :meth:`tensor`.
        version : int
            Version of the operator; the file keeps the highest asked for.
        options : object or None
            Options object of the schema's object interface, such as ``Conv2DOptionsT``.
        custom_code : str or None
            Name of a custom operator.
        """
        operator = schema.OperatorT()
        operator.opcodeIndex = self._opcode(kind, version, custom_code)
        operator.inputs = [-1 if ref is None else ref.index for ref in inputs]
        operator.outputs = [ref.index for ref in outputs]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self._operators.append(operator)

    def build(self) -> bytes:
        """Pack the file.

        Raises
        ------
        ValueError
            If there is no output.
        """
        if not self._outputs:
            raise ValueError(f"model {self.name!r} has no output")
        subgraph = schema.SubGraphT()
        subgraph.name = self.name
        subgraph.tensors = self._tensors
        subgraph.operators = self._operators
        subgraph.inputs = self._inputs
        subgraph.outputs = self._outputs
        model = schema.ModelT()
        model.version = 3
        model.description = self.name
        model.operatorCodes = [code for _, code in self._codes.values()]
        model.subgraphs = [subgraph]
        model.buffers = self._buffers
        packer = flatbuffers.Builder(1024)
        packer.Finish(model.Pack(packer), b"TFL3")
        return bytes(packer.Output())

    def _opcode(self, kind: str, version: int, custom_code: str | None) -> int:
        builtin = int(getattr(schema.BuiltinOperator, kind))
        key = (builtin, custom_code or "")
        if key not in self._codes:
            code = schema.OperatorCodeT()
            code.builtinCode = builtin
            code.deprecatedBuiltinCode = min(builtin, _LAST_DEPRECATED_CODE)
            code.customCode = custom_code
            code.version = version
            self._codes[key] = (len(self._codes), code)
        index, code = self._codes[key]
        code.version = max(code.version, version)
        return index

    def _unique(self, name: str) -> str:
        unique, suffix = name, 1
        while unique in self._names:
            unique, suffix = f"{name}_{suffix}", suffix + 1
        self._names.add(unique)
        return unique
