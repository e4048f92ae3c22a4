"""Marks: calls in the generated code that say which operator the code behind them belongs to.

A production build compiles them to nothing. In a profiling build each one reads the stopwatch and
books what has passed since the one before, so that all that an inference takes belongs to
somebody: to a kernel, to the moving of rows around it, or to the loops of a stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tvm_patch.lower.statements import Stmt, call
from tvm_patch.plan.layout.group import Group


class Part(StrEnum):
    """What code does for an operator or a stage."""

    RUN = "run"
    """Goes from one stage or operator to the next."""
    LOOPS = "loops"
    """The loops of a stage, and filling its line buffers before it begins."""
    KERNEL = "kernel"
    """Computes."""
    DATA = "data"
    """Gathers rows, moves and blanks them, and decides whether there is one to make."""


@dataclass(frozen=True)
class Mark:
    """Where time can go.

    Parameters
    ----------
    part : Part
        What is done.
    group : str
        Name of the stage, or of the operator that runs on its own; empty for ``Part.RUN``.
    operator : str
        Name of the operator; empty for ``Part.RUN`` and ``Part.LOOPS``.
    """

    part: Part
    group: str = ""
    operator: str = ""


RUN = Mark(Part.RUN)


def marks_of(groups: Sequence[Group]) -> tuple[Mark, ...]:
    """All marks of a program; generated code knows each by its place. The first is ``RUN``."""
    marks = [RUN]
    for group in groups:
        if group.stage is not None:
            marks.append(Mark(Part.LOOPS, group.name))
        for layout in group.operators:
            name = layout.operator.name
            marks += [Mark(part, group.name, name) for part in (Part.KERNEL, Part.DATA)]
    return tuple(marks)


class Marker:
    """Writes the marks of one group.

    Parameters
    ----------
    symbol : str
        C function or macro that takes a mark's number; empty to write none.
    marks : sequence of Mark
        Of the whole program.
    group : Group
        Whose code it is.
    """

    def __init__(self, symbol: str, marks: Sequence[Mark], group: Group) -> None:
        self._symbol = symbol
        self._numbers = {mark: number for number, mark in enumerate(marks)}
        self._group = group

    def run(self) -> list[Stmt]:
        """Behind the group's code."""
        return self._mark(RUN)

    def loops(self) -> list[Stmt]:
        """The stage's own code follows; for an operator on its own that is moving data."""
        if self._group.stage is None:
            return self.data(self._group.operators[0].operator.name)
        return self._mark(Mark(Part.LOOPS, self._group.name))

    def kernel(self, operator: str) -> list[Stmt]:
        """A call of one of the operator's kernels follows."""
        return self._mark(Mark(Part.KERNEL, self._group.name, operator))

    def data(self, operator: str) -> list[Stmt]:
        """What moves the operator's data follows."""
        return self._mark(Mark(Part.DATA, self._group.name, operator))

    def _mark(self, mark: Mark) -> list[Stmt]:
        return [call(self._symbol, self._numbers[mark])] if self._symbol else []


def no_marks(group: Group) -> Marker:
    """A marker that writes nothing."""
    return Marker("", (), group)
