"""Packing buffers with live ranges into one arena. Pure integers; knows nothing of TVM.

>>> problem = Problem((Buffer("a", 16, 0, 1), Buffer("b", 8, 1, 2), Buffer("c", 16, 2, 3)))
>>> allocate(problem).arena_bytes
24
"""

from __future__ import annotations

from tvm_patch.memory.algorithms import ALGORITHMS
from tvm_patch.memory.allocator import allocate
from tvm_patch.memory.bounds import Peak, find_peak, lower_bound_bytes
from tvm_patch.memory.minimalloc_csv import format_csv, parse_csv, read_csv, write_csv
from tvm_patch.memory.pieces import Piece, merge_pieces, pieces_by_step
from tvm_patch.memory.problem import Allocation, Buffer, Problem
from tvm_patch.memory.validator import validate

__all__ = [
    "ALGORITHMS",
    "Allocation",
    "Buffer",
    "Peak",
    "Piece",
    "Problem",
    "allocate",
    "find_peak",
    "format_csv",
    "lower_bound_bytes",
    "merge_pieces",
    "parse_csv",
    "pieces_by_step",
    "read_csv",
    "validate",
    "write_csv",
]
