"""Writing a stage as patches: strided slices, the same operators, and joins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relay

from tvm_patch.plan import Operator, StagePlan, Tensor
from tvm_patch.relay.operators import Layout, attribute_names, op_name
from tvm_patch.relay.reader import Network
from tvm_patch.relay.tiles import Block, Interval, Padding, Patch, patch_of, tile_blocks

_WINDOW_ATTRIBUTES = {
    "nn.conv2d": "relay.attrs.Conv2DAttrs",
    "qnn.conv2d": "relay.attrs.Conv2DAttrs",
    "nn.max_pool2d": "relay.attrs.MaxPool2DAttrs",
    "nn.avg_pool2d": "relay.attrs.AvgPool2DAttrs",
}


def patched_function(
    function: Any, network: Network, stage: StagePlan, *, joins_apart: bool = True
) -> Any:
    """The function with a stage written as patches.

    Parameters
    ----------
    function : relay.Function
        What ``network`` was read from.
    network : Network
        Its graph.
    stage : StagePlan
        A run of its operators, in tiles.
    joins_apart : bool
        Whether a join is a kernel of its own. Fused with what comes before and behind, it holds
        all strips, the joined map and its casts at the same time. But TVM lays maps out anew
        around a kernel that is given: a network in blocks of channels (NCHWc) wants its joins
        as they are.

    Returns
    -------
    relay.Function
        Without inferred types.
    """
    graph = network.graph
    operators = [graph.operators[graph.operator_index[name]] for name in stage.operators]
    writer = _PatchWriter(network, operators)
    output = operators[-1].output
    layout = network.layouts[output]
    join = _joined_apart if joins_apart else _joined
    strips, strip_kinds = [], []
    for tiles in tile_blocks(graph, stage):
        patches = [writer.patch(patch_of(graph, operators, tile), tile) for tile in tiles]
        kinds = [_kind(network, output, tile) for tile in tiles]
        strips.append(join(patches, kinds, layout.cols))
        strip = Block(tiles[0].rows, Interval(tiles[0].cols.start, tiles[-1].cols.stop))
        strip_kinds.append(_kind(network, output, strip))
    whole = join(strips, strip_kinds, layout.rows)
    return _Replace({network.expressions[output]: whole}).visit(function)


class _Replace(relay.ExprMutator):  # type: ignore[misc]  # TVM is not typed
    def __init__(self, replacements: Mapping[Any, Any]) -> None:
        super().__init__()
        self.memo_map = dict(replacements)


class _PatchWriter:
    """Writes the operators of one patch after the other."""

    def __init__(self, network: Network, operators: list[Operator]) -> None:
        self._network = network
        self._operators = operators

    def patch(self, patch: Patch, tile: Block) -> Any:
        """The expression of one patch's output, which is a tile of the stage's."""
        made: dict[str, Any] = {}
        produced = {operator.output for operator in self._operators}
        for operator in self._operators:
            read = patch.reads[operator.name]
            call = self._network.expressions[operator.output]
            replacements = {}
            for name in operator.inputs:
                old = self._network.expressions[name]
                if name in operator.whole_inputs:
                    continue
                if name in produced:
                    new = self._slice(name, made[name], patch.held[name], read.block)
                else:
                    key = f"{name}/{read.block}"
                    if key not in made:
                        tensor = self._network.graph.tensor[name]
                        made[key] = self._slice(name, old, _whole(tensor), read.block)
                    new = made[key]
                replacements[old] = new
            layout = self._network.layouts[operator.inputs[0]]
            made[operator.output] = _again(call, replacements, read.padding, layout)
        output = self._operators[-1].output
        return self._slice(output, made[output], patch.held[output], tile)

    def _slice(self, name: str, expression: Any, held: Block, wanted: Block) -> Any:
        if held == wanted:
            return expression
        layout, tensor = self._network.layouts[name], self._network.graph.tensor[name]
        begin, end = [0] * 4, [0] * 4
        end[layout.axes.index("N")], end[layout.channels] = tensor.shape[0], tensor.shape[3]
        for axis, outer, inner in (
            (layout.rows, held.rows, wanted.rows),
            (layout.cols, held.cols, wanted.cols),
        ):
            begin[axis], end[axis] = inner.start - outer.start, inner.stop - outer.start
        return relay.strided_slice(expression, begin=begin, end=end, strides=[1] * 4)


def _whole(tensor: Tensor) -> Block:
    return Block(Interval(0, tensor.height), Interval(0, tensor.width))


def _kind(network: Network, name: str, block: Block) -> Any:
    """The type of a block of a tensor."""
    kind, layout = network.expressions[name].checked_type, network.layouts[name]
    shape = list(kind.shape)
    shape[layout.rows], shape[layout.cols] = block.rows.size, block.cols.size
    return relay.TensorType(shape, kind.dtype)


def _joined(parts: list[Any], _kinds: list[Any], axis: int) -> Any:
    """The parts side by side."""
    return parts[0] if len(parts) == 1 else relay.concatenate(parts, axis=axis)


def _joined_apart(parts: list[Any], kinds: list[Any], axis: int) -> Any:
    """The parts side by side, by a kernel that TVM fuses with no other."""
    if len(parts) == 1:
        return parts[0]
    parameters = [relay.var(f"part_{i}", kind) for i, kind in enumerate(kinds)]
    join = relay.Function(parameters, relay.concatenate(parameters, axis=axis))
    return relay.Call(join.with_attr("Primitive", tvm.tir.IntImm("int32", 1)), parts)


def _again(call: Any, replacements: Mapping[Any, Any], padding: Padding, layout: Layout) -> Any:
    """The same operator on other inputs and with the padding that its place asks for."""
    arguments = [_replaced(argument, replacements) for argument in call.args]
    name = op_name(call)
    if name == "nn.pad":
        if padding.is_none:
            return arguments[0]
        return relay.nn.pad(arguments[0], _pad_width(padding, layout), arguments[1])
    if name not in _WINDOW_ATTRIBUTES:
        return relay.Call(call.op, arguments, call.attrs, call.type_args, call.span)
    changed: dict[str, Any] = {
        "padding": [padding.top, padding.left, padding.bottom, padding.right]
    }
    if "ceil_mode" in attribute_names(call.attrs):
        changed["ceil_mode"] = False
    values = {name: call.attrs[name] for name in attribute_names(call.attrs)}
    attrs = tvm.ir.make_node(_WINDOW_ATTRIBUTES[op_name(call)], **{**values, **changed})
    return relay.Call(call.op, arguments, attrs, call.type_args, call.span)


def _replaced(argument: Any, replacements: Mapping[Any, Any]) -> Any:
    if isinstance(argument, relay.Tuple):
        return relay.Tuple([_replaced(field, replacements) for field in argument.fields])
    return replacements.get(argument, argument)


def _pad_width(padding: Padding, layout: Layout) -> list[tuple[int, int]]:
    widths = [(0, 0)] * 4
    widths[layout.rows] = (padding.top, padding.bottom)
    widths[layout.cols] = (padding.left, padding.right)
    return widths
