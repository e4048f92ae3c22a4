"""Functions written binding by binding."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.qnn import ops
from tvm_patch.qnn.writer import FunctionWriter


def _input():
    return relax.Var("x", relax.TensorType([1, 4, 4, 2], "int8"))


def test_written_function_is_well_formed():
    x = _input()
    writer = FunctionWriter([x])
    y = writer.emit(ops.lookup(x, np.arange(-128, 128)), "y")
    z = writer.emit(ops.concatenate([y, y], axis=3), "y", is_output=True)
    function = writer.finish([z, z], is_tuple=True, attrs={"global_symbol": "main"})
    relax.analysis.well_formed(tvm.IRModule({"main": function}))
    assert [b.var.name for b in function.body.blocks[0].bindings] == ["y", "y_2"]


def test_what_nothing_needs_is_left_out():
    x = _input()
    writer = FunctionWriter([x])
    writer.emit(ops.lookup(writer.emit(ops.lookup(x, np.zeros(256)), "a"), np.zeros(256)), "b")
    result = writer.emit(ops.lookup(x, np.zeros(256)), "c", is_output=True)
    function = writer.finish([result], is_tuple=False, attrs={})
    assert [b.var.name for b in function.body.blocks[0].bindings] == ["c"]


def test_input_handed_through_is_copied():
    x = _input()
    writer = FunctionWriter([x])
    result = writer.exported(x, "result")
    function = writer.finish([result], is_tuple=False, attrs={})
    (binding,) = function.body.blocks[0].bindings
    assert (binding.var.name, binding.value.op.name) == ("result", "relax.reshape")
    assert writer.exported(result, "other") is result


def test_bad_operands_name_the_layer():
    x = _input()
    with pytest.raises(UnsupportedOperatorError, match=r"layer head: .*does not fit"):
        FunctionWriter([x]).emit(ops.max_pool2d(x, pool_size=[9, 9], strides=[1, 1]), "head")
