"""Least SRAM of real networks under every kind of plan: planned, measured, proved, and the goals.

    python benchmarks/peak_sram.py [--model mlperf-ic,digits] [--plans resident,"by rows"]
        [--planned-only] [--markdown | --summary] [--json FILE] [--fresh]

For each network: layer by layer; one first stage in patches; stages in rows; the least memory with
no MAC done twice, the input resident or by rows; the same at a MAC overhead of at most 1.25. Each
plan runs once on the emulated Cortex-M7 and its outputs are compared with LiteRT's.

With `--json FILE` every result is written as soon as it is there. A run that was ended goes on
from that file: what was measured of the same plan by the same sources is not measured again.

Exit code 0, that of the first error, or 1 where integers differ from the reference. A goal that is
missed is no failure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from networks import (
    NAMES,
    anchors,
    chosen_names,
    markdown_table,
    plain_table,
    read,
    say,
    those_that_are_there,
)

import tvm_patch
from tvm_patch import Prepared, Requirements, deploy, make_plan
from tvm_patch.errors import PlanError, TvmPatchError
from tvm_patch.plan import InputMode, Plan
from tvm_patch.report import check_writable, to_json, write_atomically
from tvm_patch.report.export import versions

BOARD = "qemu_cortex_m7"
OVERHEAD = 1.25
PLANS: Mapping[str, Requirements | None] = {
    "layers": None,
    "patches": Requirements(objective="memory", max_overhead=OVERHEAD, buffering="patch"),
    "rows": Requirements(objective="memory", max_overhead=1.0, buffering="rows"),
    "resident": Requirements(objective="memory", max_overhead=1.0),
    "by rows": Requirements(objective="memory", max_overhead=1.0, input_mode=InputMode.ROWS),
    "by rows 1.25": Requirements(
        objective="memory", max_overhead=OVERHEAD, input_mode=InputMode.ROWS
    ),
}
_GOALS = {
    "resident": "streamed_bytes",
    "by rows": "by_rows_bytes",
    "by rows 1.25": "by_rows_f125_bytes",
}
_SOURCES = ("*.py", "*.c", "*.h", "*.j2", "*.ld", "*.toml")


@dataclass(frozen=True)
class Result:
    """One network under one plan.

    Parameters
    ----------
    model, plan : str
        Which network, and a key of :data:`PLANS`.
    mac_overhead : float
        MACs executed over those of the network layer by layer.
    planned_arena_bytes : int
        As the planner promises.
    packing_bound_bytes : int
        No packing of this plan's buffers is smaller.
    bound_bytes : int or None
        No plan of this kind that was looked for is smaller; None where nothing was.
    planning_s : float
        Seconds that the search took.
    stages : int
        Of the plan.
    plan_digest, source_digest : str
        Of the plan, and of the sources that made it into firmware.
    measured_arena_bytes, stack_bytes, peak_sram_bytes, flash_bytes, instructions : int or None
        As the device read them; None where it has not run.
    bit_exact : bool or None
        Whether the outputs are LiteRT's; None where it has not run.
    """

    model: str
    plan: str
    mac_overhead: float
    planned_arena_bytes: int
    packing_bound_bytes: int
    bound_bytes: int | None
    planning_s: float
    stages: int
    plan_digest: str
    source_digest: str
    measured_arena_bytes: int | None = None
    stack_bytes: int | None = None
    peak_sram_bytes: int | None = None
    flash_bytes: int | None = None
    instructions: int | None = None
    bit_exact: bool | None = None

    @property
    def goal_bytes(self) -> int | None:
        """Peak SRAM to come down to; None where there is no such goal."""
        goal: int | None = anchors().get(self.model, {}).get("goal", {}).get(_GOALS.get(self.plan))
        return goal

    @property
    def verdict(self) -> str:
        """``met``, or by how much the goal is missed; empty where nothing can be said."""
        goal, peak = self.goal_bytes, self.peak_sram_bytes
        if goal is None or peak is None:
            return ""
        return "met" if peak <= goal else f"missed by {peak - goal:,}"


def run_model(name: str, plans: Sequence[str], store: Store, *, measure: bool) -> Iterator[Result]:
    """Plan a network in each way, and measure what has not been measured."""
    say(f"{name}: import")
    prepared = read(name)
    for kind in plans:
        say(f"{name}: plan {kind}")
        begin_s = time.perf_counter()
        try:
            plan = _plan(prepared, PLANS[kind])
        except PlanError as error:
            say(f"{name}: {kind}: {error.message}")
            continue
        result = Result(
            model=name,
            plan=kind,
            mac_overhead=plan.mac_overhead,
            planned_arena_bytes=plan.memory.arena_bytes,
            packing_bound_bytes=plan.memory.lower_bound_bytes,
            bound_bytes=plan.bound_bytes or None,
            planning_s=round(time.perf_counter() - begin_s, 3),
            stages=len(plan.stages),
            plan_digest=hashlib.sha256(plan.to_json().encode()).hexdigest(),
            source_digest=store.source_digest,
        )
        if measure:
            result = store.known(result) or _measured(prepared, plan, result)
        store.keep(result)
        yield result


def _plan(prepared: Prepared, requirements: Requirements | None) -> Plan:
    return make_plan(prepared, requirements, layers=requirements is None)


def _measured(prepared: Prepared, plan: Plan, result: Result) -> Result:
    say(f"{result.model}: measure {result.plan}")
    with tempfile.TemporaryDirectory() as folder:
        deployment = deploy(prepared, board=BOARD, plan=plan, folder=Path(folder))
    found = deployment.measurement
    return replace(
        result,
        measured_arena_bytes=found.arena_bytes,
        stack_bytes=found.stack_bytes,
        peak_sram_bytes=found.peak_sram_bytes,
        flash_bytes=found.flash_bytes,
        instructions=found.instructions,
        bit_exact=deployment.validation.bit_exact,
    )


class Store:
    """Results of this run and of earlier ones, on disk as soon as they are there.

    Parameters
    ----------
    path : Path or None
        The file; None keeps them in memory only.
    fresh : bool
        Forget what the file holds.
    """

    def __init__(self, path: Path | None, *, fresh: bool = False) -> None:
        self.source_digest = digest_of_sources()
        self._path = path
        self._results: dict[tuple[str, str], Result] = {}
        if path is not None:
            check_writable(path)
            if path.is_file() and not fresh:
                self._read(path)

    def known(self, result: Result) -> Result | None:
        """A measurement of the same plan by the same sources, under whatever name."""
        for other in self._results.values():
            same = (other.model, other.plan_digest) == (result.model, result.plan_digest)
            if same and other.instructions and other.source_digest == result.source_digest:
                measured = ("measured_arena_bytes", "stack_bytes", "peak_sram_bytes")
                names = (*measured, "flash_bytes", "instructions", "bit_exact")
                return replace(result, **{name: getattr(other, name) for name in names})
        return None

    def keep(self, result: Result) -> None:
        """Add a result, in place of an earlier one of the same network and kind of plan."""
        self._results[result.model, result.plan] = result
        if self._path is not None:
            order = {name: i for i, name in enumerate(NAMES)}
            kinds = list(PLANS)
            results = sorted(
                self._results.values(), key=lambda r: (order[r.model], kinds.index(r.plan))
            )
            write_atomically(self._path, to_json(json_record(results)))

    def _read(self, path: Path) -> None:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            found = [Result(**values) for values in map(_without_derived, record["results"])]
        except (ValueError, KeyError, TypeError) as error:
            raise TvmPatchError(
                f"{path}: is not the record of an earlier run ({error})", hint="start with --fresh"
            ) from error
        self._results = {(r.model, r.plan): r for r in found if r.plan in PLANS}


def _without_derived(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ("goal_bytes", "verdict")}


def digest_of_sources() -> str:
    """Of all that decides what firmware is built of a plan."""
    digest = hashlib.sha256()
    root = Path(tvm_patch.__file__).parent
    for folder in (root, root / "schedules", root / "micro_project"):
        files = sorted(path for pattern in _SOURCES for path in folder.resolve().rglob(pattern))
        for path in files:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


_HEADER = (
    *("model", "plan", "F", "planned", "measured", "stack", "peak SRAM", "bound", "instructions"),
    *("to layers", "goal", ""),
)


def table_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Text of the table's cells, its header first."""
    layers = {r.model: r.instructions for r in results if r.plan == "layers"}
    return [_HEADER, *(_cells(result, layers.get(result.model)) for result in results)]


