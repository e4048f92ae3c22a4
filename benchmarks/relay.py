"""Relay networks through USMP, before and after ``relay.transform.PatchPartition``.

    .relay-venv/relay-python benchmarks/relay.py [--models NAME,...] [--max-overhead F]
        [--target TARGET] [--algorithm ALGORITHM] [--no-run]

Builds every network as microTVM does (AOT executor, USMP, target c) and prints the workspace pool
of the main function before and after, the MAC overhead F, how far the planner's estimate was off,
and constants before and after. Outputs are compared on Relay's graph executor. Needs a TVM with
Relay: ``make relay-env``. A network of MobileNetV2's size takes some minutes, nearly all of it
TVM's.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import tvm

from tvm_patch.relay import PatchPartition, estimate_workspace_bytes, plan_of
from tvm_patch.relay.reader import read_function
from tvm_patch.relay.running import build_with_usmp, random_input, run
from tvm_patch.relay.testing import mobilenet_v2, resnet8

MODELS: dict[str, Callable[[], tvm.IRModule]] = {
    **{
        f"mobilenet_v2-{alpha}-{size}-{precision}": partial(mobilenet_v2, size, alpha, precision)
        for alpha in (0.35, 1.0)
        for size in (144, 224)
        for precision in ("float32", "int8")
    },
    "resnet8-float32": partial(resnet8, "float32"),
    "resnet8-int8": partial(resnet8, "int8"),
}
_FLOAT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Row:
    """One network's figures; bytes as USMP reports them."""

    model: str
    before_bytes: int
    estimated_before_bytes: int
    after_bytes: int
    estimated_after_bytes: int
    mac_overhead: float
    operators: int
    grid: tuple[int, int]
    constants_before_bytes: int
    constants_after_bytes: int
    outputs: str
    pass_s: float

    @property
    def ratio(self) -> float:
        """How many times less workspace."""
        return self.before_bytes / self.after_bytes

    def cells(self) -> list[str]:
        """As a row of the table."""
        return [
            self.model,
            f"{self.before_bytes:,}",
            f"{self.after_bytes:,}",
            f"{self.ratio:.2f}",
            f"{self.mac_overhead:.2f}",
            f"{self.estimated_before_bytes / self.before_bytes - 1:+.1%}",
            f"{self.estimated_after_bytes / self.after_bytes - 1:+.1%}",
            f"{self.operators} in {self.grid[0]}x{self.grid[1]}",
            f"{self.constants_before_bytes:,}",
            f"{self.constants_after_bytes:,}",
            self.outputs,
            f"{self.pass_s:.0f} s",
        ]


HEADER = [
    *("model", "before", "after", "ratio", "F", "estimate before", "after", "stage"),
    *("constants before", "after", "outputs", "pass"),
]


def compare(mod: tvm.IRModule, patched: tvm.IRModule) -> str:
    """How the outputs differ."""
    values = random_input(mod)
    expected, got = run(mod, values), run(patched, values)
    if np.array_equal(expected, got):
        return "equal"
    difference = float(np.abs(expected.astype("float64") - got).max())
    is_close = expected.dtype == np.float32 and difference <= _FLOAT_TOLERANCE
    return "close" if is_close else f"DIFFER by {difference:g}"


def measure(name: str, options: argparse.Namespace) -> Row:
    """Build one network twice."""
    mod = MODELS[name]()
    common = {"target": options.target, "algorithm": options.algorithm}
    begin = time.perf_counter()
    patched = PatchPartition(max_overhead=options.max_overhead, **common)(mod)
    pass_s = time.perf_counter() - begin
    plan = plan_of(patched)
    assert plan is not None
    before = build_with_usmp(mod, **common)
    after = build_with_usmp(patched, **common)
    stage = plan.stages[0] if plan.stages else None
    grid = (1, 1)
    if stage is not None:
        graph = read_function(mod["main"]).graph
        output = graph.tensor[graph.operators[len(stage.operators) - 1].output]
        grid = (-(-output.height // stage.tile_h), -(-output.width // stage.tile_w))
    return Row(
        name,
        before.workspace_bytes,
        estimate_workspace_bytes(mod, **common),
        after.workspace_bytes,
        plan.memory.arena_bytes,
        plan.mac_overhead,
        0 if stage is None else len(stage.operators),
        grid,
        before.constant_bytes,
        after.constant_bytes,
        "-" if options.no_run else compare(mod, patched),
        pass_s,
    )


def main() -> int:
    """Print the table; 1 where outputs differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", default=",".join(MODELS), help="which ones, by comma")
    parser.add_argument("--max-overhead", type=float, default=1.5)
    parser.add_argument("--target", default="c")
    parser.add_argument("--algorithm", default="greedy_by_size", help="tir.usmp.algorithm")
    parser.add_argument("--no-run", action="store_true", help="compare no outputs")
    options = parser.parse_args()
    names = options.models.split(",")
    unknown = sorted(set(names) - set(MODELS))
    if unknown:
        parser.error(f"no such model: {unknown[0]}; there are {', '.join(MODELS)}")
    logging.disable(logging.WARNING)
    print("| " + " | ".join(HEADER) + " |")
    print("|" + " --- |" * len(HEADER), flush=True)
    differ = False
    for name in names:
        row = measure(name, options)
        differ |= row.outputs.startswith("DIFFER")
        print("| " + " | ".join(row.cells()) + " |", flush=True)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
