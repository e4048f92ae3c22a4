"""Firmware built from two networks written by hand: ``sample`` computes, ``probe`` misbehaves."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tvm_patch.board import load_board
from tvm_patch.micro import Firmware, build_firmware
from tvm_patch.micro.tools import ARM_COMPILER, EMULATOR

HERE = Path(__file__).parent

BuildOnce = Callable[[str, str], Firmware]


@pytest.fixture(scope="session")
def firmware_of(tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """Build a model folder for a board, once; ``board:uart`` takes that link."""
    built: dict[tuple[str, str], Firmware] = {}

    def build(model: str, board_name: str) -> Firmware:
        key = (model, board_name)
        if key not in built:
            name, _, link = board_name.partition(":")
            board = load_board(name)
            port = board.emulate().port
            if port == "bare_metal":
                for tool in (ARM_COMPILER, EMULATOR):
                    if shutil.which(tool.commands[0]) is None:
                        pytest.skip(f"{tool.name} is not installed")
            if port == "zephyr" and not os.environ.get("ZEPHYR_BASE"):
                pytest.skip("ZEPHYR_BASE is not set: no Zephyr tree to build with")
            if link:
                assert board.machine is not None
                board = replace(board, machine=replace(board.machine, link=link))
            built[key] = build_firmware(
                HERE / f"{model}_model",
                board,
                tmp_path_factory.mktemp(f"{model}_{name}"),
                emulate=True,
                sanitize=board.port == "host",
            )
        return built[key]

    return build


@pytest.fixture(scope="session")
def sample_inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.integers(-128, 128, size, dtype=np.int8) for size in (256, 64)]


@pytest.fixture(scope="session")
def sample_outputs(sample_inputs: list[np.ndarray]) -> list[bytes]:
    """What the sample network makes of its inputs, computed with numpy."""
    image, bias = (data.astype(np.int32) for data in sample_inputs)
    scaled = np.clip(3 * image - 7, -128, 127).reshape(8, 2, 8, 2)
    result = np.clip(scaled.max(axis=(1, 3)).ravel() + bias, -128, 127)
    return [result.astype(np.int8).tobytes(), struct.pack("<i", result.sum())]
