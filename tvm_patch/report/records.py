"""What verbs leave in an output folder, so that a report can be made of it later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm_patch.errors import ModelFileError
from tvm_patch.plan import Graph, Plan, graph_to_json, load_graph
from tvm_patch.report.files import to_json, write_atomically

_PLAN = "plan.json"
_GRAPH = "graph.json"
_MEASURED = "measured.json"
_KEPT = ("validation", "operators")
_NEEDED = ("arena_bytes", "stack_bytes", "peak_sram_bytes", "flash_bytes", "unit", "minimum")


@dataclass(frozen=True)
class Records:
    """The records of an output folder.

    Parameters
    ----------
    graph, plan : Graph, Plan
        What was built.
    measured : mapping or None
        What was measured last, if anything.
    """

    graph: Graph
    plan: Plan
    measured: Mapping[str, Any] | None


def write_planned(folder: Path, graph: Graph, plan: Plan) -> None:
    """Leave plan and graph in an output folder, and nothing of an earlier measurement."""
    write_atomically(folder / _PLAN, plan.to_json())
    write_atomically(folder / _GRAPH, graph_to_json(graph))
    (folder / _MEASURED).unlink(missing_ok=True)


def write_measured(folder: Path, record: Mapping[str, Any]) -> None:
    """Leave a measurement in an output folder, or in the one around a firmware's.

    What was found earlier of the same build and has not been looked at again stays: whether
    outputs are right, and what each operator takes.
    """
    if not (folder / _PLAN).is_file() and (folder.parent / _PLAN).is_file():
        folder = folder.parent
    path = folder / _MEASURED
    try:
        earlier = _read_measured(path) or {}
    except ModelFileError:
        earlier = {}
    kept = {key: earlier[key] for key in _KEPT if earlier.get(key) and not record.get(key)}
    write_atomically(path, to_json({**record, **kept}))


def read_records(folder: Path) -> Records:
    """Read an output folder.

    Raises
    ------
    ModelFileError
        When nothing was built there, or its measurement cannot be read.
    PlanError
        When plan or graph cannot be read.
    """
    if not (folder / _PLAN).is_file() or not (folder / _GRAPH).is_file():
        what = "has no plan and graph" if folder.is_dir() else "no such folder"
        raise ModelFileError(
            f"{folder}: {what}", hint="build there with: tvm-patch build MODEL --output DIR"
        )
    return Records(
        graph=load_graph(folder / _GRAPH),
        plan=Plan.load(folder / _PLAN),
        measured=_read_measured(folder / _MEASURED),
    )


def graph_beside(plan_file: Path, plan: Plan) -> Graph | None:
    """The graph in the same folder as a plan, if it is the one that the plan was made for."""
    path = plan_file.parent / _GRAPH
    if not path.is_file():
        return None
    graph = load_graph(path)
    return graph if graph.fingerprint == plan.graph_fingerprint else None


def _read_measured(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in _NEEDED if key not in record["measured"]]
        if missing or "board" not in record:
            raise ValueError(f"no {(missing or ['board'])[0]}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(
            f"{path}: is not the record of a measurement ({error})",
            hint=f"measure again with: tvm-patch measure {path.parent}",
        ) from error
    return dict(record)
