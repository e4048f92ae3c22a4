"""What tuning gains: networks with default and with tuned kernels, at the same RAM limit.

    python benchmarks/tuning.py [--models mlperf-kws,mlperf-ic] [--database DIR] [--all]
        [--trials N] [--search random] [--markdown] [--json FILE]

Each network is streamed in its least memory. The limit is what that takes, arena and 1,024 bytes
of stack, rounded up to whole 4,096 bytes: tuned kernels may have scratch memory up to there.
Candidates are measured on the emulated Cortex-M7 into a database; then the network is measured
whole, with default and with tuned kernels, outputs compared with the reference.

With ``--all`` every candidate there is gets measured. Then searches are compared by replaying them
on the database: an emulator counts the same each time, so a replay finds what the search would have
found. *random* and *evolutionary* give the kernels' time, as a part of the default's, after
``trials`` candidates, the defaults included: as many as ``--trials`` says, but at most half of
what there is beside the defaults. *to 95 %* is how many candidates it takes to reach 95 % of all
there is to gain, with a cost model that knows nothing, and with one trained on the other networks.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from networks import STREAMED, chosen_names, markdown_table, plain_table, read, say
from networks import those_that_are_there as existing

from tvm_patch.board import load_board
from tvm_patch.errors import TvmPatchError
from tvm_patch.kernel_times import KernelTime, KernelTimes, TimesWriter, load_times
from tvm_patch.micro import build_firmware
from tvm_patch.micro.measured_on import measured_on
from tvm_patch.pipeline import (
    generate,
    instructions_of,
    make_plan,
    reference_run,
    run_on_device,
    tuned_plan,
)
from tvm_patch.plan import STACK_RESERVE_BYTES
from tvm_patch.report import to_json, write_atomically
from tvm_patch.tune.bench import Bench, Reading
from tvm_patch.tune.tasks import Candidate, Task, tasks_of, total_choices
from tvm_patch.tune.tuner import Standing, Strategy, Tuner

BOARD = "qemu_cortex_m7"
_STEP_BYTES = 4096
_SEEDS = range(5)
_REPLAYED_IMAGE = 8


@dataclass(frozen=True)
class Gain:
    """A network before and after tuning."""

    model: str
    limit_bytes: int
    default: int
    tuned: int
    default_sram_bytes: int
    tuned_sram_bytes: int
    default_flash_bytes: int
    tuned_flash_bytes: int
    bit_exact: bool
    tasks: int
    candidates: int
    measured: int
    failed: int
    per_minute: float | None

    @property
    def ratio(self) -> float:
        """Tuned over default."""
        return self.tuned / self.default


@dataclass(frozen=True)
class Searches:
    """Searches of one network's kernels, replayed: medians over seeds."""

    model: str
    trials: int
    random: float
    evolutionary: float
    transferred: float
    least: float
    to_gain: float
    to_gain_transferred: float
    to_gain_random: float


class ReplayBench:
    """A board that has been measured already."""

    def __init__(self, times: KernelTimes) -> None:
        self.board = load_board(BOARD)
        self._known = {time.identity[:2]: time for time in times.records}

    def measure(self, candidates: Sequence[Candidate]) -> list[Reading]:
        """What the database has."""
        found = [self._known[candidate.identity] for candidate in candidates]
        return [
            Reading(candidate, known.units, known.error)
            for candidate, known in zip(candidates, found, strict=True)
        ]


class Nowhere:
    """Keeps nothing."""

    def add(self, times: Sequence[KernelTime]) -> None:
        """Forget them."""


