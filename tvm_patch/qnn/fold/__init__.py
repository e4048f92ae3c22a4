"""``FoldQDQ``: quantise-dequantise Relax to the integer-only dialect."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import relax

from tvm_patch.errors import UnsupportedOperatorError, UnsupportedShapeError
from tvm_patch.qnn.fold.emitter import Emitter
from tvm_patch.qnn.fold.folder import Folder
from tvm_patch.qnn.fold.simplify import simplify
from tvm_patch.qnn.fold.source import Source

__all__ = ["FoldQDQ", "fold_function"]

# The TFLite front end attaches the constants a second time.
_DROPPED_ATTRS = ("params",)

# Lets errors keep their type on the way through TVM's pass machinery.
for _kind in (UnsupportedOperatorError, UnsupportedShapeError):
    tvm_ffi.register_error(_kind.__name__, _kind)


@tvm.transform.module_pass(opt_level=0, name="FoldQDQ")
class FoldQDQ:
    """Module pass that turns ``quantize(op(dequantize(x)))`` into ``qnn.*`` operators.

    Constants are folded, paddings go into convolutions, activations into clamps, and data
    movement acts on int8. What has no integer form stays in floating point;
    :func:`tvm_patch.qnn.verify.verify` names it.

    Raises
    ------
    UnsupportedOperatorError
        For integer types, weight quantisations and scales outside the dialect, naming the
        layer.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Fold every Relax function of ``module``."""
        result = module.clone()
        for global_var, function in module.functions_items():
            if isinstance(function, relax.Function):
                result.update_func(global_var, fold_function(function))
        return result


def fold_function(function: Any) -> Any:
    """Fold one Relax function; see :class:`FoldQDQ`."""
    src = Source(function)
    params = {param: relax.Var(param.name, param.ty) for param in function.params}
    attrs = {
        key: value
        for key, value in (dict(function.attrs) if function.attrs else {}).items()
        if key not in _DROPPED_ATTRS
    }
    emitter = Emitter(list(params.values()))
    results = Folder(src, emitter).run(params)
    return simplify(emitter.finish(results, is_tuple=src.is_tuple, attrs=attrs))
