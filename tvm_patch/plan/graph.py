"""The network as the planner sees it: tensors, operators and the windows they read through.

Nothing here knows TVM. :mod:`tvm_patch.analysis` makes a :class:`Graph` out of a Relax module;
an adapter for any other compiler can do the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from tvm_patch.compat import StrEnum

_DTYPE_BYTES = {"int8": 1, "uint8": 1, "int16": 2, "int32": 4, "float32": 4}


class Access(StrEnum):
    """How an operator reads its inputs."""

    ROWS = "rows"
    """One output row is made from a window of input rows."""

    WHOLE = "whole"
    """All of every input is needed at once."""

    ACCUMULATE = "accumulate"
    """Rows of the input are added up; the output is complete after the last one."""

    VIEW = "view"
    """The output is the input's bytes under another shape; nothing runs."""


@dataclass(frozen=True)
class Tensor:
    """An activation.

    Parameters
    ----------
    name : str
        Unique in its graph.
    shape : tuple of int
        NHWC with N = 1 for feature maps; any other rank for vectors.
    dtype : str
        ``int8`` inside the network; ``float32`` at a boundary that was not stripped.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"

    @property
    def element_bytes(self) -> int:
        """Bytes of one element."""
        return _DTYPE_BYTES[self.dtype]

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return prod(self.shape) * self.element_bytes

    @property
    def is_map(self) -> bool:
        """Whether the tensor is a feature map, [1, H, W, C]."""
        return len(self.shape) == 4

    @property
    def height(self) -> int:
        """Rows of a feature map."""
        return self.shape[1]

    @property
    def width(self) -> int:
        """Columns of a feature map."""
        return self.shape[2]

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel, all channels."""
        return self.shape[3] * self.element_bytes

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a feature map."""
        return self.width * self.pixel_bytes


@dataclass(frozen=True)
class Window:
    """A sliding window, in rows and columns (h, w).

    Output row ``y`` reads input rows ``y * stride_h - pad_top + j * dilation_h`` for ``j`` in
    ``[0, kernel_h)``; the same along x.
    """

    kernel_h: int = 1
    kernel_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0

    @property
    def span_h(self) -> int:
        """Input rows that one output row spans."""
        return (self.kernel_h - 1) * self.dilation_h + 1

    @property
    def span_w(self) -> int:
        """Input columns that one output column spans."""
        return (self.kernel_w - 1) * self.dilation_w + 1

    @property
    def has_padding(self) -> bool:
        """Whether any border element lies outside the input."""
        return any((self.pad_top, self.pad_left, self.pad_bottom, self.pad_right))

    @property
    def is_identity(self) -> bool:
        """Whether each output pixel reads just the input pixel of the same place."""
        return self == Window()

    def columns_read(self, width: int) -> int:
        """Input columns (padding included) read for ``width`` output columns."""
        return (width - 1) * self.stride_w + self.span_w

    def rows_read(self, height: int) -> int:
        """Input rows (padding included) read for ``height`` output rows."""
        return (height - 1) * self.stride_h + self.span_h


@dataclass(frozen=True)
class Scratch:
    """Memory that a kernel needs to itself while it makes a row.

    It goes along the row in steps of as many outputs as the memory is enough for.

    Parameters
    ----------
    fixed_bytes : int
        However many outputs a step has.
    block_columns, block_bytes : int
        Outputs of a block, and what each block of a step takes.
    most_blocks : int
        Blocks of a step; fewer where the row is shorter.
    least_columns : int
        Rows of fewer outputs than that are made without it.
    """

    fixed_bytes: int
    block_columns: int
    block_bytes: int
    most_blocks: int
    least_columns: int = 0

    def is_for(self, columns: int) -> bool:
        """Whether rows of ``columns`` outputs take any."""
        return columns >= self.least_columns

    def blocks(self, columns: int) -> int:
        """Blocks of a step where a row has ``columns`` outputs."""
        return max(1, min(self.most_blocks, -(-columns // self.block_columns)))

    def size_bytes(self, columns: int) -> int:
        """Memory for a row of ``columns`` outputs."""
        if not self.is_for(columns):
            return 0
        return self.fixed_bytes + self.blocks(columns) * self.block_bytes


@dataclass(frozen=True)
class Operator:
    """One step of the network.

    Parameters
    ----------
    name : str
        Unique in its graph; the name that profiles and error messages use.
    kind : str
        The operator of the integer dialect without its prefix, ``conv2d`` for example.
    inputs : tuple of str
        Tensors read, constants left out.
    output : str
        Tensor written.
    access : Access
        How the inputs are read.
    window : Window
        For :attr:`Access.ROWS`.
    macs : int
        Multiply-accumulates of the whole operator, padding taps included.
    pad_value : int or None
        What elements outside the input read as; None where none are read.
    elementwise : bool
        Each output element depends on the input elements of the same index only, so that the
        output may take the input's place.
    whole_inputs : tuple of str
        Inputs needed whole even when the others are read by rows (a broadcast factor).
    streamable : bool
        Whether it may be part of a stage; if it accumulates, as the last operator.
    scratch : Scratch or None
        Memory that its kernel needs besides its inputs and its output.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    access: Access
    window: Window = Window()
    macs: int = 0
    pad_value: int | None = None
    elementwise: bool = False
    whole_inputs: tuple[str, ...] = ()
    streamable: bool = True
    scratch: Scratch | None = None

    @property
    def is_full_width(self) -> bool:
        """Whether it always makes or adds up whole rows, so that a stage has to as well."""
        reads_whole_maps = bool(self.inputs) and set(self.inputs) == set(self.whole_inputs)
        return self.access is Access.ACCUMULATE or reads_whole_maps

    @property
    def paced_by(self) -> str:
        """The map that it goes over from top to bottom: its output, or what it adds up."""
        return self.inputs[0] if self.access is Access.ACCUMULATE else self.output


