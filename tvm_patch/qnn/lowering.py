"""From QDQ Relax to verified integer-only Relax: the one call that other layers make."""

from __future__ import annotations

from typing import Literal

import tvm
from tvm import relax

from tvm_patch.qnn.boundary import strip_boundary
from tvm_patch.qnn.constants import fold_constant_branches
from tvm_patch.qnn.fold import fold_function
from tvm_patch.qnn.global_pools import split_global_pools
from tvm_patch.qnn.verify import verify, verify_shapes

Boundary = Literal["model", "int8"]


def to_integer(module: tvm.IRModule, *, io: Boundary = "model") -> tvm.IRModule:
    """Fold a QDQ module into the integer-only dialect and verify it.

    Constant branches are computed, global pools split.

    Parameters
    ----------
    module : IRModule
        ``quantize(op(dequantize(x)))`` Relax, NHWC, batch one. A module that is in the dialect
        already comes back equal.
    io : {"model", "int8"}
        Whether float32 inputs and outputs stay or become int8.

    Returns
    -------
    IRModule
        ``qnn.*`` operators and int8 data movement; variables carry the source's names.

    Raises
    ------
    FloatModelError
        The model is not quantised.
    UnsupportedOperatorError, UnsupportedShapeError
        Naming the layer or tensor.
    """
    verify_shapes(module)
    folded = module.clone()
    # Not through the pass machinery, which would flatten message and hint of an error into one.
    for global_var, function in module.functions_items():
        if isinstance(function, relax.Function):
            folded.update_func(global_var, fold_function(function))
    if io == "int8":
        verify(folded)
        folded = strip_boundary(folded)
    verify(folded)
    return split_global_pools(fold_constant_branches(folded))
