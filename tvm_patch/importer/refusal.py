"""What TVM raises while a network is converted, and what is left to clean up then."""

from __future__ import annotations

from tvm import relax

#: Errors by which Relax refuses an expression. TVM's own derive from ``RuntimeError``.
REFUSALS = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    AssertionError,
    ArithmeticError,
)


def reason(error: Exception) -> str:
    """Return the last line of a message: TVM puts the text behind its location."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def abandon(builder: relax.BlockBuilder) -> None:
    """Close what an error left open in a builder, which else complains on stderr."""
    builder._end_block()
    builder.end_scope()
