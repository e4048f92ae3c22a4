"""Exact packing with OR-tools' CP-SAT: rectangles of known place in time, unknown in address.

Buffers that are live in pieces are no rectangles. Each pair with one of them gets the domain that
the forbidden differences leave to the difference of its offsets; on stages of networks that is
mostly one interval below and one above, where one rectangle for each piece would be hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from tvm_patch.compat import zip_strict
from tvm_patch.deadline import Deadline
from tvm_patch.errors import ToolMissingError
from tvm_patch.memory.algorithms.hill_climb import pack_hill_climb
from tvm_patch.memory.algorithms.interface import Packing, SearchLimits
from tvm_patch.memory.conflicts import ConflictGraph
from tvm_patch.memory.problem import Problem

# CP-SAT's deterministic clock counts work and keeps results independent of the machine's load.
# It runs at roughly the wall clock's pace; this stops it should it ever fall far behind.
_WALL_CLOCK_FACTOR = 10.0
# How often somebody looks for an interrupt while the solver runs.
_LOOK_S = 0.05
# Farther than any two offsets lie apart.
_FAR = 1 << 40


def pack_exact(problem: Problem, graph: ConflictGraph, limits: SearchLimits) -> Packing:
    """Find a smallest packing, or the best within the time limit.

    Hill climbing goes first: its arena is the most that the solver may take, so the answer is
    never larger, and where it meets the lower bound no solver is needed.
    See :class:`~.interface.Algorithm`.

    Raises
    ------
    ToolMissingError
        If OR-tools is needed and not installed.
    """
    first = pack_hill_climb(problem, graph, limits)
    sizes = [buffer.size_bytes for buffer in problem.buffers]
    arena_bytes = max(map(int.__add__, first.offsets, sizes))
    if arena_bytes <= limits.lower_bound_bytes:
        return Packing(first.offsets, optimal=True)
    return _solve(_import_cp_model(), problem, graph, first.offsets, arena_bytes, limits)


def _import_cp_model() -> ModuleType:
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise ToolMissingError(
            "the exact packing algorithm needs the Python package ortools, which is not installed",
            hint="pip install 'tvm-patch[exact]', or choose the algorithm hill_climb",
        ) from error
    module: ModuleType = cp_model
    return module


def _solve(
    cp_model: ModuleType,
    problem: Problem,
    graph: ConflictGraph,
    hint_offsets: Sequence[int],
    arena_bytes: int,
    limits: SearchLimits,
) -> Packing:
    # All offsets are multiples of the smallest alignment (all are powers of two), so addresses
    # count in those units, and a buffer blocks whole units. The arena is exact to the byte.
    unit = min(buffer.alignment_bytes for buffer in problem.buffers)
    model = cp_model.CpModel()
    arena = model.new_int_var(limits.lower_bound_bytes, arena_bytes, "arena")
    slots, starts, spans, blocks = [], [], [], []
    for index, buffer in enumerate(problem.buffers):
        alignment = buffer.alignment_bytes
        slot = model.new_int_var(0, (arena_bytes - buffer.size_bytes) // alignment, f"slot{index}")
        start = slot * (alignment // unit)
        slots.append(slot)
        starts.append(start)
        if not buffer.pieces:
            units = -(-buffer.size_bytes // unit)
            lifetime = buffer.last_use + 1 - buffer.first_use
            spans.append(model.new_fixed_size_interval_var(buffer.first_use, lifetime, f"t{index}"))
            blocks.append(model.new_fixed_size_interval_var(start, units, f"a{index}"))
        model.add(slot * alignment + buffer.size_bytes <= arena)
        model.add_hint(slot, hint_offsets[index] // alignment)
    model.add_no_overlap_2d(spans, blocks)
    for (i, j), forbidden in _pairs_with_pieces(problem, graph).items():
        allowed = _allowed_differences(forbidden, unit)
        domain = cp_model.Domain.from_intervals(allowed)
        model.add_linear_expression_in_domain(starts[i] - starts[j], domain)
    model.add_hint(arena, arena_bytes)
    model.minimize(arena)

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = limits.seed
    solver.parameters.max_deterministic_time = limits.time_limit_s
    solver.parameters.max_time_in_seconds = limits.time_limit_s * _WALL_CLOCK_FACTOR
    # It would take Ctrl-C for itself, and leave it dead for whoever comes after.
    solver.parameters.catch_sigint_signal = False
    status = _run(solver, model, limits.deadline)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Packing(hint_offsets)
    offsets = [
        solver.value(slot) * buffer.alignment_bytes
        for slot, buffer in zip_strict(slots, problem.buffers)
    ]
    return Packing(offsets, optimal=status == cp_model.OPTIMAL)


def _run(solver: Any, model: Any, deadline: Deadline | None) -> Any:
    """The solver's status, at the latest when the deadline has passed."""
    # The solver does not come back to Python while it works, and Python handles signals in its
    # main thread only: so it works in another one.
    with ThreadPoolExecutor(1) as pool:
        status = pool.submit(solver.solve, model)
        try:
            while True:
                try:
                    return status.result(timeout=_LOOK_S)
                except TimeoutError:
                    if deadline is not None and deadline.passed():
                        solver.stop_search()
        finally:
            solver.stop_search()


def _pairs_with_pieces(
    problem: Problem, graph: ConflictGraph
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Forbidden intervals of offset(i) - offset(j), in bytes, of pairs i < j with pieces."""
    pairs: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for i, around in enumerate(graph.neighbours):
        for j, low, high in around:
            if i < j and (problem.buffers[i].pieces or problem.buffers[j].pieces):
                pairs.setdefault((i, j), []).append((low, high))
    return pairs


def _allowed_differences(forbidden: Sequence[tuple[int, int]], unit: int) -> list[list[int]]:
    """What open intervals of bytes leave of the multiples of a unit, as closed ranges of units."""
    allowed = []
    lowest = -_FAR
    for low, high in sorted(forbidden):
        if lowest <= low // unit:
            allowed.append([lowest, low // unit])
        lowest = max(lowest, -(-high // unit))
    return [*allowed, [lowest, _FAR]]
