"""Generated C compiled by this machine's compiler and called in process."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.codegen import write_model
from tvm_patch.lower import LoweredModel
from tvm_patch.plan import InputMode

Array = npt.NDArray[np.generic]

_FLAGS = (
    *("-std=c11", "-O1", "-fno-strict-aliasing", "-ffp-contract=off"),
    *("-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"),
)
_PAINT = np.uint8(0xA5)

_FetchRows = ctypes.CFUNCTYPE(
    None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p
)
# What a user of a model with an input by rows writes: here it asks Python.
_FETCH_SOURCE = """
#include "tvmgen_{name}.h"
typedef void (*fetch_rows)(uint32_t input, uint32_t first_row, uint32_t row_count, void *rows);
void set_fetch_rows(fetch_rows function);
static fetch_rows fetch;
void set_fetch_rows(fetch_rows function) {{
  fetch = function;
}}
void tvmgen_{name}_fetch_rows(uint32_t input, uint32_t first_row, uint32_t row_count, void *rows) {{
  fetch(input, first_row, row_count, rows);
}}
"""
# A profiling build: the marks that the code passes, as far as there is room.
_MARK_FLAG = "-DTVMGEN_MARK=record_mark"
_MARK_SOURCE = """
#include <stdint.h>
void record_mark(uint32_t number);
extern uint32_t marks[], mark_count;
uint32_t marks[1 << 18], mark_count;
void record_mark(uint32_t number) {
  marks[mark_count++ % (1 << 18)] = number;
}
"""


class NativeModel:
    """A lowered model as a shared library.

    Parameters
    ----------
    model : LoweredModel
        Printed and compiled with all warnings as errors.
    compiler : str
        C compiler.
    record_marks : bool
        A profiling build.

    Attributes
    ----------
    rows_fetched : list of int
        Rows of an input by rows in the order in which the last run asked for them.
    marks_passed : list of list of int
        For each operator or stage that the last run went through, the numbers of the marks in it;
        empty lists but in a profiling build.
    """

    def __init__(
        self, model: LoweredModel, *, compiler: str = "gcc", record_marks: bool = False
    ) -> None:
        self._model = model
        self._records_marks = record_marks
        self.rows_fetched: list[int] = []
        self.marks_passed: list[list[int]] = []
        with tempfile.TemporaryDirectory() as folder:
            path = write_model(model, Path(folder))
            library = path / "model.so"
            if model.plan.input_mode is InputMode.ROWS:
                source = _FETCH_SOURCE.format(name=model.c_name)
                (path / "src" / "fetch.c").write_text(source)
            if record_marks:
                (path / "src" / "marks.c").write_text(_MARK_SOURCE)
            sources = sorted((path / "src").glob("*.c"))
            command: list[str | Path] = [compiler, *_FLAGS, "-I", path / "include"]
            command += [_MARK_FLAG] if record_marks else []
            command += ["-o", library, *sources]
            subprocess.run(command, check=True)
            self._library = ctypes.CDLL(str(library))
        size_bytes = model.plan.memory.arena_bytes
        symbol = f"tvmgen_{model.c_name}_arena"
        memory: Any = (ctypes.c_uint8 * size_bytes).in_dll(self._library, symbol)
        self._arena: npt.NDArray[np.uint8] = np.frombuffer(memory, np.uint8)

    def run(self, *inputs: Array) -> dict[str, Array]:
        """Run operator by operator.

        Returns
        -------
        dict of str to ndarray
            The output of every operator or stage as it was when that had just run.
        """
        graph = self._model.network.graph
        self._arena[:] = _PAINT
        by_rows = self._model.plan.input_mode is InputMode.ROWS
        fetch = _FetchRows(lambda *request: self._give_rows(inputs, *request))
        if by_rows:
            self.rows_fetched = []
            self._library.set_fetch_rows(fetch)
        for name, value in zip(graph.inputs, inputs, strict=True):
            if not by_rows:
                data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
                self._bytes_of(name)[:] = data
        tensors: dict[str, Array] = {}
        run_operator = self._library[f"tvmgen_{self._model.c_name}_run_operator"]
        self.marks_passed = []
        for index, group in enumerate(self._model.groups):
            run_operator(ctypes.c_uint32(index))
            self.marks_passed.append(self._take_marks())
            tensors[group.group.output] = self._value(group.group.output)
        for name in graph.outputs:
            tensors[name] = self._value(name)
        return tensors

    def _take_marks(self) -> list[int]:
        """The marks passed since the last call."""
        if not self._records_marks:
            return []
        count = ctypes.c_uint32.in_dll(self._library, "mark_count")
        marks = (ctypes.c_uint32 * count.value).in_dll(self._library, "marks")
        passed = list(marks)
        count.value = 0
        return passed

    def _give_rows(
        self, inputs: Sequence[Array], number: int, first: int, count: int, target: int
    ) -> None:
        """Answer a request for rows of an input."""
        self.rows_fetched += range(first, first + count)
        data = np.ascontiguousarray(inputs[number][0, first : first + count]).tobytes()
        ctypes.memmove(target, data, len(data))

    def high_water_bytes(self) -> int:
        """End of the last byte of the arena that no longer is paint."""
        touched = np.flatnonzero(self._arena != _PAINT)
        return int(touched[-1]) + 1 if touched.size else 0

    def _bytes_of(self, name: str) -> npt.NDArray[np.uint8]:
        offsets: Mapping[str, int] = self._model.plan.memory.offsets_bytes
        offset = offsets[self._model.execution.storage_of[name]]
        return self._arena[offset : offset + self._model.network.graph.tensor[name].size_bytes]

    def _value(self, name: str) -> Array:
        tensor = self._model.network.graph.tensor[name]
        value: Array = self._bytes_of(name).copy().view(tensor.dtype).reshape(tensor.shape)
        return value
