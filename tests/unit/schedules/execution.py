"""Run kernels on the host: through LLVM, or through their C compiled by the host's compiler."""

from __future__ import annotations

import ctypes
import mmap
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tvm

from tvm_patch.schedules import (
    Kernel,
    MicroKernel,
    WithArguments,
    WithScratch,
    headers_of,
    lower_to_bare,
    print_c,
)

_MARGIN_BYTES = 32

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

    With ``in_place`` the output is the first data buffer. Data and scratch end where pages that
    cannot be read begin, the output is between bytes that must stay.
    """
    func = kernel.prim_func()
    packed = kernel.pack(constants)
    arrays = [before_a_fence(_shaped(a, p)) for a, p in zip(data, func.params, strict=False)]
    packs = [np.ascontiguousarray(packed[name]) for name in kernel.constants]
    out = arrays[0] if in_place else _empty_output(func, len(data) + len(packs))
    room = np.full(out.nbytes + 2 * _MARGIN_BYTES, 77, np.int8)
    target = out if in_place else room[_MARGIN_BYTES : _MARGIN_BYTES + out.nbytes]
    arguments = [*arrays, *packs, target]
    if isinstance(kernel, WithScratch):
        arguments.append(before_a_fence(np.full(kernel.scratch_bytes, 77, np.int8)))
    numbers = kernel.arguments if isinstance(kernel, WithArguments) else ()
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "kernel.c"), Path(folder, "kernel.so")
        source.write_text(c_source(kernel))
        # Undefined behaviour, such as signed overflow, aborts with a message.
        flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        flags += ["-fsanitize=undefined", "-fno-sanitize-recover=undefined", f"-I{MICRO_KERNELS}"]
        # At any address, as on the device: alignment is what the buffers' documentation says.
        flags += ["-fno-sanitize=alignment"]
        subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True)
        entry = ctypes.CDLL(str(library))[kernel.name]
        entry.restype = None
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in arguments]
        entry(*pointers, *map(ctypes.c_int32, numbers))
    if in_place:
        return out
    assert np.all(room[:_MARGIN_BYTES] == 77) and np.all(room[_MARGIN_BYTES + out.nbytes :] == 77)
    return np.frombuffer(target.tobytes(), out.dtype).reshape(out.shape)


def before_a_fence(array: Array) -> Array:
    """A copy that ends where memory begins that nobody may touch."""
    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, size + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + size), page, 0) == 0, ctypes.get_errno()
    copy = np.frombuffer(memory, np.int8, array.nbytes, size - array.nbytes)
    copy[:] = np.frombuffer(array.tobytes(), np.int8)
    return copy.view(array.dtype).reshape(array.shape)


def _shaped(array: Array, param: tvm.tirx.Buffer) -> Array:
    shape = tuple(int(extent) for extent in param.shape)
    assert array.dtype == str(param.dtype), (array.dtype, param)
    return np.ascontiguousarray(array).reshape(shape)


def _empty_output(func: tvm.tirx.PrimFunc, place: int = -1) -> Array:
    out = func.params[place]
    shape = tuple(int(extent) for extent in out.shape)
    return np.full(shape, 77, dtype=str(out.dtype))
