"""``tvm-patch inspect``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_patch.cli.options import BoardName, Io, IoForm, JsonFile, Model, Verbose

if TYPE_CHECKING:
    from tvm_patch.plan import Tensor


def inspect(
    model: Model,
    io: IoForm = Io.MODEL,
    kernels: Annotated[
        bool,
        typer.Option("--kernels", help="Also show which kernel each operator runs on, and why."),
    ] = False,
    board: BoardName = "qemu_cortex_m7",
    json_file: JsonFile = None,
    verbose: Verbose = False,
) -> None:
    """Show a model's operators: MACs, weights, activations, and the naive peak.

    With --kernels also the kernels for the board's core, layer by layer.
    """
    from tvm_patch.analysis.cost import cost_of
    from tvm_patch.board import load_board
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.lower import kernel_choices
    from tvm_patch.pipeline import instructions_of, make_plan, prepare
    from tvm_patch.report import (
        check_writable,
        figure,
        kernels_table,
        operator_records,
        operators_table,
        to_json,
        write_atomically,
    )

    if json_file is not None:
        check_writable(json_file)
    with activity(f"import {model.name}"):
        prepared = prepare(model, io=io.value)
        cost = cost_of(prepared.file_network)
        layers = make_plan(prepared, layers=True)
        target = instructions_of(load_board(board))
        choices = kernel_choices(prepared.network, layers, target) if kernels else ()
    graph = prepared.network.graph
    arena_bytes = layers.memory.arena_bytes
    if json_file is not None:
        record = {
            "model": {"name": graph.name, "format": prepared.imported.format},
            "inputs": [_boundary(graph.tensor[name]) for name in graph.inputs],
            "outputs": [_boundary(graph.tensor[name]) for name in graph.outputs],
            **operator_records(cost),
            "layer_by_layer_arena_bytes": arena_bytes,
            "kernels": [asdict(choice) for choice in choices],
        }
        write_atomically(json_file, to_json(record))
    heaviest = cost.heaviest
    show(
        f"{graph.name} ({prepared.imported.format}): "
        + ", ".join(_describe(graph.tensor[name]) for name in graph.inputs)
        + " -> "
        + ", ".join(_describe(graph.tensor[name]) for name in graph.outputs),
        operators_table(cost),
        f"naive peak (greatest in + out): {figure(cost.naive_peak_bytes)} bytes"
        + (f", at {heaviest.name}" if heaviest else ""),
        f"arena layer by layer: {figure(arena_bytes)} bytes "
        f"(packed, in place where possible); `tvm-patch plan {model}` finds less",
        *((kernels_table(choices),) if choices else ()),
    )


def _describe(tensor: Tensor) -> str:
    return f"{tensor.name} {tensor.dtype}{list(tensor.shape)}"


def _boundary(tensor: Tensor) -> dict[str, object]:
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype}
