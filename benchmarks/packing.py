"""How well and how fast the packing algorithms pack.

    python benchmarks/packing.py [--algorithms greedy_by_size hill_climb] [problem.csv ...]

Prints, for each family of problems and each algorithm, the arena and its ratio to the lower bound
(mean and worst of the family), how often it is proved optimal, and the median time of one
``allocate``, its validation included. Files are MiniMalloc's CSV and form families of their own.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tvm_patch.errors import TvmPatchError
from tvm_patch.memory import ALGORITHMS, Buffer, Problem, allocate, pieces_by_step, read_csv


def random_problem(rng: random.Random, alignments: tuple[int, ...]) -> Problem:
    """60 buffers of unrelated sizes that live for 1 to 8 of 30 steps."""
    buffers = []
    for index in range(60):
        first = rng.randrange(30)
        buffers.append(
            Buffer(
                f"b{index}",
                rng.randrange(1, 4096),
                first,
                first + rng.randrange(8),
                rng.choice(alignments),
            )
        )
    return Problem(tuple(buffers))


def inverted_residuals(rng: random.Random, first_step: int, side: int) -> list[Buffer]:
    """Buffers of 16 MobileNetV2-like blocks: expand, depthwise with scratch, project, add."""
    buffers = []
    step, channels = first_step, 8
    for block in range(16):
        expanded = channels * rng.choice([3, 4, 6])
        stride = 2 if block % 4 == 3 and side > 3 else 1
        residual = stride == 1 and block % 4 != 0
        buffers.append(
            Buffer(f"block{block}.in", side * side * channels, step, step + (3 if residual else 1))
        )
        buffers.append(Buffer(f"block{block}.expand", side * side * expanded, step + 1, step + 2))
        side = -(-side // stride)
        buffers.append(
            Buffer(f"block{block}.scratch", 36 * rng.randrange(4, 40), step + 2, step + 2)
        )
        buffers.append(Buffer(f"block{block}.dw", side * side * expanded, step + 2, step + 3))
        channels += 8 if block % 4 == 3 else 0
        step += 3
    buffers.append(Buffer("logits", 1000, step, step + 1))
    return buffers


def layer_by_layer(rng: random.Random) -> Problem:
    """A MobileNetV2-like network, one tensor after the other."""
    side = rng.choice([32, 40, 48, 56])
    image = Buffer("image", 4 * side * side * 3, 0, 1)
    return Problem((image, *inverted_residuals(rng, first_step=1, side=side)))


def patched(rng: random.Random) -> Problem:
    """A stage of six layers in patches before the rest: image and stage output outlive it all."""
    side = rng.choice([14, 18, 22])
    stage_steps = 8
    buffers = [Buffer("image", (8 * side) ** 2 * 3, 0, stage_steps)]
    for layer in range(6):
        tile = rng.randrange(8, 40)
        buffers.append(
            Buffer(f"patch{layer}", tile * tile * rng.randrange(3, 25), layer, layer + 1)
        )
        buffers.append(Buffer(f"patch{layer}.scratch", 4 * rng.randrange(16, 256), layer, layer))
    buffers.append(Buffer("stage", side * side * 24, 0, stage_steps + 1))
    return Problem((*buffers, *inverted_residuals(rng, first_step=stage_steps + 1, side=side)))


def streamed(rng: random.Random) -> Problem:
    """Up to eight stages in a row, each with line buffers; maps grow and shrink by rows."""
    rows, step = rng.choice([24, 32, 48]), 0
    row_bytes = rng.choice([288, 480, 640])
    buffers: list[Buffer] = []
    grown: list[tuple[int, int]] = []
    for stage in range(rng.randrange(2, 9)):
        # Row y of a stage's output needs the input up to one row below; the row above is kept.
        shrunk = [(max(0, y - 1) * row_bytes, rows * row_bytes) for y in range(rows)]
        pieces = pieces_by_step(step - len(grown), grown + shrunk)
        buffers.append(Buffer.from_pieces(f"map{stage}", rows * row_bytes, pieces))
        lines = Buffer(f"lines{stage}", 4 * rng.randrange(64, 1024), step, step + rows - 1)
        buffers.append(lines)
        row_bytes = rng.choice([160, 240, 320, 480])
        grown = [(0, (y + 1) * row_bytes) for y in range(rows)]
        step += rows
    pieces = pieces_by_step(step - rows, [*grown, (0, rows * row_bytes)])
    buffers.append(Buffer.from_pieces("output", rows * row_bytes, pieces))
    return Problem(tuple(buffers))


FAMILIES: dict[str, Callable[[random.Random], Problem]] = {
    "random": lambda rng: random_problem(rng, (4,)),
    "random, mixed alignment": lambda rng: random_problem(rng, (1, 4, 8, 16)),
    "network, layer by layer": layer_by_layer,
    "network, patched": patched,
    "network, streamed by rows": streamed,
}


def measure(problems: list[Problem], algorithm: str, time_limit_s: float) -> list[str]:
    """One row of the table."""
    arenas, ratios, times_ms, proved = [], [], [], 0
    for problem in problems:
        begin = time.perf_counter()
        allocation = allocate(problem, algorithm, time_limit_s=time_limit_s)
        times_ms.append(1e3 * (time.perf_counter() - begin))
        arenas.append(allocation.arena_bytes)
        ratios.append(allocation.arena_bytes / max(allocation.lower_bound_bytes, 1))
        proved += allocation.optimal
    return [
        f"{statistics.mean(arenas):,.0f}",
        f"{statistics.mean(ratios):.4f}",
        f"{max(ratios):.4f}",
        f"{proved}/{len(problems)}",
        f"{statistics.median(times_ms):,.2f}",
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Benchmark of the packing algorithms.")
    parser.add_argument("--algorithms", nargs="+", choices=list(ALGORITHMS), metavar="NAME")
    parser.add_argument("--problems", type=int, default=8, help="per family (default: 8)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-limit-s", type=float, default=1.0, help="of exact (default: 1)")
    parser.add_argument("csv", nargs="*", type=Path, help="problems as MiniMalloc's CSV")
    options = parser.parse_args(arguments)
    if options.problems < 1:
        parser.error("--problems must be at least 1")
    try:
        families = {str(path): [read_csv(path)[0]] for path in options.csv}
        if not families:
            rng = random.Random(options.seed)
            families = {
                name: [make(rng) for _ in range(options.problems)]
                for name, make in FAMILIES.items()
            }
        print(
            f"{'problems':<26}{'algorithm':<20}{'arena B':>10}{'mean':>9}{'worst':>9}"
            f"{'optimal':>9}{'ms':>11}"
        )
        for family, problems in families.items():
            for algorithm in options.algorithms or ALGORITHMS:
                arena, mean, worst, proved, median_ms = measure(
                    problems, algorithm, options.time_limit_s
                )
                print(
                    f"{family:<26}{algorithm:<20}{arena:>10}{mean:>9}{worst:>9}"
                    f"{proved:>9}{median_ms:>11}",
                    flush=True,
                )
    except TvmPatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
