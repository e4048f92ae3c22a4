"""The pass on networks: workspace by USMP, estimates, plans, and what it refuses."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relay

from tests.relay.running import (
    assert_equal_outputs,
    estimated_buffers,
    functions_of,
    packed_by_usmp,
)
from tvm_patch.errors import DoesNotFitError, PlanError, TvmPatchError, UnsupportedShapeError
from tvm_patch.plan import Plan
from tvm_patch.relay import (
    PatchPartition,
    SharedKernels,
    estimate_workspace_bytes,
    plan_of,
    stage_ends,
)
from tvm_patch.relay.running import build_with_usmp, random_input, run
from tvm_patch.relay.testing import Builder, mobilenet_v2, resnet8

CORTEX_M = "c -keys=arm_cpu,cpu -device=arm_cpu"


def _small(layout: Any = "NHWC", precision: Any = "int8") -> tvm.IRModule:
    """A short network whose first maps are much larger than the rest."""
    net = Builder(layout, precision)
    x = net.conv(net.input(32, 32, 3), 8, stride=(2, 2))
    y = net.conv(x, 16, (1, 1))
    y = net.conv(y, 16, groups=16)
    x = net.add(x, net.conv(y, 8, (1, 1), activation="none"))
    x = net.conv(x, 16, stride=(2, 2))
    x = net.conv(x, 16, stride=(2, 2))
    return net.module(net.classifier(x, 10))


def _planned(mod: tvm.IRModule) -> Plan:
    plan = plan_of(mod)
    assert plan is not None
    return plan


@pytest.mark.parametrize(
    ("layout", "precision", "target"),
    [("NCHW", "float32", "c"), ("NHWC", "float32", CORTEX_M), ("NHWC", "int8", "c")],
)
def test_the_estimate_is_what_usmp_needs(layout: str, precision: str, target: str) -> None:
    mod = _small(layout, precision)
    before = build_with_usmp(mod, target).workspace_bytes
    assert estimate_workspace_bytes(mod, target=target) == pytest.approx(before, rel=0.05)
    split = stage_ends(mod, target=target)[-2].split
    patched = PatchPartition(split=split, grid=(2, 2), target=target)(mod)
    after = build_with_usmp(patched, target).workspace_bytes
    assert _planned(patched).memory.arena_bytes == pytest.approx(after, rel=0.05)
    assert after < 0.75 * before


def _channels_joined() -> tvm.IRModule:
    """The input goes on beside what the first layer made of it."""
    net = Builder("NHWC", "float32")
    data = net.input(15, 12, 3)
    x = net.concatenate([data, net.conv(data, 2, (3, 4), activation="none")])
    x = net.pool(net.conv(x, 3), "avg", (2, 3), (1, 2), (0, 0, 1, 1))
    return net.module(net.conv(x, 4, (1, 1)))


def _blocked() -> tvm.IRModule:
    """A network whose channels TVM puts in blocks (NCHWc), its maps cast for each layer."""
    net = Builder("NCHW", "int8")
    x = net.conv(net.input(12, 14, 4), 2)
    x = net.conv(x, 4, stride=(2, 2))
    return net.module(net.conv(x, 4, (1, 1)))


def _bottlenecks() -> tvm.IRModule:
    """Blocks of MobileNetV2 in int8, whose maps are cast for each layer."""
    net = Builder("NHWC", "int8")
    x = net.conv(net.input(32, 32, 3), 8, stride=(2, 2))
    for _ in range(2):
        y = net.conv(x, 24, (1, 1))
        y = net.conv(y, 24, groups=24, stride=(2, 2))
        x = net.conv(y, 8, (1, 1), activation="none")
    return net.module(net.classifier(x, 10))


def _equal_layers() -> tvm.IRModule:
    """Two layers of which TVM makes one function, with one block of memory for both calls."""
    net = Builder("NHWC", "float32")
    x = net.conv(net.conv(net.input(6, 6, 1), 1, (1, 1)), 1, (1, 1))
    return net.module(net.conv(x, 4, (1, 1)))


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize(
    ("make", "split", "grid"),
    [
        (_small, 0, None),
        (_equal_layers, 0, None),
        (_small, 17, (2, 2)),  # ends where branches have met
        (_channels_joined, 3, (2, 1)),
        (_bottlenecks, 8, (2, 2)),  # what is joined is cast for the next layer
        (_bottlenecks, 8, (4, 1)),  # two of the patches are equal
    ],
)
def test_buffers_are_those_that_usmp_packs(make: Any, split: int, grid: Any, shares: bool) -> None:
    """All of them, and what they are live with: the greedy algorithms break ties by that."""
    instruments = [SharedKernels()] if shares else []
    mod = make()
    with tvm.transform.PassContext(instruments=instruments):
        patched = PatchPartition(split=split, grid=grid)(mod) if split else mod
        plan = plan_of(patched)
        buffers = estimated_buffers(mod, plan)
        estimate = estimate_workspace_bytes(mod) if plan is None else plan.memory.arena_bytes
    packed = packed_by_usmp(patched, instruments=instruments)
    assert buffers == packed.buffers
    assert estimate == packed.workspace_bytes


def test_the_estimate_of_maps_in_blocks_of_channels() -> None:
    mod = _blocked()
    patched = PatchPartition(split=4, grid=(2, 2))(mod)
    after = build_with_usmp(patched).workspace_bytes
    assert _planned(patched).memory.arena_bytes == pytest.approx(after, rel=0.05)


def test_resnet8() -> None:
    mod = resnet8("int8")
    patched = relay.transform.PatchPartition()(mod)
    after = build_with_usmp(patched).workspace_bytes
    assert _planned(patched).memory.arena_bytes == pytest.approx(after, rel=0.05)
    assert after < 0.55 * estimate_workspace_bytes(mod)
    assert_equal_outputs(mod, patched)


def test_hill_climbing_is_estimated_too() -> None:
    mod = _small("NCHW", "float32")
    patched = PatchPartition(algorithm="hill_climb", split=stage_ends(mod)[-2].split, grid=(2, 1))(
        mod
    )
    after = build_with_usmp(patched, algorithm="hill_climb").workspace_bytes
    assert _planned(patched).memory.arena_bytes == pytest.approx(after, rel=0.05)


def test_mobilenet_v2_is_planned_to_a_third() -> None:
    mod = mobilenet_v2(96, 0.35, "float32")
    plan = _planned(PatchPartition()(mod))
    assert 3 * plan.memory.arena_bytes <= estimate_workspace_bytes(mod)
    assert 1.0 < plan.mac_overhead <= 1.5


def test_a_limit_gives_the_fewest_macs_that_fit() -> None:
    mod = _small()
    whole = estimate_workspace_bytes(mod)
    untouched = _planned(PatchPartition(ram=whole)(mod))
    assert untouched.stages == () and untouched.mac_overhead == 1.0
    loose = _planned(PatchPartition(ram=whole * 8 // 10)(mod))
    tight = _planned(PatchPartition(ram=whole * 6 // 10)(mod))
    assert loose.memory.arena_bytes <= whole * 8 // 10
    assert tight.memory.arena_bytes <= whole * 6 // 10
    assert 1.0 < loose.mac_overhead <= tight.mac_overhead


def test_a_plan_is_carried_out_as_it_is() -> None:
    mod = _small()
    first = PatchPartition(split=stage_ends(mod)[-1].operator, grid=(2, 3))(mod)
    plan = Plan.from_json(_planned(first).to_json())
    again = PatchPartition(plan=plan)(mod)
    assert tvm.ir.structural_equal(first["main"], again["main"])
    assert _planned(again) == plan


def test_equal_patches_share_their_kernels() -> None:
    """Code grows with the kinds of patches (corners, edges, inside), not with the grid."""
    net = Builder("NHWC", "float32")
    x = net.conv(net.input(48, 16, 3), 4)
    x = net.conv(x, 4, padding=(1, 1, 1, 1), stride=(2, 2))
    mod = net.module(net.conv(x, 4, (1, 1), activation="none"))

    def convolutions(rows: int, instruments: list[Any]) -> int:
        patched = PatchPartition(split=6, grid=(rows, 1))(mod)
        return sum("conv2d" in name for name in functions_of(patched, instruments))

    assert convolutions(4, [SharedKernels()]) == convolutions(8, [SharedKernels()])
    assert convolutions(4, []) < convolutions(8, [])


def _dynamic() -> tvm.IRModule:
    x = relay.var("x", shape=(1, relay.Any(), 8, 3))
    return tvm.IRModule.from_expr(relay.Function([x], relay.nn.relu(relay.nn.relu(x))))


def _dense() -> tvm.IRModule:
    x = relay.var("x", shape=(1, 16))
    weight = relay.const([[0.5] * 16] * 4)
    return tvm.IRModule.from_expr(relay.Function([x], relay.nn.relu(relay.nn.dense(x, weight))))


@pytest.mark.parametrize(
    ("make", "arguments", "error", "words"),
    [
        (_dense, {}, PlanError, "no first stage"),
        (_dynamic, {}, UnsupportedShapeError, "dynamic shape"),
        (_small, {"ram": 100}, DoesNotFitError, "does not fit 100 bytes"),
        (_small, {"split": 3}, PlanError, "go together"),
        (_small, {"split": 3, "grid": (2, 2), "ram": "8K"}, PlanError, "give one of"),
        (_small, {"split": "nowhere", "grid": (2, 2)}, PlanError, "no operator nowhere"),
        (_small, {"split": 900, "grid": (2, 2)}, PlanError, "not between"),
        (_small, {"split": 4, "grid": (99, 2)}, PlanError, "grid of 99x2"),
        (_small, {"ram": "lots"}, PlanError, "not a size"),
        (_small, {"max_overhead": 0.5}, PlanError, "overhead of 0.5"),
        (_small, {"algorithm": "magic"}, PlanError, "no algorithm"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    make: Any, arguments: dict[str, Any], error: type[TvmPatchError], words: str
) -> None:
    mod = relay.transform.InferType()(make())
    before = mod.astext()
    with pytest.raises(error, match=words):
        PatchPartition(**arguments)(mod)
    assert mod.astext() == before


def test_errors_keep_their_type_in_a_sequence_of_passes() -> None:
    with pytest.raises(PlanError, match="no first stage"):
        tvm.transform.Sequential([PatchPartition()])(_dense())


def test_the_given_module_stays_as_it_is() -> None:
    mod = _small()
    before = mod.astext()
    PatchPartition()(mod)
    assert mod.astext() == before and plan_of(mod) is None


def test_a_plan_of_another_network_is_refused() -> None:
    plan = _planned(PatchPartition()(_small()))
    with pytest.raises(PlanError, match="made for"):
        PatchPartition(plan=plan)(_small("NCHW", "float32"))


def test_an_unknown_operator_ends_the_stage_with_a_warning() -> None:
    net = Builder("NCHW", "float32")
    x = net.conv(net.input(16, 16, 3), 8)
    x = net.conv(x, 4, stride=(2, 2))
    x = relay.nn.depth_to_space(x, 2)
    mod = net.module(net.conv(x, 4))
    with pytest.warns(UserWarning, match="end before operator depth_to_space"):
        patched = PatchPartition()(mod)
    assert str(_planned(patched).stages[0].operators[-1]).startswith("clip")
    assert_equal_outputs(mod, patched)


def test_batch_normalisation_has_a_way_out() -> None:
    net = Builder("NCHW", "float32")
    x = net.conv(net.input(12, 12, 3), 4, activation="none")
    ones, zeros = relay.const([1.5] * 4), relay.const([0.25] * 4)
    x = relay.nn.relu(relay.nn.batch_norm(x, ones, zeros, zeros, ones)[0])
    mod = net.module(net.conv(x, 4, stride=(2, 2)))
    with pytest.warns(UserWarning, match=r"end before .*apply relay\.transform\.SimplifyInference"):
        PatchPartition()(mod)
    simple = relay.transform.SimplifyInference()(mod)
    patched = PatchPartition(split=stage_ends(simple)[-1].split, grid=(2, 1))(simple)
    assert_equal_outputs(mod, patched)


@pytest.mark.parametrize("integer", [False, True])
def test_fake_quantised_networks(integer: bool) -> None:
    """As they are written, and after TVM has made integers of them."""
    net = Builder("NCHW", "float32")
    data = net.input(12, 12, 3)
    scale, zero = relay.const(0.05), relay.const(-3)

    def fake(x: Any) -> Any:
        y = relay.qnn.op.quantize(x, scale, zero, out_dtype="int8")
        return relay.qnn.op.dequantize(y, scale, zero)

    def conv(x: Any, inputs: int, seed: int) -> Any:
        weight = np.random.default_rng(seed).integers(-90, 90, (8, inputs, 3, 3)).astype("int8")
        y = relay.qnn.op.dequantize(relay.const(weight), relay.const(0.004), relay.const(0))
        y = relay.nn.conv2d(x, y, padding=(1, 1), channels=8, kernel_size=(3, 3))
        return fake(relay.nn.relu(y))

    x = conv(fake(data), 3, 0)
    x = fake(relay.add(x, conv(x, 8, 1)))
    mod = net.module(x)
    if integer:
        mod = relay.transform.FakeQuantizationToInteger()(mod)
        mod = relay.transform.InferType()(mod)
        assert "qnn.conv2d" in str(mod["main"])
    patched = PatchPartition(split=stage_ends(mod)[-1].split, grid=(2, 1))(mod)
    assert len(_planned(patched).stages[0].operators) >= 4
    values = random_input(mod)
    expected, got = run(mod, values), run(patched, values)
    assert len(np.unique(expected)) > 20
    # Steps of 0.05, between which a float sum may fall the other way where nothing is integer.
    np.testing.assert_allclose(got, expected, atol=1e-5 if integer else 0.0501)


def test_usual_ends_need_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        PatchPartition()(_small())
