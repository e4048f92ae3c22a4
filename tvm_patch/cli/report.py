"""``tvm-patch report``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from tvm_patch.cli.options import (
    Algorithm,
    BufferingOption,
    Buffers,
    InputForm,
    InputOption,
    Io,
    IoForm,
    MaxOverhead,
    MaxSlowdown,
    Optimize,
    Ram,
    TimeLimit,
    Verbose,
)
from tvm_patch.cli.planning import Decision, Wishes, decide
from tvm_patch.errors import ModelFileError, PlanError

if TYPE_CHECKING:
    from tvm_patch.cli.terminal import Activity
    from tvm_patch.plan import Graph


def report(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|PLAN|MODEL",
            help="What build, deploy or measure has left; a plan; or a model, which is planned.",
        ),
    ],
    model: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--model", metavar="MODEL", help="The model of a plan that was not built there."
        ),
    ] = None,
    ram: Ram = None,
    optimize: Optimize = None,
    max_overhead: MaxOverhead = None,
    max_slowdown: MaxSlowdown = None,
    buffering: BufferingOption = Buffers.ANY,
    input_form: InputOption = InputForm.RESIDENT,
    algorithm: Algorithm = "hill_climb",
    time_limit: TimeLimit = None,
    io: IoForm = Io.MODEL,
    frontier: Annotated[
        bool, typer.Option(help="List all plans that no other beats, which takes some seconds.")
    ] = True,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder to write; DIR/report or out/MODEL/report."
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a report: stages, memory over time, frontier, and what was measured.

    report.html needs no other file; report.md has its pictures beside it; report.json has the
    figures.
    """
    from tvm_patch.cli.studying import study_of
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.report import to_json, write_atomically
    from tvm_patch.report.contents import report_page
    from tvm_patch.report.files import prepare_folder
    from tvm_patch.report.page import html, markdown_page
    from tvm_patch.report.study import study_record

    wishes = Wishes(
        ram=ram,
        optimize=optimize,
        max_overhead=max_overhead,
        max_slowdown=max_slowdown,
        algorithm=algorithm,
        buffering=buffering,
        input_form=input_form,
        time_limit_s=time_limit,
    )
    wishes.check()
    with activity(f"read {source}") as shown:
        subject = _read(source, model, io, wishes, shown)
        folder = prepare_folder(output or subject.folder)
        study = study_of(subject.graph, wishes, subject.decision, shown, frontier=frontier)
        shown.step("draw")
        page = report_page(study, subject.measured)
        for picture in page.pictures:
            write_atomically(folder / picture.file_name, picture.png)
        write_atomically(folder / "report.html", html(page))
        write_atomically(folder / "report.md", markdown_page(page))
        record = study_record(study) | {"measured": subject.measured}
        write_atomically(folder / "report.json", to_json(record))
    show(
        page.lead,
        f"{folder / 'report.html'} (alone), report.md with "
        f"{', '.join(picture.file_name for picture in page.pictures)}, report.json",
    )


@dataclass(frozen=True)
class _Subject:
    """What a report is about.

    Parameters
    ----------
    graph : Graph
        The network.
    decision : Decision
        Its plan.
    measured : mapping or None
        What was measured of it.
    folder : Path
        Where the report goes if nothing else is said.
    """

    graph: Graph
    decision: Decision
    measured: Mapping[str, Any] | None
    folder: Path


def _read(source: Path, model: Path | None, io: Io, wishes: Wishes, shown: Activity) -> _Subject:
    from tvm_patch.plan import Plan
    from tvm_patch.report.records import graph_beside, read_records

    if source.is_dir():
        if model is not None:
            raise PlanError(f"{source} says what its model is", hint="leave --model away")
        records = read_records(source)
        return _Subject(records.graph, Decision(records.plan), records.measured, source / "report")
    if source.suffix != ".json":
        if model is not None:
            raise PlanError(f"{source} is a model itself", hint="leave --model away")
        graph = _graph_of(source, io, shown)
        shown.step("plan")
        decision = decide(graph, wishes, shown)
        return _Subject(graph, decision, None, Path("out") / source.stem / "report")
    plan = Plan.load(source)
    graph_found = _graph_of(model, io, shown) if model is not None else graph_beside(source, plan)
    if graph_found is None:
        raise ModelFileError(
            f"{source}: a plan alone does not say what its tensors are",
            hint="add --model MODEL, or give the folder that was built",
        )
    folder = Path("out") / plan.model / "report"
    return _Subject(graph_found, Decision(plan), None, folder)


def _graph_of(model: Path, io: Io, shown: Activity) -> Graph:
    from tvm_patch.pipeline import prepare

    shown.step(f"import {model.name}")
    return prepare(model, io=io.value).network.graph
