"""Which layers share a function: by what it saves in flash and costs in instructions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tvm_patch.kernel_times import KernelTime, KernelTimes, kernels_digest
from tvm_patch.lower import sharing
from tvm_patch.lower.sharing import kernels_of_network
from tvm_patch.pipeline import Prepared, prepare
from tvm_patch.plan import execution_of, layer_by_layer
from tvm_patch.schedules import (
    DspConvRow,
    DspConvShared,
    DspDepthwiseDirect,
    DspDepthwiseShared,
    Instructions,
    space_of,
)
from tvm_patch.schedules.kernel import Kernel
from tvm_patch.testing.tflite_builder import TFLiteBuilder

_CHANNELS = 16


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Three blocks of a 1x1 and a depthwise convolution; the second one is strided."""
    rng = np.random.default_rng(4)
    builder = TFLiteBuilder("blocks")
    x = builder.input("image", (1, 16, 20, _CHANNELS), 0.05, -3)
    for stride in (1, 2, 1):
        for depthwise in (False, True):
            shape = (3, 3, _CHANNELS) if depthwise else (_CHANNELS, 1, 1, _CHANNELS)
            apply = builder.depthwise_conv2d if depthwise else builder.conv2d
            strides = (stride, stride) if depthwise else (1, 1)
            x = apply(
                x, rng.integers(-127, 128, shape), rng.integers(-500, 500, _CHANNELS),
                np.float32(rng.uniform(0.005, 0.02, _CHANNELS)), 0.05, -128,
                strides=strides, activation="RELU",
            )  # fmt: skip
    builder.output(x)
    path: Path = tmp_path_factory.mktemp("blocks") / "blocks.tflite"
    path.write_bytes(builder.build())
    return prepare(path)


def kernels(
    model: Prepared, *, small_code: bool = False, times: KernelTimes | None = None
) -> list[Kernel]:
    """Layer by layer, in order."""
    execution = execution_of(model.network.graph, layer_by_layer(model.network.graph))
    chosen = kernels_of_network(
        model.network, execution, Instructions.DSP,
        small_code=small_code, times=times or KernelTimes(),
    )  # fmt: skip
    return [kernel for some in chosen.values() for kernel in some]


def count(kernels: list[Kernel], kind: type) -> int:
    return sum(isinstance(kernel, kind) for kernel in kernels)


@pytest.fixture
def any_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_SMALL_CODE", 10**9)


def test_flash_that_costs_too_many_instructions_is_not_saved(
    blocks: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_MACS_PER_BYTE", 10**12)
    own = kernels(blocks)
    assert count(own, DspConvRow) == 3
    assert count(own, DspDepthwiseDirect) == 3
    assert count(own, DspConvShared) == count(own, DspDepthwiseShared) == 0


@pytest.mark.usefixtures("any_price")
def test_small_code_shares_whatever_can_be(blocks: Prepared) -> None:
    own, shared = kernels(blocks), kernels(blocks, small_code=True)
    assert count(shared, DspConvShared) == 3
    assert count(shared, DspDepthwiseShared) >= 2
    assert len({kernel.name for kernel in shared}) < len({kernel.name for kernel in own})
    assert [kernel.macs for kernel in shared] == [kernel.macs for kernel in own]


@pytest.mark.usefixtures("any_price")
def test_a_function_for_one_layer_alone_is_its_own(blocks: Prepared) -> None:
    execution = execution_of(blocks.network.graph, layer_by_layer(blocks.network.graph))
    first = execution.groups[0]
    alone = replace(execution, groups=(first,))
    chosen = kernels_of_network(blocks.network, alone, Instructions.DSP, small_code=True)
    assert all(isinstance(kernel, DspConvRow) for some in chosen.values() for kernel in some)
    assert chosen


@pytest.mark.usefixtures("any_price")
def test_measured_kernels_stay_as_they_are_unless_code_is_to_be_small(blocks: Prepared) -> None:
    plain = kernels(blocks)
    spaces = [space_of(kernel) for kernel in plain]
    digest = kernels_digest()
    times = KernelTimes(
        tuple(
            KernelTime(space.key, space.default, 1.0, kernels=digest)
            for space in spaces
            if space is not None
        )
    )
    measured = kernels(blocks, times=times)
    assert count(measured, DspConvShared) == count(measured, DspDepthwiseShared) == 0
    assert count(kernels(blocks, times=times, small_code=True), DspConvShared) == 3
