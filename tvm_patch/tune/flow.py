"""From a model and a RAM limit to tuned firmware: plans and kernels chosen together."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tvm_patch.errors import TuningError
from tvm_patch.kernel_times import KernelTimes, TimesWriter, load_times
from tvm_patch.measurement import Measurement
from tvm_patch.micro import Firmware, build_firmware
from tvm_patch.micro.measured_on import measured_on
from tvm_patch.pipeline import (
    Generated,
    Prepared,
    generate,
    instructions_of,
    reference_run,
    run_on_device,
)
from tvm_patch.plan import Plan, Requirements
from tvm_patch.tune.bench import Bench
from tvm_patch.tune.joint import (
    MOST_PLANS,
    candidate_plans,
    contenders,
    in_the_race,
    most_calls,
    union_of_tasks,
    worth_measuring,
)
from tvm_patch.tune.tuner import Standing, Strategy, Tuner
from tvm_patch.validation import Golden, Validation

_RUNS_ON_HARDWARE = 30
#: Plans are compared after so much of the trials; later ones go to those that are left.
_ROUNDS = (0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Whole:
    """A plan measured whole, its kernels tuned or not.

    Parameters
    ----------
    name : str
        What plan it is.
    plan : Plan
        With the scratch memory that its kernels were given.
    is_tuned : bool
        Whether its kernels are.
    measurement : Measurement
        On the device.
    bit_exact : bool
        Whether the outputs are the reference's.
    """

    name: str
    plan: Plan
    is_tuned: bool
    measurement: Measurement
    bit_exact: bool

    @property
    def units(self) -> float:
        """Of an inference, in units of the board's clock."""
        return self.measurement.median


@dataclass(frozen=True)
class Tuned:
    """What tuning a model has come to.

    Parameters
    ----------
    standing : Standing
        Of the kernels.
    history : tuple of (int, float)
        Candidates measured, and the estimate of all tuned kernels of an inference.
    default : Whole
        The plan that is made without a tuner, and its kernels.
    wholes : tuple of Whole
        All that were measured.
    best : Whole
        The fastest within the limit.
    """

    standing: Standing
    history: tuple[tuple[int, float], ...]
    default: Whole
    wholes: tuple[Whole, ...]
    best: Whole

    @property
    def ratio(self) -> float:
        """Best over default, measured whole."""
        return self.best.units / self.default.units

    @property
    def frontier(self) -> tuple[Whole, ...]:
        """Those that no other one beats in both time and peak SRAM; the fastest first."""
        exact = [whole for whole in self.wholes if whole.bit_exact]
        kept: list[Whole] = []
        for whole in sorted(exact, key=lambda each: (each.units, _peak(each))):
            if not kept or _peak(whole) < _peak(kept[-1]):
                kept.append(whole)
        return tuple(kept)


def _peak(whole: Whole) -> int:
    return whole.measurement.peak_sram_bytes or whole.measurement.arena_bytes


Say = Callable[[str], None]


def provenance(bench: Bench, trials: int, strategy: Strategy, seed: int) -> dict[str, Any]:
    """Of the records of one session, beside what the file's first line says."""
    return {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "clock_hz": bench.board.clock_hz,
        "tvm_patch": metadata.version("tvm-patch"),
        "commit": _commit(),
        "trials": trials,
        "search": strategy.value,
        "seed": seed,
    }


def _commit() -> str:
    try:
        said = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    return said or "unknown"


