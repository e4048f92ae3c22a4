"""Leaving out channels that make no difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from tvm_patch.qnn.channel_use import (
    MIXING,
    WeightedConstants,
    constant_channels,
    dropped_bias,
    unused_channels,
)
from tvm_patch.qnn.fold.source import Source, static_shape
from tvm_patch.qnn.ops import registry
from tvm_patch.qnn.writer import FunctionWriter, substitute

Array = npt.NDArray[Any]

CHANNEL_MULTIPLE = 4


@tvm.transform.module_pass(opt_level=0, name="DropDeadChannels")
class DropDeadChannels:
    """Module pass that leaves out channels without effect on any output.

    Trained networks have filters of zeros, filters whose sums vanish in rounding, and outputs for
    which no later layer has a weight. Their channels are taken out of all tensors between the layer
    that makes them and those that read them; what a constant channel adds to a sum goes into the
    bias. Outputs of the network are the same integers, inner tensors have fewer channels.

    Parameters
    ----------
    multiple : int
        Tensors keep a multiple of these channels, or all: kernels take four at a time, and layers
        of one shape share a kernel.
    """

    def __init__(self, multiple: int = CHANNEL_MULTIPLE) -> None:
        self._multiple = multiple

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Rewrite every Relax function."""
        return drop_dead_channels(module, self._multiple)


def drop_dead_channels(module: tvm.IRModule, multiple: int = CHANNEL_MULTIPLE) -> tvm.IRModule:
    """Leave out channels of a folded module; see :class:`DropDeadChannels`."""
    result = module.clone()
    for global_var, function in module.functions_items():
        if isinstance(function, relax.Function):
            result.update_func(global_var, _drop(function, multiple))
    return result


def _drop(function: Any, multiple: int) -> Any:
    # Each round may leave layers without an input that varies, or filters that nothing reads.
    while True:
        source = Source(function)
        constants = constant_channels(source)
        kept = unused_channels(source, constants, multiple)
        if not kept:
            return function
        function = _rewrite(function, source, kept, constants)


def _rewrite(
    function: Any, source: Source, kept: Mapping[Any, Array], constants: Mapping[Any, Array]
) -> Any:
    writer = FunctionWriter(function.params)
    env = {param: param for param in function.params}
    for var, value in source.bindings:
        if isinstance(value, relax.Var):
            env[var] = env[value]
            continue
        expr = _reshaped(substitute(value, env), var, value, kept, constants)
        env[var] = writer.emit(expr, var.name, is_output=source.is_output(var))
    results = [env.get(result, result) for result in source.results]
    attrs = dict(function.attrs) if function.attrs else {}
    return writer.finish(results, is_tuple=source.is_tuple, attrs=attrs)


def _reshaped(
    expr: Any, var: Any, value: Any, kept: Mapping[Any, Array], constants: Mapping[Any, Array]
) -> Any:
    """The expression over fewer channels."""
    name = registry.op_name(value)
    if name == "relax.reshape" and var in kept:
        shape = static_shape(var)
        assert shape is not None
        return relax.op.reshape(expr.args[0], [*shape[:-1], int(kept[var].sum())])
    if name not in (*MIXING, "qnn.depthwise_conv2d"):
        return expr
    data = value.args[0]
    if var not in kept and data not in kept:
        return expr
    arguments = WeightedConstants.of(value)
    weight, bias = arguments.weight, arguments.bias
    made = kept.get(var, np.ones(len(bias), np.bool_))
    if name == "qnn.depthwise_conv2d":
        weight = weight[..., made]
    else:
        read = kept.get(data, np.ones(weight.shape[-1], np.bool_))
        if data in constants:
            bias = dropped_bias(value, read, constants[data])
        weight = weight[made][..., read]
    packed = [
        relax.const(np.ascontiguousarray(weight), "int8"),
        *(
            relax.const(np.ascontiguousarray(array[made], dtype=np.int32), "int32")
            for array in (bias, arguments.multiplier, arguments.shift)
        ),
    ]
    return relax.Call(expr.op, [expr.args[0], *packed], expr.attrs, expr.ty_args)
