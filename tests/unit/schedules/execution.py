"""Run kernels on the host: through LLVM, or through their C compiled by the host's compiler."""

from __future__ import annotations

import ctypes
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tvm

from tvm_patch.schedules import Kernel, MicroKernel, headers_of, lower_to_bare, print_c

MICRO_KERNELS = Path(__file__).parents[3] / "micro_project" / "kernels"

Array = npt.NDArray[np.generic]


def run_llvm(kernel: Kernel, data: list[Array], constants: dict[str, Array]) -> Array:
    """Run the scheduled PrimFunc as TVM builds it for the host."""
    return _run_function(kernel, kernel.prim_func(), data, constants)


def run_description(kernel: MicroKernel, data: list[Array], constants: dict[str, Array]) -> Array:
    """Run a micro-kernel's description as TVM builds it for the host."""
    return _run_function(kernel, kernel.description(), data, constants)


def _run_function(
    kernel: Kernel, func: tvm.tirx.PrimFunc, data: list[Array], constants: dict[str, Array]
) -> Array:
    packed = kernel.pack(constants)
    out = _empty_output(func)
    executable = tvm.compile(func.with_attr("global_symbol", "main"), target="llvm")
    arrays = [*data, *(packed[name] for name in kernel.constants), out]
    tensors = [tvm.runtime.tensor(_shaped(a, p)) for a, p in zip(arrays, func.params, strict=True)]
    executable["main"](*tensors)
    result: Array = tensors[-1].numpy()
    return result


def c_source(kernel: Kernel) -> str:
    """The kernel's C, without what only TVM's runtime needs."""
    text = print_c({kernel.name: lower_to_bare(kernel.prim_func(), kernel.name)})
    kept = (
        line
        for line in text.splitlines()
        if '#include "tvm' not in line and "__tvm_ffi__library_ctx" not in line
    )
    text = "\n".join(kept).replace("TVM_DLL ", "")
    # Prototypes of micro-kernels, which are inline functions of headers.
    text = re.sub(r"^\w+ tvmp_\w+\([^;{]*\);$", "", text, flags=re.MULTILINE)
    headers = "".join(f'#include "{header}"\n' for header in headers_of([kernel]))
    return f"#include <stdint.h>\n{headers}{text}\n"


def run_c(
    kernel: Kernel, data: list[Array], constants: dict[str, Array], *, in_place: bool = False
) -> Array:
    """Compile the kernel's C with warnings as errors and call it.

    With ``in_place`` the output is the first data buffer.
    """
    func = kernel.prim_func()
    packed = kernel.pack(constants)
    arrays = [np.array(_shaped(a, p)) for a, p in zip(data, func.params, strict=False)]
    out = arrays[0] if in_place else _empty_output(func)
    arguments = [*arrays, *(packed[name] for name in kernel.constants), out]
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "kernel.c"), Path(folder, "kernel.so")
        source.write_text(c_source(kernel))
        # Undefined behaviour, such as signed overflow, aborts with a message.
        flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        flags += ["-fsanitize=undefined", "-fno-sanitize-recover=undefined", f"-I{MICRO_KERNELS}"]
        subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True)
        entry = ctypes.CDLL(str(library))[kernel.name]
        entry.restype = None
        entry(*(np.ascontiguousarray(a).ctypes.data_as(ctypes.c_void_p) for a in arguments))
    return out


def _shaped(array: Array, param: tvm.tirx.Buffer) -> Array:
    shape = tuple(int(extent) for extent in param.shape)
    assert array.dtype == str(param.dtype), (array.dtype, param)
    return np.ascontiguousarray(array).reshape(shape)


def _empty_output(func: tvm.tirx.PrimFunc) -> Array:
    out = func.params[-1]
    shape = tuple(int(extent) for extent in out.shape)
    return np.full(shape, 77, dtype=str(out.dtype))