def _cells(result: Result, layers: int | None) -> tuple[str, ...]:
    ratio = f"{result.instructions / layers:.3f}" if result.instructions and layers else "-"
    wrong = "DIFFERS FROM LITERT" if result.bit_exact is False else result.verdict
    return (
        result.model,
        result.plan,
        f"{result.mac_overhead:.3f}",
        _figure(result.planned_arena_bytes),
        _figure(result.measured_arena_bytes),
        _figure(result.stack_bytes),
        _figure(result.peak_sram_bytes),
        _figure(result.bound_bytes),
        _figure(result.instructions),
        ratio,
        _figure(result.goal_bytes),
        wrong,
    )


def summary_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """One line a network: peak SRAM of each kind of plan, and the least of others."""
    rows: list[tuple[str, ...]] = [("model", *PLANS, "others, F <= 1.25")]
    for name in dict.fromkeys(result.model for result in results):
        of_plan = {result.plan: result for result in results if result.model == name}
        cells = [_summary_cell(of_plan.get(plan)) for plan in PLANS]
        rows.append((name, *cells, _figure(least_of_others(name))))
    return rows


def _summary_cell(result: Result | None) -> str:
    if result is None:
        return "-"
    size = result.peak_sram_bytes or result.planned_arena_bytes
    overhead = f" (F {result.mac_overhead:.2f})" if result.mac_overhead > 1.0005 else ""
    return f"{size:,}{overhead}" + (" *" if result.verdict == "met" else "")


