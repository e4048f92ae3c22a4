"""Packing algorithms, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tvm_patch.errors import PlanError
from tvm_patch.memory.algorithms.exact import pack_exact
from tvm_patch.memory.algorithms.greedy import (
    pack_greedy_by_breadth,
    pack_greedy_by_conflict,
    pack_greedy_by_size,
)
from tvm_patch.memory.algorithms.hill_climb import pack_hill_climb
from tvm_patch.memory.algorithms.interface import Algorithm, Packing, SearchLimits

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {
        "greedy_by_size": pack_greedy_by_size,
        "greedy_by_conflict": pack_greedy_by_conflict,
        "greedy_by_breadth": pack_greedy_by_breadth,
        "hill_climb": pack_hill_climb,
        "exact": pack_exact,
    }
)


def find_algorithm(name: str) -> Algorithm:
    """Look an algorithm up by its name.

    Raises
    ------
    PlanError
        Naming the algorithms there are, if it is none of them.
    """
    try:
        return ALGORITHMS[name]
    except KeyError:
        raise PlanError(
            f"no packing algorithm is called {name!r}",
            hint=f"choose one of {', '.join(ALGORITHMS)}",
        ) from None


__all__ = ["ALGORITHMS", "Algorithm", "Packing", "SearchLimits", "find_algorithm"]
