"""Whole networks: instructions, flash, and estimated cycles, beside those of others.

    python benchmarks/speed.py [--models mlperf-ic,digits] [--markdown] [--json FILE]

Three tables. *Instructions* of one inference on the emulated Cortex-M7, layer by layer and streamed
(the least memory with no MAC done twice), with their ratio to what TensorFlow Lite Micro with
CMSIS-NN and TinyEngine need for the same, and to our goals: below one is better. *Flash*, code and
weights apart, beside TinyEngine's. *Cycles* on a Cortex-M4, estimated from the instructions that
the emulated one executed, with flash as fast as the core and with five wait states; and, where
others have published the same network on boards with that core, whether the estimate lies in the
band between the best of them and microTVM. That is a check of the estimate, and no claim: it is no
measurement.

Exits with 1 where integers differ from the reference.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from networks import (
    NAMES,
    STREAMED,
    anchors,
    chosen_names,
    markdown_table,
    plain_table,
    random_inputs,
    read,
    say,
    those_that_are_there,
)

from tvm_patch import Deployment, Prepared, deploy
from tvm_patch.cycles import CortexM4, Cost, count_executions, estimate_region
from tvm_patch.errors import TvmPatchError
from tvm_patch.micro import Firmware, Session
from tvm_patch.micro.elf import read_model_sizes
from tvm_patch.report import to_json, write_atomically
from tvm_patch.report.export import versions

COUNTED_ON = "qemu_cortex_m7"
ESTIMATED_ON = "qemu_cortex_m4"
SLOW_FLASH_WAIT_STATES = 5
PUBLISHED_CLOCK_HZ = 120_000_000
STREAMED_GOAL = 1.05
"""Instructions of the streamed plan over those layer by layer."""


@dataclass(frozen=True)
class Speed:
    """One network.

    Parameters
    ----------
    model : str
        Which.
    macs : int
        Of the file, dead channels included, as others count them.
    layers, streamed : int
        Instructions of one inference on the Cortex-M7.
    code_bytes, weight_bytes, flash_bytes : int
        Generated code and constants of the streamed plan, and the whole firmware with the runtime.
    m4_instructions : int
        Of the streamed plan on the Cortex-M4.
    m4_cycles, m4_slow_cycles : int or None
        Estimated; None where that cannot be.
    bit_exact : bool
        Whether all outputs are the reference's.
    """

    model: str
    macs: int
    layers: int
    streamed: int
    code_bytes: int
    weight_bytes: int
    flash_bytes: int
    m4_instructions: int
    m4_cycles: int | None
    m4_slow_cycles: int | None
    bit_exact: bool


def measure(name: str) -> Speed:
    """Run one network under both plans and on both cores."""
    say(f"{name}: import")
    prepared = read(name)
    with tempfile.TemporaryDirectory() as folder:
        layers = _deploy(name, prepared, COUNTED_ON, Path(folder) / "layers", layers=True)
        streamed = _deploy(name, prepared, COUNTED_ON, Path(folder) / "streamed")
        on_m4 = _deploy(name, prepared, ESTIMATED_ON, Path(folder) / "m4")
        say(f"{name}: estimate cycles")
        fast, slow = _estimates(prepared, on_m4.firmware, Path(folder) / "counts")
        sizes = read_model_sizes(streamed.firmware.elf_path)
        return Speed(
            model=name,
            macs=prepared.file_network.graph.macs,
            layers=_instructions(layers),
            streamed=_instructions(streamed),
            code_bytes=sizes.code_bytes,
            weight_bytes=sizes.constant_bytes,
            flash_bytes=streamed.firmware.flash_bytes,
            m4_instructions=_instructions(on_m4),
            m4_cycles=fast.cycles if fast else None,
            m4_slow_cycles=slow.cycles if slow else None,
            bit_exact=all(d.validation.bit_exact for d in (layers, streamed, on_m4)),
        )


def _deploy(
    name: str, prepared: Prepared, board: str, folder: Path, *, layers: bool = False
) -> Deployment:
    say(f"{name}: {'layers' if layers else 'streamed'} on {board}")
    requirements = None if layers else STREAMED
    return deploy(prepared, board=board, requirements=requirements, layers=layers, folder=folder)


def _instructions(deployment: Deployment) -> int:
    found = deployment.measurement.instructions
    if found is None:
        raise TvmPatchError("the emulator reports no instructions")
    return found


def _estimates(
    prepared: Prepared, firmware: Firmware, folder: Path
) -> tuple[Cost | None, Cost | None]:
    """One inference's cycles, with fast flash and with slow."""
    inputs = random_inputs(prepared)

    def work(session: Session) -> None:
        session.infer(inputs)

    _, counted = count_executions(firmware, prepared.imported.c_name, folder, work)
    if counted.program is None:
        say(f"{prepared.imported.name}: no estimate of cycles: {counted.missing}")
        return None, None
    program, (region,) = counted.program, counted.regions
    fast, slow = (
        estimate_region(program, region, CortexM4(flash_wait_states=states)).total
        for states in (0, SLOW_FLASH_WAIT_STATES)
    )
    return fast, slow


