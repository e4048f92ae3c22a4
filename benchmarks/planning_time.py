"""How long planning takes: chains of 20 to 400 layers, and the real networks.

    python benchmarks/planning_time.py [--depths 20,50,100,200,400] [--model mlperf-ic,digits]
        [--kinds resident,"by rows"] [--markdown] [--json FILE]

Chains are what MobileNets are made of: blocks that expand, filter and project, in one family with
residual sums. Their maps shrink in the first blocks and then stay, so that a chain of 400 layers
differs from one of 20 in its depth alone. The growth exponent is the slope of the time over depth,
both as logarithms, from 50 layers on: 1 is linear.

Seconds are of the processor (all processes) and of the clock; a busy machine changes the latter.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from networks import (
    NAMES,
    chosen_names,
    markdown_table,
    plain_table,
    read,
    say,
    those_that_are_there,
)

from tvm_patch.errors import PlanError, TvmPatchError
from tvm_patch.plan import (
    Access,
    Graph,
    InputMode,
    Operator,
    Requirements,
    Tensor,
    Window,
    choose_plan,
)
from tvm_patch.report import check_writable, to_json, write_atomically
from tvm_patch.report.export import versions

KINDS: Mapping[str, Requirements] = {
    "resident": Requirements(objective="memory", max_overhead=1.0),
    "by rows": Requirements(objective="memory", max_overhead=1.0, input_mode=InputMode.ROWS),
    "by rows 1.25": Requirements(objective="memory", max_overhead=1.25, input_mode=InputMode.ROWS),
    "patches": Requirements(objective="memory", max_overhead=1.25, buffering="patch"),
}
DEPTHS = (20, 50, 100, 200, 400)
LIMIT_S = 10.0
"""What planning a real network may take on two cores."""

_IMAGE = (96, 96, 3)
_CHANNELS = 16
_STRIDES_AT = (1, 3)
_STEEP_FROM = 50


@dataclass(frozen=True)
class Timing:
    """One search.

    Parameters
    ----------
    family, kind : str
        ``chain``, ``residual`` or a network; and a key of :data:`KINDS`.
    layers : int
        Operators of the graph.
    cpu_s, wall_s : float
        Seconds of the processor and of the clock.
    arena_bytes : int
        Of the plan found.
    stages : int
        Likewise.
    """

    family: str
    kind: str
    layers: int
    cpu_s: float
    wall_s: float
    arena_bytes: int
    stages: int


class _Chain:
    """A graph that grows layer by layer."""

    def __init__(self) -> None:
        self.tensors = [Tensor("image", (1, *_IMAGE))]
        self.operators: list[Operator] = []

    def window(self, kind: str, channels: int, window: Window) -> None:
        """A layer with weights."""
        source = self.tensors[-1]
        height, width = -(-source.height // window.stride_h), -(-source.width // window.stride_w)
        taps = window.kernel_h * window.kernel_w * (1 if "depth" in kind else source.shape[3])
        macs = height * width * channels * taps
        pad_value = 0 if window.has_padding else None
        self._add(kind, (source.name,), (1, height, width, channels), window, macs, pad_value)

    def sum_with(self, earlier: Tensor) -> None:
        """A residual sum."""
        last = self.tensors[-1]
        self._add("add", (earlier.name, last.name), last.shape, Window(), 0, None)

    def _add(
        self,
        kind: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        window: Window,
        macs: int,
        pad_value: int | None,
    ) -> None:
        name = f"layer{len(self.operators)}"
        self.tensors.append(Tensor(name, shape))
        self.operators.append(
            Operator(
                *(name, kind, inputs, name, Access.ROWS, window, macs, pad_value),
                elementwise=kind == "add",
            )
        )


def chain(depth: int, *, residual: bool = False) -> Graph:
    """A graph of ``depth`` layers: blocks that expand, filter and project, and may add."""
    made = _Chain()
    made.window("conv2d", _CHANNELS, Window(3, 3, 2, 2, 1, 1, 1, 1, 1, 1))
    block = 0
    while len(made.operators) < depth:
        stride = 2 if block in _STRIDES_AT else 1
        entry = made.tensors[-1]
        made.window("conv2d", 3 * _CHANNELS, Window())
        made.window(
            "depthwise_conv2d", 3 * _CHANNELS, Window(3, 3, stride, stride, 1, 1, 1, 1, 1, 1)
        )
        made.window("conv2d", _CHANNELS, Window())
        if residual and stride == 1:
            made.sum_with(entry)
        block += 1
    tensors, operators = made.tensors[: depth + 1], made.operators[:depth]
    name = f"{'residual' if residual else 'chain'}{depth}"
    return Graph(name, tuple(tensors), tuple(operators), ("image",), (tensors[-1].name,), "0" * 64)


def time_of(family: str, kind: str, graph: Graph) -> Timing:
    """Plan once."""
    cpu_s, wall_s = _cpu_seconds(), time.perf_counter()
    plan = choose_plan(graph, KINDS[kind])
    return Timing(
        family=family,
        kind=kind,
        layers=len(graph.operators),
        cpu_s=_cpu_seconds() - cpu_s,
        wall_s=time.perf_counter() - wall_s,
        arena_bytes=plan.memory.arena_bytes,
        stages=len(plan.stages),
    )


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def growth_exponent(timings: Sequence[Timing]) -> float | None:
    """Slope of log(seconds) over log(layers), by least squares; None for fewer than two depths."""
    points = [(math.log(t.layers), math.log(t.cpu_s)) for t in timings if t.layers >= _STEEP_FROM]
    if len({x for x, _ in points}) < 2:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    across = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / across


_HEADER = ("family", "kind", "layers", "CPU s", "clock s", "CPU ms per layer", "arena B", "stages")


def table_rows(timings: Sequence[Timing]) -> list[tuple[str, ...]]:
    """Text of the table's cells, its header first."""
    return [_HEADER, *(_cells(timing) for timing in timings)]


