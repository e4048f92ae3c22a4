"""Every kernel of the networks on an emulated core: what one call of it and one MAC cost.

    python benchmarks/kernels.py [--models mcunet-in2] [--boards qemu_cortex_m7,qemu_cortex_m4]
        [--plans layers,streamed] [--variants dsp,plain] [--kinds conv2d] [--markdown] [--json FILE]

Each network is built with marks in its C, run once layer by layer and once streamed, and taken
apart operator by operator. The first table has every distinct kernel, whatever networks it is in:
the shape that it is made for, instructions of a call, and instructions per MAC. The second has, for
each network and class of layer, its instructions per MAC beside what we mean to come down to, and
its share of the whole.

Instructions of kernels are counted by a plugin of the emulator and are exact; debugging information
tells those apart that make int8 of sums (functions of micro_project/kernels with "requantise" or
"scale" in their names), so that *per MAC* comes without them too; a dash is where they are not
functions of their own. Without the plugin all is read off the emulator's stopwatch, which ticks
every 40 instructions. Cycles are estimated, of a Cortex-M4 with flash as fast as the core.

The variant *dsp* uses the DSP extension, *plain* is what runs on cores without it.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from networks import (
    NAMES,
    OPERATORS,
    REAL,
    STREAMED,
    chosen_names,
    markdown_table,
    plain_table,
    random_inputs,
    read,
    say,
    those_that_are_there,
)

from tvm_patch import Prepared
from tvm_patch.analysis import Network
from tvm_patch.board import load_board
from tvm_patch.cycles import Counted, count_executions
from tvm_patch.cycles.inlining import inlined_functions
from tvm_patch.errors import TvmPatchError
from tvm_patch.lower.marks import Mark, Part
from tvm_patch.micro import Firmware, Session, build_firmware
from tvm_patch.pipeline import generate, make_plan
from tvm_patch.plan import Operator
from tvm_patch.profiling import OperatorProfile, Profile, run_profile
from tvm_patch.report import to_json, write_atomically
from tvm_patch.report.export import versions

PLANS = {"layers": None, "streamed": STREAMED}
VARIANTS = ("dsp", "plain")
GOALS: Mapping[str, float] = {
    "conv 1x1": 1.3,
    "conv kxk": 1.3,
    "conv first": 2.2,
    "depthwise 3x3": 2.8,
    "depthwise 5x5": 2.2,
    "depthwise 7x7": 2.0,
}
"""Instructions per MAC to come down to, requantisation left out, for 16 or more channels."""
_REQUANTISES = re.compile(r"requantise|_scale")
"""Names of micro-kernels' functions that make int8 of sums."""
REQUANTISATION_GOAL = 9.0
"""Instructions for each output."""


@dataclass(frozen=True)
class Setting:
    """Where and how a network is run."""

    board: str
    model: str
    plan: str
    variant: str


@dataclass(frozen=True)
class KernelCount:
    """Exact counts of all calls of an operator's kernel."""

    instructions: int
    requantisation: int


@dataclass(frozen=True)
class Measured:
    """One operator of one network in one setting.

    Parameters
    ----------
    setting : Setting
        Where and how.
    operator, kind, layer_class, shape : str
        What it is.
    kernel : str
        The C function, without the model's prefix; kernels of equal names are equal. Where rows are
        made in pieces of several widths, the last of several.
    calls, macs, outputs : int
        Of the whole inference; outputs are those computed, halos included.
    kernel_instructions, data_instructions : int
        In the kernel, and in gathering and moving rows for it.
    requantisation : int or None
        Of the kernel's instructions; None where that is not known.
    cycles : int or None
        Of the kernel, estimated; None where there is no estimate.
    share : float
        Of the network's instructions.
    """

    setting: Setting
    operator: str
    kind: str
    layer_class: str
    shape: str
    kernel: str
    calls: int
    macs: int
    outputs: int
    kernel_instructions: int
    data_instructions: int
    requantisation: int | None
    cycles: int | None
    share: float


def layer_class(network: Network, operator: Operator) -> str:
    """The kind of work that a layer is, as coarse as goals are."""
    weight = network.details[operator.name].constants.get("weight")
    if operator.kind == "conv2d" and weight is not None:
        _, kernel_h, kernel_w, channels = weight.shape
        if channels <= 4:
            return "conv first"
        return "conv 1x1" if kernel_h == kernel_w == 1 else "conv kxk"
    if operator.kind == "depthwise_conv2d" and weight is not None:
        return f"depthwise {weight.shape[0]}x{weight.shape[1]}"
    return operator.kind


def shape_text(network: Network, operator: Operator) -> str:
    """``3x3, 112x112x16 -> 56x56x24``."""
    weight = network.details[operator.name].constants.get("weight")
    ends = (network.graph.tensor[name] for name in (operator.inputs[0], operator.output))
    maps = " -> ".join("x".join(map(str, tensor.shape[1:])) for tensor in ends)
    if weight is None or operator.kind not in ("conv2d", "depthwise_conv2d"):
        return maps
    kernel = weight.shape[1:3] if operator.kind == "conv2d" else weight.shape[:2]
    return f"{'x'.join(map(str, kernel))}, {maps}"


