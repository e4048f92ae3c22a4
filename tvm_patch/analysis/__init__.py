"""Read-only views of a network: the planner's graph, and what it costs."""

from tvm_patch.analysis.network import STAGE_OP, Network, read_network
from tvm_patch.analysis.operators import OperatorDetail, resized_rows

__all__ = ["STAGE_OP", "Network", "OperatorDetail", "read_network", "resized_rows"]
