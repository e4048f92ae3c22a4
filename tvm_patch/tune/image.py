"""An image of many candidates: C that the firmware build takes for a model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from tvm_patch.codegen.c_text import MOVE_HEADERS, array_to_c, c_type_of, functions_to_c
from tvm_patch.schedules import WithArguments, WithScratch, headers_of, lower_to_bare
from tvm_patch.schedules.kernel import Constants, Kernel
from tvm_patch.tune.tasks import Candidate, Task

_MICRO_PROJECT = Path(__file__).parent.parent / "micro_project"
_TEMPLATES = Path(__file__).parent / "templates"
_BENCH = ("tune_bench.c", "tune_bench.h")
_MARGIN_BYTES = 32
_ALIGNMENT_BYTES = 16
#: Multiply-accumulates that a reading of the stopwatch should be made of: it ticks in steps.
_MACS_OF_A_READING = 50_000
_MOST_REPEATS = 200
#: Files that compilers work on side by side.
_PARTS = 4

_DTYPE_BYTES = {"int8": 1, "uint8": 1, "int16": 2, "int32": 4, "float32": 4}


@dataclass(frozen=True)
class Image:
    """The C of an image.

    Parameters
    ----------
    folder : Path
        What ``build_firmware`` takes.
    candidates : tuple of Candidate
        By their numbers.
    repeats : tuple of int
        Calls that a reading is made of.
    """

    folder: Path
    candidates: tuple[Candidate, ...]
    repeats: tuple[int, ...]


@dataclass(frozen=True)
class _Shape:
    """Sizes of a kernel's buffers in bytes."""

    inputs: tuple[int, ...]
    output: int

    @staticmethod
    def of(kernel: Kernel) -> _Shape:
        sizes = [
            prod(int(extent) for extent in param.shape) * _DTYPE_BYTES[str(param.dtype)]
            for param in kernel.prim_func().params
            if hasattr(param, "shape")
        ]
        if isinstance(kernel, WithScratch):
            sizes.pop()
        return _Shape(tuple(sizes[: len(sizes) - 1 - len(kernel.constants)]), sizes[-1])


def constant_bytes(candidate: Candidate) -> int:
    """Flash that a candidate's constants take."""
    packed = candidate.kernel.pack(candidate.task.constants)
    return sum(int(value.nbytes) for value in packed.values())


def write_image(candidates: Sequence[Candidate], folder: Path) -> Image:
    """Write an image of candidates; the same ones give the same bytes."""
    writer = _Writer()
    tasks: dict[str, Task] = {}
    for candidate in candidates:
        tasks.setdefault(candidate.task.key, candidate.task)
    numbers = {key: number for number, key in enumerate(tasks)}
    shapes = {key: _Shape.of(task.default) for key, task in tasks.items()}
    layout = _layout(candidates, list(shapes.values()))
    rows = [
        {
            "call": writer.call(task.default, task.constants, shapes[key], layout),
            "input_bytes": sum(map(_aligned, shapes[key].inputs)),
            "output_bytes": shapes[key].output,
        }
        for key, task in tasks.items()
    ]
    repeats = tuple(_repeats(candidate.kernel) for candidate in candidates)
    entries = [
        {
            "call": writer.call(each.kernel, each.task.constants, shapes[each.task.key], layout),
            "task": numbers[each.task.key],
            "repeats": count,
            "scratch_bytes": each.scratch_bytes,
        }
        for each, count in zip(candidates, repeats, strict=True)
    ]
    files = _render(writer, tasks=rows, candidates=entries, layout=layout)
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Image(folder, tuple(candidates), repeats)


