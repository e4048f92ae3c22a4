"""What the fold makes of QDQ patterns; the integers themselves are compared with LiteRT's."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn import FoldQDQ, ops, run_outputs, tables, to_integer
from tvm_patch.qnn.fold.values import narrow
from tvm_patch.qnn.reference import kernels

from .qdq import QDQ, operators

RNG = np.random.default_rng(3)
WEIGHT = RNG.integers(-127, 128, (3, 3, 4, 2)).astype(np.int8)
SCALES = np.array([0.01, 0.02], np.float32)


def _attributes(module, index=0):
    return ops.attributes(module["main"].body.blocks[0].bindings[index].value)


def _input():
    return RNG.integers(-128, 128, (1, 6, 5, 4)).astype(np.int8)


def _float_result(real, scale, zero_point):
    return np.clip(np.rint(real / scale) + zero_point, -128, 127)


@pytest.mark.parametrize(("pad_value", "folds"), [(7, True), (0, False)])
def test_padding_goes_into_the_convolution_where_exact(pad_value, folds):
    q = QDQ()
    padded = q.emit(relax.op.nn.pad(q.x, [0, 0, 1, 2, 3, 0, 0, 0], "constant", pad_value), "padded")
    real = q.dequantize(padded, 0.1, 7)
    out = q.conv2d(real, WEIGHT, SCALES, padding=[1, 1, 1, 1])
    module = to_integer(q.finish(q.quantize(out, 0.3, name="out")))
    if folds:
        assert operators(module) == [("qnn.conv2d", "out")]
        assert _attributes(module)["padding"] == [2, 4, 3, 1]
    else:
        assert operators(module) == [("qnn.pad", "padded"), ("qnn.conv2d", "out")]
        assert _attributes(module)["pad_value"] == 0
        assert _attributes(module, 1)["padding"] == [1, 1, 1, 1]


def test_padding_with_another_consumer_is_kept_for_it():
    q = QDQ()
    padded = q.emit(relax.op.nn.pad(q.x, [0, 0, 1, 1, 1, 1, 0, 0], "constant", 7), "padded")
    out = q.conv2d(q.dequantize(padded, 0.1, 7), WEIGHT, SCALES)
    module = to_integer(q.finish(q.quantize(out, 0.3, name="out"), padded))
    assert sorted(operators(module)) == [("qnn.conv2d", "out"), ("qnn.pad", "padded")]


def test_empty_padding_is_dropped():
    q = QDQ()
    padded = q.emit(relax.op.nn.pad(q.x, [0] * 8, "constant", 3))
    out = q.conv2d(q.dequantize(padded, 0.1, 7), WEIGHT, SCALES)
    module = to_integer(q.finish(q.quantize(out, 0.3, name="out")))
    assert operators(module) == [("qnn.conv2d", "out")]


def test_input_zero_point_and_bias_are_folded():
    q = QDQ()
    bias_scale = np.float32(0.1) * SCALES
    out = q.conv2d(q.dequantize(q.x, 0.1, 7), WEIGHT, SCALES, bias=[11, -5], bias_scale=bias_scale)
    module = to_integer(q.finish(q.quantize(out, 0.3)))
    args = module["main"].body.blocks[0].bindings[0].value.args
    sums = WEIGHT.astype(int).sum(axis=(0, 1, 2))
    assert args[2].value.numpy().tolist() == (np.array([11, -5]) - 7 * sums).tolist()
    np.testing.assert_array_equal(args[1].value.numpy(), WEIGHT.transpose(3, 0, 1, 2))


def test_bias_of_another_scale_is_requantised():
    q = QDQ()
    out = q.conv2d(q.dequantize(q.x, 0.1), WEIGHT, SCALES, bias=[100, 100], bias_scale=0.002)
    module = to_integer(q.finish(q.quantize(out, 0.3)))
    bias = module["main"].body.blocks[0].bindings[0].value.args[2].value.numpy()
    assert bias.tolist() == [200, 100]


def test_activations_and_clips_become_the_clamp():
    q = QDQ()
    out = q.emit(relax.op.nn.relu(q.conv2d(q.dequantize(q.x, 0.1, 7), WEIGHT, SCALES)))
    integers = q.quantize(out, 0.3, -20)
    clipped = q.emit(relax.op.clip(integers, -128, 100), "clipped")
    module = to_integer(q.finish(clipped))
    assert operators(module) == [("qnn.conv2d", "clipped")]
    attrs = _attributes(module)
    assert (attrs["clamp_min"], attrs["clamp_max"]) == (-20, 100)


def test_clip_of_a_shared_tensor_becomes_a_table():
    q = QDQ()
    integers = q.quantize(q.conv2d(q.dequantize(q.x, 0.1, 7), WEIGHT, SCALES), 0.3, name="conv")
    clipped = q.emit(relax.op.clip(integers, 0, 20), "clipped")
    module = to_integer(q.finish(integers, clipped))
    assert operators(module) == [("qnn.conv2d", "conv"), ("qnn.lookup", "clipped")]
    conv, table = run_outputs(module, [_input()])
    np.testing.assert_array_equal(table, np.clip(conv, 0, 20))


def test_movement_is_pulled_through_to_int8():
    q = QDQ()
    real = q.emit(relax.op.permute_dims(q.dequantize(q.x, 0.1, 7), [0, 3, 1, 2]))
    moved = q.quantize(q.emit(relax.op.reshape(real, (1, 120))), 0.1, 7, name="moved")
    module = to_integer(q.finish(moved))
    assert [name for name, _ in operators(module)] == ["relax.permute_dims", "relax.reshape"]
    assert operators(module)[-1][1] == "moved"
    data = _input()
    expected = data.transpose(0, 3, 1, 2).reshape(1, 120)
    np.testing.assert_array_equal(run_outputs(module, [data])[0], expected)


def test_movement_of_a_pending_sum_comes_after_its_requantisation():
    q = QDQ()
    out = q.conv2d(q.dequantize(q.x, 0.1, 7), WEIGHT, SCALES)
    flat = q.emit(relax.op.reshape(out, (1, 24)))
    module = to_integer(q.finish(q.quantize(flat, 0.3, name="flat")))
    assert [name for name, _ in operators(module)] == ["qnn.conv2d", "relax.reshape"]


def test_float_input_is_quantised_before_it_is_moved():
    q = QDQ((1, 4, 6, 5), dtype="float32")
    turned = q.emit(relax.op.permute_dims(q.x, [0, 2, 3, 1]))
    module = to_integer(q.finish(q.quantize(turned, 0.1, 7, name="image")))
    assert [name for name, _ in operators(module)] == ["qnn.quantize", "relax.permute_dims"]
    stripped = to_integer(module, io="int8")
    assert operators(stripped) == [("relax.permute_dims", "image")]


def test_backward_slice_is_refused_by_name():
    q = QDQ()
    turned = q.emit(relax.op.strided_slice(q.x, [1], [5], [0], [-1]), "turned")
    with pytest.raises(UnsupportedOperatorError, match="turned: strided_slice"):
        to_integer(q.finish(turned))


def test_transposition_of_unit_axes_is_a_reshape():
    q = QDQ((1, 1, 1, 4))
    moved = q.emit(relax.op.permute_dims(q.x, [0, 3, 1, 2]), "moved")
    assert operators(to_integer(q.finish(moved))) == [("relax.reshape", "moved")]


def test_requantisation_is_a_table_unless_it_changes_nothing():
    q = QDQ()
    same = q.quantize(q.dequantize(q.x, 0.1, 7), 0.1, 7, name="same")
    other = q.quantize(q.dequantize(same, 0.1, 7), 0.2, 1, name="other")
    assert operators(to_integer(q.finish(other))) == [("qnn.lookup", "other")]


def test_tables_in_a_row_become_one():
    q = QDQ()
    first = q.quantize(q.dequantize(q.x, 0.1, 7), 0.2, 1)
    second = q.quantize(q.emit(relax.op.sigmoid(q.dequantize(first, 0.2, 1))), 1 / 256, -128)
    module = to_integer(q.finish(second))
    assert [name for name, _ in operators(module)] == ["qnn.lookup"]
    data = _input()
    steps = kernels.lookup(data, tables.requantize(0.1, 7, 0.2, 1))
    expected = kernels.lookup(steps, tables.logistic(0.2, 1, 1 / 256, -128))
    np.testing.assert_array_equal(run_outputs(module, [data])[0], expected)


def test_activation_of_a_quantised_sum_goes_into_its_clamp():
    q = QDQ()
    summed = q.quantize(q.conv2d(q.dequantize(q.x, 0.1, 7), WEIGHT, SCALES), 0.3, -9)
    active = q.quantize(q.emit(relax.op.nn.relu(q.dequantize(summed, 0.3, -9))), 0.3, -9, name="y")
    module = to_integer(q.finish(active))
    assert operators(module) == [("qnn.conv2d", "y")]
    assert (_attributes(module)["clamp_min"], _attributes(module)["clamp_max"]) == (-9, 127)


def test_reshapes_in_a_row_become_one():
    q = QDQ()
    flat = q.emit(relax.op.reshape(q.emit(relax.op.reshape(q.x, (1, 30, 4))), (1, 120)), "flat")
    assert operators(to_integer(q.finish(flat))) == [("relax.reshape", "flat")]


def test_pooling_and_softmax_of_another_scale_are_requantised():
    q = QDQ()
    pool = relax.op.nn.avg_pool2d(
        q.dequantize(q.x, 0.1, 7), pool_size=(2, 2), layout="NHWC", count_include_pad=False
    )
    pooled = q.quantize(q.emit(pool), 0.05, 7, name="pooled")
    scores = q.emit(relax.op.nn.softmax(q.dequantize(pooled, 0.05, 7), axis=-1))
    module = to_integer(q.finish(q.quantize(scores, 1 / 128, -128, name="scores")))
    names = [name for name, _ in operators(module)]
    assert names == ["qnn.avg_pool2d", "qnn.lookup", "qnn.softmax", "qnn.lookup"]


def test_average_over_the_whole_map_with_another_scale_is_a_mean():
    q = QDQ()
    pool = relax.op.nn.adaptive_avg_pool2d(q.dequantize(q.x, 0.1, 7), (1, 1), layout="NHWC")
    module = to_integer(q.finish(q.quantize(q.emit(pool), 0.05, 7, name="pooled")))
    assert operators(module) == [("qnn.global_sum", "pooled_sum"), ("qnn.mean_of_sum", "pooled")]
    data = _input()
    real = 0.1 * (data.astype(float) - 7).mean(axis=(1, 2), keepdims=True)
    assert np.abs(run_outputs(module, [data])[0] - _float_result(real, 0.05, 7)).max() <= 1


def test_concatenation_requantises_what_differs():
    q = QDQ()
    real = q.dequantize(q.x, 0.1, 7)
    half = q.dequantize(q.quantize(real, 0.2, 7), 0.2, 7)
    joined = q.quantize(q.emit(relax.op.concat([real, half], axis=-1)), 0.1, 7, name="joined")
    module = to_integer(q.finish(joined))
    # There and back again is one table, for its rounding.
    assert [name for name, _ in operators(module)] == ["qnn.lookup", "qnn.concatenate"]
    assert _attributes(module, 1)["axis"] == 3


def test_unknown_function_of_one_tensor_is_tabulated():
    q = QDQ()
    real = q.dequantize(q.x, 0.02, 5)
    out = q.emit(relax.op.exp(q.emit(relax.op.multiply(real, relax.const(0.5, "float32")))))
    module = to_integer(q.finish(q.quantize(out, 0.05, -100, name="out")))
    assert operators(module) == [("qnn.lookup", "out")]
    data = _input()
    expected = _float_result(np.exp(0.5 * 0.02 * (data.astype(float) - 5)), 0.05, -100)
    np.testing.assert_array_equal(run_outputs(module, [data])[0], expected)


@pytest.mark.parametrize("operator", [relax.op.add, relax.op.subtract, relax.op.multiply])
def test_tensor_combined_with_itself_is_tabulated_by_the_kernel_arithmetic(operator):
    q = QDQ()
    real = q.dequantize(q.x, 0.1, 7)
    same = to_integer(q.finish(q.quantize(q.emit(operator(real, real)), 0.3, 5)))
    q = QDQ()
    left, right = (
        q.dequantize(q.x, 0.1, 7),
        q.dequantize(q.emit(relax.op.maximum(q.x, q.x)), 0.1, 7),
    )
    apart = q.finish(q.quantize(q.emit(operator(left, right)), 0.3, 5))
    folded = FoldQDQ()(apart)["main"].body.blocks[0].bindings[-1].value
    data = _input()
    kernel = getattr(kernels, folded.op.name.removeprefix("qnn."))
    expected = kernel(data, data, **ops.attributes(folded))
    assert [name for name, _ in operators(same)] == ["qnn.lookup"]
    np.testing.assert_array_equal(run_outputs(same, [data])[0], expected)


def test_larger_operand_comes_first():
    q = QDQ()
    channel = q.const(RNG.integers(-128, 128, (1, 1, 1, 4)), 0.03, 2)
    out = q.emit(relax.op.add(channel, q.dequantize(q.x, 0.1, 7)))
    module = to_integer(q.finish(q.quantize(out, 0.2, name="sum")))
    assert operators(module) == [("qnn.add", "sum")]
    assert _attributes(module)["lhs_zero_point"] == 7
    assert _attributes(module)["rhs_zero_point"] == 2


def test_grouped_convolution():
    q = QDQ()
    weight = RNG.integers(-127, 128, (1, 1, 2, 6))
    out = q.conv2d(q.dequantize(q.x, 0.1), weight, np.full(6, 0.01), groups=2)
    module = to_integer(q.finish(q.quantize(out, 0.1)))
    data = _input()
    halves = [data[..., 2 * g : 2 * g + 2].astype(int) @ weight[0, 0, :, 3 * g : 3 * g + 3]
              for g in range(2)]  # fmt: skip
    expected = _float_result(np.concatenate(halves, axis=-1) * 0.1 * 0.01, 0.1, 0)
    assert np.abs(run_outputs(module, [data])[0] - expected).max() <= 1


def test_dead_channels_ignore_their_bias():
    q = QDQ()
    out = q.conv2d(
        q.dequantize(q.x, 0.1, 7),
        WEIGHT,
        np.array([1e-20, 0.02], np.float32),
        bias=[-(2**31) + 1, 0],
        bias_scale=np.float32(0.1) * np.array([1e-20, 0.02], np.float32),
    )
    module = to_integer(q.finish(q.quantize(out, 0.3, 9)))
    assert np.unique(run_outputs(module, [_input()])[0][..., 0]).tolist() == [9]


def test_pass_composes_and_keeps_other_functions_and_attributes():
    q = QDQ()
    module = q.finish(q.quantize(q.conv2d(q.dequantize(q.x, 0.1), WEIGHT, SCALES), 0.3))
    module["main"] = module["main"].with_attr("tensor_names", {"a": "b"})
    folded = tvm.transform.Sequential([FoldQDQ(), relax.transform.LegalizeOps()])(module)
    assert dict(folded["main"].attrs["tensor_names"]) == {"a": "b"}
    relax.analysis.well_formed(folded)


def test_int32_overflow_is_refused_by_name():
    q = QDQ()
    out = q.conv2d(
        q.dequantize(q.x, 0.1), WEIGHT, SCALES, bias=[2**31 - 1, 0], bias_scale=0.1 * SCALES
    )
    with pytest.raises(UnsupportedOperatorError, match="layer head: its sums may leave"):
        to_integer(q.finish(q.quantize(out, 0.3, name="head")))


def _pooled(elements):
    """One channel; nothing is computed, so maps may be large."""
    q = QDQ((1, *elements, 1))
    pool = relax.op.nn.avg_pool2d(
        q.dequantize(q.x, 0.1, 3), pool_size=elements, strides=(1, 1), layout="NHWC"
    )
    return q.finish(q.quantize(q.emit(pool), 0.1, 3, name="head"))


def _mean(elements, scale=0.1, zero_point=3):
    q = QDQ((1, *elements, 1))
    mean = relax.op.mean(q.dequantize(q.x, 0.1, zero_point), axis=[1, 2], keepdims=True)
    return q.finish(q.quantize(q.emit(mean), scale, 3, name="head"))


def _softmax(length):
    q = QDQ((1, length))
    logits = q.dequantize(q.x, 0.1, 3)
    return q.finish(q.quantize(q.emit(relax.op.nn.softmax(logits)), 1 / 256, -128, name="head"))


@pytest.mark.parametrize(
    ("largest", "too_large"),
    [
        (lambda: _pooled((1, 16_711_935)), lambda: _pooled((1, 16_711_936))),
        (lambda: _pooled((4087, 4089)), lambda: _pooled((4096, 4096))),
        # Sums of values less a zero point of 127 reach -255 times their number.
        (lambda: _mean((1, 8_421_504), 0.1, 127), lambda: _mean((1, 8_421_505), 0.1, 127)),
        (lambda: _mean((1, 16_393_004)), lambda: _mean((1, 16_393_005))),
        # A scale that is smaller by a million shifts the sum left.
        (lambda: _mean((3, 3), 2e-7), lambda: _mean((30, 30), 2e-9)),
        (lambda: _softmax(4095), lambda: _softmax(4096)),
    ],
)
def test_sums_of_pools_that_leave_int32_are_refused_by_name(largest, too_large):
    to_integer(largest())
    with pytest.raises(UnsupportedOperatorError, match="layer head: its sums may leave"):
        to_integer(too_large())


def test_asymmetric_weights_are_refused_by_name():
    q = QDQ()
    out = q.conv2d(q.dequantize(q.x, 0.1), WEIGHT, 0.01, zero_point=3)
    with pytest.raises(UnsupportedOperatorError, match=r"layer head: .*zero point") as error:
        to_integer(q.finish(q.quantize(out, 0.3, name="head")))
    assert "symmetrically" in error.value.hint


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_other_integers_are_refused_by_name(dtype):
    q = QDQ(dtype=dtype)
    module = q.finish(q.quantize(q.dequantize(q.x, 0.1, name="image"), 0.2))
    with pytest.raises(UnsupportedOperatorError, match=f"image: {dtype} activations"):
        to_integer(module)


def test_unreachable_output_scale_is_refused_by_name():
    q = QDQ()
    other = q.dequantize(q.quantize(q.dequantize(q.x, 1.0), 2.0), 2.0)
    total = q.emit(relax.op.add(q.dequantize(q.x, 1.0), other))
    with pytest.raises(UnsupportedOperatorError, match="layer sum: its output scale"):
        to_integer(q.finish(q.quantize(total, 1e-7, name="sum")))


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [((-10, 10), (0, 127), (0, 10)), ((-10, 10), (20, 50), (10, 10)), ((5, 9), (-3, 0), (5, 5))],
)
def test_clips_compose(outer, inner, expected):
    values = np.arange(-128, 128)
    low, high = narrow(outer, *inner)
    assert (low, high) == expected
    composed = np.clip(np.clip(values, *inner), *outer)
    np.testing.assert_array_equal(np.clip(values, low, high), composed)
