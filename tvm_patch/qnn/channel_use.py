"""Which channels of which tensors a network can do without.

Tensors whose channels belong together make a *bundle*: what a depthwise convolution, a pool or a
sum reads and writes. A bundle begins at convolutions and dense layers that make its channels, and
ends at those that take them in. A channel can go if each of the latter either has no weight for it,
or finds the same value in it everywhere, which its bias can take over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import ir, relax

from tvm_patch.qnn.fold.source import Source, static_shape
from tvm_patch.qnn.ops import registry
from tvm_patch.schedules.channels import channel_outputs
from tvm_patch.schedules.fixed_point import Arithmetic

Array = npt.NDArray[Any]

#: Operators that make new channels of all those they read.
MIXING = ("qnn.conv2d", "qnn.dense")
#: Operators of one tensor that keep channels apart.
_APART = (
    "qnn.depthwise_conv2d",
    "qnn.max_pool2d",
    "qnn.avg_pool2d",
    "qnn.global_sum",
    "qnn.average_of_sum",
    "qnn.mean",
    "qnn.mean_of_sum",
    "qnn.lookup",
    "qnn.resize_nearest",
    "relax.reshape",
)
_SUMS = ("qnn.add", "qnn.subtract", "qnn.mul")
#: Stands for a channel that is not constant.
_VARIES = np.iinfo(np.int64).max


@dataclass(frozen=True)
class WeightedConstants:
    """Constants of a convolution or dense layer.

    Parameters
    ----------
    weight : ndarray of int8
        As the operator has it.
    bias, multiplier, shift : ndarray of int32, shape [channels]
        Per output channel.
    """

    weight: Array
    bias: Array
    multiplier: Array
    shift: Array

    @staticmethod
    def of(call: Any) -> WeightedConstants:
        """The constant arguments of a call."""
        return WeightedConstants(*(argument.value.numpy() for argument in call.args[1:5]))

    def as_mapping(self) -> dict[str, Array]:
        """By the names that kernels know."""
        return {
            "weight": self.weight,
            "bias": self.bias,
            "multiplier": self.multiplier,
            "shift": self.shift,
        }


def unused_channels(
    source: Source, constants: Mapping[Any, Array], multiple: int = 1
) -> dict[Any, Array]:
    """Find channels without effect.

    Parameters
    ----------
    source : Source
        Straight-line Relax of the dialect.
    constants : mapping
        From :func:`constant_channels`.
    multiple : int
        Channels without effect stay where a tensor would else not have a multiple of these.

    Returns
    -------
    dict of relax.Var to ndarray of bool
        For each tensor that can lose channels, which of them it keeps; never none of them.
    """
    bundles = _Bundles(source)
    droppable: dict[Any, Array] = {}
    for _, value in source.bindings:
        root = bundles.root(value.args[0]) if registry.op_name(value) in MIXING else None
        if root is not None and not bundles.is_fixed(root):
            free = _does_without(value, constants.get(value.args[0]))
            droppable[root] = droppable.get(root, np.ones_like(free)) & free
    kept: dict[Any, Array] = {}
    for tensor in bundles.tensors():
        root = bundles.root(tensor)
        if root in droppable and droppable[root].any():
            keep = ~droppable[root]
            missing = -int(keep.sum()) % multiple if keep.any() else multiple
            keep[np.flatnonzero(~keep)[:missing]] = True
            kept[tensor] = keep
    return {tensor: keep for tensor, keep in kept.items() if not keep.all()}


def dropped_bias(call: Any, keep: Array, constants: Array) -> Array:
    """The bias of a convolution or dense layer that has taken over constant channels.

    Parameters
    ----------
    call : relax.Call
        Reads the channels.
    keep : ndarray of bool
        Channels that stay.
    constants : ndarray of int64
        The value of each channel; of those that go only.
    """
    arguments = WeightedConstants.of(call)
    weight = arguments.weight.astype(np.int64)
    summed = weight.sum(axis=tuple(range(1, weight.ndim - 1)))
    gone = np.where(keep, 0, constants)
    gone[gone == _VARIES] = 0
    result: Array = arguments.bias.astype(np.int64) + summed @ gone
    return result


class _Bundles:
    """Tensors whose channels belong together, and those whose channels must stay."""

    def __init__(self, source: Source) -> None:
        self._parent: dict[Any, Any] = {}
        self._fixed: set[Any] = set()
        tensors = [*source.function.params, *(var for var, _ in source.bindings)]
        for tensor in tensors:
            self._parent[tensor] = tensor
        self._fix(source.function.params)
        self._fix(source.results)
        for var, value in source.bindings:
            self._bind(var, value)
        self._fixed_roots = {self.root(tensor) for tensor in self._fixed}

    def _bind(self, var: Any, value: Any) -> None:
        name = registry.op_name(value)
        if name == "qnn.dense" or (
            name == "qnn.conv2d" and registry.attributes(value)["groups"] == 1
        ):
            return
        together = [var, *_variables(value)]
        shapes = [static_shape(tensor) for tensor in together]
        if _keeps_channels_apart(name, value, shapes):
            for tensor in together[1:]:
                self._parent[self.root(tensor)] = self.root(var)
        else:
            self._fix(together)

    def _fix(self, tensors: Iterable[Any]) -> None:
        self._fixed.update(tensor for tensor in tensors if tensor in self._parent)

    def tensors(self) -> list[Any]:
        """All of them."""
        return list(self._parent)

    def root(self, tensor: Any) -> Any:
        """What names the tensor's bundle."""
        while self._parent[tensor] != tensor:
            tensor = self._parent[tensor]
        return tensor

    def is_fixed(self, tensor: Any) -> bool:
        """Whether some tensor of the bundle must keep its channels."""
        return self.root(tensor) in self._fixed_roots


