"""Stages on the host: the same tile loops and row kernels, compiled by LLVM inside Relax.

``qnn.patch_stage`` legalises to a ``call_tir`` of the very loop nest that is printed as C for a
device. Only addresses differ: inputs, constants and output are the function's parameters, and the
patch buffers lie in a workspace that Relax allocates as a second output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any

from tvm import ir, relax, s_tir, tirx

from tvm_patch.analysis import STAGE_OP, Network, read_network
from tvm_patch.lower.address import bytes_of
from tvm_patch.lower.kernels import choose_kernels
from tvm_patch.lower.model import constants_of, kernel_calls
from tvm_patch.lower.packing import packed_constants
from tvm_patch.lower.stage_loop import StageLoop
from tvm_patch.lower.statements import Expr, Stmt, sequence
from tvm_patch.memory import allocate
from tvm_patch.plan.layout.stage import groups_of
from tvm_patch.plan.liveness.storage import Execution, build_execution
from tvm_patch.plan.record import StagePlan, stage_from_dict
from tvm_patch.plan.search.patches import with_resident_inputs
from tvm_patch.schedules.bare_c import lower_to_bare
from tvm_patch.transform.stage_function import STAGE_ATTRIBUTE

# Any calling convention but the default keeps TVM from wrapping a kernel in its packed API.
_PLAIN_CALL = 1


class HostAddresses:
    """Addresses in a stage function on the host; see :class:`AddressSpace`.

    Parameters
    ----------
    boundary : mapping of str to (shape, dtype)
        Tensors that are parameters: inputs in order, the output last.
    constants : mapping of (str, str, str) to ndarray
        By operator, kernel symbol and role.
    workspace_bytes : int
        Size of the workspace.
    offsets_bytes : mapping of str to int
        Of each storage in the workspace.
    """

    def __init__(
        self,
        boundary: Mapping[str, tuple[tuple[int, ...], str]],
        constants: Mapping[tuple[str, str, str], Any],
        workspace_bytes: int,
        offsets_bytes: Mapping[str, int],
    ) -> None:
        self._boundary = {
            name: tirx.decl_buffer(shape, dtype, name=name)
            for name, (shape, dtype) in boundary.items()
        }
        self._constants = {
            key: tirx.decl_buffer(value.shape, str(value.dtype), name="_".join(key))
            for key, value in constants.items()
        }
        self._workspace = tirx.decl_buffer((max(workspace_bytes, 4),), "int8", name="workspace")
        self._offsets_bytes = offsets_bytes
        self._views: dict[tuple[str, str], Any] = {}

    def parameters(self) -> list[Any]:
        """Buffers: inputs, constants, then the output and the workspace."""
        *inputs, output = self._boundary.values()
        return [*inputs, *self._constants.values(), output, self._workspace]

    def storage(self, name: str, offset_bytes: Expr, dtype: str = "int8") -> Expr:
        """Pointer into a parameter or the workspace."""
        base = 0
        if name in self._boundary:
            view = self._view(name, self._boundary[name], dtype)
        else:
            view, base = self._view("workspace", self._workspace, dtype), self._offsets_bytes[name]
        index = (base + offset_bytes) // bytes_of(dtype)
        return tirx.address_of(tirx.BufferLoad(view, [index]))

    def constant(self, operator: str, kernel: str, role: str) -> Expr:
        """Pointer to the first element of a constant parameter."""
        buffer = self._constants[operator, kernel, role]
        return tirx.address_of(tirx.BufferLoad(buffer, [0] * len(buffer.shape)))

    def declarations(self) -> list[Stmt]:
        """Flat views of the parameters."""
        return [
            tirx.DeclBuffer(view, data=self._owner(name).data)
            for (name, _), view in self._views.items()
        ]

    def _owner(self, name: str) -> Any:
        return self._boundary.get(name, self._workspace)

    def _view(self, name: str, buffer: Any, dtype: str) -> Any:
        key = (name, dtype)
        if key not in self._views:
            size_bytes = prod(int(extent) for extent in buffer.shape) * bytes_of(str(buffer.dtype))
            length = size_bytes // bytes_of(dtype)
            self._views[key] = tirx.decl_buffer((length,), dtype, name=f"{name}_{dtype}")
        return self._views[key]


def _legalize_stage(builder: Any, call: Any) -> Any:
    mod = builder.get()
    variable = call.args[0]
    function = mod[variable]
    name = str(variable.name_hint)
    network = read_network(mod, name=name, entry=name)
    stage = stage_from_dict(json.loads(str(function.attrs[STAGE_ATTRIBUTE])))
    stage = with_resident_inputs(stage, network.graph.inputs)
    return _emit_stage(builder, name, network, stage, list(call.args[1].fields))


def _emit_stage(
    builder: Any, name: str, network: Network, stage: StagePlan, arguments: list[Any]
) -> Any:
    graph = network.graph
    (group,) = groups_of(graph, (stage,))
    execution = build_execution(graph, (group,))
    offsets, workspace_bytes = _workspace(execution, {*graph.inputs, group.output})
    prefix = f"{name}_"
    chosen = {
        layout.operator.name: choose_kernels(network, group, layout) for layout in group.operators
    }
    constants = {
        (operator, prefix + kernel.name, role): packed[role]
        for operator, kernels in chosen.items()
        for kernel in kernels
        for packed in [packed_constants(kernel, operator, constants_of(network.details[operator]))]
        for role in kernel.constants
    }
    boundary = {
        tensor: (graph.tensor[tensor].shape, graph.tensor[tensor].dtype)
        for tensor in (*graph.inputs, group.output)
    }
    addresses = HostAddresses(boundary, constants, workspace_bytes, offsets)
    calls = {operator: kernel_calls(kernels, prefix) for operator, kernels in chosen.items()}
    body = StageLoop(network, group, addresses, execution.storage_of, calls).body()
    body = sequence([*addresses.declarations(), body])
    root = s_tir.SBlock([], [], [], "root", body)
    realize = s_tir.SBlockRealize([], tirx.const(True, "bool"), root)
    loops = tirx.PrimFunc(addresses.parameters(), realize).with_attr("s_tir", True)
    for kernels in chosen.values():
        for kernel in kernels:
            symbol = prefix + kernel.name
            bare = lower_to_bare(kernel.prim_func(), symbol).without_attr("target")
            builder.add_func(bare.with_attr("calling_conv", _PLAIN_CALL), symbol)
    function = builder.add_func(loops, f"{name}_tiles")
    output = graph.tensor[group.output]
    outputs = [
        relax.TensorType(list(output.shape), output.dtype),
        relax.TensorType([max(workspace_bytes, 4)], "int8"),
    ]
    operands = [*arguments, *(relax.const(value) for value in constants.values())]
    result = builder.emit(relax.call_tir(function, operands, outputs))
    return relax.TupleGetItem(result, 0)


def _workspace(execution: Execution, boundary: set[str]) -> tuple[Mapping[str, int], int]:
    """Offsets of all storages but the boundary's, and their total."""
    problem = execution.problem()
    inner = tuple(buffer for buffer in problem.buffers if buffer.name not in boundary)
    allocation = allocate(type(problem)(inner), "greedy_by_size")
    return allocation.offsets_bytes, allocation.arena_bytes


# The first argument is a function, which has no shape.
ir.register_op_attr(STAGE_OP, "RequiresArgumentShapes", False)
ir.register_op_attr(STAGE_OP, "FLegalize", _legalize_stage)