def measure(prepared: Prepared, setting: Setting, folder: Path) -> list[Measured]:
    """Run a network and take it apart."""
    requirements = PLANS[setting.plan]
    plan = make_plan(prepared, requirements, layers=requirements is None)
    board = load_board(setting.board)
    chosen_for = replace(board, dsp=board.dsp and setting.variant == "dsp")
    generated = generate(prepared, plan, folder / "model", chosen_for)
    firmware = build_firmware(generated.folder, board, folder / "firmware", profile=True)
    inputs = random_inputs(prepared)
    profile = run_profile(generated.folder, firmware, folder / "profile", inputs)

    def work(session: Session) -> None:
        session.infer(inputs)

    _, counted = count_executions(firmware, prepared.imported.c_name, folder / "counts", work)
    if counted.missing:
        say(f"{setting.model}: {counted.missing}")
    graph = prepared.network.graph
    by_name = {operator.name: operator for operator in graph.operators}
    counts = _kernel_counts(firmware, counted, generated.model.marks)
    return [
        _measured(prepared, by_name[entry.name], entry, profile, setting, counts.get(entry.name))
        for entry in profile.operators
        if entry.name in by_name and entry.kernels
    ]


def _kernel_counts(
    firmware: Firmware, counted: Counted, marks: Sequence[Mark]
) -> dict[str, KernelCount]:
    """Exact counts of every operator's kernel.

    By marks and not by functions: compilers fold functions whose code is the same.
    """
    program = counted.program
    if program is None:
        return {}
    (region,) = counted.regions
    executed: dict[str, Tally[int]] = {}
    for number, blocks in region.spans.items():
        if marks[number].part is not Part.KERNEL:
            continue
        tally = executed.setdefault(marks[number].operator, Tally())
        for block in blocks:
            if program.function_at(block.address).startswith("tvm_patch_"):
                continue
            for instruction in program.instructions(block.address, block.instructions):
                tally[instruction.address] += block.executions
    chains = inlined_functions(
        firmware.elf_path, {address for tally in executed.values() for address in tally}
    )
    requantises = {
        address for address, chain in chains.items() if any(map(_REQUANTISES.search, chain))
    }
    return {
        operator: KernelCount(
            sum(tally.values()),
            sum(count for address, count in tally.items() if address in requantises),
        )
        for operator, tally in executed.items()
    }


def _measured(
    prepared: Prepared,
    operator: Operator,
    entry: OperatorProfile,
    profile: Profile,
    setting: Setting,
    count: KernelCount | None,
) -> Measured:
    network = prepared.network
    all_outputs = prod(network.graph.tensor[operator.output].shape)
    outputs = entry.macs * all_outputs // operator.macs if operator.macs else all_outputs
    return Measured(
        setting=setting,
        operator=entry.name,
        kind=entry.kind,
        layer_class=layer_class(network, operator),
        shape=shape_text(network, operator),
        kernel=_label(entry.kernels, f"tvmgen_{prepared.imported.c_name}_"),
        calls=entry.calls,
        macs=entry.macs,
        outputs=outputs,
        kernel_instructions=count.instructions if count else entry.kernel_units,
        data_instructions=entry.data_units,
        # Kernels without a function of that name compute it in between, where nobody can tell.
        requantisation=count.requantisation if count and count.requantisation else None,
        cycles=entry.kernel_cycles,
        share=profile.share(entry.units),
    )


def _label(kernels: Sequence[str], prefix: str) -> str:
    """One kernel, and how many more there are for other pieces of a row."""
    more = f" +{len(kernels) - 1}" if len(kernels) > 1 else ""
    return kernels[-1].removeprefix(prefix) + more


@dataclass(frozen=True)
class Sum:
    """Several operators together."""

    macs: int
    instructions: int
    requantisation: int | None
    outputs: int
    cycles: int | None

    @classmethod
    def of(cls, uses: Sequence[Measured]) -> Sum:
        """Add them up; what is not known of one is not known of all."""
        return cls(
            sum(use.macs for use in uses),
            sum(use.kernel_instructions for use in uses),
            _sum_if_known([use.requantisation for use in uses]),
            sum(use.outputs for use in uses),
            _sum_if_known([use.cycles for use in uses]),
        )

    def cells(self) -> tuple[str, str, str, str, str]:
        """Columns of ``_RATIOS``; an output's instructions where there are no MACs."""
        if self.requantisation is None:
            without, requantisation = "-", "-"
        else:
            without = _ratio(self.instructions - self.requantisation, self.macs)
            requantisation = _ratio(self.requantisation, self.outputs)
        cycles = "-" if self.cycles is None else _ratio(self.cycles, self.macs)
        per_output = "-" if self.macs else _ratio(self.instructions, self.outputs)
        return per_output, _ratio(self.instructions, self.macs), without, requantisation, cycles


