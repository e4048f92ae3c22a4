"""Operators that take their inputs whole: one kernel call, or one for each part of the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from tvm_patch.analysis import Network
from tvm_patch.lower.address import AddressSpace
from tvm_patch.lower.group_context import KernelCall, scratch_arguments
from tvm_patch.lower.marks import Marker, no_marks
from tvm_patch.lower.statements import Expr, Stmt, call, sequence
from tvm_patch.plan.layout.group import Group
from tvm_patch.schedules.movement import nearest_indices


class WholeCall:
    """Generates the body of a group without tiles; parameters as those of ``StageLoop``.

    A concatenation has a kernel for each input, which writes its part of the output.
    """

    def __init__(
        self,
        network: Network,
        group: Group,
        addresses: AddressSpace,
        storage_of: Mapping[str, str],
        kernels: Mapping[str, Sequence[KernelCall]],
        marker: Marker | None = None,
    ) -> None:
        self._graph = network.graph
        self._operator = group.operators[0].operator
        self._detail = network.details[self._operator.name]
        self._addresses = addresses
        self._storage_of = storage_of
        self._kernels = kernels[self._operator.name]
        self._marker = marker or no_marks(group)

    def body(self) -> Stmt:
        """The calls."""
        if self._operator.kind == "resize_nearest":
            return self._resize()
        if self._operator.kind == "concatenate":
            return self._concatenate()
        inputs = [self._pointer(name) for name in self._operator.inputs]
        return self._call(self._kernels[0], inputs)

    def _pointer(self, name: str, offset_bytes: Expr = 0) -> Expr:
        dtype = self._graph.tensor[name].dtype
        return self._addresses.storage(self._storage_of[name], offset_bytes, dtype)

    def _call(
        self, kernel: KernelCall, inputs: Sequence[Expr], output_offset_bytes: Expr = 0
    ) -> Stmt:
        constants = [
            self._addresses.constant(self._operator.name, kernel.symbol, role)
            for role in kernel.constants
        ]
        output = self._pointer(self._operator.output, output_offset_bytes)
        name = self._operator.name
        scratch = scratch_arguments(kernel, name, self._addresses, self._storage_of)
        made = call(kernel.symbol, *inputs, *constants, output, *scratch, *kernel.arguments)
        return sequence([*self._marker.kernel(name), made, *self._marker.data(name)])

    def _concatenate(self) -> Stmt:
        """Each input's part begins where the one before ends."""
        output = self._graph.tensor[self._operator.output]
        axis = self._detail.attributes["axis"] % len(output.shape)
        statements: list[Stmt] = []
        offset_bytes = 0
        for kernel, name in zip(self._kernels, self._operator.inputs, strict=True):
            statements.append(self._call(kernel, [self._pointer(name)], offset_bytes))
            offset_bytes += prod(self._graph.tensor[name].shape[axis:])
        return sequence(statements)

    def _resize(self) -> Stmt:
        """Row by row, call by call: those whose source rows follow a rule have tiles."""
        source = self._graph.tensor[self._operator.inputs[0]]
        output = self._graph.tensor[self._operator.output]
        rows = nearest_indices(
            source.height,
            output.height,
            align_corners=bool(self._detail.attributes["align_corners"]),
            half_pixel_centers=bool(self._detail.attributes["half_pixel_centers"]),
        ).tolist()

        statements: list[Stmt] = []
        for y, source_row in enumerate(rows):
            data = self._pointer(source.name, source_row * source.row_bytes)
            statements.append(self._call(self._kernels[0], [data], y * output.row_bytes))
        return sequence(statements)
