"""What the benchmarks have in common: the networks, the figures of others, and tables."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from operators import operators_network

from tvm_patch import Prepared, Requirements, prepare

_REPOSITORY = Path(__file__).resolve().parent.parent
_ANCHORS = Path(__file__).with_name("anchors.toml")
DIGITS = "digits"
REAL = (
    "mlperf-vww",
    "mlperf-ic",
    "mlperf-kws",
    "mlperf-ad",
    "mcunet-vww0",
    "mcunet-vww1",
    "mcunet-in2",
    "mcunet-in3",
    "person-det",
)
NAMES = (*REAL, DIGITS)
OPERATORS = "operators"
"""The network of operators without MACs."""
STREAMED = Requirements(objective="memory", max_overhead=1.0)
"""The least memory of stages that keep rows: no MAC is done twice."""

_STRIPPED = ("person-det",)
"""Run with int8 input and output, though the file has float32."""


def model_path(name: str) -> Path:
    """Where the file of a network is looked for."""
    if name == DIGITS:
        return _REPOSITORY / "examples" / "digits" / "digits.tflite"
    default = _REPOSITORY.parent / "shared" / "models"
    return Path(os.environ.get("TVM_PATCH_MODELS", default)) / f"{name}.tflite"


def read(name: str) -> Prepared:
    """A network in the integer dialect."""
    if name == OPERATORS:
        return operators_network()
    return prepare(model_path(name), io="int8" if name in _STRIPPED else "model")


def random_inputs(prepared: Prepared) -> list[npt.NDArray[Any]]:
    """Inputs for a device, the same in every run."""
    rng = np.random.default_rng(0)
    graph = prepared.network.graph
    values = []
    for name in graph.inputs:
        tensor = graph.tensor[name]
        if tensor.dtype == "float32":
            values.append(rng.uniform(-1.0, 1.0, tensor.shape).astype(np.float32))
        else:
            values.append(rng.integers(-128, 128, tensor.shape, dtype=tensor.dtype))
    return values


def anchors() -> dict[str, Any]:
    """Figures of other projects and goals, by network."""
    return tomllib.loads(_ANCHORS.read_text(encoding="utf-8"))


def say(text: str) -> None:
    """A word on what is going on."""
    print(text, file=sys.stderr, flush=True)


def those_that_are_there(names: Sequence[str]) -> Iterator[str]:
    """Names of networks whose files exist; says which do not."""
    for name in names:
        if name == OPERATORS or model_path(name).exists():
            yield name
        else:
            hint = "set TVM_PATCH_MODELS to the folder of models"
            say(f"{name}: skipped, {model_path(name)} is not there; {hint}")


def chosen_names(
    text: str | None, refuse: Callable[[str], Any], all_of_them: Sequence[str] = NAMES
) -> list[str]:
    """Names out of ``a,b``; all where there is no text."""
    names = text.split(",") if text else list(all_of_them)
    for name in names:
        if name not in (*NAMES, *all_of_them):
            refuse(f"there is no model {name!r}; models: {', '.join(all_of_them)}")
    return names


def plain_table(rows: Sequence[Sequence[str]], *, left: int = 2) -> str:
    """Columns for a terminal: the first ones, of names, to the left, figures to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(rows: Sequence[Sequence[str]], *, left: int = 2) -> str:
    """The same as a table of Markdown."""
    rule = ["---" if i < left else "---:" for i in range(len(rows[0]))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))
