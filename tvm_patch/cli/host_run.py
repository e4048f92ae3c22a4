"""A network run on the host through Relax, compiled once for many inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tvm
from tvm import IRModule, relax

from tvm_patch.validation import Validation, compare

if TYPE_CHECKING:
    from tvm_patch.validation import Golden


class HostRun:
    """Runs ``main`` of a module of the integer dialect.

    Parameters
    ----------
    module : IRModule
        Partitioned or not.
    """

    def __init__(self, module: IRModule) -> None:
        self._module = module
        self._main = _compile(module)

    def validate(self, golden: Golden) -> Validation:
        """Compare with the reference; name the first operator of ``main`` that differs."""
        verdict = compare(golden, [value.tobytes() for value in _call(self._main, golden)])
        if verdict.bit_exact:
            return verdict
        culprit = self._first_mismatch(golden)
        return Validation(False, verdict.max_abs_diff, verdict.source, culprit)

    def _first_mismatch(self, golden: Golden) -> str | None:
        probe, names = _with_all_outputs(self._module)
        values = _call(_compile(probe), golden)
        for name, value in zip(names, values, strict=True):
            expected = golden.tensors.get(name)
            if expected is not None and expected.tobytes() != value.tobytes():
                return name
        return None


def _compile(module: IRModule) -> Any:
    machine = relax.VirtualMachine(relax.build(module, target="llvm"), tvm.cpu())
    return machine["main"]


def _call(main: Any, golden: Golden) -> list[np.ndarray[Any, Any]]:
    result = main(*(tvm.runtime.tensor(value) for value in golden.inputs))
    values = [result] if hasattr(result, "numpy") else list(result)
    return [value.numpy() for value in values]


def _with_all_outputs(module: IRModule) -> tuple[IRModule, list[str]]:
    """The module with every tensor of ``main`` as an output, and their names."""
    plain = relax.transform.ToNonDataflow()(module)
    main = plain["main"]
    variables = [
        binding.var
        for block in main.body.blocks
        for binding in block.bindings
        if isinstance(binding.value, relax.Call)
    ]
    body = relax.SeqExpr(main.body.blocks, relax.Tuple(variables))
    function = relax.Function(main.params, body, attrs=main.attrs, is_pure=True)
    probe = IRModule({**dict(plain.functions.items())}, attrs=plain.attrs)
    probe["main"] = function
    return relax.transform.Normalize()(probe), [str(variable.name) for variable in variables]
