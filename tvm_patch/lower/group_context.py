"""What the generators of a group's loops share: addresses, kernels, and how inputs are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import tirx

from tvm_patch.lower.address import AddressSpace
from tvm_patch.lower.marks import Marker
from tvm_patch.lower.statements import Expr, Stmt, call, fill_bytes, sequence
from tvm_patch.plan.graph import Graph, Tensor
from tvm_patch.plan.layout.group import Group, OperatorLayout, scratch_of


@dataclass(frozen=True)
class KernelCall:
    """A kernel chosen for an operator.

    Parameters
    ----------
    symbol : str
        C function; takes its inputs, then constants, then the output, then scratch memory, then
        numbers.
    constants : tuple of str
        Roles in the order of its parameters.
    takes_scratch : bool
        Whether scratch memory is among them.
    arguments : tuple of int
        The numbers.
    """

    symbol: str
    constants: tuple[str, ...]
    takes_scratch: bool = False
    arguments: tuple[int, ...] = ()


@dataclass(frozen=True)
class GroupContext:
    """One group while its loops are generated.

    Parameters
    ----------
    graph : Graph
        The network.
    group : Group
        With a tiling.
    addresses : AddressSpace
        Where things lie.
    storage_of : mapping of str to str
        Storage of each tensor, and of each operator's scratch.
    kernels : mapping of str to sequence of KernelCall
        By operator: one, or none for an operator that only moves data; inside a column run one
        for each width.
    fetch_symbol : str
        C function that brings rows of an input which is not resident.
    marker : Marker
        Says where a profile tells operators apart.
    """

    graph: Graph
    group: Group
    addresses: AddressSpace
    storage_of: Mapping[str, str]
    kernels: Mapping[str, Sequence[KernelCall]]
    fetch_symbol: str
    marker: Marker

    def pointer(self, tensor: Tensor, offset_bytes: Expr) -> Expr:
        """Address in what is held of a tensor."""
        return self.addresses.storage(self.storage_of[tensor.name], offset_bytes, tensor.dtype)

    def kernel(self, operator: str, inputs: Sequence[Expr], output: Expr, number: int = 0) -> Stmt:
        """Call the kernel of that number."""
        kernel = self.kernels[operator][number]
        constants = [
            self.addresses.constant(operator, kernel.symbol, role) for role in kernel.constants
        ]
        scratch = scratch_arguments(kernel, operator, self.addresses, self.storage_of)
        made = call(kernel.symbol, *inputs, *constants, output, *scratch, *kernel.arguments)
        claimed = [] if scratch else self._claimed_scratch(operator)
        return sequence(
            [*claimed, *self.marker.kernel(operator), made, *self.marker.data(operator)]
        )

    def _claimed_scratch(self, operator: str) -> list[Stmt]:
        """Touch the end of scratch that a kernel has no use for.

        One plan serves all cores, and the arena is used as it is planned.
        """
        layout = next(each for each in self.group.operators if each.operator.name == operator)
        if not layout.scratch_bytes:
            return []
        storage = self.storage_of[scratch_of(operator)]
        end = self.addresses.storage(storage, layout.scratch_bytes - 1)
        return [fill_bytes(end, 0, 1)]

    def blank_value(self, layout: OperatorLayout) -> int | None:
        """What the group's later operators read outside the image, if any of them does."""
        members = {other.operator.name for other in self.group.operators}
        for index in self.graph.consumers[layout.operator.output]:
            reader = self.graph.operators[index]
            if reader.name in members and reader.pad_value is not None:
                return reader.pad_value
        return None

    def first_input_row(self, layout: OperatorLayout, name: str, row: Expr, y: Expr) -> Expr:
        """Row under the top of a window in what is held of an input.

        ``row`` counts from the first row held of the output, ``y`` from the top of the image.
        """
        block, window = self.group.blocks[name], layout.operator.window
        if block.region is None:
            return y * window.stride_h - window.pad_top
        # The input has moved on since, as often as it runs more than this operator.
        ratio = self.rate_of(name) // layout.holding.rate
        first_row = (row - layout.region.rows.offset) * window.stride_h - window.pad_top
        return first_row + block.region.rows.offset - block.region.rows.scale * (ratio - 1)

    def rate_of(self, tensor: str) -> int:
        """How often the operator that makes a tensor of this group runs for each tile."""
        return next(
            layout.holding.rate
            for layout in self.group.operators
            if layout.operator.output == tensor
        )


def scratch_arguments(
    kernel: KernelCall, operator: str, addresses: AddressSpace, storage_of: Mapping[str, str]
) -> list[Expr]:
    """The operator's scratch memory, if its kernel takes any."""
    if not kernel.takes_scratch:
        return []
    return [addresses.storage(storage_of[scratch_of(operator)], 0)]


def zero() -> Expr:
    """The index of the first element."""
    return tirx.const(0, "int32")
