"""What a stage has to be: a run of streamable operators with one output, in modes that agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tvm_patch.errors import PlanError
from tvm_patch.plan.graph import Access, Graph, Operator
from tvm_patch.plan.record import BufferMode, StagePlan


def stage_operators(graph: Graph, stage: StagePlan) -> tuple[Operator, ...]:
    """The operators of a stage, checked.

    Raises
    ------
    PlanError
        When names are unknown, not contiguous, not streamable, or more than one tensor leaves.
    """
    for name in stage.operators:
        if name not in graph.operator_index:
            raise PlanError(
                f"the plan names operator {name}, which the model does not have",
                hint="the plan belongs to another model; make one with: tvm-patch plan MODEL",
            )
    indices = [graph.operator_index[name] for name in stage.operators]
    if not indices or indices != list(range(indices[0], indices[0] + len(indices))):
        raise PlanError("a stage must be a run of operators in execution order")
    operators = tuple(graph.operators[i] for i in indices)
    for operator in operators:
        if operator.access not in (Access.ROWS, Access.ACCUMULATE) or not operator.streamable:
            raise PlanError(
                f"operator {operator.name} ({operator.kind}) cannot be part of a stage",
                hint="end the stage before it",
            )
        if operator.access is Access.ACCUMULATE and operator is not operators[-1]:
            raise PlanError(
                f"operator {operator.name} ({operator.kind}) is complete only when a stage ends",
                hint="end the stage with it",
            )
    members = set(indices)
    for operator in operators[:-1]:
        readers = graph.consumers[operator.output]
        if operator.output in graph.outputs or any(i not in members for i in readers):
            raise PlanError(
                f"tensor {operator.output} leaves the stage, but only {operators[-1].output} may",
                hint="end the stage where a single tensor is handed on",
            )
    made = {operator.output for operator in operators}
    for operator in operators:
        if any(name in made for name in operator.whole_inputs):
            raise PlanError(f"operator {operator.name} needs a tensor of its own stage whole")
    conflict = padding_conflict(graph, operators)
    if conflict is not None:
        raise PlanError(
            f"tensor {conflict} is padded with different values by its readers",
            hint="end the stage at this tensor",
        )
    return operators


def padding_conflict(graph: Graph, operators: Sequence[Operator]) -> str | None:
    """The first tensor made inside a stage whose readers want different padding values.

    A tile's buffer holds its border once, so all operators that pad it must read the same value.
    """
    names = {operator.name for operator in operators}
    for operator in operators:
        values = {
            graph.operators[i].pad_value
            for i in graph.consumers[operator.output]
            if graph.operators[i].name in names and graph.operators[i].pad_value is not None
        }
        if len(values) > 1:
            return operator.output
    return None


def checked_modes(
    graph: Graph,
    name: str,
    stage: StagePlan,
    operators: Sequence[Operator],
    made: Collection[str],
) -> Mapping[str, BufferMode]:
    """Buffer mode of every tensor that the stage reads or writes."""
    tensors = dict.fromkeys(t for op in operators for t in (*op.inputs, op.output))
    modes = {tensor: stage.mode_of(tensor) for tensor in tensors}
    for tensor, mode in modes.items():
        possible = [BufferMode.FULL]
        if tensor in made:
            possible = [BufferMode.PATCH, BufferMode.ROWS, BufferMode.ROWS_COLS, BufferMode.COLS]
        elif tensor in graph.inputs:
            possible = [BufferMode.FULL, BufferMode.ROWS]
        if mode not in possible:
            raise PlanError(
                f"stage {name}: tensor {tensor} has buffer mode {mode.value}, which this "
                f"version cannot carry out there",
                hint=f"use mode {' or '.join(m.value for m in possible)}",
            )
    return modes
