"""Every kernel of the networks on an emulated core: what one call of it and one MAC cost.

    python benchmarks/kernels.py [--models mcunet-in2] [--boards qemu_cortex_m7,qemu_cortex_m4]
        [--plans layers,streamed] [--kinds conv2d] [--markdown] [--json FILE]

Each network is built with marks in its C, run once layer by layer and once streamed, and taken
apart operator by operator. The first table has every distinct kernel, whatever networks it is in:
the shape that it is made for, instructions of a call, and instructions per MAC. The second has, for
each network and class of layer, its instructions per MAC beside what we mean to come down to, and
its share of the whole.

The emulator's stopwatch ticks every 40 instructions; what a call takes is right within about one
tick over the number of calls.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from networks import (
    NAMES,
    REAL,
    STREAMED,
    chosen_names,
    markdown_table,
    plain_table,
    read,
    say,
    those_that_are_there,
)

from tvm_patch import Prepared
from tvm_patch.board import load_board
from tvm_patch.errors import TvmPatchError
from tvm_patch.pipeline import generate, make_plan
from tvm_patch.plan import Graph, Operator
from tvm_patch.profiling import OperatorProfile, Profile, profile_model
from tvm_patch.report import to_json, write_atomically
from tvm_patch.report.export import versions

PLANS = {"layers": None, "streamed": STREAMED}
GOALS: Mapping[str, float] = {
    "conv 1x1": 1.3,
    "conv kxk": 1.3,
    "conv first": 2.2,
    "depthwise 3x3": 2.8,
    "depthwise 5x5": 2.2,
    "depthwise 7x7": 2.0,
}
"""Instructions per MAC to come down to, requantisation left out, for 16 or more channels."""


@dataclass(frozen=True)
class Measured:
    """One operator of one network on one board.

    Parameters
    ----------
    board, model, plan, operator, kind, layer_class, shape : str
        What it is.
    kernel : str
        The C function, without the model's prefix; kernels of equal names are equal.
    calls, macs : int
        Of the whole inference.
    kernel_instructions, data_instructions : int
        In the kernel, and in gathering and moving rows for it.
    share : float
        Of the network's instructions.
    """

    board: str
    model: str
    plan: str
    operator: str
    kind: str
    layer_class: str
    shape: str
    kernel: str
    calls: int
    macs: int
    kernel_instructions: int
    data_instructions: int
    share: float

    @property
    def per_mac(self) -> float | None:
        """Instructions of the kernel for each MAC."""
        return self.kernel_instructions / self.macs if self.macs else None


def layer_class(graph: Graph, operator: Operator) -> str:
    """The kind of work that a layer is, as coarse as goals are."""
    window = operator.window
    size = f"{window.kernel_h}x{window.kernel_w}"
    if operator.kind == "conv2d":
        if graph.tensor[operator.inputs[0]].shape[-1] <= 4:
            return "conv first"
        return "conv 1x1" if size == "1x1" else "conv kxk"
    return f"depthwise {size}" if operator.kind == "depthwise_conv2d" else operator.kind


def shape_text(graph: Graph, operator: Operator) -> str:
    """``3x3 s2, 112x112x16 -> 56x56x24``."""
    window = operator.window
    source, output = graph.tensor[operator.inputs[0]], graph.tensor[operator.output]
    maps = " -> ".join("x".join(map(str, tensor.shape[1:])) for tensor in (source, output))
    if window.is_identity:
        return maps
    return f"{window.kernel_h}x{window.kernel_w} s{window.stride_h}, {maps}"


def measure(prepared: Prepared, board: str, plan: str, folder: Path) -> Profile:
    """A network's profile on a board."""
    requirements = PLANS[plan]
    chosen = make_plan(prepared, requirements, layers=requirements is None)
    generated = generate(prepared, chosen, folder / "model", load_board(board))
    rng = np.random.default_rng(0)
    graph = prepared.network.graph
    inputs = []
    for name in graph.inputs:
        tensor = graph.tensor[name]
        values = rng.integers(-128, 128, tensor.shape)
        inputs.append(values.astype(tensor.dtype) / (128 if tensor.dtype == "float32" else 1))
    inputs = [
        value.astype(graph.tensor[name].dtype)
        for name, value in zip(graph.inputs, inputs, strict=True)
    ]
    return profile_model(generated.folder, load_board(board), folder / "firmware", inputs)


def measured(
    prepared: Prepared, profile: Profile, board: str, model: str, plan: str
) -> list[Measured]:
    """A profile's operators with their shapes."""
    graph = prepared.network.graph
    by_name = {operator.name: operator for operator in graph.operators}
    prefix = f"tvmgen_{prepared.imported.c_name}_"
    return [
        _measured(graph, by_name[entry.name], entry, profile, (board, model, plan, prefix))
        for entry in profile.operators
        if entry.name in by_name and entry.kernels
    ]


