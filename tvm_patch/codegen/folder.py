"""The generated folder: C sources, weights, manifest and a CMake file; builds without Python."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import jinja2

from tvm_patch.codegen.c_text import (
    MOVE_HEADERS,
    array_to_c,
    c_type_of,
    functions_to_c,
    with_own_moves,
)
from tvm_patch.codegen.manifest import Quantisation, boundary_tensors, manifest
from tvm_patch.errors import BuildError
from tvm_patch.lower import LoweredModel

_TEMPLATES = Path(__file__).parent / "templates"
_MICRO_KERNELS = Path(__file__).parent.parent / "micro_project" / "kernels"


def write_model(
    model: LoweredModel, folder: Path, *, quantisation: Mapping[str, Quantisation] | None = None
) -> Path:
    """Write a model's C.

    Parameters
    ----------
    model : LoweredModel
        From :func:`tvm_patch.lower.lower_network`.
    folder : Path
        Made if need be; what an earlier call wrote there is replaced.
    quantisation : mapping of str to Quantisation
        Scale and zero point of inputs and outputs by tensor name, for the manifest.

    Returns
    -------
    Path
        ``folder``. The same plan gives the same bytes in every file.

    Raises
    ------
    BuildError
        When the folder cannot be written.
    """
    files = render_model(model, quantisation or {})
    try:
        for name in ("src", "include"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BuildError(
            f"{folder}: cannot be written ({error.strerror})", hint="give another --output folder"
        ) from error
    return folder


def render_model(
    model: LoweredModel, quantisation: Mapping[str, Quantisation]
) -> Mapping[str, str]:
    """All files of the folder by relative path."""
    graph = model.network.graph
    inputs = boundary_tensors(model, graph.inputs, quantisation)
    outputs = boundary_tensors(model, graph.outputs, quantisation)
    kernels, kernel_prototypes = functions_to_c(model.kernels)
    functions = {group.symbol: group.function for group in model.groups}
    operators, operator_prototypes = functions_to_c(functions)
    operators = with_own_moves(operators)
    prefix = f"tvmgen_{model.c_name}"
    context = {
        "prefix": prefix,
        "macro": prefix.upper(),
        "model": model,
        "graph": graph,
        "arena_bytes": model.plan.memory.arena_bytes,
        "inputs": inputs,
        "outputs": outputs,
        "kernels": kernels,
        "kernel_prototypes": kernel_prototypes,
        "operators": operators,
        "operator_prototypes": operator_prototypes,
        "constants": [
            {
                "symbol": constant.symbol,
                "type": c_type_of(str(constant.value.dtype)),
                "length": constant.value.size,
                "definition": array_to_c(f"{constant.symbol}_data", constant.value),
            }
            for constant in model.constants
        ],
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    names = {
        "model.h.j2": f"include/{prefix}.h",
        "internal.h.j2": f"src/{prefix}_internal.h",
        "kernels.c.j2": f"src/{prefix}_kernels.c",
        "operators.c.j2": f"src/{prefix}_operators.c",
        "constants.c.j2": f"src/{prefix}_constants.c",
        "run.c.j2": f"src/{prefix}_run.c",
        "CMakeLists.txt.j2": "CMakeLists.txt",
    }
    files = {path: environment.get_template(t).render(context) for t, path in names.items()}
    for header in sorted({*model.headers, *MOVE_HEADERS}):
        files[f"src/kernels/{header}"] = (_MICRO_KERNELS / header).read_text(encoding="utf-8")
    sources = sorted(path for path in files if path.endswith(".c"))
    files["model.json"] = manifest(model, inputs=inputs, outputs=outputs, sources=sources)
    return files
