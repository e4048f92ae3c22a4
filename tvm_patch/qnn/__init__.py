"""The integer-only Relax dialect ``qnn.*``: operators, arithmetic, folding and verification.

``import tvm_patch.qnn`` registers the operators with TVM, and how ``relax.build`` lowers them on
the host. :func:`to_integer` turns a QDQ module
into the dialect, :func:`run_reference` interprets it on numpy arrays.
"""

from __future__ import annotations

from tvm_patch.qnn import legalize, ops
from tvm_patch.qnn.boundary import StripBoundary, strip_boundary
from tvm_patch.qnn.constants import FoldConstantBranches, fold_constant_branches
from tvm_patch.qnn.dead_channels import DropDeadChannels, drop_dead_channels
from tvm_patch.qnn.fold import FoldQDQ
from tvm_patch.qnn.global_pools import SplitGlobalPools, split_global_pools
from tvm_patch.qnn.lowering import to_integer
from tvm_patch.qnn.reference import output_names, run_outputs, run_reference
from tvm_patch.qnn.verify import verify, verify_shapes

__all__ = [
    "DropDeadChannels",
    "FoldConstantBranches",
    "FoldQDQ",
    "SplitGlobalPools",
    "StripBoundary",
    "drop_dead_channels",
    "fold_constant_branches",
    "legalize",
    "ops",
    "output_names",
    "run_outputs",
    "run_reference",
    "split_global_pools",
    "strip_boundary",
    "to_integer",
    "verify",
    "verify_shapes",
]
