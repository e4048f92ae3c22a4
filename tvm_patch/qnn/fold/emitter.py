"""Writing the folded function."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvm_patch.qnn import ops
from tvm_patch.qnn.fold.values import Padded, Target
from tvm_patch.qnn.writer import FunctionWriter


class Emitter(FunctionWriter):
    """Emits int8 operators with the names of the source's tensors."""

    def emit_target(self, expr: Any, target: Target) -> Any:
        """Bind the operator that produces a target."""
        return self.emit(expr, target.name, is_output=target.is_output)

    def emit_clamped(self, expr: Any, target: Target) -> Any:
        """Bind an operator without a clamp of its own, and a table that clips it if need be."""
        if target.is_full_range:
            return self.emit_target(expr, target)
        inner = self.emit(expr, f"{target.name}_unclipped")
        return self.emit_target(ops.lookup(inner, clamp_table(*target.clamp)), target)

    def integer(self, value: Any) -> Any:
        """The int8 expression of an expression or a :class:`Padded`, emitting its padding."""
        if not isinstance(value, Padded):
            return value
        if value.emitted is None:
            value.emitted = self.emit(
                ops.pad(value.source, pad_width=value.width, pad_value=value.value),
                value.name,
                is_output=value.is_output,
            )
        return value.emitted


def clamp_table(low: int, high: int) -> Any:
    """Lookup table that clips int8 values."""
    return np.clip(np.arange(-128, 128), low, high).astype(np.int8)
