"""Running Relay modules: on Relay's own executor, and through USMP."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relay
from tvm.relay.backend import Executor, Runtime

# Both evaluate and rewrite constants, which takes most of the time and changes no result.
_SLOW_PASSES = ["FoldConstant", "SimplifyExpr", "AlterOpLayout"]


def random_input(mod: tvm.IRModule, seed: int = 0) -> Any:
    """Values for the network's only input."""
    kind = mod["main"].params[0].checked_type
    shape = [int(extent) for extent in kind.shape]
    random = np.random.default_rng(seed)
    if kind.dtype == "float32":
        return random.normal(size=shape).astype("float32")
    return random.integers(-128, 128, shape).astype(kind.dtype)


def run(mod: tvm.IRModule, values: Any, *, disabled: list[str] | None = None) -> Any:
    """The output of ``main`` on Relay's graph executor."""
    passes = _SLOW_PASSES if disabled is None else disabled
    with tvm.transform.PassContext(opt_level=2, disabled_pass=passes):
        executor = relay.create_executor("graph", mod=mod, target="llvm", device=tvm.cpu())
        return executor.evaluate()(values).numpy()


def usmp_workspace_bytes(
    mod: tvm.IRModule, target: str = "c", algorithm: str = "greedy_by_size"
) -> int:
    """Build as microTVM does; what USMP says the workspace pool of the main function is."""
    config = {
        "tir.usmp.enable": True,
        "tir.usmp.algorithm": algorithm,
        "tir.disable_vectorize": True,
    }
    options = {"interface-api": "c", "unpacked-api": True, "link-params": False}
    executor = Executor("aot", options)
    with tvm.transform.PassContext(opt_level=3, config=config):
        built = relay.build(mod, target=target, executor=executor, runtime=Runtime("crt"))
    pools = built.executor_codegen_metadata.pool_inputs.values()
    return sum(
        int(pool.allocated_size)
        for pool in pools
        if isinstance(pool.pool_info, tvm.ir.memory_pools.WorkspacePoolInfo)
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