_RATIOS = ("per output", "per MAC", "w/o requant", "requant/output", "est. cycles/MAC")
_KERNEL_HEADER = (
    *("kernel", "layer", "board", "used by", "calls", "MACs a call", "instr a call"),
    *(*_RATIOS, "share at most"),
)


def kernel_rows(results: Sequence[Measured]) -> list[tuple[str, ...]]:
    """One line for each distinct kernel and board, the dearest of its class first."""
    groups: dict[tuple[str, str], list[Measured]] = {}
    for result in results:
        groups.setdefault((result.kernel, result.setting.board), []).append(result)
    rows: list[tuple[str, ...]] = [_KERNEL_HEADER]
    for (kernel, board), uses in sorted(groups.items(), key=_order):
        calls = sum(use.calls for use in uses)
        total = Sum.of(uses)
        models = sorted({use.setting.model for use in uses})
        rows.append(
            (
                *(kernel, uses[0].shape, board.removeprefix("qemu_")),
                models[0] if len(models) == 1 else f"{len(models)} networks",
                f"{calls:,}",
                f"{total.macs // calls:,}" if total.macs else "-",
                f"{total.instructions / calls:,.0f}",
                *total.cells(),
                f"{max(use.share for use in uses):.1%}",
            )
        )
    return rows


def _order(item: tuple[tuple[str, str], list[Measured]]) -> tuple[str, float, str]:
    (_, board), uses = item
    total = Sum.of(uses)
    return (uses[0].layer_class, -total.instructions / (total.macs or 1), board)


_CLASS_HEADER = (
    *("model", "layers", "board", "plan", "variant", "MACs", "kernel instr", *_RATIOS, "goal"),
    *("moved rows", "share"),
)


def class_rows(results: Sequence[Measured]) -> list[tuple[str, ...]]:
    """One line for each network, setting and class of layer."""
    groups: dict[tuple[Setting, str], list[Measured]] = {}
    for result in results:
        groups.setdefault((result.setting, result.layer_class), []).append(result)
    rows: list[tuple[str, ...]] = [_CLASS_HEADER]
    for (setting, name), uses in groups.items():
        total = Sum.of(uses)
        rows.append(
            (
                *(setting.model, name, setting.board.removeprefix("qemu_"), setting.plan),
                *(setting.variant, f"{total.macs:,}" if total.macs else "-"),
                *(f"{total.instructions:,}", *total.cells()),
                f"{GOALS[name]:.1f}" if name in GOALS else "-",
                f"{sum(use.data_instructions for use in uses):,}",
                f"{sum(use.share for use in uses):.1%}",
            )
        )
    return rows


def _sum_if_known(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _ratio(count: int, of: int) -> str:
    return f"{count / of:.2f}" if of else "-"


def json_record(results: Sequence[Measured]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "goals": {**GOALS, "requantisation of an output": REQUANTISATION_GOAL},
        "results": [asdict(result) for result in results],
        "versions": versions(),
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark of kernels on an emulated core.")
    parser.add_argument(
        "--models", metavar="A,B", help=f"some of: {', '.join((*NAMES, OPERATORS))}"
    )
    boards = "qemu_cortex_m7,qemu_cortex_m4"
    parser.add_argument("--boards", metavar="A,B", default=boards, help=f"default: {boards}")
    parser.add_argument("--plans", metavar="A,B", default="layers,streamed")
    parser.add_argument("--variants", metavar="A,B", default="dsp", help="dsp, plain")
    parser.add_argument("--kinds", metavar="A,B", help="operators: conv2d,depthwise_conv2d,...")
    parser.add_argument("--markdown", action="store_true", help="tables of Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON too")
    options = parser.parse_args(arguments)
    options.names = chosen_names(options.models, parser.error, (*REAL, OPERATORS))
    for what, known in (("plans", tuple(PLANS)), ("variants", VARIANTS)):
        for word in getattr(options, what).split(","):
            if word not in known:
                parser.error(f"there is no {word!r} among {what}: {', '.join(known)}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure the networks that are there."""
    options = _parse(arguments)
    results: list[Measured] = []
    try:
        for name in those_that_are_there(options.names):
            say(f"{name}: import")
            prepared = read(name)
            for setting in (
                Setting(board, name, plan, variant)
                for plan in options.plans.split(",")
                for board in options.boards.split(",")
                for variant in options.variants.split(",")
            ):
                say(f"{name}: {setting.plan} on {setting.board}, {setting.variant}")
                with tempfile.TemporaryDirectory() as folder:
                    results += measure(prepared, setting, Path(folder))
        if options.kinds:
            kinds = options.kinds.split(",")
            results = [result for result in results if result.kind in kinds]
        table = markdown_table if options.markdown else plain_table
        print(table(kernel_rows(results), left=4), table(class_rows(results), left=5), sep="\n\n")
        if options.json is not None:
            write_atomically(options.json, to_json(json_record(results)))
    except TvmPatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
