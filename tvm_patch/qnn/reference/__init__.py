"""numpy reference of the integer-only dialect."""

from __future__ import annotations

from tvm_patch.qnn.reference.interpreter import output_names, run_outputs, run_reference

__all__ = ["output_names", "run_outputs", "run_reference"]
