"""Random packing problems, and the slow but obvious way to solve tiny ones."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import permutations

from hypothesis import strategies as st

from tvm_patch.memory import Buffer, Piece, Problem, pieces_by_step

# No packing meets the bound of 87 bytes, so the bound proves nothing; the best takes 97.
GAPPED = Problem(
    (
        Buffer("a", 36, 0, 2, 16),
        Buffer("b", 34, 0, 2, 1),
        Buffer("c", 4, 1, 3, 16),
        Buffer("d", 13, 0, 1, 1),
    )
)

# Every greedy order wastes at least 12 bytes over the best packing, 80.
GREEDY_TRAP = Problem(
    (
        Buffer("a", 12, 1, 2),
        Buffer("b", 20, 1, 4),
        Buffer("c", 28, 0, 4),
        Buffer("d", 20, 0, 1),
        Buffer("e", 32, 3, 4),
        Buffer("f", 32, 0, 0),
    )
)


@st.composite
def problems(
    draw: st.DrawFn, max_buffers: int = 12, max_size: int = 200, horizon: int = 8
) -> Problem:
    """Problems with mixed sizes, live ranges and alignments."""
    count = draw(st.integers(1, max_buffers))
    buffers = []
    for index in range(count):
        first, last = sorted(draw(st.tuples(st.integers(0, horizon), st.integers(0, horizon))))
        buffers.append(
            Buffer(
                f"b{index}",
                draw(st.integers(1, max_size)),
                first,
                last,
                draw(st.sampled_from([1, 4, 4, 8, 16])),
            )
        )
    return Problem(tuple(buffers))


def brute_force_arena(problem: Problem) -> int:
    """Smallest arena over all orders, each buffer at the lowest aligned address that is free."""
    best = sum(b.size_bytes + b.alignment_bytes for b in problem.buffers)
    for order in permutations(problem.buffers):
        placed: list[tuple[Buffer, int]] = []
        for buffer in order:
            address = 0
            while any(
                buffer.first_use <= other.last_use
                and other.first_use <= buffer.last_use
                and address < base + other.size_bytes
                and base < address + buffer.size_bytes
                for other, base in placed
            ):
                address += buffer.alignment_bytes
            placed.append((buffer, address))
        best = min(best, max(base + b.size_bytes for b, base in placed))
    return best


def network_problem(layers: int, seed: int, long_lived: float = 0.3) -> Problem:
    """A chain of layers whose maps shrink on the way, with skip connections and scratch."""
    rng = random.Random(seed)
    buffers = []
    for layer in range(layers):
        size = max(64, int(60_000 * 0.93**layer) * rng.randrange(1, 7) // 6)
        skip = rng.randrange(2, 5) if rng.random() < long_lived else 1
        buffers.append(Buffer(f"map{layer}", size, layer, layer + skip))
        if rng.random() < 0.5:
            buffers.append(Buffer(f"scratch{layer}", rng.randrange(32, 4096), layer, layer))
    return Problem(tuple(buffers))


@st.composite
def pieced_buffers(draw: st.DrawFn, name: str, max_size: int = 24) -> Buffer:
    """Buffers that are live in up to four pieces with gaps in time, or as a whole."""
    size = draw(st.integers(1, max_size))
    alignment = draw(st.sampled_from([1, 4, 8]))
    step = first = draw(st.integers(0, 3))
    pieces = []
    for _ in range(draw(st.integers(0, 4))):
        step += draw(st.integers(0, 2))
        last = step + draw(st.integers(0, 2))
        begin = draw(st.integers(0, size - 1))
        pieces.append(Piece(step, last, begin, draw(st.integers(begin + 1, size))))
        step = last + 1
    return Buffer(name, size, first, step + draw(st.integers(0, 1)), alignment, tuple(pieces))


@st.composite
def pieced_problems(draw: st.DrawFn, max_buffers: int = 8, max_size: int = 24) -> Problem:
    """Problems in which most buffers are live in pieces."""
    count = draw(st.integers(1, max_buffers))
    return Problem(tuple(draw(pieced_buffers(f"b{i}", max_size)) for i in range(count)))


def collides(problem: Problem, offsets: Mapping[str, int]) -> bool:
    """Whether two buffers share a live byte in some step, by painting every byte."""
    for step in range(max(b.last_use for b in problem.buffers) + 1):
        painted: set[int] = set()
        for buffer in problem.buffers:
            for piece in buffer.pieces or (
                Piece(buffer.first_use, buffer.last_use, 0, buffer.size_bytes),
            ):
                if piece.first_use <= step <= piece.last_use:
                    base = offsets[buffer.name]
                    cells = set(range(base + piece.begin_bytes, base + piece.end_bytes))
                    if not painted.isdisjoint(cells):
                        return True
                    painted |= cells
    return False


def diagonal(
    rows: int, in_row_bytes: int, out_row_bytes: int, ahead: int = 1, name: str = "", step: int = 0
) -> tuple[Buffer, Buffer]:
    """A stage's input, eaten row by row, and its output, which grows at the same pace.

    Row y of the output needs the input rows y to y + ahead - 1; each row takes a step.
    """
    shrinking = [(y * in_row_bytes, (rows + ahead - 1) * in_row_bytes) for y in range(rows)]
    growing = [(0, (y + 1) * out_row_bytes) for y in range(rows)]
    return (
        Buffer.from_pieces(
            f"{name}in", shrinking[0][1], pieces_by_step(step, shrinking), alignment_bytes=1
        ),
        Buffer.from_pieces(
            f"{name}out", growing[-1][1], pieces_by_step(step, growing), alignment_bytes=1
        ),
    )
