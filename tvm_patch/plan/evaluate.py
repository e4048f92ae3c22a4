"""What a choice of stages costs: memory bound, MACs, and the packed plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm_patch.deadline import Deadline
from tvm_patch.errors import PlanError
from tvm_patch.memory import Allocation, allocate, lower_bound_bytes, validate
from tvm_patch.plan.effort import Work, group_instructions
from tvm_patch.plan.graph import Access, Graph
from tvm_patch.plan.layout.group import Group
from tvm_patch.plan.layout.stage import groups_of, layer_group
from tvm_patch.plan.liveness.storage import Execution, build_execution
from tvm_patch.plan.record import BufferMode, InputMode, MemoryPlan, Plan, StagePlan

_MAKE_AGAIN = "make the plan again with: tvm-patch plan MODEL --output plan.json"
# JSON keeps all digits; people who write plans need not.
_OVERHEAD_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Candidate:
    """A choice of stages with its cost, before packing.

    Parameters
    ----------
    stages : tuple of StagePlan
        Empty for layer by layer.
    execution : Execution
        Groups and storages.
    bound_bytes : int
        No packing of its storages can be smaller.
    macs : int
        Multiply-accumulates of one inference.
    mac_overhead : float
        ``macs`` over those of the layer-by-layer network (F).
    slowdown : float
        Instructions over those of the layer-by-layer network, by estimate.
    """

    stages: tuple[StagePlan, ...]
    execution: Execution
    bound_bytes: int
    macs: int
    mac_overhead: float
    slowdown: float

    @property
    def cost(self) -> tuple[float, int]:
        """What makes it slow, then its MACs."""
        return self.slowdown, self.macs


class Evaluator:
    """Costs of many choices for one graph; what they have in common is worked out once.

    Parameters
    ----------
    graph : Graph
        The network.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @cached_property
    def _layers(self) -> dict[str, Group]:
        return {
            operator.name: layer_group(self.graph, operator)
            for operator in self.graph.operators
            if operator.access is not Access.VIEW
        }

    @cached_property
    def layers_work(self) -> Work:
        """What the network takes layer by layer."""
        return Work(self.graph.macs, sum(map(group_instructions, self._layers.values())))

    def evaluate(self, stages: Sequence[StagePlan]) -> Candidate:
        """Cost of ``stages``.

        Raises
        ------
        PlanError
            When the stages cannot be carried out.
        """
        execution = build_execution(self.graph, groups_of(self.graph, stages, self._layers))
        macs = execution.macs
        instructions = sum(map(group_instructions, execution.groups))
        return Candidate(
            stages=tuple(stages),
            execution=execution,
            bound_bytes=lower_bound_bytes(execution.problem()),
            macs=macs,
            mac_overhead=_ratio(macs, self.graph.macs),
            slowdown=_ratio(instructions, self.layers_work.instructions),
        )

    def pack(
        self,
        candidate: Candidate,
        *,
        algorithm: str = "hill_climb",
        time_limit_s: float = 10.0,
        deadline: Deadline | None = None,
        tries: int = 1,
    ) -> Plan:
        """Pack a candidate's storages, the best of several tries, and write it down as a plan."""
        problem = candidate.execution.problem()
        allocation: Allocation | None = None
        for seed in range(tries):
            packed = allocate(
                problem, algorithm, seed=seed, time_limit_s=time_limit_s, deadline=deadline
            )
            if allocation is None or packed.arena_bytes < allocation.arena_bytes:
                allocation = packed
            if allocation.optimal or (deadline is not None and deadline.passed()):
                break
        assert allocation is not None
        return Plan(
            model=self.graph.name,
            graph_fingerprint=self.graph.fingerprint,
            stages=candidate.stages,
            memory=MemoryPlan(
                algorithm=algorithm,
                arena_bytes=allocation.arena_bytes,
                lower_bound_bytes=allocation.lower_bound_bytes,
                offsets_bytes=dict(allocation.offsets_bytes),
            ),
            macs=candidate.macs,
            mac_overhead=candidate.mac_overhead,
            slowdown=candidate.slowdown,
            input_mode=input_mode_of(self.graph, candidate.stages),
        )


