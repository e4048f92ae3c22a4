"""Lower a PrimFunc to a plain C function without TVM's calling convention.

TVM's stock pipeline ends in ``MakePackedAPI``: functions that take FFI arrays and return error
codes. Firmware wants ``int32_t conv(int8_t* data, ..., int8_t* out)``. So the part of the s_tir
pipeline that matters for sequential code runs here, and every buffer parameter becomes a pointer.
"""

from __future__ import annotations

import tvm
from tvm import s_tir, tirx
from tvm.tirx.buffer import is_buffer_var


def _pipeline() -> list[tvm.ir.transform.Pass]:
    """Pick the passes of ``tvm.s_tir.pipeline`` that sequential C needs, in its order.

    Without CommonSubexprElim: in 0.27 it may define a name inside a loop and use it behind it, and
    C compilers find the same subexpressions.
    """
    return [
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        tirx.transform.StorageRewrite(),
        tirx.transform.UnrollLoop(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        tirx.transform.LowerIntrin(),
    ]


def _buffers_to_pointers(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Make each buffer parameter a pointer variable and declare the buffer over it."""
    params: list[tirx.Var] = []
    declarations: list[tirx.Stmt] = []
    for param in func.params:
        if is_buffer_var(param):
            pointer = tirx.Var(param.name, tirx.buffer_data_pointer_type(param))
            declarations.append(tirx.DeclBuffer(param, data=pointer))
            params.append(pointer)
        else:
            params.append(param)
    body = tirx.SeqStmt([*declarations, func.body]) if declarations else func.body
    return tirx.PrimFunc(params, body, func.ret_type, attrs=func.attrs)


def lower_to_bare(func: tirx.PrimFunc, name: str) -> tirx.PrimFunc:
    """Lower ``func`` so that ``target.build.c`` prints it as a plain C function.

    Parameters
    ----------
    func : tvm.tirx.PrimFunc
        An s_tir function, scheduled or not, whose bodies may call externs. Local allocations
        must be small constants: they become C arrays on the stack.
    name : str
        The C symbol.

    Returns
    -------
    tvm.tirx.PrimFunc
        Lowered, with pointer parameters in the order of the buffers of ``func``.
    """
    named = func.with_attr("global_symbol", name).with_attr("target", tvm.target.Target("c"))
    mod = tvm.IRModule({name: named})
    mod = tvm.ir.transform.Sequential(_pipeline())(mod)
    return _buffers_to_pointers(mod[name]).with_attr("calling_conv", 0)


def print_c(functions: dict[str, tirx.PrimFunc]) -> str:
    """Print already lowered functions as one C translation unit by TVM's C code generator.

    Parameters
    ----------
    functions : dict of str to tvm.tirx.PrimFunc
        Results of :func:`lower_to_bare` by symbol.

    Returns
    -------
    str
        TVM's own text, its preamble and entry stub included.
    """
    build = tvm.get_global_func("target.build.c")
    source: str = build(tvm.IRModule(functions), tvm.target.Target("c")).inspect_source()
    return source
