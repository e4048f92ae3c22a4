"""C from a lowered model: a self-contained folder that any C compiler builds."""

from tvm_patch.codegen.folder import render_model, write_model
from tvm_patch.codegen.manifest import BoundaryTensor, Quantisation

__all__ = ["BoundaryTensor", "Quantisation", "render_model", "write_model"]