def _repeats(kernel: Kernel) -> int:
    return max(1, min(_MOST_REPEATS, _MACS_OF_A_READING // max(kernel.macs, 1)))


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def _layout(candidates: Sequence[Candidate], shapes: Sequence[_Shape]) -> dict[str, int]:
    """Offsets in the arena."""
    inputs = max(sum(map(_aligned, shape.inputs)) for shape in shapes)
    selected, verdict, first = 0, _ALIGNMENT_BYTES, 2 * _ALIGNMENT_BYTES
    output = first + inputs + _MARGIN_BYTES
    scratch = output + _aligned(max(shape.output for shape in shapes)) + _MARGIN_BYTES
    # The tasks' own kernels run too.
    kernels = [kernel for each in candidates for kernel in (each.kernel, each.task.default)]
    most = max(kernel.scratch_bytes if isinstance(kernel, WithScratch) else 0 for kernel in kernels)
    return {
        "selected": selected,
        "verdict": verdict,
        "input": first,
        "output": output,
        "scratch": scratch,
        "arena_bytes": scratch + _aligned(most) + _MARGIN_BYTES,
    }


class _Writer:
    """Gathers kernels and constants, each kept once."""

    def __init__(self) -> None:
        self.functions: dict[str, Any] = {}
        self.headers: tuple[str, ...] = ()
        self.constants: dict[tuple[str, bytes], dict[str, Any]] = {}
        self.calls: list[dict[str, Any]] = []
        self._kernels: dict[Kernel, str] = {}
        self._names: dict[tuple[str, ...], str] = {}

    def call(
        self, kernel: Kernel, constants: Constants, shape: _Shape, layout: Mapping[str, int]
    ) -> str:
        """A function without numbers that calls a kernel."""
        symbol = self._symbol(kernel)
        packed = kernel.pack(constants)
        offset, arguments = layout["input"], []
        for size_bytes in shape.inputs:
            arguments.append(f"(void *)(arena + {offset})")
            offset += _aligned(size_bytes)
        for role in kernel.constants:
            arguments.append(f"(void *)(uintptr_t){self._constant(packed[role])}")
        arguments.append(f"(void *)(arena + {layout['output']})")
        if isinstance(kernel, WithScratch):
            arguments.append(f"(void *)(arena + {layout['scratch']})")
        if isinstance(kernel, WithArguments):
            arguments += map(str, kernel.arguments)
        known = (symbol, *arguments)
        if known not in self._names:
            self._names[known] = f"call_{len(self.calls)}"
            self.calls.append(
                {"name": self._names[known], "symbol": symbol, "arguments": arguments}
            )
        return self._names[known]

    def _symbol(self, kernel: Kernel) -> str:
        if kernel not in self._kernels:
            symbol = f"tvmgen_tune_kernel_{len(self._kernels)}"
            self._kernels[kernel] = symbol
            self.functions[symbol] = lower_to_bare(kernel.prim_func(), symbol)
            self.headers = tuple(sorted({*self.headers, *headers_of([kernel])}))
        return self._kernels[kernel]

    def _constant(self, value: np.ndarray[Any, Any]) -> str:
        value = np.ascontiguousarray(value)
        key = (str(value.dtype), value.tobytes())
        if key not in self.constants:
            symbol = f"tvmgen_tune_constant_{len(self.constants)}"
            self.constants[key] = {
                "symbol": symbol,
                "type": c_type_of(str(value.dtype)),
                "length": value.size,
                "definition": array_to_c(symbol, value),
            }
        return str(self.constants[key]["symbol"])


def _render(writer: _Writer, **tables: Any) -> dict[str, str]:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    constants = list(writer.constants.values())
    symbols = list(writer.functions)
    definitions, prototypes = [], []
    for part in range(min(_PARTS, len(symbols))):
        chosen = {symbol: writer.functions[symbol] for symbol in symbols[part::_PARTS]}
        bodies, heads = functions_to_c(chosen)
        definitions.append(bodies)
        prototypes.append(heads)
    files = {
        "include/tvmgen_tune.h": environment.get_template("image.h.j2").render(tables),
        "include/kernels.h": environment.get_template("kernels.h.j2").render(
            constants=constants, prototypes="\n".join(prototypes)
        ),
        "src/run.c": environment.get_template("run.c.j2").render(calls=writer.calls, **tables),
        "src/constants.c": environment.get_template("constants.c.j2").render(constants=constants),
    }
    for part, bodies in enumerate(definitions):
        files[f"src/kernels_{part}.c"] = environment.get_template("kernels.c.j2").render(
            headers=writer.headers, definitions=bodies
        )
    for header in sorted({*writer.headers, *MOVE_HEADERS}):
        text = (_MICRO_PROJECT / "kernels" / header).read_text(encoding="utf-8")
        files[f"include/kernels/{header}"] = text
    for name in _BENCH:
        text = (_MICRO_PROJECT / "tuning" / name).read_text(encoding="utf-8")
        files[("src/" if name.endswith(".c") else "include/") + name] = text
    files["model.json"] = _manifest(files, tables["layout"]["arena_bytes"])
    return files


def _manifest(files: Mapping[str, str], arena_bytes: int) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        digest.update(name.encode() + b"\0" + text.encode())
    word = {"size_bytes": 4, "shape": [4], "dtype": "int8", "scale": None, "zero_point": None}
    manifest = {
        "format_version": 1,
        "name": "tune",
        "c_name": "tune",
        "fingerprint": digest.hexdigest(),
        "arena_size_bytes": arena_bytes,
        "inputs": [{"name": "selected", "c_name": "selected", **word}],
        "outputs": [{"name": "verdict", "c_name": "verdict", **word}],
        "marks": [],
        "include": "include",
        "sources": sorted(name for name in files if name.endswith(".c")),
    }
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"
