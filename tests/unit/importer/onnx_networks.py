"""Small float CNNs in ONNX, made with ``onnx.helper``, to quantise and import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class OnnxBuilder:
    """Collects nodes and random weights; every method returns the name of its output."""

    def __init__(self, input_shape: Sequence[Any], seed: int = 0, opset: int = 17) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._input = helper.make_tensor_value_info("image", TensorProto.FLOAT, input_shape)
        self._opset = opset
        self.x = "image"

    def weight(self, *shape: int) -> str:
        fan_in = max(int(np.prod(shape[1:])), 1)
        return self.constant(self._rng.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32))

    def constant(self, array: Any) -> str:
        name = f"c{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, x: str, shape: Sequence[int], **attributes: Any) -> str:
        bias = self.constant(self._rng.normal(0, 0.1, shape[0]).astype(np.float32))
        return self.node("Conv", x, self.weight(*shape), bias, **attributes)

    def dense(self, x: str, outputs: int, inputs: int) -> str:
        bias = self.constant(self._rng.normal(0, 0.1, outputs).astype(np.float32))
        return self.node("Gemm", x, self.weight(outputs, inputs), bias, transB=1)

    def save(self, path: Path, *outputs: str) -> Path:
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self._nodes, "net", [self._input], infos, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)])
        model.ir_version = 9
        onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
        return path
