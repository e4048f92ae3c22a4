"""Measurements behind a tracker: how many more with more boards, and whether any is lost.

    python benchmarks/rack.py [--boards 1 2 4] [--measurements 20] [--rounds 3] [--kills 1000]

First part: ``tvm-patch rack`` with more and more emulated boards, as many clients as boards, and
measurements a second relative to one board. Emulated boards share the processors of this machine;
real ones do not.

Second part: measurements on four boards while emulators and agents are killed at random. All must
come, with the same instructions and the same outputs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tvm_patch.board import load_board
from tvm_patch.errors import RackError, TvmPatchError
from tvm_patch.pipeline import generate, make_plan, prepare
from tvm_patch.rack.address import Address
from tvm_patch.rack.artifact import read_tensors
from tvm_patch.rack.client import RackClient
from tvm_patch.report import Built, write_built

BOARD = "qemu_cortex_m7"
DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "digits.tflite"

Inputs = list[npt.NDArray[np.generic]]
Result = tuple[int | None, tuple[bytes, ...]]


def build(model: Path, folder: Path) -> Inputs:
    """Build a firmware as ``tvm-patch build`` does, and draw inputs for it."""
    from tvm_patch.micro import build_firmware

    board = load_board(BOARD)
    prepared = prepare(model, io="int8")
    plan = make_plan(prepared)
    generated = generate(prepared, plan, folder / "model", board)
    write_built(
        Built(
            firmware=build_firmware(generated.folder, board, folder / "firmware"),
            model=prepared.imported.name,
            planned_arena_bytes=plan.memory.arena_bytes,
            planned_macs=plan.macs,
            operators=(),
            input_dtypes=(),
        )
    )
    generator = np.random.default_rng(0)
    specs, _ = read_tensors(folder / "model")
    return [generator.integers(-128, 128, spec.shape, dtype=np.int8) for spec in specs]


def measure_many(
    tracker: Address,
    folder: Path,
    inputs: Inputs,
    count: int,
    clients: int,
    told: Callable[[], None],
) -> list[Result]:
    """Measure ``count`` times, so many at a time."""

    def measure_one(_: int) -> Result:
        run = RackClient(tracker, BOARD).measure(folder, inputs)
        told()
        return run.measurement.instructions, run.outputs

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(measure_one, range(count)))


def throughput(
    counts: list[int], folder: Path, inputs: Inputs, measurements: int, rounds: int
) -> Table:
    """Measurements a second on more and more boards, as multiples of those on the first number.

    In several rounds of all numbers, one after the other, since this machine may do other things.
    """
    rates: dict[int, list[float]] = {count: [] for count in counts}
    seen: set[Result] = set()
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("throughput", total=rounds * len(counts) * measurements)
        for count in counts * rounds:
            with running_rack(count) as (tracker, _):
                measure_many(tracker, folder, inputs, count, count, lambda: None)
                started = time.monotonic()
                seen |= set(
                    measure_many(
                        tracker, folder, inputs, measurements, count, lambda: progress.advance(task)
                    )
                )
                rates[count].append(measurements / (time.monotonic() - started))
    table = Table("boards", "measurements", f"relative to {counts[0]}: median", "least", "most")
    for count in counts:
        ratios = sorted(r / base for r, base in zip(rates[count], rates[counts[0]], strict=True))
        table.add_row(
            str(count),
            str(rounds * measurements),
            *(f"{ratio:.2f}" for ratio in (statistics.median(ratios), ratios[0], ratios[-1])),
        )
    table.caption = "all results are equal" if len(seen) == 1 else "RESULTS DIFFER"
    return table


class Killer:
    """Kills emulators and agents of a rack, now and then, until it is left."""

    def __init__(self, rack_pid: int, seed: int, pause_s: float) -> None:
        self._rack_pid = rack_pid
        self._random = random.Random(seed)
        self._pause_s = pause_s
        self._stop = threading.Event()
        self.killed = {"emulator": 0, "agent": 0}
        self._thread = threading.Thread(target=self._kill, daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _kill(self) -> None:
        while not self._stop.wait(self._random.uniform(0.5, 1.5) * self._pause_s):
            # The first process below a rack is its tracker, which is not to be killed.
            _, *agents = sorted(children_of(self._rack_pid))
            # An agent takes half a second to come back; emulators come back at once.
            what = "agent" if self._random.random() < 0.2 else "emulator"
            found = agents if what == "agent" else emulators_below(agents)
            if found:
                with suppress(ProcessLookupError):
                    os.kill(self._random.choice(found), signal.SIGKILL)
                    self.killed[what] += 1


def children_of(process_id: int) -> list[int]:
    """Processes right below one."""
    found: list[int] = []
    with suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{process_id}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def emulators_below(process_ids: list[int]) -> list[int]:
    """The emulators below some processes."""
    found: list[int] = []
    for process_id in process_ids:
        for child in children_of(process_id):
            with suppress(OSError):
                if "qemu" in Path(f"/proc/{child}/comm").read_text():
                    found.append(child)
            found += emulators_below([child])
    return found


@contextmanager
def running_rack(boards: int) -> Iterator[tuple[Address, int]]:
    """``tvm-patch rack`` in a process of its own; where its tracker is, and the process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tvm_patch", "rack", "--boards", f"{BOARD}:{boards}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        words = process.stdout.readline().split()
        if not words:
            raise RackError("the rack does not start", hint="tvm-patch rack says why")
        yield Address.parse(words[-1]), process.pid
    finally:
        process.terminate()  # which it takes for Ctrl-C
        process.wait()


def survival(folder: Path, inputs: Inputs, count: int, boards: int, pause_s: float) -> str:
    """Measure while boards are killed; say in words what became of it."""
    with (
        Progress(console=Console(stderr=True)) as progress,
        running_rack(boards) as (tracker, rack_pid),
    ):
        (expected,) = measure_many(tracker, folder, inputs, 1, 1, lambda: None)
        task = progress.add_task("with boards being killed", total=count)
        with Killer(rack_pid, 1, pause_s) as killer:
            results = measure_many(
                tracker, folder, inputs, count, boards, lambda: progress.advance(task)
            )
    wrong = sum(result != expected for result in results)
    return (
        f"{count:,} measurements asked for on {boards} boards, {len(results):,} came, {wrong} "
        f"differ; {killer.killed['emulator']} emulators and {killer.killed['agent']} agents killed"
    )


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--boards", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--measurements", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--kills", type=int, default=1000, help="measurements with killing; 0: none"
    )
    parser.add_argument("--pause", type=float, default=0.7, help="seconds between two kills")
    parser.add_argument("--model", type=Path, default=DIGITS)
    options = parser.parse_args()
    console = Console()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            inputs = build(options.model, folder)
            if options.measurements:
                console.print(
                    throughput(options.boards, folder, inputs, options.measurements, options.rounds)
                )
                console.print(f"{os.cpu_count()} processors, shared by boards and clients")
            if options.kills:
                console.print(survival(folder, inputs, options.kills, 4, options.pause))
    except TvmPatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