def _measured(
    graph: Graph,
    operator: Operator,
    entry: OperatorProfile,
    profile: Profile,
    where: tuple[str, str, str, str],
) -> Measured:
    board, model, plan, prefix = where
    return Measured(
        board=board,
        model=model,
        plan=plan,
        operator=entry.name,
        kind=entry.kind,
        layer_class=layer_class(graph, operator),
        shape=shape_text(graph, operator),
        kernel=entry.kernels[0].removeprefix(prefix),
        calls=entry.calls,
        macs=entry.macs,
        kernel_instructions=entry.kernel_units,
        data_instructions=entry.data_units,
        share=profile.share(entry.units),
    )


_KERNEL_HEADER = (
    *("kernel", "layer", "board", "used by", "calls", "MACs a call", "instr a call", "per MAC"),
    "share at most",
)


def kernel_rows(results: Sequence[Measured]) -> list[tuple[str, ...]]:
    """One line for each distinct kernel and board, the dearest class first."""
    groups: dict[tuple[str, str], list[Measured]] = {}
    for result in results:
        groups.setdefault((result.kernel, result.board), []).append(result)
    rows: list[tuple[str, ...]] = [_KERNEL_HEADER]
    for (kernel, board), uses in sorted(groups.items(), key=_order):
        calls = sum(use.calls for use in uses)
        macs = sum(use.macs for use in uses)
        instructions = sum(use.kernel_instructions for use in uses)
        models = sorted({use.model for use in uses})
        rows.append(
            (
                *(kernel, uses[0].shape, board.removeprefix("qemu_")),
                models[0] if len(models) == 1 else f"{len(models)} networks",
                f"{calls:,}",
                f"{macs // calls:,}",
                f"{instructions / calls:,.0f}",
                _ratio(instructions, macs),
                f"{max(use.share for use in uses):.1%}",
            )
        )
    return rows


def _order(item: tuple[tuple[str, str], list[Measured]]) -> tuple[str, float, str]:
    (_, board), uses = item
    worst = max((use.per_mac or 0.0) for use in uses)
    return (uses[0].layer_class, -worst, board)


_CLASS_HEADER = (
    *("model", "layers", "board", "plan", "MACs", "kernel instr", "per MAC", "goal", "moved rows"),
    "share",
)


def class_rows(results: Sequence[Measured]) -> list[tuple[str, ...]]:
    """One line for each network, board, plan and class of layer."""
    groups: dict[tuple[str, str, str, str], list[Measured]] = {}
    for result in results:
        key = (result.model, result.board, result.plan, result.layer_class)
        groups.setdefault(key, []).append(result)
    rows: list[tuple[str, ...]] = [_CLASS_HEADER]
    for (model, board, plan, name), uses in groups.items():
        macs = sum(use.macs for use in uses)
        instructions = sum(use.kernel_instructions for use in uses)
        rows.append(
            (
                *(model, name, board.removeprefix("qemu_"), plan, f"{macs:,}" if macs else "-"),
                *(f"{instructions:,}", _ratio(instructions, macs)),
                f"{GOALS[name]:.1f}" if name in GOALS else "-",
                f"{sum(use.data_instructions for use in uses):,}",
                f"{sum(use.share for use in uses):.1%}",
            )
        )
    return rows


def _ratio(instructions: int, macs: int) -> str:
    return f"{instructions / macs:.2f}" if macs else "-"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark of kernels on an emulated core.")
    parser.add_argument("--models", metavar="A,B", help=f"some of: {', '.join(NAMES)}")
    boards = "qemu_cortex_m7,qemu_cortex_m4"
    parser.add_argument("--boards", metavar="A,B", default=boards, help=f"default: {boards}")
    parser.add_argument("--plans", metavar="A,B", default="layers,streamed")
    parser.add_argument("--kinds", metavar="A,B", help="operators: conv2d,depthwise_conv2d,...")
    parser.add_argument("--markdown", action="store_true", help="tables of Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON too")
    options = parser.parse_args(arguments)
    options.names = chosen_names(options.models, parser.error, REAL)
    for plan in options.plans.split(","):
        if plan not in PLANS:
            parser.error(f"there is no plan {plan!r}; plans: {', '.join(PLANS)}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure the networks that are there."""
    options = _parse(arguments)
    results: list[Measured] = []
    try:
        for name in those_that_are_there(options.names):
            say(f"{name}: import")
            prepared = read(name)
            for plan in options.plans.split(","):
                for board in options.boards.split(","):
                    say(f"{name}: {plan} on {board}")
                    with tempfile.TemporaryDirectory() as folder:
                        profile = measure(prepared, board, plan, Path(folder))
                    results += measured(prepared, profile, board, name, plan)
        if options.kinds:
            kinds = options.kinds.split(",")
            results = [result for result in results if result.kind in kinds]
        table = markdown_table if options.markdown else plain_table
        print(table(kernel_rows(results), left=4), table(class_rows(results), left=4), sep="\n\n")
        if options.json is not None:
            record = {
                "results": [asdict(result) | {"per_mac": result.per_mac} for result in results],
                "versions": versions(),
            }
            write_atomically(options.json, to_json(record))
    except TvmPatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
