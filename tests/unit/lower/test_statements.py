"""Statements that would move nothing are left out; a literal zero size is a warning in gcc."""

from __future__ import annotations

import pytest
import tvm
from tvm import tirx

from tvm_patch.lower.statements import Stmt, copy_bytes, fill_bytes, move_bytes

SOURCE = tirx.Var("source", "handle")
TARGET = tirx.Var("target", "handle")


def is_call(statement: Stmt) -> bool:
    return isinstance(statement.value, tvm.ir.Call)


@pytest.mark.parametrize("size_bytes", [0, tirx.const(0, "int32")])
def test_nothing_is_moved_where_the_size_is_zero(size_bytes: object) -> None:
    assert not is_call(copy_bytes(TARGET, SOURCE, size_bytes))
    assert not is_call(move_bytes(TARGET, SOURCE, size_bytes))
    assert not is_call(fill_bytes(TARGET, -128, size_bytes))


@pytest.mark.parametrize("size_bytes", [1, tirx.const(3, "int32"), tirx.Var("size", "int32")])
def test_other_sizes_are_moved(size_bytes: object) -> None:
    assert is_call(copy_bytes(TARGET, SOURCE, size_bytes))
    assert is_call(move_bytes(TARGET, SOURCE, size_bytes))
    assert is_call(fill_bytes(TARGET, -128, size_bytes))
