"""What TVM's unified static memory planner (USMP) will need: workspace of the AOT main function.

Kernels run one after the other, in the order in which the executor's main function calls them.
What one writes lives until its last reader has run, and what it allocates while it runs. USMP packs
all of that into one pool; inputs and outputs of the network are the caller's unless it is told
otherwise. Calls of one function have what it allocates at one place, though it is free in between.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from tvm_patch.compat import zip_strict
from tvm_patch.errors import PlanError
from tvm_patch.memory import (
    Allocation,
    Buffer,
    Piece,
    Problem,
    allocate,
    lower_bound_bytes,
    validate,
)
from tvm_patch.plan import Operator, Tensor
from tvm_patch.relay.kernels import Kernel, KernelNetwork
from tvm_patch.relay.tiles import Block, Interval, Patch, patch_of

USMP_ALGORITHMS = ("greedy_by_size", "greedy_by_conflicts", "hill_climb")
"""What ``tir.usmp.algorithm`` may be."""


_ALIGNMENT_BYTES = 16  # the AOT executor's workspace-byte-alignment

_MOVE = Kernel()


@dataclass
class _Step:
    """A call of a kernel; those with an equal ``function`` are calls of one."""

    size_bytes: int
    inputs: tuple[int, ...]
    kernel: Kernel = _MOVE
    scratch_bytes: tuple[int, ...] = ()
    function: Hashable = None


@dataclass(frozen=True)
class KernelStage:
    """A stage of kernels.

    Parameters
    ----------
    operators : tuple of Operator
        Its kernels in execution order.
    tiles : tuple of tuple of Block
        Of its output, in the order in which patches are made: those of a row are joined first.
    patch_pixel_bytes : int
        Of a patch's output, which may have another type than what the last kernel makes where all
        is whole: a cast for the next layer is part of it there, and comes behind the join here.
    joins_apart : bool
        Whether each join is a kernel of its own; else all are one, which runs behind all patches.
    """

    operators: tuple[Operator, ...]
    tiles: tuple[tuple[Block, ...], ...]
    patch_pixel_bytes: int
    joins_apart: bool = True


def workspace_problem(
    network: KernelNetwork, stage: KernelStage | None = None, *, io_in_workspace: bool = False
) -> Problem:
    """The packing problem that USMP has to solve.

    Parameters
    ----------
    network : KernelNetwork
        The network as TVM runs it, whole.
    stage : KernelStage or None
        What runs in patches.
    io_in_workspace : bool
        Whether inputs and outputs lie in the pool too (``tir.usmp.use_workspace_io``).
    """
    schedule = _Schedule(network, stage)
    outputs = [schedule.tensor(name) for name in network.graph.outputs]
    return schedule.problem(outputs, io_in_workspace)


def pack_as_usmp(problem: Problem, algorithm: str = "greedy_by_size") -> Allocation:
    """Pack a problem as USMP does.

    Its greedy algorithms put each buffer behind all buffers in its way that have a place already,
    and fill no gaps; by size is USMP's own choice. What its hill climbing finds is near what ours
    does.

    Parameters
    ----------
    algorithm : str
        One of :data:`USMP_ALGORITHMS`.

    Raises
    ------
    PlanError
        If USMP has no such algorithm.
    """
    if algorithm not in USMP_ALGORITHMS:
        raise PlanError(
            f"USMP has no algorithm {algorithm!r}",
            hint=f"choose one of {', '.join(USMP_ALGORITHMS)}",
        )
    if algorithm == "hill_climb" or not problem.buffers:
        return allocate(problem, "hill_climb")
    buffers = problem.buffers
    conflicts = [
        [j for j, other in enumerate(buffers) if j != i and buffer.forbidden_differences(other)]
        for i, buffer in enumerate(buffers)
    ]
    # What two calls of a kernel allocate is in the way of a buffer twice.
    weights = [
        sum(times_together(buffers[i], buffers[j]) for j in others)
        for i, others in enumerate(conflicts)
    ]

    def by_size(i: int) -> tuple[int, int]:
        return (-buffers[i].size_bytes, -weights[i])

    def by_conflicts(i: int) -> tuple[int, int]:
        return (-weights[i], -buffers[i].size_bytes)

    key = by_size if algorithm == "greedy_by_size" else by_conflicts
    order = sorted(range(len(buffers)), key=lambda i: buffers[i].name, reverse=True)
    order.sort(key=key)
    offsets: dict[int, int] = {}
    for i in order:
        stop = max(
            (offsets[j] + buffers[j].size_bytes for j in conflicts[i] if j in offsets), default=0
        )
        offsets[i] = -(-stop // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    bound_bytes = lower_bound_bytes(problem)
    arena_bytes = max(offsets[i] + buffer.size_bytes for i, buffer in enumerate(buffers))
    allocation = Allocation(
        offsets_bytes={buffer.name: offsets[i] for i, buffer in enumerate(buffers)},
        arena_bytes=arena_bytes,
        algorithm=algorithm,
        lower_bound_bytes=bound_bytes,
        optimal=arena_bytes == bound_bytes,
    )
    validate(problem, allocation)
    return allocation


def times_together(buffer: Buffer, other: Buffer) -> int:
    """How often two buffers are live together."""
    return sum(
        a.first_use <= b.last_use and b.first_use <= a.last_use
        for a in buffer.live_pieces
        for b in other.live_pieces
    )


class _Names:
    """Names made as USMP makes them: of equal buffers it places the last by name first."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """The name, with a number where it is taken."""
        count = self._taken.get(name)
        if count is None:
            self._taken[name] = 0
            return name
        while f"{name}_{count}" in self._taken:
            count += 1
        self._taken[name] = count + 1
        self._taken[f"{name}_{count}"] = 0
        return f"{name}_{count}"


@dataclass
class _Schedule:
    """Kernels in the order of their calls: arguments first, from left to right."""

    network: KernelNetwork
    stage: KernelStage | None
    steps: list[_Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._made: dict[str, int] = {}
        self._common: dict[tuple[Hashable, tuple[int, ...]], int] = {}
        graph = self.network.graph
        for name in graph.inputs:
            self._made[name] = self.add(graph.tensor[name].size_bytes, ())
        self._inputs = len(self.steps)

    def tensor(self, name: str) -> int:
        """The step that makes a tensor, after all that it needs."""
        pending = [name]
        graph = self.network.graph
        while pending:
            wanted = pending[-1]
            if wanted in self._made:
                pending.pop()
                continue
            if self.stage is not None and wanted == self.stage.operators[-1].output:
                self._made[wanted] = self._patched(self.stage)
                continue
            operator = graph.operators[graph.producer[wanted]]
            missing = [x for x in operator.inputs if x not in self._made]
            if missing:
                pending.append(missing[0])
                continue
            self._made[wanted] = self._whole(operator)
        return self._made[name]

    def problem(self, outputs: Sequence[int], io_in_workspace: bool) -> Problem:
        start, times = 0, []
        for step in self.steps:
            times.append(start)
            start += step.kernel.phases
        first = [t + step.kernel.first_write for t, step in zip_strict(times, self.steps)]
        last = [t + step.kernel.phases - 1 for t, step in zip_strict(times, self.steps)]
        for time, step in zip_strict(times, self.steps):
            reads = step.kernel.last_reads or (step.kernel.phases - 1,) * len(step.inputs)
            for read, phase in zip_strict(step.inputs, reads):
                last[read] = max(last[read], time + phase)
        live: dict[str, list[Piece]] = {}
        live_bytes = self._live_bytes(outputs)
        names = _Names()
        shared: dict[Hashable, str] = {}
        for i, step in enumerate(self.steps):
            is_io = i < self._inputs or i in outputs
            if step.size_bytes and (io_in_workspace or not is_io):
                stop = start - 1 if i in outputs else last[i]
                name = names.unique(f"sid_{i + 1 - self._inputs}")
                live[name] = [Piece(first[i], stop, 0, step.size_bytes)]
            for number, (size, scratch) in enumerate(
                zip_strict(step.scratch_bytes, step.kernel.scratch)
            ):
                if not size:
                    continue
                function = i if step.function is None else (step.function, live_bytes[i])
                name = shared.get((function, number)) or names.unique(scratch.name)
                shared[function, number] = name
                begin, stop = times[i] + scratch.first_phase, times[i] + scratch.last_phase
                live.setdefault(name, []).append(Piece(begin, stop, 0, size))
        return Problem(tuple(_buffer(name, pieces) for name, pieces in live.items()))

    def _live_bytes(self, outputs: Sequence[int]) -> list[int]:
        """Of maps at each call, if TVM tells kernels apart by that."""
        count = len(self.steps)
        if not self.network.tells_live_bytes:
            return [0] * count
        last = list(range(count))
        for i, step in enumerate(self.steps):
            for read in step.inputs:
                last[read] = i
        for output in outputs:
            last[output] = count - 1
        change = [0] * (count + 1)
        for i, step in enumerate(self.steps):
            change[i] += step.size_bytes
            change[last[i] + 1] -= step.size_bytes
        return list(accumulate(change[:-1]))

    def add(
        self,
        size_bytes: int,
        inputs: Sequence[int],
        kernel: Kernel = _MOVE,
        scratch_bytes: Sequence[int] = (),
        shape: Hashable = None,
    ) -> int:
        """Run a kernel next, in patches one for that ``shape``; the number of its step."""
        function = (kernel.function_hash, shape) if kernel.function_hash else None
        self.steps.append(_Step(size_bytes, tuple(inputs), kernel, tuple(scratch_bytes), function))
        return len(self.steps) - 1

    def once(self, part: Hashable, size_bytes: int, inputs: Sequence[int], *rest: Any) -> int:
        """As :meth:`add`, but TVM makes once what two patches make of the same inputs."""
        key = (part, tuple(inputs))
        if key not in self._common:
            self._common[key] = self.add(size_bytes, inputs, *rest)
        return self._common[key]

    def _whole(self, operator: Operator) -> int:
        graph, kernel = self.network.graph, self.network.kernels[operator.name]
        inputs = [self._made[name] for name in operator.inputs]
        if kernel.is_view:
            return inputs[0]
        output = graph.tensor[operator.output]
        scratch = [s.whole_bytes for s in kernel.scratch]
        return self.add(output.size_bytes, inputs, kernel, scratch)

    def _patched(self, stage: KernelStage) -> int:
        graph = self.network.graph
        for operator in stage.operators:
            for name in operator.inputs:
                if name not in graph.producer:
                    self.tensor(name)
        pixelwise = {name: kernel.pixelwise for name, kernel in self.network.kernels.items()}
        last = stage.operators[-1].output
        rows: list[list[int]] = []
        strips: list[int] = []
        for row in stage.tiles:
            parts = []
            for tile in row:
                patch = patch_of(graph, stage.operators, tile, pixelwise)
                parts.append(_PatchSchedule(self, stage, patch).tensor(last))
            rows.append(parts)
            if stage.joins_apart:
                strips.append(self._joined(parts, _pixels(row), stage))
        if not stage.joins_apart:
            for row, parts in zip_strict(stage.tiles, rows):
                strips.append(self._joined(parts, _pixels(row), stage))
        output = graph.tensor[last]
        whole = self._joined(strips, output.height * output.width, stage)
        if stage.patch_pixel_bytes == output.pixel_bytes:
            return whole
        if not stage.joins_apart:
            # Nothing is inlined behind a concatenation: the cast is held before zero points go off.
            whole = self.add(output.size_bytes, (whole,))
        return self.add(output.size_bytes, (whole,))

    def _joined(self, parts: Sequence[int], pixels: int, stage: KernelStage) -> int:
        if len(parts) == 1:
            return parts[0]
        return self.add(pixels * stage.patch_pixel_bytes, parts)


class _PatchSchedule:
    """The kernels of one patch."""

    def __init__(self, schedule: _Schedule, stage: KernelStage, patch: Patch) -> None:
        self._schedule = schedule
        self._stage = stage
        self._patch = patch
        self._producer = {operator.output: operator for operator in stage.operators}
        self._made: dict[str, int] = {}
        # Other weights are live in each patch, those that it is the first or the last to read.
        self._place = len(schedule.steps) if schedule.network.tells_live_bytes else 0

    def tensor(self, name: str, pixel_bytes: int | None = None) -> int:
        """The step that makes the patch's part of a tensor."""
        if name in self._made:
            return self._made[name]
        operator = self._producer[name]
        network = self._schedule.network
        kernel = network.kernels[operator.name]
        read, held = self._patch.reads[operator.name], self._patch.held[name]
        if name == self._stage.operators[-1].output:
            pixel_bytes = self._stage.patch_pixel_bytes
        own_bytes = pixel_bytes or network.graph.tensor[name].pixel_bytes
        if kernel.is_pad and read.padding.is_none and operator.inputs[0] in self._producer:
            # Nothing to pad: what else the kernel computes becomes part of the one before.
            self._made[name] = self.tensor(operator.inputs[0], own_bytes)
            return self._made[name]
        if kernel.holds_slices:
            for argument in operator.inputs:
                if argument in self._producer:
                    self.tensor(argument)
        inputs = []
        for argument in operator.inputs:
            if argument in operator.whole_inputs:
                inputs.append(self._schedule.tensor(argument))
            else:
                block = held if argument in kernel.pixelwise else read.block
                inputs.append(self._part(argument, block, is_fused=kernel.moves_only))
        window = operator.window
        reads = window.rows_read(held.rows.size) * window.columns_read(held.cols.size)
        scratch = [s.size_bytes(reads, held.pixels) for s in kernel.scratch]
        shape = (self._place, own_bytes, held.size, read.block.size, read.padding)
        self._made[name] = self._schedule.once(
            (name, held), own_bytes * held.pixels, inputs, kernel, scratch, shape
        )
        return self._made[name]

    def _part(self, name: str, block: Block, *, is_fused: bool) -> int:
        """A tensor's block that a kernel reads; sliced out where it is not all that is there."""
        tensor = self._schedule.network.graph.tensor[name]
        if name in self._producer:
            source, held = self.tensor(name), self._patch.held[name]
        else:
            source, held = self._schedule.tensor(name), _all_of(tensor)
        if held == block or is_fused:
            return source
        return self._schedule.once(block, block.pixels * tensor.pixel_bytes, (source,))


def _buffer(name: str, pieces: Sequence[Piece]) -> Buffer:
    """One buffer for all calls of a kernel; their pieces stay apart, since USMP counts them."""
    first, last = pieces[0], pieces[-1]
    several = tuple(pieces) if len(pieces) > 1 else ()
    ends = first.first_use, last.last_use
    return Buffer(name, first.size_bytes, *ends, _ALIGNMENT_BYTES, several)


def _pixels(tiles: Sequence[Block]) -> int:
    return sum(tile.pixels for tile in tiles)


def _all_of(tensor: Tensor) -> Block:
    return Block(Interval(0, tensor.height), Interval(0, tensor.width))
