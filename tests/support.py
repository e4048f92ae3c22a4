"""What tests of several packages share: real models, missing tools, plans drawn by Hypothesis."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tvm_patch.errors import PlanError
from tvm_patch.plan import (
    Evaluator,
    Graph,
    Operator,
    Plan,
    StagePlan,
    first_stages,
    patch_stage,
    row_stage,
    stepped_stage,
)
from tvm_patch.plan.layout.checks import stage_operators
from tvm_patch.plan.layout.stage import stage_group

REPOSITORY = Path(__file__).parent.parent
DIGITS = REPOSITORY / "examples" / "digits" / "digits.tflite"

# How many times more random networks and plans to try than in everyday runs.
EXAMPLES_FACTOR = int(os.environ.get("TVM_PATCH_EXAMPLES_FACTOR", "1"))

MODEL_NAMES = (
    "mlperf-vww",
    "mlperf-ic",
    "mlperf-kws",
    "mlperf-ad",
    "mcunet-vww0",
    "mcunet-vww1",
    "mcunet-in2",
    "mcunet-in3",
    "person-det",
)


def real_model(name: str) -> Path:
    """Path of a real model, or a skip that says where it was looked for."""
    default = REPOSITORY.parent / "shared" / "models"
    path = Path(os.environ.get("TVM_PATCH_MODELS", default)) / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path} is not there; set TVM_PATCH_MODELS to the folder of real models")
    return path


def need_emulator() -> None:
    """Skip where the cross compiler or the emulator is missing."""
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: sh scripts/install_toolchain.sh")


@st.composite
def plans(draw: st.DrawFn, graph: Graph) -> Plan:
    """Any plan: layer by layer, a first stage in patches, or stages of both modes anywhere."""
    evaluator = Evaluator(graph)
    first = list(first_stages(graph))
    if first and draw(st.booleans()):
        return evaluator.pack(evaluator.evaluate((draw(st.sampled_from(first)),)))
    return evaluator.pack(evaluator.evaluate(draw(stage_sequences(graph))))


@st.composite
def stage_sequences(
    draw: st.DrawFn, graph: Graph, until: int | None = None
) -> tuple[StagePlan, ...]:
    """Disjoint stages of either mode before operator ``until``, in tiles and strips of any size."""
    stages: list[StagePlan] = []
    begin, until = 0, len(graph.operators) if until is None else until
    while begin < until:
        ends = [end for end in stage_ends(graph, begin) if end <= until]
        if not ends or not draw(st.booleans()):
            begin += 1
            continue
        end = draw(st.sampled_from(ends))
        tiled = graph.tensor[graph.operators[end - 1].paced_by]
        tile_h = draw(st.integers(1, tiled.height))
        full_width = any(op.is_full_width for op in graph.operators[begin:end])
        widths = [st.just(tiled.width)]
        if not full_width:
            widths.append(st.integers(1, tiled.width))
        tile_w = draw(st.one_of(*widths))
        operators = graph.operators[begin:end]
        make = draw(st.sampled_from([row_stage, stepped_stage, patch_stage]))
        if make is stepped_stage:
            stage = draw(stages_in_columns(operators, tile_h, tile_w))
        else:
            stage = make(operators, tile_h, tile_w)
        try:
            stage_group(graph, stage, "stage")
        except PlanError:
            begin += 1
            continue
        stages.append(stage)
        begin = end
    return tuple(stages)


@st.composite
def stages_in_columns(
    draw: st.DrawFn, operators: tuple[Operator, ...], tile_h: int, tile_w: int
) -> StagePlan:
    """A stage with column runs anywhere, whose rows are kept or computed again."""
    cuts = sorted(draw(st.sets(st.integers(0, len(operators)), min_size=2, max_size=4)))
    runs = [(first, end - 1) for first, end in zip(cuts[::2], cuts[1::2], strict=False)]
    inside = [op.output for first, last in runs for op in operators[first:last]]
    recomputed = draw(st.sets(st.sampled_from(inside))) if inside else set()
    return stepped_stage(operators, tile_h, tile_w, runs, recomputed=recomputed)


def stage_ends(graph: Graph, begin: int, longest: int = 8) -> list[int]:
    """Where a stage that starts at an operator may end."""
    ends = []
    for end in range(begin + 1, min(len(graph.operators), begin + longest) + 1):
        operators = graph.operators[begin:end]
        if not graph.tensor[operators[-1].paced_by].is_map:
            break
        try:
            stage_operators(graph, patch_stage(operators, 1, 1))
        except PlanError:
            continue
        ends.append(end)
    return ends
