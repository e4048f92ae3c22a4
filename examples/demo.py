"""One real network from its file to measured firmware: layer by layer, by patches, and by rows.

The network is ``examples/digits``: MobileNetV2 blocks on 64x64 images of handwritten digits. It
runs on an emulated Cortex-M7, 100 test images through the serial protocol for each plan.

Run by ``make demo``; prints a table and draws memory over time into ``out/demo``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from tvm_patch import Deployment, Requirements, deploy, prepare
from tvm_patch.errors import TvmPatchError
from tvm_patch.measurement import Measurement
from tvm_patch.micro import open_session
from tvm_patch.report.files import write_atomically
from tvm_patch.report.memory_map import memory_map_png
from tvm_patch.report.tables import Row as TableRow
from tvm_patch.report.tables import comparison_table

FOLDER = Path(__file__).parent / "digits"
OUTPUT = Path("out/demo")


@dataclass(frozen=True)
class Row:
    """One plan, measured."""

    name: str
    deployment: Deployment
    correct: int
    images: int


def count_correct(
    deployment: Deployment,
    images: npt.NDArray[np.int8],
    labels: npt.NDArray[np.uint8],
    progress: Progress,
) -> int:
    """Classify images on the board."""
    task = progress.add_task("classify test images on the board", total=len(images))
    correct = 0
    with open_session(deployment.firmware) as session:
        for image, label in zip(images, labels, strict=True):
            (probabilities,) = session.infer([image])
            correct += int(np.frombuffer(probabilities, np.int8).argmax()) == int(label)
            progress.advance(task)
    progress.remove_task(task)
    return correct


def print_results(console: Console, rows: list[Row]) -> None:
    """Side by side, and how many times less."""
    table_rows = [(row.name, row.deployment.plan, row.deployment.measurement) for row in rows]
    title = "digits on an emulated Cortex-M7"
    console.print(comparison_table([TableRow(*row) for row in table_rows], title=title))
    for row in rows:
        exact = "equal" if row.deployment.validation.bit_exact else "NOT equal"
        console.print(
            f"{row.name}: {row.correct} of {row.images} test images right on the board; "
            f"integers {exact} to LiteRT's reference kernels"
        )
    layers, patched, streamed = (row.deployment.measurement for row in rows)
    by_patches, by_rows = (_peak(layers) / _peak(other) for other in (patched, streamed))
    console.print(
        f"Patch by patch needs {by_patches:.1f} times less SRAM than layer by layer; "
        f"row by row {by_rows:.1f} times less, with no MAC done twice."
    )


def _peak(measurement: Measurement) -> int:
    peak_sram_bytes = measurement.peak_sram_bytes
    assert peak_sram_bytes is not None
    return peak_sram_bytes


def draw(rows: list[Row]) -> list[Path]:
    """Memory over time, one picture a plan on the same scale."""
    scale_bytes = max(row.deployment.plan.memory.arena_bytes for row in rows)
    pictures = []
    for row in rows:
        picture = OUTPUT / f"memory_map_{row.name.replace(' ', '_')}.png"
        graph = row.deployment.prepared.network.graph
        write_atomically(
            picture, memory_map_png(graph, row.deployment.plan, scale_bytes=scale_bytes)
        )
        pictures.append(picture)
    return pictures


def main() -> int:
    """Run the demo; the exit status tells whether every integer was right."""
    console = Console()
    model = prepare(FOLDER / "digits.tflite")
    with np.load(FOLDER / "test_images.npz") as data:
        images, labels = data["images"], data["labels"]
    plans = {
        "layer by layer": None,
        "patch by patch": Requirements(objective="memory", max_overhead=1.25, buffering="patch"),
        "row by row": Requirements(objective="memory", max_overhead=1.0, buffering="rows"),
    }
    rows: list[Row] = []
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for name, requirements in plans.items():
                task = progress.add_task(name, total=None)

                def say(step: str, task: object = task, name: str = name) -> None:
                    progress.update(task, description=f"{name}: {step}")  # type: ignore[arg-type]

                deployment = deploy(
                    model,
                    board="qemu_cortex_m7",
                    requirements=requirements,
                    layers=requirements is None,
                    folder=OUTPUT / name.replace(" ", "_"),
                    on_step=say,
                )
                say("test images")
                correct = count_correct(deployment, images, labels, progress)
                rows.append(Row(name, deployment, correct, len(images)))
                progress.remove_task(task)
    except TvmPatchError as error:
        Console(stderr=True).print(f"error: {error}", style="red")
        return error.exit_code
    print_results(console, rows)
    for picture in draw(rows):
        console.print(f"memory over time: {picture}")
    return 0 if all(row.deployment.validation.bit_exact for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
