"""Relax passes; importing this package makes ``tvm.relax.transform.PatchPartition`` exist."""

import tvm_ffi
from tvm import relax

from tvm_patch import errors
from tvm_patch.plan import parse_size
from tvm_patch.transform.ordering import reorder
from tvm_patch.transform.patch_partition import PatchPartition, partition, plan_of
from tvm_patch.transform.tuned import Tuning, register_plan_tuner

relax.transform.PatchPartition = PatchPartition

# Inside a sequence of passes an error crosses TVM's FFI, which makes it anew from its message.
for _name, _error in vars(errors).items():
    if isinstance(_error, type) and issubclass(_error, errors.TvmPatchError):
        tvm_ffi.register_error(_name, _error)

__all__ = [
    "PatchPartition",
    "Tuning",
    "parse_size",
    "partition",
    "plan_of",
    "register_plan_tuner",
    "reorder",
]
