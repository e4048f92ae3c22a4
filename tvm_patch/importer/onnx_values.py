"""Values of an ONNX graph on their way to Relax, and the axis order they are kept in.

ONNX is NCHW, the module is NHWC. Instead of transposing at each operator, a value remembers
which logical axis lies at which physical position (``order``). A ``Transpose`` only renames axes;
bytes move where an operator insists on an order and an axis longer than one changes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

Order = tuple[int, ...]

#: Physical NHWC of a logical NCHW tensor.
NHWC: Order = (0, 2, 3, 1)


def identity(rank: int) -> Order:
    """Return the order of a tensor kept as the file has it."""
    return tuple(range(rank))


def image_order(rank: int) -> Order:
    """Return the order that operators want: NHWC for images, else the file's own."""
    return NHWC if rank == 4 else identity(rank)


def static_shape(expr: Any) -> tuple[int, ...]:
    """Return the shape of a variable, all of whose extents are known."""
    return tuple(int(extent) for extent in expr.ty.shape)


@dataclass(frozen=True)
class Activation:
    """What int8 and float32 activations have in common.

    Parameters
    ----------
    expr : relax.Expr
        In physical axis order.
    order : tuple of int
        ``order[position]`` is the logical axis stored at a physical position.
    """

    expr: relax.Expr
    order: Order

    @property
    def physical_shape(self) -> tuple[int, ...]:
        """Shape of ``expr``."""
        return static_shape(self.expr)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as the ONNX file has it."""
        physical = self.physical_shape
        return tuple(physical[self.order.index(axis)] for axis in range(len(physical)))

    def position(self, axis: int) -> int:
        """Return where a logical axis, possibly negative, is stored."""
        return self.order.index(axis % len(self.order))

    def transposed(self, permutation: Sequence[int]) -> Activation:
        """Rename the axes as ``Transpose`` does, moving nothing."""
        return replace(self, order=tuple(list(permutation).index(axis) for axis in self.order))


@dataclass(frozen=True)
class Quantised(Activation):
    """An int8 activation; behind a ``DequantizeLinear`` it stands for ``scale * (x - zero_point)``.

    ``scale`` is None for an int8 input of the graph before its ``DequantizeLinear``.
    """

    scale: float | None
    zero_point: int

    def dequantised(self) -> relax.Expr:
        """Return the real numbers as an expression."""
        return relax.op.dequantize(
            self.expr, relax.const(self.scale, "float32"), relax.const(self.zero_point, "int32"), 0
        )


@dataclass(frozen=True)
class Real(Activation):
    """A float32 activation that the next ``QuantizeLinear`` turns into int8.

    Parameters
    ----------
    lowest, highest : float or None
        Bounds of activation functions behind the operator, kept apart so that they become
        integer clamps.
    gate_of : Quantised or None
        Set for ``HardSigmoid`` with the slope of hard swish: the tensor that it gates.
    """

    lowest: float | None = None
    highest: float | None = None
    gate_of: Quantised | None = None

    def clamped(self, lowest: float | None, highest: float | None) -> Real:
        """Apply the bounds of one more activation function."""
        low = [bound for bound in (self.lowest, lowest) if bound is not None]
        high = [bound for bound in (self.highest, highest) if bound is not None]
        return Real(
            self.expr,
            self.order,
            max(low) if low else None,
            min(high) if high else None,
        )


@dataclass(frozen=True)
class Flattened:
    """An image flattened to [1, K], for a matrix product that can permute its weights instead."""

    source: Quantised

    @property
    def columns(self) -> npt.NDArray[np.int64]:
        """Logical column of every physical one, shape [K]."""
        source = self.source
        logical = np.arange(int(np.prod(source.shape)), dtype=np.int64).reshape(source.shape)
        return logical.transpose(source.order).reshape(-1)


@dataclass(frozen=True)
class Constant:
    """An initialiser, quantised (``scales`` set) or plain.

    Parameters
    ----------
    array : ndarray
        int8 or int32 numbers where quantised, else of the file's type.
    scales : ndarray of float32 or None
        One, or one per index of ``axis``.
    zero_point : int
        Of quantised numbers; per-channel weights have zero.
    axis : int
        Of per-channel scales.
    """

    array: npt.NDArray[Any]
    scales: npt.NDArray[np.float32] | None = None
    zero_point: int = 0
    axis: int = 0

    @property
    def per_channel(self) -> bool:
        """Whether there is more than one scale."""
        return self.scales is not None and self.scales.size > 1

    def activation(self) -> Quantised | None:
        """The same as an activation, NHWC if it is an image; None without a scale or with many."""
        if self.scales is None or self.per_channel:
            return None
        order = image_order(self.array.ndim)
        values = relax.const(np.ascontiguousarray(self.array.transpose(order)), "int8")
        return Quantised(values, order, float(self.scales.reshape(-1)[0]), self.zero_point)


Value = Quantised | Real | Flattened | Constant