def tune_model(
    name: str, database: Path, trials: int, everything: bool, strategy: Strategy
) -> Gain:
    """Tune one network and measure it whole."""
    prepared, board = read(name), load_board(BOARD)
    on = measured_on(board)
    plan = make_plan(prepared, STREAMED)
    needed = plan.memory.arena_bytes + STACK_RESERVE_BYTES
    limit = -(-needed // _STEP_BYTES) * _STEP_BYTES
    tasks = tasks_of(prepared.network, plan, instructions_of(board))
    count = total_choices(tasks)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tuner = Tuner(
            tasks,
            [Bench(board, folder / "image")],
            TimesWriter(database, on, {"benchmark": "tuning"}),
            load_times(database, on),
            strategy,
        )
        standing = tuner.run(count if everything else trials, lambda now: _say(name, now))
        times = load_times(database, on)
        golden = reference_run(prepared)
        measured = []
        for kernels in (KernelTimes(), times):
            chosen = tuned_plan(
                prepared, plan, kernels, board, arena_limit_bytes=limit - STACK_RESERVE_BYTES
            )
            generated = generate(prepared, chosen, folder / "model", board, times=kernels)
            firmware = build_firmware(generated.folder, board, folder / "firmware")
            measured.append(run_on_device(generated, firmware, golden))
    (default, default_verdict), (tuned, tuned_verdict) = measured
    speed = standing.fresh / standing.seconds * 60 if standing.fresh else None
    return Gain(
        model=name,
        limit_bytes=limit,
        default=default.instructions or 0,
        tuned=tuned.instructions or 0,
        default_sram_bytes=default.peak_sram_bytes or 0,
        tuned_sram_bytes=tuned.peak_sram_bytes or 0,
        default_flash_bytes=default.flash_bytes,
        tuned_flash_bytes=tuned.flash_bytes,
        bit_exact=default_verdict.bit_exact and tuned_verdict.bit_exact,
        tasks=len(tasks),
        candidates=count,
        measured=standing.measured,
        failed=standing.failed,
        per_minute=speed,
    )


def _say(name: str, now: Standing) -> None:
    say(f"{name}: {now.measured}/{now.trials}, kernels {now.ratio:.3f} of the default")


def compare_searches(
    name: str, tasks: Sequence[Task], times: KernelTimes, trials: int
) -> Searches | None:
    """Replay searches of one network; None where not all of its candidates are known."""
    known = {time.identity[:2]: time for time in times.records}
    if any(c.identity not in known for task in tasks for c in task.candidates()):
        return None
    others = replace(times, records=tuple(r for r in times.records if r.model != name))
    keys = {task.key for task in tasks}
    others = replace(others, records=tuple(r for r in others.records if r.task not in keys))
    default, least = 0.0, 0.0
    for task in tasks:
        units = [known[c.identity].units for c in task.candidates()]
        default += task.calls * (units[0] or 0.0)
        least += task.calls * min(each for each in units if each)
    least /= default
    goal = 1.0 - 0.95 * (1.0 - least)

    def run(strategy: Strategy, before: KernelTimes) -> tuple[float, float]:
        at_trials, to_gain = [], []
        for seed in _SEEDS:
            curve = _curve(tasks, times, before, strategy, seed, trials, goal)
            at_trials.append(min(ratio for count, ratio in curve if count <= trials))
            to_gain.append(next(count for count, ratio in curve if ratio <= goal + 1e-9))
        return statistics.median(at_trials), statistics.median(to_gain)

    random = run(Strategy.RANDOM, KernelTimes())
    alone = run(Strategy.EVOLUTIONARY, KernelTimes())
    helped = run(Strategy.EVOLUTIONARY, others)
    return Searches(
        model=name,
        trials=trials,
        random=random[0],
        evolutionary=alone[0],
        transferred=helped[0],
        least=least,
        to_gain=alone[1],
        to_gain_transferred=helped[1],
        to_gain_random=random[1],
    )


def _curve(
    tasks: Sequence[Task],
    times: KernelTimes,
    before: KernelTimes,
    strategy: Strategy,
    seed: int,
    trials: int,
    goal: float,
) -> list[tuple[int, float]]:
    """Kernels' time over the default's, by candidates measured, in images of eight.

    It ends behind ``trials`` where the goal has been reached. Kernels of which nothing has been
    measured count as made without a tuner.
    """
    units = {time.identity[:2]: time.units for time in times.records}
    defaults = {
        task.key: units[task.key, tuple(sorted(task.space.default.items()))] or 0.0
        for task in tasks
    }
    total = sum(task.calls * defaults[task.key] for task in tasks)
    curve: list[tuple[int, float]] = [(0, 1.0)]

    def note(now: Standing) -> None:
        best = dict(defaults)
        for record in tuner.known:
            if record.units is not None:
                best[record.task] = min(best[record.task], record.units)
        curve.append((now.measured, sum(t.calls * best[t.key] for t in tasks) / total))

    bench: Bench = ReplayBench(times)  # type: ignore[assignment]
    tuner = Tuner(
        tasks, [bench], Nowhere(), before, strategy, seed, image_candidates=_REPLAYED_IMAGE
    )
    everything = total_choices(tasks)
    while curve[-1][0] < everything and (curve[-1][0] < trials or curve[-1][1] > goal + 1e-9):
        tuner.run(min(curve[-1][0] + _REPLAYED_IMAGE, everything), note)
    return curve


def gains_rows(gains: Sequence[Gain]) -> list[list[str]]:
    """The table of networks."""
    header = ["model", "RAM limit", "default", "tuned", "tuned / default", "SRAM default", "tuned"]
    header += ["flash default", "tuned", "kernels", "candidates", "measured", "a minute", "exact"]
    rows = [
        [
            gain.model,
            f"{gain.limit_bytes:,}",
            f"{gain.default:,}",
            f"{gain.tuned:,}",
            f"{gain.ratio:.3f}",
            f"{gain.default_sram_bytes:,}",
            f"{gain.tuned_sram_bytes:,}",
            f"{gain.default_flash_bytes:,}",
            f"{gain.tuned_flash_bytes:,}",
            str(gain.tasks),
            str(gain.candidates),
            str(gain.measured),
            "-" if gain.per_minute is None else f"{gain.per_minute:.0f}",
            "yes" if gain.bit_exact else "NO",
        ]
        for gain in gains
    ]
    return [header, *rows]


def searches_rows(searches: Sequence[Searches]) -> list[list[str]]:
    """The table of searches."""
    header = ["model", "trials", "random", "evolutionary", "trained on others", "least"]
    header += ["to 95 %: random", "evolutionary", "trained on others"]
    rows = [
        [
            each.model,
            str(each.trials),
            f"{each.random:.3f}",
            f"{each.evolutionary:.3f}",
            f"{each.transferred:.3f}",
            f"{each.least:.3f}",
            f"{each.to_gain_random:.0f}",
            f"{each.to_gain:.0f}",
            f"{each.to_gain_transferred:.0f}",
        ]
        for each in searches
    ]
    return [header, *rows]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--models")
    parser.add_argument("--database", type=Path, default=Path("out/tuning-benchmark"))
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--all", action="store_true", help="measure every candidate there is")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--search", choices=[each.value for each in Strategy])
    arguments = parser.parse_args()
    strategy = Strategy(arguments.search or Strategy.EVOLUTIONARY)
    gains: list[Gain] = []
    names = list(existing(chosen_names(arguments.models, parser.error)))
    for name in names:
        try:
            began = time.monotonic()
            gain = tune_model(name, arguments.database, arguments.trials, arguments.all, strategy)
            say(f"{name}: {gain.ratio:.3f} after {time.monotonic() - began:.0f} s")
            gains.append(gain)
        except TvmPatchError as error:
            say(f"{name}: {error}")
    searches = []
    board = load_board(BOARD)
    times = load_times(arguments.database, measured_on(board))
    for name in names if arguments.all else ():
        prepared = read(name)
        tasks = tasks_of(prepared.network, make_plan(prepared, STREAMED), instructions_of(board))
        # Half of what there is, so that the search has something to choose.
        trials = min(arguments.trials, (len(tasks) + total_choices(tasks)) // 2)
        found = compare_searches(name, tasks, times, trials) if tasks else None
        if found is not None:
            searches.append(found)
    table = markdown_table if arguments.markdown else plain_table
    print(table(gains_rows(gains), left=1))
    if searches:
        print()
        print(table(searches_rows(searches), left=1))
    if arguments.json is not None:
        record = {"gains": list(map(asdict, gains)), "searches": list(map(asdict, searches))}
        write_atomically(arguments.json, to_json(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