def tune(
    prepared: Prepared,
    benches: Sequence[Bench],
    database: Path,
    folder: Path,
    *,
    requirements: Requirements | None = None,
    trials: int = 200,
    strategy: Strategy = Strategy.EVOLUTIONARY,
    seed: int = 0,
    most_plans: int = MOST_PLANS,
    say: Say = lambda text: None,
    on_progress: Callable[[Standing], None] = lambda standing: None,
) -> Tuned:
    """Tune a model's kernels at the shapes that its plans need, and measure the plans whole.

    Parameters
    ----------
    prepared : Prepared
        The model.
    benches : sequence of Bench
        Boards of one kind.
    database : Path
        Folder that times are read from and added to.
    folder : Path
        For C and firmware of whole plans.
    requirements : Requirements or None
        For the planner.
    trials : int
        Candidates that the database is to have of the model's kernels.
    strategy : Strategy
        How candidates are looked for.
    seed : int
        Of the search, and of the inputs that outputs are compared for.
    most_plans : int
        Other plans than the planner's choice that are measured whole at most.

    Raises
    ------
    TuningError
        When there is nothing to tune or the database cannot be used.
    DoesNotFitError
        When nothing fits the limit.
    """
    if trials < 1:
        raise TuningError(f"{trials} trials leave nothing to measure", hint="give --trials 200")
    requirements = requirements or Requirements()
    bench = benches[0]
    instructions = instructions_of(bench.board)
    on = measured_on(bench.board, emulate=bench.emulate)
    known = load_times(database, on)
    say("plan")
    limit = requirements.arena_limit_bytes
    plans = candidate_plans(prepared, requirements, most=most_plans)
    tasks = union_of_tasks(prepared, plans, instructions)
    writer = TimesWriter(database, on, provenance(bench, trials, strategy, seed))
    tuner = Tuner(tasks, benches, writer, known, strategy, seed)
    racing = list(plans)
    for share in _ROUNDS:
        say(f"tune kernels of {len(racing)} plan{'s' if racing[1:] else ''}")
        tuner.weigh(most_calls(prepared, [plans[name] for name in racing], instructions))
        standing = tuner.run(max(1, round(trials * share)), on_progress, of=trials)
        found = contenders(prepared, plans, load_times(database, on), bench.board, limit)
        left = {each.source for each in in_the_race(found)}
        racing = [name for name in plans if name in left]
    times = load_times(database, on)
    golden = reference_run(prepared, seed=seed)
    measure = _Measure(prepared, bench, folder, golden, say)
    default = measure.whole("chosen", plans["chosen"], None)
    wholes = [default]
    # The planner's own choice is what the others are compared with, in the race or not.
    first = next(each for each in found if each.source == "chosen")
    others = [each for each in worth_measuring(found, most_plans + 1) if each is not first]
    for each in (first, *others[:most_plans]):
        wholes.append(measure.whole(each.name, each.plan, times))
    ram = requirements.ram_bytes
    # A RAM limit is one of arena and stack: a plan that measures larger is none that fits.
    fitting = [w for w in wholes if w.bit_exact and (ram is None or _peak(w) <= ram)]
    best = min(fitting or [default], key=lambda whole: whole.units)
    return Tuned(standing, tuple(tuner.history), default, tuple(wholes), best)


def _measure_here(
    generated: Generated, firmware: Firmware, golden: Golden, runs: int
) -> tuple[Measurement, Validation]:
    return run_on_device(generated, firmware, golden, runs=runs)


@dataclass(frozen=True)
class _Measure:
    """Builds and measures whole networks."""

    prepared: Prepared
    bench: Bench
    folder: Path
    golden: Golden
    say: Say

    def whole(self, name: str, plan: Plan, times: KernelTimes | None) -> Whole:
        manner = "default" if times is None else "tuned"
        self.say(f"measure plan '{name}', {manner}")
        folder = self.folder / f"{name}-{manner}".replace(", ", "-").replace(" ", "-")
        generated = generate(
            self.prepared,
            plan,
            folder / "model",
            self.bench.board,
            times=times if times is not None else KernelTimes(),
        )
        firmware = build_firmware(
            generated.folder, self.bench.board, folder / "firmware", emulate=self.bench.emulate
        )
        runs = _RUNS_ON_HARDWARE if firmware.board.is_real else 1
        measure = self.bench.measure_whole or _measure_here
        measurement, validation = measure(generated, firmware, self.golden, runs)
        return Whole(name, plan, times is not None, measurement, validation.bit_exact)