def _keeps_channels_apart(name: str | None, value: Any, shapes: Sequence[Any]) -> bool:
    if None in shapes or len({shape[-1] for shape in shapes}) != 1:
        return False
    if name in _SUMS:
        return len(shapes) == 3
    if name == "qnn.depthwise_conv2d":
        return bool(registry.attributes(value)["depth_multiplier"] == 1)
    if name == "qnn.mean":
        return sorted(axis % 4 for axis in registry.attributes(value)["axes"]) == [1, 2]
    if name == "relax.reshape":
        # Of a single pixel: its channels are all there is.
        return all(np.prod(shape) == shape[-1] for shape in shapes)
    return name in _APART


def _variables(value: Any) -> list[Any]:
    """Tensors that an expression reads, tuples looked into."""
    if isinstance(value, relax.Var):
        return [value]
    if isinstance(value, relax.Tuple):
        return [variable for field in value.fields for variable in _variables(field)]
    if isinstance(value, relax.TupleGetItem):
        return _variables(value.tuple_value)
    if isinstance(value, relax.Call):
        return [variable for argument in value.args for variable in _variables(argument)]
    return []


def _does_without(call: Any, constants: Array | None) -> Array:
    """Which channels of its input a convolution or dense layer can lose."""
    attributes = registry.attributes(call)
    weight = WeightedConstants.of(call).weight.astype(np.int64)
    free: Array = np.asarray(~np.any(weight.reshape(-1, weight.shape[-1]), axis=0))
    if constants is None:
        return free
    constant: Array = constants != _VARIES
    if any(attributes.get("padding", ())):
        # Beside the image the channel reads as the zero point.
        constant = constants == attributes["input_zero_point"]
    # A bias that left 32 bits would be another number.
    bias = np.abs(WeightedConstants.of(call).bias.astype(np.int64))
    reach = bias + np.abs(weight).reshape(len(weight), -1).sum(axis=1) * 128
    if reach.max() < 2**31:
        free |= constant
    return free


def constant_channels(source: Source) -> dict[Any, Array]:
    """The value of each channel, or ``_VARIES``, of all tensors that have any constant channel."""
    known: dict[Any, Array] = {}
    for var, value in source.bindings:
        name = registry.op_name(value)
        if name in (*MIXING, "qnn.depthwise_conv2d"):
            known[var] = _weighted(value, known.get(value.args[0]))
        elif name in _APART and value.args[0] in known:
            found = _passed_on(name, value, known[value.args[0]])
            shape = static_shape(var)
            if found is not None and shape is not None and shape[-1] == len(found):
                known[var] = found
    return known


def _weighted(call: Any, inputs: Array | None) -> Array:
    """Constant outputs of a convolution or dense layer."""
    attributes, constants = registry.attributes(call), WeightedConstants.of(call)
    arithmetic = Arithmetic(
        attributes["output_zero_point"],
        attributes["clamp_min"],
        attributes["clamp_max"],
        attributes["rounding"],
    )
    is_depthwise = registry.op_name(call) == "qnn.depthwise_conv2d"
    axis = -1 if is_depthwise else 0
    low, high = channel_outputs(constants.as_mapping(), axis, arithmetic)
    if is_depthwise and inputs is not None and attributes["depth_multiplier"] == 1:
        constant = inputs != _VARIES
        if any(attributes["padding"]):
            constant = inputs == attributes["input_zero_point"]
        # The sum that a constant input gives, through the same arithmetic.
        total = constants.weight.astype(np.int64).sum(axis=(0, 1)) * np.where(constant, inputs, 0)
        settled = {
            **constants.as_mapping(),
            "weight": np.zeros_like(constants.weight),
            "bias": constants.bias.astype(np.int64) + total,
        }
        made, _ = channel_outputs(settled, axis, arithmetic)
        low, high = np.where(constant, made, low), np.where(constant, made, high)
    return np.where(low == high, low, _VARIES)


def _passed_on(name: str, call: Any, inputs: Array) -> Array | None:
    """Constant outputs of an operator that keeps channels apart."""
    attributes = registry.attributes(call) if name.startswith("qnn.") else {}
    if name in ("relax.reshape", "qnn.resize_nearest", "qnn.global_sum"):
        # A sum is told by the value that it sums up.
        return inputs
    if name in ("qnn.max_pool2d", "qnn.avg_pool2d", "qnn.average_of_sum"):
        clamped = np.clip(inputs, attributes["clamp_min"], attributes["clamp_max"])
        return np.where(inputs == _VARIES, _VARIES, clamped)
    if name in ("qnn.mean", "qnn.mean_of_sum"):
        is_zero = inputs == attributes["input_zero_point"]
        return np.where(is_zero, attributes["output_zero_point"], _VARIES)
    if name == "qnn.lookup" and isinstance(call.args[1], ir.GenericConst):
        table = call.args[1].value.numpy().astype(np.int64)
        index = np.where(inputs == _VARIES, 0, inputs) + 128
        return np.where(inputs == _VARIES, _VARIES, table.reshape(-1)[index])
    return None
