"""One function for equal kernels, in builds for the AOT executor."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relay
from tvm.ir.instrument import pass_instrument

_KEEPS_APART = "AnnotateUsedMemory"


@pass_instrument
class SharedKernels:
    """Lets patches of one kind share their kernels: ``PassContext(instruments=[SharedKernels()])``.

    From TVM 0.11 on, code generation for the AOT executor writes on each kernel how many bytes are
    live where it is called (pass ``AnnotateUsedMemory``, for Ethos-U), so that equal kernels differ
    and each call has a function of its own. That pass alone is skipped.
    """

    def should_run(self, _module: tvm.IRModule, info: Any) -> bool:
        """Whether a pass runs."""
        return str(info.name) != _KEEPS_APART


def tells_live_bytes() -> bool:
    """Whether builds in the current PassContext tell equal kernels apart by what is live."""
    if not hasattr(relay.transform._ffi_api, _KEEPS_APART):
        return False
    instruments = tvm.transform.PassContext.current().instruments or []
    return all(str(instrument.name) != SharedKernels.__name__ for instrument in instruments)
