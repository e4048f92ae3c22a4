"""The planner, free of TVM: graph, regions, layouts, storages, search and the plan record."""

from tvm_patch.deadline import Deadline, interruptible
from tvm_patch.plan.choose import choose_plan, layer_by_layer
from tvm_patch.plan.evaluate import Candidate, Evaluator, execution_of
from tvm_patch.plan.frontier import find_frontier, undominated
from tvm_patch.plan.graph import Access, Graph, Operator, Scratch, Tensor, Window
from tvm_patch.plan.graph_file import graph_from_json, graph_to_json, load_graph
from tvm_patch.plan.liveness.moment import Moment, worst_moment
from tvm_patch.plan.liveness.storage import Execution
from tvm_patch.plan.order import best_order
from tvm_patch.plan.record import (
    BufferMode,
    InputMode,
    MemoryPlan,
    Plan,
    StagePlan,
    TensorBuffering,
)
from tvm_patch.plan.requirements import (
    SLOWDOWN_PER_OVERHEAD,
    STACK_RESERVE_BYTES,
    Buffering,
    Objective,
    Requirements,
)
from tvm_patch.plan.search.candidates import CandidateSearch, pareto
from tvm_patch.plan.search.patches import (
    first_stage_ends,
    first_stages,
    patch_stage,
    row_stage,
    stage_from_split,
    stepped_stage,
)
from tvm_patch.plan.sizes import parse_size

__all__ = [
    "SLOWDOWN_PER_OVERHEAD",
    "STACK_RESERVE_BYTES",
    "Access",
    "BufferMode",
    "Buffering",
    "Candidate",
    "CandidateSearch",
    "Deadline",
    "Evaluator",
    "Execution",
    "Graph",
    "InputMode",
    "MemoryPlan",
    "Moment",
    "Objective",
    "Operator",
    "Plan",
    "Requirements",
    "Scratch",
    "StagePlan",
    "Tensor",
    "TensorBuffering",
    "Window",
    "best_order",
    "choose_plan",
    "execution_of",
    "find_frontier",
    "first_stage_ends",
    "first_stages",
    "graph_from_json",
    "graph_to_json",
    "interruptible",
    "layer_by_layer",
    "load_graph",
    "pareto",
    "parse_size",
    "patch_stage",
    "row_stage",
    "stage_from_split",
    "stepped_stage",
    "undominated",
    "worst_moment",
]
