"""Small QDQ modules written by hand, in the style of TVM's front ends."""

from __future__ import annotations

import numpy as np
from tvm import relax


class QDQ:
    """Builds ``main`` over one int8 (or other) input.

    Every method emits one Relax operator; names are those of the emitted variables.
    """

    def __init__(self, shape=(1, 6, 5, 4), dtype="int8"):
        self.x = relax.Var("x", relax.TensorType(list(shape), dtype))
        self._builder = relax.BlockBuilder()
        self._function = self._builder.function("main", [self.x])
        self._function.__enter__()
        self._dataflow = self._builder.dataflow()
        self._dataflow.__enter__()

    def emit(self, expr, name="lv"):
        return self._builder.emit(expr, name)

    def dequantize(self, value, scale, zero_point=0, axis=-1, name="real"):
        scales = relax.const(np.asarray(scale, np.float32), "float32")
        zero_points = relax.const(np.asarray(zero_point, np.int32), "int32")
        return self.emit(relax.op.dequantize(value, scales, zero_points, axis), name)

    def quantize(self, value, scale, zero_point=0, dtype="int8", name="integers"):
        call = relax.op.quantize(
            value,
            relax.const(scale, "float32"),
            relax.const(zero_point, "int32"),
            axis=-1,
            out_dtype=dtype,
        )
        return self.emit(call, name)

    def const(self, values, scale, zero_point=0, axis=-1, dtype="int8"):
        return self.dequantize(
            relax.const(np.asarray(values, dtype), dtype), scale, zero_point, axis
        )

    def conv2d(self, value, weight, scale, *, bias=None, bias_scale=None, zero_point=0, **attrs):
        """NHWC with HWIO weights."""
        weights = self.const(weight, scale, zero_point, axis=3)
        out = self.emit(
            relax.op.nn.conv2d(value, weights, data_layout="NHWC", kernel_layout="HWIO", **attrs)
        )
        if bias is None:
            return out
        return self.emit(relax.op.add(out, self.const(bias, bias_scale, axis=0, dtype="int32")))

    def finish(self, *results):
        outputs = [self._builder.emit_output(result) for result in results]
        self._dataflow.__exit__(None, None, None)
        self._builder.emit_func_output(outputs[0] if len(outputs) == 1 else relax.Tuple(outputs))
        self._function.__exit__(None, None, None)
        return self._builder.get()


def operators(module):
    """(operator, variable) of every binding of ``main``."""
    return [
        (binding.value.op.name, binding.var.name)
        for block in module["main"].body.blocks
        for binding in block.bindings
        if isinstance(binding.value, relax.Call)
    ]
