"""What the tests in Relay compare: outputs, and the buffers that USMP packs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm

from tvm_patch.plan import Plan
from tvm_patch.relay.choose import Chooser, planned_cut
from tvm_patch.relay.kernels import read_kernels
from tvm_patch.relay.reader import read_function
from tvm_patch.relay.running import build_as_microtvm, build_with_usmp, random_input, run
from tvm_patch.relay.workspace import times_together, workspace_problem

_recorded: list[Any] = []


@tvm.register_func("tir.usmp.algo.recording", override=True)
def _recording(buffers: Any, pressure: Any) -> Any:
    _recorded[:] = buffers
    return tvm.get_global_func("tir.usmp.algo.greedy_by_size")(buffers, pressure)


@dataclass(frozen=True)
class Packed:
    """USMP's pool, and its buffers as (bytes, how many others are live with it), sorted."""

    workspace_bytes: int
    buffers: list[tuple[int, int]]


def functions_of(mod: tvm.IRModule, instruments: Sequence[Any] = ()) -> set[str]:
    """Names of the operator functions in the C code that microTVM's flow makes."""
    library = build_as_microtvm(mod, "c", {}, instruments).get_lib()
    source = "".join(part.get_source() for part in (library, *library.imported_modules))
    return set(re.findall(r"tvmgen_default_(fused_\w+)\(", source))


def packed_by_usmp(mod: tvm.IRModule, target: str = "c", instruments: Sequence[Any] = ()) -> Packed:
    """Build as microTVM does, and look at what USMP was given."""
    pools = build_with_usmp(mod, target, instruments=instruments, custom_algorithm="recording")
    workspaces = {
        buffer.name_hint
        for buffer in _recorded
        if any(
            isinstance(pool, tvm.ir.memory_pools.WorkspacePoolInfo)
            for pool in buffer.pool_candidates
        )
    }
    counted = [
        (int(buffer.size_bytes), sum(other.name_hint in workspaces for other in buffer.conflicts))
        for buffer in _recorded
        if buffer.name_hint in workspaces
    ]
    return Packed(pools.workspace_bytes, sorted(counted))


def estimated_buffers(
    mod: tvm.IRModule, plan: Plan | None, target: str = "c"
) -> list[tuple[int, int]]:
    """The planner's buffers for a module and the plan it is about to get, as in :class:`Packed`."""
    network = read_function(mod["main"])
    inputs = {name: network.graph.tensor[name] for name in network.graph.inputs}
    kernels = read_kernels(mod, inputs, tvm.target.Target(target))
    chooser = Chooser(network, kernels, "greedy_by_size", io_in_workspace=False)
    cut = None if plan is None else planned_cut(chooser, plan)
    problem = workspace_problem(kernels, None if cut is None else cut.kernels)
    return sorted(
        (
            a.size_bytes,
            sum(times_together(a, b) for b in problem.buffers if b is not a),
        )
        for a in problem.buffers
    )


def assert_equal_outputs(mod: tvm.IRModule, patched: tvm.IRModule, seed: int = 0) -> None:
    """Integers equal bit for bit, floats within the usual tolerance."""
    values = random_input(mod, seed)
    expected, got = run(mod, values), run(patched, values)
    if expected.dtype == np.float32:
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_array_equal(got, expected)
        assert len(np.unique(expected)) > 1, "a constant output would hide differences"