def _cells(timing: Timing) -> tuple[str, ...]:
    return (
        timing.family,
        timing.kind,
        str(timing.layers),
        f"{timing.cpu_s:.2f}",
        f"{timing.wall_s:.2f}",
        f"{timing.cpu_s / timing.layers * 1000:.1f}",
        f"{timing.arena_bytes:,}",
        str(timing.stages),
    )


def growth_rows(timings: Sequence[Timing]) -> list[tuple[str, ...]]:
    """The growth exponent of each family of chains and kind of plan."""
    rows = [("family", "kind", "growth exponent")]
    for family in ("chain", "residual"):
        for kind in dict.fromkeys(t.kind for t in timings):
            found = growth_exponent([t for t in timings if (t.family, t.kind) == (family, kind)])
            if found is not None:
                rows.append((family, kind, f"{found:.2f}"))
    return rows


def run(
    depths: Sequence[int],
    names: Sequence[str],
    kinds: Sequence[str],
    keep: Callable[[Timing], None],
) -> None:
    """Time everything; ``keep`` is told each result as soon as it is there."""
    for depth in depths:
        for family, residual in (("chain", False), ("residual", True)):
            for kind in kinds:
                say(f"{family} of {depth}: {kind}")
                keep(time_of(family, kind, chain(depth, residual=residual)))
    for name in those_that_are_there(names):
        graph = read(name).network.graph
        for kind in kinds:
            say(f"{name}: {kind}")
            try:
                keep(time_of(name, kind, graph))
            except PlanError as error:
                say(f"{name}: {kind}: {error.message}")


def json_record(timings: Sequence[Timing]) -> dict[str, Any]:
    """Everything, for programs."""
    growth = [
        dict(zip(("family", "kind", "exponent"), row, strict=True))
        for row in growth_rows(timings)[1:]
    ]
    return {
        "timings": [asdict(timing) for timing in timings],
        "growth": growth,
        "versions": versions(),
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How long planning takes.")
    parser.add_argument("--depths", metavar="A,B", default=",".join(map(str, DEPTHS)))
    parser.add_argument("--model", "--models", metavar="A,B", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--kinds", metavar="A,B", help=f"some of: {', '.join(KINDS)}")
    parser.add_argument("--markdown", action="store_true", help="tables as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON too")
    options = parser.parse_args(arguments)
    options.names = [] if options.model == "none" else chosen_names(options.model, parser.error)
    options.kinds = options.kinds.split(",") if options.kinds else list(KINDS)
    unknown = [kind for kind in options.kinds if kind not in KINDS]
    if unknown:
        parser.error(f"there is no kind {unknown[0]!r}; kinds: {', '.join(KINDS)}")
    try:
        options.depths = [int(depth) for depth in options.depths.split(",") if depth]
    except ValueError:
        parser.error("--depths takes whole numbers: 20,50,100")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Time chains and networks."""
    options = _parse(arguments)
    timings: list[Timing] = []

    def keep(timing: Timing) -> None:
        timings.append(timing)
        if options.json is not None:
            write_atomically(options.json, to_json(json_record(timings)))

    try:
        if options.json is not None:
            check_writable(options.json)
        run(options.depths, options.names, options.kinds, keep)
    except TvmPatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; what has been timed:")
    table = markdown_table if options.markdown else plain_table
    for rows in (table_rows(timings), growth_rows(timings)):
        if len(rows) > 1:
            print(table(rows), end="\n\n")
    slow = [t for t in timings if t.family in NAMES and t.wall_s > LIMIT_S]
    for timing in slow:
        say(f"{timing.family}, {timing.kind}: {timing.wall_s:.1f} s, limit {LIMIT_S:g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
