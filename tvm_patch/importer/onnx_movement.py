"""ONNX operators that only move bytes; all of them act on int8."""

from __future__ import annotations

import numpy as np
import onnx
from tvm import relax

from tvm_patch.importer.model import MAX_ELEMENTS
from tvm_patch.importer.onnx_graph import Graph, same_bytes
from tvm_patch.importer.onnx_values import (
    NHWC,
    Constant,
    Flattened,
    Quantised,
    Real,
    Value,
    identity,
)
from tvm_patch.qnn.reference.kernels import nearest_indices

#: Relax's coordinate mode and rounding for LiteRT's (align_corners, half_pixel_centers).
_NEAREST_FORMS: dict[tuple[str, str], tuple[int, int]] = {
    ("asymmetric", "floor"): (0, 0),
    ("half_pixel", "round_prefer_ceil"): (0, 1),
    ("align_corners", "round"): (1, 0),
}


def identity_op(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Identity`` and inference-time ``Dropout``."""
    return graph.value(node, 0)


def constant(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Constant``."""
    for attribute in node.attribute:
        if attribute.name == "value":
            return Constant(onnx.numpy_helper.to_array(attribute.t))
        if attribute.name in ("value_float", "value_floats"):
            number = onnx.helper.get_attribute_value(attribute)
            return Constant(np.asarray(number, np.float32))
        if attribute.name in ("value_int", "value_ints"):
            number = onnx.helper.get_attribute_value(attribute)
            return Constant(np.asarray(number, np.int64))
    raise graph.refuse(node, "holds neither numbers nor a tensor")


def transpose(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Transpose``: the axes get other names, nothing moves yet."""
    value = graph.value(node, 0)
    if isinstance(value, Constant):
        axes = graph.attribute(node, "perm", None)
        return Constant(value.array.transpose(axes), value.scales, value.zero_point, value.axis)
    if not isinstance(value, Real):
        value = graph.quantised(node, 0)
    rank = len(value.order)
    permutation = [int(axis) for axis in graph.attribute(node, "perm", list(range(rank))[::-1])]
    moved = value.transposed(permutation)
    assert isinstance(moved, Quantised | Real)
    return moved


def reshape(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Reshape`` to a constant shape."""
    target = graph.integers(node, 1)
    value = graph.value(node, 0)
    if isinstance(value, Constant):
        return Constant(value.array.reshape(target), value.scales, value.zero_point, value.axis)
    shape = _shape_before(graph, node)
    keep_zero = bool(graph.attribute(node, "allowzero", 0))
    sizes = [
        shape[axis] if size == 0 and not keep_zero and axis < len(shape) else size
        for axis, size in enumerate(target)
    ]
    return _to_shape(graph, node, sizes)


def flatten(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Flatten`` to two axes."""
    shape = _shape_before(graph, node)
    axis = int(graph.attribute(node, "axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    rows = int(np.prod(shape[:axis], dtype=np.int64))
    return _to_shape(graph, node, [rows, -1])


def squeeze(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Squeeze``; the axes are an input since opset 13."""
    shape = _shape_before(graph, node)
    axes = graph.attribute(node, "axes", None)
    if graph.has_input(node, 1):
        axes = graph.integers(node, 1)
    dropped = {int(axis) % len(shape) for axis in axes or []}
    if not dropped:
        dropped = {axis for axis, size in enumerate(shape) if size == 1}
    return _to_shape(graph, node, [size for axis, size in enumerate(shape) if axis not in dropped])


def unsqueeze(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Unsqueeze``; the axes are an input since opset 13."""
    axes = graph.attribute(node, "axes", None)
    if graph.has_input(node, 1):
        axes = graph.integers(node, 1)
    sizes = list(_shape_before(graph, node))
    rank = len(sizes) + len(axes)
    for axis in sorted(int(axis) % rank for axis in axes):
        sizes.insert(axis, 1)
    return _to_shape(graph, node, sizes)


def pad(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Pad`` with a constant."""
    data = graph.image(node, 0)
    mode = graph.attribute(node, "mode", "constant")
    if mode != "constant":
        raise graph.refuse(node, f"pads by {mode}")
    rank = len(data.order)
    widths = graph.integers(node, 1) if graph.has_input(node, 1) else []
    widths = widths or [int(width) for width in graph.attribute(node, "pads", [])]
    axes = graph.integers(node, 3) if graph.has_input(node, 3) else list(range(rank))
    if any(width < 0 for width in widths):
        raise graph.refuse(node, "crops (negative padding)")
    physical = [0] * (2 * rank)
    for index, axis in enumerate(axes):
        position = data.position(axis)
        physical[2 * position] = widths[index]
        physical[2 * position + 1] = widths[index + len(axes)]
    value = float(graph.attribute(node, "value", 0.0))
    if graph.has_input(node, 2):
        number = graph.constant(node, 2)
        value = float(number.array.reshape(-1)[0])
        if number.scales is not None:
            value = (value - number.zero_point) * float(number.scales[0])
    assert data.scale is not None
    steps = int(np.rint(np.float32(value) / np.float32(data.scale))) + data.zero_point
    expr = relax.op.nn.pad(data.expr, physical, "constant", min(max(steps, -128), 127))
    return graph.moved(data, expr, data.order, node.output[0])


def strided_slice(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Slice`` with constant bounds (inputs since opset 10)."""
    data = graph.image(node, 0)
    starts, ends = graph.integers(node, 1), graph.integers(node, 2)
    axes = graph.integers(node, 3) if graph.has_input(node, 3) else list(range(len(starts)))
    steps = graph.integers(node, 4) if graph.has_input(node, 4) else [1] * len(starts)
    shape = data.shape
    bounds = []
    for start, end, step, axis in zip(starts, ends, steps, axes, strict=True):
        size = shape[axis]
        if step < 0:
            raise graph.refuse(node, "walks backwards")
        bounds.append(slice(start, end, step).indices(size))
    expr = relax.op.strided_slice(
        data.expr,
        axes=[data.position(axis) for axis in axes],
        begin=[begin for begin, _, _ in bounds],
        end=[end for _, end, _ in bounds],
        strides=[step for _, _, step in bounds],
    )
    return graph.moved(data, expr, data.order, node.output[0])


def resize(graph: Graph, node: onnx.NodeProto) -> Value:
    """Convert ``Resize`` and ``Upsample`` by nearest neighbour.

    ONNX has twelve ways to choose a neighbour, LiteRT three; a form of the three that picks the
    same pixels at these very sizes is taken.
    """
    data = graph.image(node, 0)
    if graph.attribute(node, "mode", "nearest") != "nearest" or len(data.order) != 4:
        raise graph.refuse(node, "is not a nearest-neighbour resize of an image")
    sizes, target, scales = data.shape, *_target(graph, node, data.shape)
    if len(target) != 4 or target[:2] != sizes[:2]:
        raise graph.refuse(node, "resizes more than height and width")
    if min(target) < 1 or np.prod(target, dtype=np.float64) > MAX_ELEMENTS:
        raise graph.refuse(node, f"resizes to {list(target[2:])}")
    old = node.op_type == "Upsample"
    mode = "asymmetric" if old else "half_pixel"
    mode = graph.attribute(node, "coordinate_transformation_mode", mode)
    rounding = graph.attribute(node, "nearest_mode", "floor" if old else "round_prefer_floor")
    wanted = [
        [
            _neighbour(mode, rounding, out, sizes[axis], target[axis], scales[axis])
            for out in range(target[axis])
        ]
        for axis in (2, 3)
    ]
    for form, flags in _NEAREST_FORMS.items():
        found = [nearest_indices(sizes[axis], target[axis], *flags).tolist() for axis in (2, 3)]
        if found == wanted:
            expr = relax.op.image.resize2d(
                data.expr,
                (target[2], target[3]),
                layout="NHWC",
                method="nearest_neighbor",
                coordinate_transformation_mode=form[0],
                rounding_method=form[1],
            )
            return graph.moved(data, expr, NHWC, node.output[0])
    raise graph.refuse(node, f"picks neighbours by {mode}/{rounding}, which LiteRT cannot")


def _target(
    graph: Graph, node: onnx.NodeProto, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], list[float]]:
    """Return the resized shape and the scale per axis."""
    if graph.has_input(node, 3):
        target = tuple(graph.integers(node, 3))
        return target, [new / old for new, old in zip(target, shape, strict=True)]
    position = 1 if node.op_type == "Upsample" or len(node.input) == 2 else 2
    if not graph.has_input(node, position):
        raise graph.refuse(node, "has neither sizes nor scales")
    scales = [float(scale) for scale in graph.constant(node, position).array.reshape(-1)]
    target = tuple(int(np.floor(old * scale)) for old, scale in zip(shape, scales, strict=True))
    return target, scales


def _neighbour(mode: str, rounding: str, out: int, size: int, target: int, scale: float) -> int:
    """Return the source pixel as ONNX's Resize defines it."""
    if mode == "asymmetric":
        x = out / scale
    elif mode == "align_corners":
        x = out * (size - 1) / (target - 1) if target > 1 else 0.0
    elif mode == "pytorch_half_pixel" and target == 1:
        x = 0.0
    else:
        x = (out + 0.5) / scale - 0.5
    if rounding == "floor":
        pixel = np.floor(x)
    elif rounding == "ceil":
        pixel = np.ceil(x)
    elif rounding == "round_prefer_ceil":
        pixel = np.floor(x + 0.5)
    else:
        pixel = np.ceil(x - 0.5)
    return int(min(max(pixel, 0), size - 1))


def _shape_before(graph: Graph, node: onnx.NodeProto) -> tuple[int, ...]:
    value = graph.value(node, 0)
    if isinstance(value, Flattened):
        return (1, int(np.prod(value.source.shape)))
    return graph.quantised(node, 0).shape


def _to_shape(graph: Graph, node: onnx.NodeProto, sizes: list[int]) -> Value:
    value = graph.value(node, 0)
    elements = int(np.prod(_shape_before(graph, node)))
    known = int(np.prod([size for size in sizes if size != -1], dtype=np.int64))
    shape = tuple(elements // max(known, 1) if size == -1 else size for size in sizes)
    if int(np.prod(shape, dtype=np.int64)) != elements:
        raise graph.refuse(node, f"reshapes {elements} elements to {list(shape)}")
    if isinstance(value, Flattened):
        if shape == (1, elements):
            return value
        value = graph.materialised(value, node.input[0])
    data = value if isinstance(value, Quantised) else graph.quantised(node, 0)
    plain = same_bytes(data.order, identity(len(data.order)), data.shape)
    if shape == (1, elements) and not plain:
        return Flattened(data)
    return graph.reshaped(data, shape, node.output[0])
