"""A graph as JSON: what a plan was made for, so that it can be read and drawn without the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tvm_patch.errors import PlanError
from tvm_patch.plan.graph import Access, Graph, Operator, Scratch, Tensor, Window

GRAPH_FORMAT_VERSION = 1
_HINT = "write it again with: tvm-patch build MODEL --output DIR"


def graph_to_json(graph: Graph) -> str:
    """The graph as JSON, keys in a fixed order."""
    record = {"format_version": GRAPH_FORMAT_VERSION, **asdict(graph)}
    return json.dumps(record, indent=1, sort_keys=True) + "\n"


def load_graph(path: Path) -> Graph:
    """Read what :func:`graph_to_json` has written.

    Raises
    ------
    PlanError
        Naming the file, when it is not there or is no graph of this version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: cannot be read ({error})", hint=_HINT) from error
    return graph_from_json(text, source=str(path))


def graph_from_json(text: str, *, source: str = "graph") -> Graph:
    """Read a graph back.

    Parameters
    ----------
    text : str
        What :func:`graph_to_json` wrote.
    source : str
        File name for error messages.

    Raises
    ------
    PlanError
        When the text is not a graph of this version.
    """
    try:
        data = json.loads(text)
        if data["format_version"] != GRAPH_FORMAT_VERSION:
            raise ValueError(f"format {data['format_version']!r}")
        return Graph(
            name=str(data["name"]),
            tensors=tuple(_tensor(each) for each in data["tensors"]),
            operators=tuple(_operator(each) for each in data["operators"]),
            inputs=tuple(map(str, data["inputs"])),
            outputs=tuple(map(str, data["outputs"])),
            fingerprint=str(data["fingerprint"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(
            f"{source}: is not a graph of this version ({type(error).__name__}: {error})",
            hint=_HINT,
        ) from error


def _tensor(data: Mapping[str, Any]) -> Tensor:
    return Tensor(str(data["name"]), tuple(map(int, data["shape"])), str(data["dtype"]))


def _operator(data: Mapping[str, Any]) -> Operator:
    # Whatever fields there are: plain values as they are, the others made what they were.
    values = dict(data)
    values["inputs"] = tuple(values["inputs"])
    values["whole_inputs"] = tuple(values["whole_inputs"])
    values["access"] = Access(values["access"])
    values["window"] = Window(**values["window"])
    if values.get("scratch") is not None:
        values["scratch"] = Scratch(**values["scratch"])
    return Operator(**values)