def speed_rows(results: Sequence[Speed]) -> list[tuple[str, ...]]:
    """Instructions beside those of others."""
    rows: list[tuple[str, ...]] = [
        (
            *("model", "layers", "per MAC", "streamed", "per MAC", "streamed / layers"),
            *("/ TFLM", "/ TinyEngine", "goal", "/ goal", "bit-exact"),
        )
    ]
    for result in results:
        known = anchors().get(result.model, {})
        goal = known.get("goal", {}).get("instructions")
        rows.append(
            (
                *(result.model, f"{result.layers:,}", _ratio(result.layers, result.macs)),
                *(f"{result.streamed:,}", _ratio(result.streamed, result.macs)),
                f"{result.streamed / result.layers:.3f}",
                _ratio(result.streamed, known.get("tflm", {}).get("instructions")),
                _ratio(result.streamed, known.get("tinyengine", {}).get("instructions")),
                *("-" if goal is None else f"{goal:,}", _ratio(result.streamed, goal)),
                "yes" if result.bit_exact else "NO",
            )
        )
    return rows


def flash_rows(results: Sequence[Speed]) -> list[tuple[str, ...]]:
    """Code and weights beside TinyEngine's."""
    rows: list[tuple[str, ...]] = [
        ("model", "code", "weights", "both", "TinyEngine", "/ TinyEngine", "whole firmware")
    ]
    for result in results:
        tinyengine = anchors().get(result.model, {}).get("tinyengine", {})
        theirs = tinyengine.get("flash_bytes")
        both = result.code_bytes + result.weight_bytes
        rows.append(
            (
                *(result.model, f"{result.code_bytes:,}", f"{result.weight_bytes:,}", f"{both:,}"),
                "-" if theirs is None else f"{theirs:,} to {tinyengine['flash_most_bytes']:,}",
                _ratio(both, theirs),
                f"{result.flash_bytes:,}",
            )
        )
    return rows


def cycle_rows(results: Sequence[Speed]) -> list[tuple[str, ...]]:
    """Estimated cycles, and where others have got to on boards."""
    rows: list[tuple[str, ...]] = [
        (
            *("model", "instructions", "est. cycles", "a MAC", "an instruction"),
            *(f"a MAC, {SLOW_FLASH_WAIT_STATES} wait states", "boards: best", "microTVM"),
            "in that band",
        )
    ]
    for result in results:
        band = published_band(result)
        cycles, slow = result.m4_cycles, result.m4_slow_cycles
        rows.append(
            (
                *(result.model, f"{result.m4_instructions:,}"),
                *("-" if cycles is None else f"{cycles:,}", _ratio(cycles, result.macs)),
                *(_ratio(cycles, result.m4_instructions), _ratio(slow, result.macs)),
                *(
                    "-" if band is None else f"{cycles_a_mac:.2f}"
                    for cycles_a_mac in band or (0, 0)
                ),
                verdict(result, band),
            )
        )
    return rows


def published_band(result: Speed) -> tuple[float, float] | None:
    """Cycles a MAC of the best published entry and of microTVM's; None where there are none."""
    published = anchors().get(result.model, {}).get("cortex_m4")
    if published is None:
        return None
    to_cycles_a_mac = PUBLISHED_CLOCK_HZ / 1000 / result.macs
    return published["best_ms"] * to_cycles_a_mac, published["microtvm_ms"] * to_cycles_a_mac


def verdict(result: Speed, band: tuple[float, float] | None) -> str:
    """Whether the true figure, between fast flash and slow, can lie in the published band."""
    if band is None or result.m4_cycles is None or result.m4_slow_cycles is None:
        return "-"
    fast, slow = (cycles / result.macs for cycles in (result.m4_cycles, result.m4_slow_cycles))
    best, worst = band
    if slow < best:
        return "faster than all"
    return "yes" if fast <= worst else "slower than all"


def _ratio(value: int | None, of: int | None) -> str:
    return "-" if value is None or not of else f"{value / of:.2f}"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark of speed and flash.")
    parser.add_argument("--models", metavar="A,B", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--markdown", action="store_true", help="tables of Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON too")
    options = parser.parse_args(arguments)
    options.names = chosen_names(options.models, parser.error)
    return options


def json_record(results: Sequence[Speed]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "counted_on": COUNTED_ON,
        "estimated_on": ESTIMATED_ON,
        "slow_flash_wait_states": SLOW_FLASH_WAIT_STATES,
        "results": [asdict(result) for result in results],
        "versions": versions(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure the networks that are there."""
    options = _parse(arguments)
    try:
        results = [measure(name) for name in those_that_are_there(options.names)]
        table = markdown_table if options.markdown else plain_table
        tables = (speed_rows(results), flash_rows(results), cycle_rows(results))
        print("\n\n".join(table(rows, left=1) for rows in tables))
        if options.json is not None:
            write_atomically(options.json, to_json(json_record(results)))
    except TvmPatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0 if all(result.bit_exact for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
