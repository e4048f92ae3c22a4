"""What moving rows costs besides MACs: a rough count of instructions, to tell plans apart.

Counted on a Cortex-M7 a copied byte takes about half an instruction and a kernel call some forty,
parameters, loop bounds and branches around it included. The figures choose between plans of equal
MACs and are never shown.
"""

from __future__ import annotations

from itertools import pairwise

from tvm_patch.plan.layout import Group, OperatorLayout

_PER_CALL = 40
_PER_BYTE = 0.5


def group_effort(group: Group) -> int:
    """Instructions that a group spends on calls, copies and moves."""
    if group.tiling is None:
        return _PER_CALL
    return round(sum(_layout_effort(group, layout) for layout in group.operators))


def _layout_effort(group: Group, layout: OperatorLayout) -> float:
    tiling = group.tiling
    assert tiling is not None
    output = group.blocks[layout.operator.output]
    height = group.blocks[layout.operator.paced_by].tensor.height
    positions = len(group.made[layout.operator.name])
    rows = min(positions * layout.rows, height) * tiling.tiles_x
    steps = 1 if layout.steps is None else sum(end > begin for begin, end in layout.steps.new)
    effort = float(rows * steps * _PER_CALL)
    copied_bytes = 0
    for window in layout.windows:
        if window is not None:
            copied_bytes += rows * window.size_bytes
    kept_rows = layout.holding.kept_rows
    if layout.steps is None:
        copied_bytes += positions * kept_rows * output.row_bytes
    elif output.region is not None and layout.store is not None:
        copied_bytes += rows * (kept_rows + 1) * layout.store.row_bytes
    if layout.steps is not None and output.region is not None:
        for before, start in pairwise(layout.steps.starts):
            kept = layout.steps.extent - (start - before)
            if start > before and kept > 0:
                size_bytes = layout.region.rows.extent * kept * output.tensor.pixel_bytes
                copied_bytes += positions * size_bytes
                effort += positions * _PER_CALL
    return effort + copied_bytes * _PER_BYTE
