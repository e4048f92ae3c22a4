"""Small words for building TIR statements: loops, branches, calls to plain C functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

Expr = Any
Stmt = Any


def sequence(statements: Sequence[Stmt]) -> Stmt:
    """Statements one after the other."""
    if not statements:
        return tirx.Evaluate(tirx.const(0, "int32"))
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def loop(name: str, extent: Expr, body: Callable[[Expr], Stmt]) -> Stmt:
    """``for name in [0, extent)``; without a loop where the extent is one."""
    if isinstance(extent, int) and extent == 1:
        return body(tirx.const(0, "int32"))
    variable = tirx.Var(name, "int32")
    return tirx.For(variable, 0, extent, tirx.ForKind.SERIAL, body(variable))


def branch(condition: Expr, then: Stmt, otherwise: Stmt | None = None) -> Stmt:
    """``if condition``; decided here where the condition is known."""
    if isinstance(condition, bool):
        if condition:
            return then
        return otherwise if otherwise is not None else sequence([])
    return tirx.IfThenElse(condition, then, otherwise)


def call(function: str, *arguments: Expr) -> Stmt:
    """Call a C function that returns nothing of interest."""
    return tirx.Evaluate(tirx.call_extern("void", function, *arguments))


def copy_bytes(target: Expr, source: Expr, size_bytes: Expr) -> Stmt:
    """``memcpy``; nothing where the size is known to be zero."""
    if _is_zero(size_bytes):
        return sequence([])
    return call("memcpy", target, source, size_bytes)


def move_bytes(target: Expr, source: Expr, size_bytes: Expr) -> Stmt:
    """``memmove``; nothing where the size is known to be zero."""
    if _is_zero(size_bytes):
        return sequence([])
    return call("memmove", target, source, size_bytes)


def fill_bytes(target: Expr, value: int, size_bytes: Expr) -> Stmt:
    """``memset`` with an int8 value; nothing where the size is known to be zero.

    A row that every tile reads as padding has no columns; compilers warn of a literal zero size.
    """
    if _is_zero(size_bytes):
        return sequence([])
    return call("memset", target, tirx.const(value, "int32"), size_bytes)


def _is_zero(size_bytes: Expr) -> bool:
    return int(size_bytes) == 0 if isinstance(size_bytes, int | tirx.IntImm) else False


def is_inside(index: Expr, size: int) -> Expr:
    """``0 <= index < size``."""
    return tirx.all(index >= 0, index < size)
