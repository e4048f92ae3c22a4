"""Kernels of all layers, some of which share a C function: flash against instructions.

A layer's own kernel has its shape as constants. Layers whose windows and arithmetic agree can call
one function instead, with the shape as arguments. That saves the code of all but one, and of
depthwise layers part of the constants too. It costs a few instructions, more where rows are narrow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tvm_patch import schedules
from tvm_patch.analysis import Network
from tvm_patch.kernel_times import NO_TIMES, KernelTimes
from tvm_patch.lower.kernels import calls_by_columns, choose_kernels
from tvm_patch.plan import Execution
from tvm_patch.plan.layout.group import Group, OperatorLayout
from tvm_patch.schedules import Instructions
from tvm_patch.schedules.kernel import Kernel

#: Each byte of flash that sharing saves may cost one instruction of an inference for so many MACs
#: of the network, and where code is to be small so many times as much.
_MACS_PER_BYTE = 250_000
_SMALL_CODE = 10
#: Flash of a function of a layer's own, roughly, and of those that layers share: of a convolution
#: with blocks of three pixels alone or of two as well, and of a depthwise one.
_OWN_BYTES = 730
_SHARED_BYTES = {False: 580, True: 880}
_SHARED_DEPTHWISE_BYTES = 1450


@dataclass(frozen=True)
class _Use:
    """A kernel of an operator.

    Parameters
    ----------
    operator : str
        Whose.
    place : int
        Among those of the operator.
    kernel : Kernel
        The layer's own.
    calls : int
        In an inference.
    """

    operator: str
    place: int
    kernel: Kernel
    calls: int


def kernels_of_network(
    network: Network,
    execution: Execution,
    instructions: Instructions,
    *,
    small_code: bool = False,
    times: KernelTimes = NO_TIMES,
) -> dict[str, tuple[Kernel, ...]]:
    """The kernels of all operators.

    Parameters
    ----------
    network : Network
        For attributes and constants.
    execution : Execution
        Where operators run.
    instructions : Instructions
        What the core has.
    small_code : bool
        Flash is worth much more than instructions.
    times : KernelTimes
        Measured; kernels that have any are left as they are, unless code is to be small.

    Returns
    -------
    dict
        As :func:`tvm_patch.lower.kernels.choose_kernels`, by operator.
    """
    times = NO_TIMES if small_code else times
    price = network.graph.macs / _MACS_PER_BYTE * (_SMALL_CODE if small_code else 1)
    chosen: dict[str, tuple[Kernel, ...]] = {}
    convolutions: dict[str, list[_Use]] = defaultdict(list)
    depthwise: dict[str, list[tuple[_Use, ...]]] = defaultdict(list)
    for group in execution.groups:
        for layout in group.operators:
            name = layout.operator.name
            chosen[name] = choose_kernels(network, group, layout, instructions, times=times)
            uses = tuple(_uses(network, group, layout, chosen[name]))
            if any(_is_measured(use.kernel, times) for use in uses):
                continue
            for use in uses:
                shared = _shared_convolution(use.kernel)
                if shared is not None:
                    convolutions[shared.name].append(use)
            forms = [_shared_depthwise(use.kernel) for use in uses]
            if forms and forms[0] is not None:
                depthwise[forms[0].name].append(uses)
    for alike in convolutions.values():
        _replace(chosen, _with_shared_convolution(alike, price))
    for layers in depthwise.values():
        _replace(chosen, _with_shared_depthwise(layers, price))
    return chosen


def _uses(
    network: Network, group: Group, layout: OperatorLayout, kernels: tuple[Kernel, ...]
) -> Iterable[_Use]:
    calls = calls_by_columns(network, group, layout)
    if len(kernels) != len(calls):
        return
    for place, (kernel, count) in enumerate(zip(kernels, calls.values(), strict=True)):
        yield _Use(layout.operator.name, place, kernel, count)


def _is_measured(kernel: Kernel, times: KernelTimes) -> bool:
    space = schedules.space_of(kernel) if times else None
    return space is not None and bool(times.times(space.key))


def _replace(chosen: dict[str, tuple[Kernel, ...]], kernels: Mapping[_Use, Kernel]) -> None:
    for use, kernel in kernels.items():
        of_operator = list(chosen[use.operator])
        of_operator[use.place] = kernel
        chosen[use.operator] = tuple(of_operator)


def _shared_convolution(kernel: Kernel) -> schedules.DspConvShared | None:
    return schedules.dsp_conv_shared(kernel) if isinstance(kernel, schedules.DspConvRow) else None


def _shared_depthwise(kernel: Kernel) -> schedules.DspDepthwiseShared | None:
    if not isinstance(kernel, schedules.DspDepthwiseDirect):
        return None
    return schedules.dsp_depthwise_shared(kernel)


def _with_shared_convolution(alike: list[_Use], price: float) -> dict[_Use, Kernel]:
    """One function for convolutions whose windows agree, but for those that it is too slow for.

    In the least code some rows make pixels twice; else there are blocks of two pixels as well.
    """
    by_function: dict[str, list[_Use]] = defaultdict(list)
    for use in alike:
        by_function[use.kernel.name].append(use)
    best: dict[_Use, Kernel] = {}
    best_worth = 0.0
    for halves, shared_bytes in _SHARED_BYTES.items():
        kernels: dict[_Use, Kernel] = {}
        functions, worth = 0, -price * shared_bytes
        for uses in by_function.values():
            extra, of_function = 0, dict[_Use, Kernel]()
            for use in uses:
                shared = _shared_convolution(use.kernel)
                assert shared is not None
                of_function[use] = shared = replace(shared, halves=halves)
                extra += _more(shared, use)
            if extra < price * _OWN_BYTES:
                kernels |= of_function
                functions += 1
                worth += price * _OWN_BYTES - extra
        if functions > 1 and worth > best_worth:
            best, best_worth = kernels, worth
    return best


def _with_shared_depthwise(layers: list[tuple[_Use, ...]], price: float) -> dict[_Use, Kernel]:
    """One function for the depthwise layers of a window for which that is worth its while.

    All kernels of a layer are replaced or none, since they read the same constants.
    """
    kernels: dict[_Use, Kernel] = {}
    worth = -price * _SHARED_DEPTHWISE_BYTES
    for uses in layers:
        extra, saved_bytes, of_layer = 0, 0, dict[_Use, Kernel]()
        for use in uses:
            shared = _shared_depthwise(use.kernel)
            assert shared is not None
            assert isinstance(use.kernel, schedules.DspDepthwiseDirect)
            of_layer[use] = shared
            extra += _more(shared, use)
            saved_bytes = use.kernel.constant_bytes - shared.constant_bytes
        saved_bytes += len(uses) * _OWN_BYTES
        if extra < price * saved_bytes:
            kernels |= of_layer
            worth += price * saved_bytes - extra
    return kernels if worth > 0 else {}


def _more(shared: schedules.DspConvShared | schedules.DspDepthwiseShared, use: _Use) -> int:
    """Instructions of an inference that it takes more than the layer's own kernel."""
    own = use.kernel
    assert isinstance(own, schedules.DspConvRow | schedules.DspDepthwiseDirect)
    return (shared.instructions - own.instructions) * use.calls
