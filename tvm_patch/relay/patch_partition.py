"""``relay.transform.PatchPartition``: write the first layers of a Relay network as patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relay

from tvm_patch.errors import PlanError
from tvm_patch.plan import Graph, Plan, parse_size, stage_from_split
from tvm_patch.relay.choose import (
    DEFAULT_MAX_OVERHEAD,
    Chooser,
    fewest_macs,
    least_memory,
    planned_cut,
)
from tvm_patch.relay.kernels import read_kernels
from tvm_patch.relay.reader import Network, read_function
from tvm_patch.relay.rewrite import patched_function

PLAN_ATTRIBUTE = "tvm_patch_plan"
_MAIN = "main"


class _PatchPartition:
    """Rewrite the first stage of ``main`` into patches.

    Parameters
    ----------
    ram : int or str or None
        Limit of USMP's workspace pool, for example ``"256KB"``: the fewest MACs that fit. Without
        limit, split and plan: least workspace.
    split : int or str or None
        Number of operators (Relay calls) in the stage, or its last one; needs ``grid``. See
        :func:`stage_ends`.
    grid : (int, int) or None
        Patches along y and x.
    plan : Plan or None
        Carried out as it is.
    max_overhead : float or None
        Greatest MAC overhead F allowed when choosing; by default 1.5, or any under a limit.
    target : str or tvm.target.Target or None
        What the module will be built for; by default the current target, or ``c``.
    algorithm : str or None
        ``tir.usmp.algorithm`` of the build; by default that of the current PassContext, or USMP's
        own.
    params : mapping of str to NDArray or None
        Weights, bound as ``relay.build`` does; they may be left to it.

    Returns
    -------
    tvm.transform.Pass
        In the result patches are strided slices, the same operators with the padding that each
        patch needs, and concatenations; :func:`plan_of` gives the plan with the estimated
        workspace.

    Raises
    ------
    PlanError
        When arguments contradict each other, there is no stage, or the plan does not suit.
    UnsupportedShapeError
        For dynamic shapes.
    DoesNotFitError
        When nothing fits ``ram``.
    """

    def __init__(
        self,
        ram: int | str | None = None,
        split: int | str | None = None,
        grid: tuple[int, int] | None = None,
        plan: Plan | None = None,
        *,
        max_overhead: float | None = None,
        target: Any = None,
        algorithm: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        if (split is None) != (grid is None):
            raise PlanError(
                "split and grid go together", hint="PatchPartition(split=33, grid=(3, 3))"
            )
        if sum(value is not None for value in (plan, split, ram)) > 1:
            raise PlanError("give one of plan, split with grid, or ram")
        if max_overhead is not None and max_overhead < 1.0:
            raise PlanError(f"a MAC overhead of {max_overhead} cannot be: layer by layer is 1.0")
        self._limit_bytes = None if ram is None else parse_size(ram)
        self._split = split
        self._grid = grid
        self._plan = plan
        self._max_overhead = max_overhead
        self._target = target
        self._algorithm = algorithm
        self._params = params
        self.error: Exception | None = None

    def transform_module(self, mod: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Run the pass; TVM calls this."""
        self.error = None
        try:
            return self._run(mod)
        except Exception as error:
            self.error = error
            raise

    def _run(self, mod: tvm.IRModule) -> tvm.IRModule:
        typed, network = _read(mod, self._params)
        chooser = _chooser(typed, network, self._target, self._algorithm)
        plan = self._choose(chooser)
        if plan.stages:
            stage = plan.stages[0]
            apart = chooser.joins_apart(len(stage.operators) - 1)
            body = patched_function(typed[_MAIN], network, stage, joins_apart=apart)
            typed.update_func(typed.get_global_var(_MAIN), body)
            typed = relay.transform.InferType()(typed)
        return typed.with_attr(PLAN_ATTRIBUTE, tvm.runtime.String(plan.to_json()))

    def _choose(self, chooser: Chooser) -> Plan:
        if self._plan is not None:
            cut = planned_cut(chooser, self._plan)
        elif self._split is not None:
            assert self._grid is not None
            graph = chooser.network.graph
            stage = stage_from_split(graph, _known(graph, self._split), self._grid)
            cut = chooser.cut(len(stage.operators) - 1, stage.tile_h, stage.tile_w)
        else:
            chooser.warn_of_unknown()
            if self._limit_bytes is not None:
                return fewest_macs(chooser, self._limit_bytes, self._max_overhead)
            return least_memory(chooser, self._max_overhead or DEFAULT_MAX_OVERHEAD)
        memory = chooser.layer_by_layer if cut is None else chooser.pack(cut)
        return chooser.plan(cut, memory)


