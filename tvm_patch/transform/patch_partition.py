"""``PatchPartition``: run the first layers patch by patch.

The pass carries out a plan. It may be given one, or told where to split and how fine a grid to
cut, or given a RAM limit and left to choose.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tvm
from tvm import IRModule

from tvm_patch.analysis import Network, read_network
from tvm_patch.errors import PlanError, TvmPatchError
from tvm_patch.plan import (
    Buffering,
    Evaluator,
    InputMode,
    Objective,
    Plan,
    Requirements,
    choose_plan,
    execution_of,
    parse_size,
    stage_from_split,
)
from tvm_patch.qnn import to_integer
from tvm_patch.transform.stage_function import PLAN_ATTRIBUTE, StageExtractor
from tvm_patch.transform.tuned import Tuning, plan_tuner


class _PatchPartition:
    """Rewrite the network's first stage to run patch by patch.

    Parameters
    ----------
    plan : Plan or None
        Carried out as it is.
    split : int or str or None
        Number of operators in the stage, or its last operator; needs ``grid``.
    grid : (int, int) or None
        Tiles along y and x.
    ram : int or str or None
        Limit of inference peak SRAM, for example ``"64KB"``: the fewest MACs that fit.
    objective : {"memory", "macs"} or None
        What to be best at when choosing; least memory where nothing else is said.
    max_overhead : float or None
        Greatest MAC overhead allowed when choosing.
    max_slowdown : float or None
        Greatest number of instructions allowed, by estimate, over those layer by layer.
    buffering : {"any", "patch", "rows"}
        Recompute halos, keep rows in line buffers, or whichever is better.
    input_mode : InputMode
        ``ROWS`` for a device that fetches its input row by row; the host always has it whole.
    algorithm : str
        Packing algorithm.
    name : str
        Name of the model, for messages and the plan.
    database : str, Path or None
        Kernel times that ``tvm-patch tune`` has measured on ``board``: the plan gives kernels the
        scratch memory with which they are fastest, as long as it keeps to ``ram``, or needs no
        more arena where there is no limit. A ``plan`` that is given is carried out as it is.
        ``tvm_patch.deploy(mod, plan=plan_of(result), database=database)`` then takes the fastest.
    board : str
        What the times are of.

    Returns
    -------
    tvm.transform.Pass
        Takes quantised Relax (QDQ or already integer-only). In the result ``main`` calls private
        functions ``stage0``, ... that carry their plan, and the module the whole plan. It still
        runs on the host, tile by tile, and computes the same integers.

    Raises
    ------
    PlanError
        When arguments contradict each other or the plan does not suit the module.
    DoesNotFitError
        When nothing fits ``ram``.
    """

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        split: int | str | None = None,
        grid: tuple[int, int] | None = None,
        ram: int | str | None = None,
        objective: Objective | None = None,
        max_overhead: float | None = None,
        max_slowdown: float | None = None,
        buffering: Buffering = "any",
        input_mode: InputMode = InputMode.RESIDENT,
        algorithm: str = "hill_climb",
        name: str = "model",
        database: str | Path | None = None,
        board: str = "qemu_cortex_m7",
    ) -> None:
        if (split is None) != (grid is None):
            raise PlanError(
                "split and grid go together", hint="PatchPartition(split=7, grid=(4, 4))"
            )
        if sum(value is not None for value in (plan, split, ram)) > 1:
            raise PlanError("give one of plan, split with grid, or ram")
        self._plan = plan
        self._split = split
        self._grid = grid
        self._requirements = Requirements(
            ram_bytes=None if ram is None else parse_size(ram),
            objective=objective,
            max_overhead=max_overhead,
            max_slowdown=max_slowdown,
            buffering=buffering,
            input_mode=input_mode,
        )
        self._algorithm = algorithm
        self._name = name
        self._tuning = None if database is None else Tuning(str(database), board)
        self.error: TvmPatchError | None = None

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """Called by TVM."""
        self.error = None
        try:
            mod = to_integer(mod)
            network = read_network(mod, name=self._name)
            return self._carried_out(mod, network)
        except TvmPatchError as error:
            self.error = error
            raise

    def _carried_out(self, mod: IRModule, network: Network) -> IRModule:
        plan = self._decide(network)
        if self._tuning is not None and self._plan is None:
            plan = plan_tuner()(
                network,
                plan,
                self._tuning,
                arena_limit_bytes=self._requirements.arena_limit_bytes,
                algorithm=self._algorithm,
            )
        return partition(mod, network, plan)

    def _decide(self, network: Network) -> Plan:
        graph = network.graph
        if self._plan is not None:
            return self._plan
        if self._split is not None and self._grid is not None:
            evaluator = Evaluator(graph)
            candidate = evaluator.evaluate((stage_from_split(graph, self._split, self._grid),))
            return evaluator.pack(candidate, algorithm=self._algorithm)
        return choose_plan(graph, self._requirements, algorithm=self._algorithm)


_ModulePass: Any = tvm.transform.module_pass(_PatchPartition, opt_level=0, name="PatchPartition")


class PatchPartition(_ModulePass):  # type: ignore[misc]  # TVM is not typed
    __doc__ = _PatchPartition.__doc__

    def __call__(self, mod: IRModule) -> IRModule:
        """Run the pass; errors arrive as they were raised, which TVM's FFI alone would not do."""
        try:
            return super().__call__(mod)
        except Exception:
            if self._inst.error is not None:
                raise self._inst.error from None
            raise


def partition(mod: IRModule, network: Network, plan: Plan) -> IRModule:
    """Carry out a plan on an integer-only module.

    Raises
    ------
    PlanError
        When the plan belongs to another model or cannot be carried out.
    """
    execution_of(network.graph, plan)
    stages = [
        (f"stage{i}", stage.operators, json.dumps(asdict(stage), sort_keys=True))
        for i, stage in enumerate(plan.stages)
    ]
    extracted = StageExtractor(mod).extract(stages) if stages else mod
    return extracted.with_attr(PLAN_ATTRIBUTE, plan.to_json())


def plan_of(mod: IRModule) -> Plan | None:
    """The plan that a module carries, if it has been partitioned."""
    if mod.attrs is None or PLAN_ATTRIBUTE not in mod.attrs:
        return None
    return Plan.from_json(str(mod.attrs[PLAN_ATTRIBUTE]), source="module attribute")
