"""Patches for TVM versions that have Relay; importing this registers the pass.

``tvm.relay.transform.PatchPartition`` writes the first stage of a Relay network as patches, so that
microTVM's own flow (AOT executor, USMP, target c) needs less workspace.
"""

from importlib.util import find_spec

from tvm_patch.errors import ToolMissingError


def _need_relay() -> None:
    try:
        found = find_spec("tvm.relay") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise ToolMissingError(
            "this environment has no TVM with Relay (TVM 0.19 and older): "
            "use tvm.relax.transform.PatchPartition, which import tvm_patch registers"
        )


_need_relay()

from tvm import relay as _relay  # noqa: E402  # only where there is one
from tvm.error import register_error as _register_error  # noqa: E402

from tvm_patch import errors as _errors  # noqa: E402
from tvm_patch.relay.patch_partition import (  # noqa: E402
    PatchPartition,
    StageEnd,
    estimate_workspace_bytes,
    plan_of,
    stage_ends,
)
from tvm_patch.relay.shared_kernels import SharedKernels  # noqa: E402

_relay.transform.PatchPartition = PatchPartition

# Inside a sequence of passes an error crosses TVM's FFI, which makes it anew from its message.
for _name, _error in vars(_errors).items():
    if isinstance(_error, type) and issubclass(_error, _errors.TvmPatchError):
        _register_error(_name, _error)

__all__ = [
    "PatchPartition",
    "SharedKernels",
    "StageEnd",
    "estimate_workspace_bytes",
    "plan_of",
    "stage_ends",
]