def least_of_others(name: str) -> int | None:
    """The least that another system needs at F of at most 1.25, its input included."""
    known = anchors().get(name, {})
    tinyengine = known.get("tinyengine", {})
    found = [known.get("tflm", {}).get("arena_bytes"), tinyengine.get("layers_bytes")]
    if tinyengine.get("patched_mac_overhead", OVERHEAD) <= OVERHEAD:
        found.append(tinyengine.get("patched_bytes"))
    found += [
        paper["bytes"]
        for paper in known.get("published", [])
        if paper.get("mac_overhead", 1.0) <= OVERHEAD
    ]
    return min((size for size in found if size is not None), default=None)


def _figure(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def json_record(results: Sequence[Result]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "board": BOARD,
        "results": [
            asdict(result) | {"goal_bytes": result.goal_bytes, "verdict": result.verdict}
            for result in results
        ],
        "versions": versions(),
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Least SRAM under every kind of plan.")
    parser.add_argument("--model", "--models", metavar="A,B", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--plans", metavar="A,B", help=f"some of: {', '.join(PLANS)}")
    parser.add_argument("--planned-only", action="store_true", help="run nothing")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    parser.add_argument("--summary", action="store_true", help="one line a network, as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep results, and go on from it")
    parser.add_argument("--fresh", action="store_true", help="forget what FILE holds")
    options = parser.parse_args(arguments)
    options.names = chosen_names(options.model, parser.error)
    options.plans = options.plans.split(",") if options.plans else list(PLANS)
    unknown = [plan for plan in options.plans if plan not in PLANS]
    if unknown:
        parser.error(f"there is no plan {unknown[0]!r}; plans: {', '.join(PLANS)}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the networks that are there."""
    options = _parse(arguments)
    results: list[Result] = []
    try:
        store = Store(options.json, fresh=options.fresh)
        for name in those_that_are_there(options.names):
            results += run_model(name, options.plans, store, measure=not options.planned_only)
    except TvmPatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; what has been measured:")
    if results:
        rows = summary_rows(results) if options.summary else table_rows(results)
        left = 1 if options.summary else 2
        as_markdown = options.markdown or options.summary
        print((markdown_table if as_markdown else plain_table)(rows, left=left))
    met = [r.verdict == "met" for r in results if r.verdict]
    if met:
        say(f"goals met: {sum(met)} of {len(met)}")
    return 0 if all(result.bit_exact is not False for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
