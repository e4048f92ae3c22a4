"""What a variable of the QDQ module stands for while it is folded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Quant:
    """Per-tensor quantisation: ``real = scale * (integer - zero_point)``."""

    scale: float
    zero_point: int


@dataclass(eq=False)
class Padded:
    """A constant padding of an int8 tensor that its consumers may still take in.

    Parameters
    ----------
    source : Expr
        The emitted int8 tensor.
    width : tuple of int
        (before, after) per axis, flat.
    value : int
        What the new elements hold.
    name : str
        Name of the padded tensor.
    is_output : bool
        Whether the function returns it.
    emitted : Expr or None
        The ``qnn.pad``, once some consumer needed it.
    """

    source: Any
    width: tuple[int, ...]
    value: int
    name: str
    is_output: bool
    emitted: Any = None


@dataclass(frozen=True, eq=False)
class Dequantized:
    """The real tensor that an int8 tensor (an expression or :class:`Padded`) stands for."""

    data: Any
    quant: Quant


@dataclass(frozen=True, eq=False)
class QuantizedConst:
    """A dequantised constant; ``scale`` and ``zero_point`` have the shape of ``values``.

    Holding the scale per element lets reshapes and transposes act on it as on the values.
    """

    values: Array
    scale: Array
    zero_point: Array
    per_channel: bool

    @property
    def is_activation(self) -> bool:
        """Whether an operator may take it in place of an activation: int8, one scale."""
        return self.values.dtype == np.int8 and not self.per_channel

    @property
    def quant(self) -> Quant:
        """The one scale and zero point of an activation."""
        return Quant(float(self.scale.flat[0]), int(self.zero_point.flat[0]))

    def real(self) -> Array:
        """The constant in float32."""
        difference = (self.values.astype(np.int64) - self.zero_point).astype(np.float32)
        return np.asarray(difference * self.scale, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class FloatNode:
    """A real-valued operator call that waits to be quantised.

    Parameters
    ----------
    op : str
        Relax operator.
    args : tuple
        Values of this module or constants (ndarray).
    call : relax.Call
        The source call, for its attributes and type.
    name : str
        Name of the source variable.
    """

    op: str
    args: tuple[Any, ...]
    call: Any
    name: str
    cache: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """The int8 tensor that a quantised operator has to produce.

    Parameters
    ----------
    quant : Quant
        Its quantisation.
    name : str
        Its name.
    is_output : bool
        Whether the function returns it.
    clamp : tuple of int
        Range that later clips leave of it, within int8.
    """

    quant: Quant
    name: str
    is_output: bool
    clamp: tuple[int, int] = (-128, 127)

    def clamped(self, low: int, high: int) -> Target:
        """The same tensor, clipped once more before or after quantisation."""
        return Target(self.quant, self.name, self.is_output, narrow(self.clamp, low, high))

    @property
    def is_full_range(self) -> bool:
        """Whether no clip is left to do."""
        return self.clamp == (-128, 127)


def narrow(clamp: tuple[int, int], low: int, high: int) -> tuple[int, int]:
    """Clip values already in [low, high] to ``clamp``: the range of the composition.

    Where the two do not meet, everything becomes the nearest end of ``clamp``.
    """
    return (
        min(max(low, clamp[0]), clamp[1]),
        max(min(high, clamp[1]), clamp[0]),
    )
