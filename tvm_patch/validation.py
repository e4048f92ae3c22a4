"""Bit-exactness: a device's integers against the reference's, and where they first part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tvm import IRModule

from tvm_patch import qnn
from tvm_patch.importer import ImportedModel, golden_outputs, random_inputs
from tvm_patch.lower import LoweredModel
from tvm_patch.micro import Session
from tvm_patch.plan import Graph

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Golden:
    """Inputs with every tensor that the reference computes from them.

    Parameters
    ----------
    inputs, outputs : tuple of ndarray
        In the order of the graph, as the device takes and gives them.
    tensors : mapping of str to ndarray
        Every activation of the graph by name.
    source : str
        What computed the outputs.
    """

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    tensors: Mapping[str, Array]
    source: str


@dataclass(frozen=True)
class Validation:
    """The verdict.

    Parameters
    ----------
    bit_exact : bool
        All outputs are equal.
    max_abs_diff : float
        Greatest difference of two output elements, in steps of the output.
    source : str
        What the outputs were compared with.
    first_mismatch : str or None
        The first operator whose output differs, where that was looked for.
    """

    bit_exact: bool
    max_abs_diff: float
    source: str
    first_mismatch: str | None = None


def make_golden(
    imported: ImportedModel,
    module: IRModule,
    graph: Graph,
    integer_tensors: Mapping[str, str],
    *,
    seed: int = 0,
) -> Golden:
    """Run the reference on random inputs.

    LiteRT's reference kernels are the authority for TFLite models; all else is compared with the
    numpy reference of the integer dialect, which tests hold equal to LiteRT.

    Parameters
    ----------
    imported : ImportedModel
        The original.
    module : IRModule
        Integer-only, before partitioning.
    graph : Graph
        Of that module.
    integer_tensors : mapping of str to str
        Where a float boundary was stripped, the original's tensor whose integers an input or
        output now is.
    seed : int
        Same seed, same inputs.
    """
    original = random_inputs(imported, seed)
    return golden_of(imported, module, graph, integer_tensors, original)


def golden_of(
    imported: ImportedModel,
    module: IRModule,
    graph: Graph,
    integer_tensors: Mapping[str, str],
    original: Mapping[str, Array],
) -> Golden:
    """Run the reference on given inputs of the original model, by variable name."""
    inputs = _device_inputs(imported, graph, integer_tensors, original)
    tensors = qnn.reference.run_reference(module, inputs)
    source, outputs = "numpy reference", {name: tensors[name] for name in graph.outputs}
    if imported.format == "tflite":
        run = golden_outputs(imported, dict(original), all_tensors=True)
        known = {**run.tensors, **run.outputs}
        inner = {name: integer_tensors.get(name, name) for name in graph.outputs}
        if all(name in known for name in inner.values()):
            source = "LiteRT reference kernels"
            outputs = {name: known[inner[name]] for name in graph.outputs}
    return Golden(
        inputs=tuple(inputs[name] for name in graph.inputs),
        outputs=tuple(
            np.asarray(outputs[name]).reshape(graph.tensor[name].shape) for name in graph.outputs
        ),
        tensors=tensors,
        source=source,
    )


def _device_inputs(
    imported: ImportedModel,
    graph: Graph,
    integer_tensors: Mapping[str, str],
    original: Mapping[str, Array],
) -> dict[str, Array]:
    """Inputs as the device takes them: quantised where the float boundary was stripped."""
    if not any(name in integer_tensors for name in graph.inputs):
        return {name: original[name] for name in graph.inputs}
    unstripped = qnn.to_integer(imported.module)
    tensors = qnn.reference.run_reference(unstripped, dict(original))
    return {name: tensors[integer_tensors.get(name, name)] for name in graph.inputs}


def compare(golden: Golden, outputs: Sequence[bytes]) -> Validation:
    """Compare a device's outputs with the reference's."""
    greatest = 0.0
    for expected, data in zip(golden.outputs, outputs, strict=True):
        actual = np.frombuffer(data, expected.dtype).reshape(expected.shape)
        difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
        greatest = max(greatest, float(np.max(difference, initial=0.0)))
    exact = all(
        expected.tobytes() == data for expected, data in zip(golden.outputs, outputs, strict=True)
    )
    return Validation(exact, greatest, golden.source)


def first_mismatch(session: Session, model: LoweredModel, golden: Golden) -> str | None:
    """The first operator or stage whose output on the device differs from the reference.

    The inference is run up to each operator in turn and its output read out of the arena.
    """
    graph, offsets = model.network.graph, model.plan.memory.offsets_bytes
    for index, group in enumerate(model.groups):
        for i, value in enumerate(golden.inputs):
            session.write_input(i, value.tobytes())
        session.run_until(index)
        name = group.group.output
        offset = offsets[model.execution.storage_of[name]]
        data = session.read_arena(offset, graph.tensor[name].size_bytes)
        if data != np.ascontiguousarray(golden.tensors[name]).tobytes():
            return group.name
    return None
