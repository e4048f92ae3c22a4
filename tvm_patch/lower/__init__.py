"""Plans carried out in TIR: kernels for every operator, loops for every stage.

Importing this package lets Relax legalise stages, so that the host runs them too.
"""

from tvm_patch.lower.choice import KernelChoice, kernel_choices
from tvm_patch.lower.host import HostAddresses
from tvm_patch.lower.model import Constant, LoweredGroup, LoweredModel, lower_network

__all__ = [
    "Constant",
    "HostAddresses",
    "KernelChoice",
    "LoweredGroup",
    "LoweredModel",
    "kernel_choices",
    "lower_network",
]