@dataclass(frozen=True)
class Graph:
    """A network in execution order.

    Parameters
    ----------
    name : str
        The model's name.
    tensors : tuple of Tensor
        Every activation, model inputs and outputs included.
    operators : tuple of Operator
        In the order in which they run.
    inputs, outputs : tuple of str
        Tensors at the model's boundary.
    fingerprint : str
        Digest of structure and constants; a plan names the graph it was made for by it.
    """

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fingerprint: str

    @cached_property
    def tensor(self) -> Mapping[str, Tensor]:
        """Tensors by name."""
        return {tensor.name: tensor for tensor in self.tensors}

    @cached_property
    def operator_index(self) -> Mapping[str, int]:
        """Position of each operator in execution order, by name."""
        return {operator.name: i for i, operator in enumerate(self.operators)}

    @cached_property
    def producer(self) -> Mapping[str, int]:
        """Index of the operator that writes each tensor; model inputs are absent."""
        return {operator.output: i for i, operator in enumerate(self.operators)}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[int, ...]]:
        """Indices of the operators that read each tensor."""
        readers: dict[str, list[int]] = {tensor.name: [] for tensor in self.tensors}
        for i, operator in enumerate(self.operators):
            for name in dict.fromkeys(operator.inputs):
                readers[name].append(i)
        return {name: tuple(indices) for name, indices in readers.items()}

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one layer-by-layer inference."""
        return sum(operator.macs for operator in self.operators)

    def with_scratch(self, sizes_bytes: Mapping[str, int]) -> Graph:
        """The same network for kernels that need scratch memory of other sizes.

        Parameters
        ----------
        sizes_bytes : mapping of str to int
            By operator; the others need what they needed.
        """
        operators = tuple(
            replace(operator, scratch=_of_size(operator.scratch, sizes_bytes[operator.name]))
            if operator.name in sizes_bytes
            else operator
            for operator in self.operators
        )
        return replace(self, operators=operators) if sizes_bytes else self

    def without_scratch(self) -> Graph:
        """The same network for kernels that need no scratch memory."""
        operators = tuple(replace(operator, scratch=None) for operator in self.operators)
        return replace(self, operators=operators)


def _of_size(scratch: Scratch | None, size_bytes: int) -> Scratch:
    """As many blocks as so much memory is enough for; where there were none, one of that size."""
    if scratch is None:
        return Scratch(size_bytes, 1, 0, 1)
    blocks = (size_bytes - scratch.fixed_bytes) // max(scratch.block_bytes, 1)
    return replace(scratch, most_blocks=max(blocks, 1))