def input_mode_of(graph: Graph, stages: Sequence[StagePlan]) -> InputMode:
    """Whether stages bring the network's input row by row."""
    fetched = any(
        stage.mode_of(name) is BufferMode.ROWS for stage in stages for name in graph.inputs
    )
    return InputMode.ROWS if fetched else InputMode.RESIDENT


def execution_of(graph: Graph, plan: Plan) -> Execution:
    """The execution that a plan describes, its memory checked against the graph.

    Raises
    ------
    PlanError
        When the plan belongs to another model, cannot be carried out, or its memory is wrong.
    InvalidAllocationError
        When storages overlap or leave the arena.
    """
    if plan.graph_fingerprint != graph.fingerprint:
        raise PlanError(
            f"the plan was made for model {plan.model} ({plan.graph_fingerprint[:12]}), "
            f"this is {graph.name} ({graph.fingerprint[:12]})",
            hint="make a plan for this model with: tvm-patch plan MODEL --output plan.json",
        )
    graph = graph.with_scratch(plan.scratch_bytes)
    _check_stages(graph, plan.stages)
    if plan.input_mode is not input_mode_of(graph, plan.stages):
        raise PlanError(
            f"the plan says input {plan.input_mode.value}, its stages say otherwise",
            hint=_MAKE_AGAIN,
        )
    execution = build_execution(graph, groups_of(graph, plan.stages))
    names = {storage.name for storage in execution.storages}
    if names != set(plan.memory.offsets_bytes):
        odd = sorted(names.symmetric_difference(plan.memory.offsets_bytes))
        raise PlanError(
            f"the plan's memory does not match its stages (first difference: {odd[0]})",
            hint=_MAKE_AGAIN,
        )
    _check_macs(graph, plan, execution)
    validate(
        execution.problem(),
        Allocation(
            offsets_bytes=plan.memory.offsets_bytes,
            arena_bytes=plan.memory.arena_bytes,
            algorithm=plan.memory.algorithm,
            lower_bound_bytes=plan.memory.lower_bound_bytes,
            optimal=False,
        ),
    )
    return execution


def _check_stages(graph: Graph, stages: Sequence[StagePlan]) -> None:
    """Refuse what no search makes, but a hand may: empty stages, names that are wrong or twice."""
    begins: list[int] = []
    for number, stage in enumerate(stages):
        if not stage.operators:
            raise PlanError(f"stage {number} of the plan has no operators", hint=_MAKE_AGAIN)
        begins.append(graph.operator_index.get(stage.operators[0], -1))
        named = [item.tensor for item in stage.buffering]
        for tensor in named:
            if tensor not in graph.tensor:
                raise PlanError(
                    f"stage {number} of the plan names tensor {tensor}, which the model does not "
                    "have",
                    hint=_MAKE_AGAIN,
                )
            if named.count(tensor) > 1:
                raise PlanError(
                    f"stage {number} of the plan names tensor {tensor} twice", hint=_MAKE_AGAIN
                )
    if -1 not in begins and begins != sorted(begins):
        raise PlanError("the plan's stages are not in execution order", hint=_MAKE_AGAIN)


def _check_macs(graph: Graph, plan: Plan, execution: Execution) -> None:
    """Refuse figures that are not those of the stages."""
    overhead = execution.macs / graph.macs if graph.macs else 1.0
    if plan.macs != execution.macs or abs(plan.mac_overhead - overhead) > _OVERHEAD_TOLERANCE:
        raise PlanError(
            f"the plan says {plan.macs:,} MACs and F {plan.mac_overhead:.6g}, its stages take "
            f"{execution.macs:,} and F {overhead:.6g}",
            hint=_MAKE_AGAIN,
        )


def _ratio(more: float, less: float) -> float:
    """A network of views alone takes nothing either way."""
    return more / less if less else 1.0
