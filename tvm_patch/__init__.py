"""tvm-patch: neural networks on microcontrollers, patch by patch.

Importing this package registers ``tvm.relax.transform.PatchPartition`` and the ``qnn`` dialect
where TVM has Relax. The planner (:mod:`tvm_patch.plan`) needs no TVM at all.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm_patch.pipeline import (
        Deployment,
        Prepared,
        deploy,
        generate,
        make_plan,
        prepare,
        reference_run,
        run_on_device,
    )
    from tvm_patch.plan import Plan, Requirements

__version__ = "0.1.0"

__all__ = [
    "Deployment",
    "Plan",
    "Prepared",
    "Requirements",
    "deploy",
    "generate",
    "make_plan",
    "prepare",
    "reference_run",
    "run_on_device",
]

_PLANNER_NAMES = ("Plan", "Requirements")

# The command line loads TVM where a verb needs it: help and completion are to answer at once.
_IS_COMMAND = Path(sys.argv[0]).name == "tvm-patch" if getattr(sys, "argv", None) else False


def _has_relax() -> bool:
    """Whether TVM is one that these passes are for: older ones have a Relax too, beside Relay."""
    try:
        return find_spec("tvm_ffi") is not None and find_spec("tvm.relax") is not None
    except ModuleNotFoundError:
        return False


if not _IS_COMMAND and _has_relax():
    importlib.import_module("tvm_patch.transform").register_plan_tuner(
        lambda: importlib.import_module("tvm_patch.pipeline").tuned_partition
    )
    importlib.import_module("tvm_patch.lower")


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = "tvm_patch.plan" if name in _PLANNER_NAMES else "tvm_patch.pipeline"
        return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
