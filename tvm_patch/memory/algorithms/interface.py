"""What a packing algorithm gets and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tvm_patch.compat import SLOTS
from tvm_patch.deadline import Deadline
from tvm_patch.memory.conflicts import ConflictGraph
from tvm_patch.memory.problem import Problem


@dataclass(frozen=True, **SLOTS)
class SearchLimits:
    """How hard an algorithm may try.

    Parameters
    ----------
    lower_bound_bytes : int
        An arena of this size is optimal: stop there.
    seed : int
        For algorithms that draw random numbers; the same seed gives the same packing.
    time_limit_s : float
        For algorithms that can run long, in seconds.
    deadline : Deadline or None
        Ends those early too.
    """

    lower_bound_bytes: int
    seed: int
    time_limit_s: float
    deadline: Deadline | None = None


@dataclass(frozen=True, **SLOTS)
class Packing:
    """An algorithm's answer, by index into ``problem.buffers``.

    Parameters
    ----------
    offsets : sequence of int
        In bytes, one per buffer.
    optimal : bool
        True if the algorithm has proved that nothing smaller exists.
    """

    offsets: Sequence[int]
    optimal: bool = False


class Algorithm(Protocol):
    """One way of packing buffers. The same arguments always give the same answer."""

    def __call__(self, problem: Problem, graph: ConflictGraph, limits: SearchLimits) -> Packing:
        """Place every buffer; the capacity is judged by the caller.

        Parameters
        ----------
        problem : Problem
            At least one buffer.
        graph : ConflictGraph
            Of the same problem.
        limits : SearchLimits
            Bound, seed and time limit.
        """
        ...