_ModulePass: Any = tvm.transform.module_pass(_PatchPartition, opt_level=0, name="PatchPartition")


class PatchPartition(_ModulePass):  # type: ignore[misc]  # TVM is not typed
    __doc__ = _PatchPartition.__doc__

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        """Run the pass; errors arrive as they were raised, which TVM's FFI alone would not do."""
        try:
            return super().__call__(mod)
        except Exception:
            if self._inst.error is not None:
                raise self._inst.error from None
            raise


@dataclass(frozen=True)
class StageEnd:
    """An operator at which a first stage may end.

    Parameters
    ----------
    split : int
        What to give :class:`PatchPartition` as ``split``.
    operator : str
        Its name, which serves as well.
    shape : tuple of int
        Of the map that the stage would hand on, NHWC.
    """

    split: int
    operator: str
    shape: tuple[int, ...]


def stage_ends(
    mod: tvm.IRModule, *, target: Any = None, params: Mapping[str, Any] | None = None
) -> list[StageEnd]:
    """Where the first stage of ``main`` may end."""
    typed, network = _read(mod, params)
    chooser = _chooser(typed, network, target, None)
    operators = network.graph.operators
    return [
        StageEnd(end + 1, operators[end].name, network.graph.tensor[operators[end].output].shape)
        for end in chooser.ends
    ]


def plan_of(mod: tvm.IRModule) -> Plan | None:
    """The plan that a module carries, if the pass made it.

    ``plan.memory.arena_bytes`` is the estimate of USMP's workspace pool.
    """
    if mod.attrs is None or PLAN_ATTRIBUTE not in mod.attrs:
        return None
    return Plan.from_json(str(mod.attrs[PLAN_ATTRIBUTE]), source="module attribute")


def estimate_workspace_bytes(
    mod: tvm.IRModule,
    *,
    target: Any = None,
    algorithm: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> int:
    """The workspace pool that USMP will make for a module as it stands, in bytes."""
    typed, network = _read(mod, params)
    return _chooser(typed, network, target, algorithm).layer_by_layer.arena_bytes


def _read(mod: tvm.IRModule, params: Mapping[str, Any] | None) -> tuple[tvm.IRModule, Network]:
    names = [variable.name_hint for variable in mod.get_global_vars()]
    if _MAIN not in names:
        raise PlanError(f"the module has no function {_MAIN}", hint="it has " + ", ".join(names))
    # Inferring types makes a new module, so that the given one stays as it is.
    typed = relay.transform.InferType()(mod)
    if params:
        bound = relay.build_module.bind_params_by_name(typed[_MAIN], dict(params))
        typed.update_func(typed.get_global_var(_MAIN), bound)
        typed = relay.transform.InferType()(typed)
    return typed, read_function(typed[_MAIN], _MAIN)


def _chooser(mod: tvm.IRModule, network: Network, target: Any, algorithm: str | None) -> Chooser:
    config = tvm.transform.PassContext.current().config
    if target is None:
        target = tvm.target.Target.current(allow_none=True) or "c"
    graph = network.graph
    inputs = {name: graph.tensor[name] for name in graph.inputs}
    kernels = read_kernels(mod, inputs, tvm.target.Target(target))
    if algorithm is None:
        algorithm = str(config.get("tir.usmp.algorithm", "greedy_by_size"))
    io_in_workspace = bool(config.get("tir.usmp.use_workspace_io", False))
    return Chooser(network, kernels, algorithm, io_in_workspace=io_in_workspace)


def _known(graph: Graph, split: int | str) -> int | str:
    if isinstance(split, str) and split not in graph.operator_index:
        raise PlanError(
            f"there is no operator {split} in {graph.name}",
            hint="tvm_patch.relay.stage_ends(mod) lists where a stage may end",
        )
    return split
