"""Building and running Relay modules, for tests and benchmarks."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relay
from tvm.contrib.graph_executor import GraphModule
from tvm.ir.memory_pools import WorkspacePoolInfo
from tvm.relay.backend import Executor, Runtime

# They evaluate and rewrite constants, which takes most of the time and changes no result.
_SLOW_PASSES = ("FoldConstant", "SimplifyExpr", "SimplifyExprPostAlterOp", "AlterOpLayout")

# LLVM takes minutes for the vectorised, unrolled kernels of a network in patches.
_QUICK_TARGET = "llvm -opt-level=0"
if sys.platform == "linux":
    # A vendor's LLVM may have another machine in mind.
    _QUICK_TARGET += f" -mtriple={platform.machine()}-linux-gnu"
_QUICK_CODE = {
    "tir.disable_vectorize": True,
    "tir.UnrollLoop": {"auto_max_step": 0, "explicit_unroll": True},
}


def random_input(mod: tvm.IRModule, seed: int = 0) -> Any:
    """Values for the network's only input, of its shape and type."""
    kind = mod["main"].params[0].checked_type
    shape = [int(extent) for extent in kind.shape]
    random = np.random.default_rng(seed)
    if kind.dtype == "float32":
        return random.normal(size=shape).astype("float32")
    return random.integers(-128, 128, shape).astype(kind.dtype)


def run(mod: tvm.IRModule, values: Any) -> Any:
    """The output of ``main`` on Relay's graph executor."""
    with tvm.transform.PassContext(
        opt_level=2, config=_QUICK_CODE, disabled_pass=list(_SLOW_PASSES)
    ):
        built = relay.build(mod, target=_QUICK_TARGET)
    module = GraphModule(built["default"](tvm.cpu()))
    module.set_input(mod["main"].params[0].name_hint, values)
    module.run()
    return module.get_output(0).numpy()


@dataclass(frozen=True)
class Pools:
    """Memory pools of an AOT build's main function, in bytes as USMP reports them."""

    workspace_bytes: int
    constant_bytes: int


def build_as_microtvm(
    mod: tvm.IRModule, target: str, config: Mapping[str, Any], instruments: Sequence[Any] = ()
) -> Any:
    """Build for the AOT executor and the C runtime, weights in a pool of their own."""
    options = {"interface-api": "c", "unpacked-api": True, "link-params": False}
    config = {"tir.disable_vectorize": True, **config}
    executor = Executor("aot", options)
    with tvm.transform.PassContext(opt_level=3, config=config, instruments=list(instruments)):
        return relay.build(mod, target=target, executor=executor, runtime=Runtime("crt"))


def build_with_usmp(
    mod: tvm.IRModule,
    target: str = "c",
    algorithm: str = "greedy_by_size",
    instruments: Sequence[Any] = (),
    **usmp: Any,
) -> Pools:
    """Build as microTVM does, with USMP.

    Parameters
    ----------
    usmp : object
        More of ``tir.usmp``'s configuration, without that prefix.
    """
    config = {
        "tir.usmp.enable": True,
        "tir.usmp.algorithm": algorithm,
        **{f"tir.usmp.{key}": value for key, value in usmp.items()},
    }
    built = build_as_microtvm(mod, target, config, instruments)
    sizes = {True: 0, False: 0}
    for pool in built.executor_codegen_metadata.pool_inputs.values():
        is_workspace = isinstance(pool.pool_info, WorkspacePoolInfo)
        sizes[is_workspace] += int(pool.allocated_size)
    return Pools(workspace_bytes=sizes[True], constant_bytes=sizes[False])
