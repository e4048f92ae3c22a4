"""Which kernel each operator runs on, and why: what ``tvm-patch inspect --kernels`` prints."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_patch import schedules
from tvm_patch.analysis import Network
from tvm_patch.lower.sharing import kernels_of_network
from tvm_patch.plan import Plan, execution_of
from tvm_patch.schedules import Instructions
from tvm_patch.schedules.kernel import Kernel


@dataclass(frozen=True)
class KernelChoice:
    """The kernel of an operator.

    Parameters
    ----------
    operator, kind : str
        As in the graph.
    kernel : str
        Stem of its C symbol.
    instructions : {"dsp", "plain"}
        Whether it is a micro-kernel or a TE schedule.
    macs : int
        Of one call.
    estimate : int or None
        Instructions of one call by a model of the kernel; None where it has none.
    why : str
        How it works, or why no micro-kernel will do.
    """

    operator: str
    kind: str
    kernel: str
    instructions: str
    macs: int
    estimate: int | None
    why: str


def kernel_choices(
    network: Network, plan: Plan, instructions: Instructions
) -> tuple[KernelChoice, ...]:
    """The kernels of a network under a plan, in execution order.

    Parameters
    ----------
    network : Network
        What is computed.
    plan : Plan
        How.
    instructions : Instructions
        What the core has.
    """
    execution = execution_of(network.graph, plan)
    kernels = kernels_of_network(network, execution, instructions)
    return tuple(
        _choice(layout.operator.name, layout.operator.kind, kernel, instructions)
        for group in execution.groups
        for layout in group.operators
        for kernel in kernels[layout.operator.name]
    )


def _choice(operator: str, kind: str, kernel: Kernel, instructions: Instructions) -> KernelChoice:
    is_micro = isinstance(kernel, schedules.MicroKernel)
    why = str(getattr(kernel, "remark", "")) if is_micro else _objection(kernel, instructions)
    return KernelChoice(
        operator=operator,
        kind=kind,
        kernel=kernel.name,
        instructions=(Instructions.DSP if is_micro else Instructions.PLAIN).value,
        macs=kernel.macs,
        estimate=getattr(kernel, "instructions", None),
        why=why,
    )


def _objection(kernel: Kernel, instructions: Instructions) -> str:
    """Why a kernel is a plain one."""
    if instructions is Instructions.PLAIN:
        return "the core has no DSP extension"
    objection: str | None = None
    if isinstance(kernel, schedules.ConvRow):
        objection = schedules.dsp_conv_objection(kernel)
    elif isinstance(kernel, schedules.DepthwiseRow):
        objection = schedules.dsp_depthwise_direct_objection(
            kernel.in_channels,
            kernel.depth_multiplier,
            (kernel.kernel_h, kernel.kernel_w),
            kernel.stride_w,
            kernel.dilation_w,
        )
    elif isinstance(kernel, schedules.DepthwiseMap):
        return "unrolled over all of a small map"
    elif isinstance(kernel, schedules.Dense):
        objection = schedules.dsp_dense_objection(kernel)
    elif isinstance(kernel, schedules.PoolRow | schedules.AvgPoolPadded):
        objection = schedules.dsp_pool_objection(kernel)
    elif isinstance(kernel, schedules.AverageOfSum):
        objection = schedules.dsp_average_objection(kernel)
    elif isinstance(kernel, schedules.QuantizeFlat):
        objection = "half of its scale is not exact in float32"
    return objection or "no micro-kernel for it"
