"""Runs a TFLite model with LiteRT's reference kernels, which define what is correct."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

Array = npt.NDArray[Any]


def reference_interpreter(model: bytes, *, keep_tensors: bool = False) -> Any:
    """Interpreter of `model` with reference kernels, tensors allocated.

    Parameters
    ----------
    model : bytes
        A TFLite file.
    keep_tensors : bool
        Keep every intermediate tensor readable after a run.
    """
    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=keep_tensors,
    )
    interpreter.allocate_tensors()
    return interpreter


def run_reference(model: bytes, *inputs: Array) -> list[Array]:
    """Outputs of `model` for one value per input, in the file's order."""
    interpreter = reference_interpreter(model)
    _invoke(interpreter, inputs)
    details = interpreter.get_output_details()
    return [np.array(interpreter.get_tensor(detail["index"])) for detail in details]


def reference_tensors(model: bytes, *inputs: Array) -> dict[str, Array]:
    """Every tensor of `model` after one run, constants too, by name."""
    interpreter = reference_interpreter(model, keep_tensors=True)
    _invoke(interpreter, inputs)
    return {
        detail["name"]: np.array(interpreter.get_tensor(detail["index"]))
        for detail in interpreter.get_tensor_details()
        if detail["name"]
    }


def random_inputs(model: bytes, seed: int = 0) -> list[Array]:
    """One value per input: uniform int8, or float32 uniform in -1..1."""
    rng = np.random.default_rng(seed)
    values: list[Array] = []
    for detail in reference_interpreter(model).get_input_details():
        if np.issubdtype(detail["dtype"], np.floating):
            values.append(rng.uniform(-1, 1, detail["shape"]).astype(detail["dtype"]))
        else:
            limits = np.iinfo(detail["dtype"])
            size = tuple(detail["shape"])
            values.append(rng.integers(limits.min, limits.max + 1, size, dtype=detail["dtype"]))
    return values


def _invoke(interpreter: Any, inputs: tuple[Array, ...]) -> None:
    details = interpreter.get_input_details()
    if len(details) != len(inputs):
        raise ValueError(f"the model has {len(details)} inputs, {len(inputs)} values were given")
    for detail, value in zip(details, inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
