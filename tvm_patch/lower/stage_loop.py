"""The loops of a group: tiles, rows, gathering of input rows, blanking of borders, kernel calls.

For every row of every operator of a tile the generated code asks whether the row lies in the
image. If so a kernel makes it, reading through a row window where the operator pads; if not, it is
filled with the value that the next operator's padding reads as. Columns outside the image are
blanked after the row is made. Conditions that can be decided at compile time are left to TVM's
simplifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tvm import tirx

from tvm_patch.analysis import Network, resized_rows
from tvm_patch.lower.address import AddressSpace
from tvm_patch.lower.column_run import ColumnRunLoop
from tvm_patch.lower.group_context import GroupContext, KernelCall
from tvm_patch.lower.marks import Marker, no_marks
from tvm_patch.lower.statements import (
    Expr,
    Stmt,
    branch,
    call,
    copy_bytes,
    fill_bytes,
    is_inside,
    loop,
    move_bytes,
    sequence,
)
from tvm_patch.plan.graph import Access, Tensor
from tvm_patch.plan.layout.group import Block, Group, OperatorLayout, RowWindow
from tvm_patch.plan.layout.stage import FETCH


@dataclass(frozen=True)
class _Tile:
    """Which time an operator runs, and the first column of the tile in the group's output."""

    position: Expr
    col: Expr


class StageLoop:
    """Generates the body of one tiled group.

    Parameters
    ----------
    network : Network
        What is computed.
    group : Group
        With a tiling.
    addresses : AddressSpace
        Where things lie.
    storage_of : mapping of str to str
        Storage of each tensor.
    kernels : mapping of str to sequence of KernelCall
        By operator: one, or none for an operator that only moves data.
    fetch_symbol : str
        C function that brings rows of an input which is not resident.
    marker : Marker or None
        Says what code belongs to; None for code that is never profiled.
    """

    def __init__(
        self,
        network: Network,
        group: Group,
        addresses: AddressSpace,
        storage_of: Mapping[str, str],
        kernels: Mapping[str, Sequence[KernelCall]],
        fetch_symbol: str = "fetch_rows",
        marker: Marker | None = None,
    ) -> None:
        self._graph = network.graph
        self._details = network.details
        self._group = group
        self._addresses = addresses
        self._marker = marker or no_marks(group)
        self._context = GroupContext(
            network.graph,
            group,
            addresses,
            storage_of,
            kernels,
            fetch_symbol,
            self._marker,
        )

    def body(self) -> Stmt:
        """The whole loop nest."""
        tiling = self._group.tiling
        assert tiling is not None
        if is_flat(self._group):
            return self._flat_call(self._group.operators[0])

        def strip(tile_x: Expr) -> Stmt:
            column = self._tile_column(tile_x)
            first_step, outermost = tiling.steps.start, len(self._group.rates) - 1
            tiles = loop(
                "step",
                len(tiling.steps),
                lambda step: self._turn(outermost, _Tile(step + first_step, column)),
            )
            return sequence([*self._zeroed_sums(), tiles])

        return loop("strip", tiling.tiles_x, strip)

    def _turn(self, depth: int, tile: _Tile) -> Stmt:
        """One turn of the operators of one rate, after as many of those that run more often."""
        rates = self._group.rates
        statements: list[Stmt] = []
        if depth > 0:
            ratio = rates[depth - 1] // rates[depth]
            statements.append(
                loop(
                    "turn",
                    ratio,
                    lambda turn: self._turn(
                        depth - 1, _Tile(tile.position * ratio + turn, tile.col)
                    ),
                )
            )
        runs = {run.first: run for run in self._group.runs}
        for unit in self._group.units:
            layout = self._group.operators[unit.start]
            if layout.holding.rate != rates[depth]:
                continue
            if unit.start in runs:
                columns = ColumnRunLoop(self._context, runs[unit.start])
                last = self._group.operators[runs[unit.start].last]
                statements.append(self._operator(last, tile, columns))
            else:
                statements.append(self._operator(layout, tile))
        return sequence([*statements, *self._marker.loops()])

    def _tile_column(self, tile_x: Expr) -> Expr:
        tiling = self._group.tiling
        assert tiling is not None
        if tiling.tiles_x == 1:
            return tirx.const(0, "int32")
        return tirx.min(tile_x * tiling.tile_w, tiling.width - tiling.tile_w)

    def _zeroed_sums(self) -> list[Stmt]:
        """What rows are added to begins with zeros."""
        if not self._group.accumulates:
            return []
        sums = self._graph.tensor[self._group.output]
        zeroed = fill_bytes(self._context.pointer(sums, 0), 0, sums.size_bytes)
        return [*self._marker.data(self._group.operators[-1].operator.name), zeroed]

    def _flat_call(self, layout: OperatorLayout) -> Stmt:
        operator = layout.operator
        inputs = [self._context.pointer(self._graph.tensor[name], 0) for name in operator.inputs]
        if operator.kind == "concatenate":
            return self._join(layout, inputs, 0)
        output = self._context.pointer(self._graph.tensor[operator.output], 0)
        return self._context.kernel(operator.name, inputs, output)

    def _join(self, layout: OperatorLayout, inputs: Sequence[Expr], offset_bytes: Expr) -> Stmt:
        """A concatenation: each input's channels behind those of the one before."""
        operator = layout.operator
        output = self._graph.tensor[operator.output]
        statements: list[Stmt] = []
        for number, (name, data) in enumerate(zip(operator.inputs, inputs, strict=True)):
            target = self._context.pointer(output, offset_bytes)
            statements.append(self._context.kernel(operator.name, [data], target, number))
            offset_bytes += self._graph.tensor[name].pixel_bytes
        return sequence(statements)

    def _operator(
        self, layout: OperatorLayout, tile: _Tile, run: ColumnRunLoop | None = None
    ) -> Stmt:
        """All rows of one operator in one tile, or of the column run that it ends."""
        assert self._group.tiling is not None
        active, positions = (
            self._group.active[layout.operator.name],
            layout.positions(self._group.tiling),
        )
        statements = [self._rows_of_tile(layout, tile, is_stepped=run is not None)]
        if run is not None:
            statements.append(run.body(tile.position))
        block, blank = self._group.blocks[layout.operator.output], self._context.blank_value(layout)
        if layout.holding.kept_rows and blank is not None:
            # Rows above the image, which no tile computes, read as padding.
            fill = fill_bytes(self._context.pointer(block.tensor, 0), blank, block.size_bytes)
            statements.insert(0, branch(tile.position == active.start, fill))
        begins = tile.position >= active.start if active.start > positions.start else True
        ends = tile.position < active.stop if active.stop < positions.stop else True
        return branch(begins, branch(ends, sequence(statements)))

    def _rows_of_tile(self, layout: OperatorLayout, tile: _Tile, *, is_stepped: bool) -> Stmt:
        """Rows and columns outside the image blanked; those inside made, if not in steps."""
        output = self._group.blocks[layout.operator.output]
        rows = layout.region.rows
        blank = self._context.blank_value(layout)
        height = self._group.blocks[layout.operator.paced_by].tensor.height

        def row_statement(row: Expr) -> Stmt:
            y = rows.scale * tile.position - rows.offset + row
            make = sequence([]) if is_stepped else self._make_row(layout, tile, row, y)
            if output.region is None or blank is None:
                return branch(is_inside(y, height), make)
            target = self._context.pointer(output.tensor, row * output.row_bytes)
            fill = fill_bytes(target, blank, output.row_bytes)
            made = sequence([make, *self._blank_columns(layout, tile, row, blank)])
            return branch(is_inside(y, height), made, fill)

        begins = self._marker.data(layout.operator.name)
        kept_rows = layout.holding.kept_rows
        if is_stepped and (output.region is None or blank is None) and not kept_rows:
            return sequence([])
        if not kept_rows:
            return sequence([*begins, loop("row", rows.extent, row_statement)])
        made = loop("row", layout.rows, lambda row: row_statement(row + kept_rows))
        advance = self._context.pointer(output.tensor, layout.rows * output.row_bytes)
        begin = self._context.pointer(output.tensor, 0)
        keep = move_bytes(begin, advance, kept_rows * output.row_bytes)
        return sequence([*begins, keep, made])

    def _blank_columns(
        self, layout: OperatorLayout, tile: _Tile, row: Expr, blank: int
    ) -> list[Stmt]:
        """Fill the columns of a row that lie left and right of the image."""
        block = self._group.blocks[layout.operator.output]
        cols, pixel_bytes = layout.region.cols, block.tensor.pixel_bytes
        first = cols.scale * tile.col - cols.offset
        left = tirx.max(0, -first)
        right = tirx.max(0, first + cols.extent - block.tensor.width)
        assert self._group.tiling is not None
        starts = [cols.start(tile_start) for tile_start in self._group.tiling.col_starts]
        if min(starts) + cols.extent < 0 or max(starts) > block.tensor.width:
            # In some tile the whole row lies beside the image.
            left, right = tirx.min(left, cols.extent), tirx.min(right, cols.extent)
        row_start = row * block.row_bytes
        right_start = row_start + (cols.extent - right) * pixel_bytes
        return [
            branch(
                left > 0,
                fill_bytes(
                    self._context.pointer(block.tensor, row_start), blank, left * pixel_bytes
                ),
            ),
            branch(
                right > 0,
                fill_bytes(
                    self._context.pointer(block.tensor, right_start), blank, right * pixel_bytes
                ),
            ),
        ]

    def _make_row(self, layout: OperatorLayout, tile: _Tile, row: Expr, y: Expr) -> Stmt:
        """Compute one output row that lies in the image."""
        operator = layout.operator
        if layout.is_idle:
            return sequence([])
        block = self._group.blocks[operator.output]
        cols = layout.region.cols
        x = cols.scale * tile.col - cols.offset + layout.first_column
        if block.region is None:
            target = y * block.row_bytes + x * block.tensor.pixel_bytes
        else:
            target = row * block.row_bytes + layout.first_column * block.tensor.pixel_bytes
        if operator.kind == FETCH:
            number = self._graph.inputs.index(operator.output)
            return call(
                self._context.fetch_symbol,
                number,
                y,
                1,
                self._context.pointer(block.tensor, target),
            )
        if operator.kind == "pad":
            return self._pad_row(
                layout,
                lambda offset: self._context.pointer(block.tensor, target + offset),
                row,
                y,
                x,
            )
        gather: list[Stmt] = []
        inputs: list[Expr] = []
        for name, window in zip(operator.inputs, layout.windows, strict=True):
            source = self._group.blocks[name]
            if window is not None:
                gather.append(self._gather(layout, window, source.tensor, row, y, x))
                inputs.append(self._addresses.storage(window.buffer, 0, source.tensor.dtype))
            else:
                offset = self._input_offset(layout, name, row, y, x)
                inputs.append(self._context.pointer(source.tensor, offset))
        if operator.access is Access.ACCUMULATE:
            sums = self._context.pointer(block.tensor, 0)
            return self._context.kernel(operator.name, [*inputs, sums], sums)
        if operator.kind == "concatenate":
            return sequence([*gather, self._join(layout, inputs, target)])
        make = self._context.kernel(
            operator.name, inputs, self._context.pointer(block.tensor, target)
        )
        return sequence([*gather, make])

    def _input_offset(self, layout: OperatorLayout, name: str, row: Expr, y: Expr, x: Expr) -> Expr:
        """Offset of the window's first element in an input that is read in place."""
        if layout.operator.kind == "resize_nearest":
            return self._resized_row(layout, y) * self._group.blocks[name].row_bytes
        if name in layout.operator.whole_inputs:
            return tirx.const(0, "int32")
        block, window = self._group.blocks[name], layout.operator.window
        first_row = self._context.first_input_row(layout, name, row, y)
        if block.region is None:
            first_col = x * window.stride_w - window.pad_left
        else:
            first_col = (layout.first_column - layout.region.cols.offset) * window.stride_w
            first_col += block.region.cols.offset - window.pad_left
        return first_row * block.row_bytes + first_col * block.tensor.pixel_bytes

    def _resized_row(self, layout: OperatorLayout, y: Expr) -> Expr:
        """The source row that a resize makes row ``y`` of."""
        operator = layout.operator
        rule = resized_rows(
            self._graph.tensor[operator.inputs[0]],
            self._graph.tensor[operator.output],
            self._details[operator.name].attributes,
        )
        assert rule is not None
        return tirx.shift_right(y * rule.multiplier + rule.offset, tirx.const(rule.shift, "int32"))

    def _pad_row(
        self,
        layout: OperatorLayout,
        target: Callable[[Expr], Expr],
        row: Expr,
        y: Expr,
        x: Expr,
    ) -> Stmt:
        """A padding operator's row: copied, its border written."""
        operator, window = layout.operator, layout.operator.window
        source = self._group.blocks[operator.inputs[0]]
        if source.region is not None:
            offset = self._input_offset(layout, operator.inputs[0], row, y, x)
            size_bytes = layout.columns * source.tensor.pixel_bytes
            return copy_bytes(target(0), self._context.pointer(source.tensor, offset), size_bytes)
        assert operator.pad_value is not None
        return self._load_row(
            target,
            source.tensor,
            y - window.pad_top,
            x - window.pad_left,
            layout.columns,
            operator.pad_value,
            may_miss_image=self._may_miss_image(layout, layout.columns, source.tensor.width),
        )

    def _gather(
        self,
        layout: OperatorLayout,
        window: RowWindow,
        source: Tensor,
        row: Expr,
        y: Expr,
        x: Expr,
    ) -> Stmt:
        """Bring the rows under the window of output row ``y`` into the row window.

        Rows that the previous output row has left there are moved up, only new ones are loaded.
        """
        geometry = layout.operator.window
        first_row = y * geometry.stride_h - geometry.pad_top
        first_col = x * geometry.stride_w - geometry.pad_left
        pad_value = layout.operator.pad_value or 0
        may_miss = self._may_miss_image(layout, window.columns, source.width)

        def load(index: Expr) -> Stmt:
            def target(offset_bytes: Expr) -> Expr:
                start = index * window.row_bytes + offset_bytes
                return self._addresses.storage(window.buffer, start, source.dtype)

            return self._load_row(
                target,
                source,
                first_row + index,
                first_col,
                window.columns,
                pad_value,
                may_miss_image=may_miss,
            )

        kept = window.rows - geometry.stride_h
        if kept <= 0:
            return loop("line", window.rows, load)
        begins = y == 0 if layout.continuous else tirx.any(row == layout.first_row, y == 0)
        shift = move_bytes(
            self._addresses.storage(window.buffer, 0),
            self._addresses.storage(window.buffer, geometry.stride_h * window.row_bytes),
            kept * window.row_bytes,
        )
        # The kept rows come from the input only where no earlier row has left them.
        first = loop("line", kept, load)
        following = loop("line", geometry.stride_h, lambda line: load(line + kept))
        return sequence([branch(begins, first, shift), following])

    def _may_miss_image(self, layout: OperatorLayout, columns: int, width: int) -> bool:
        """Whether in some tile all ``columns`` read by a row lie left or right of the image."""
        assert self._group.tiling is not None
        window = layout.operator.window
        for tile_start in self._group.tiling.col_starts:
            x = layout.region.cols.start(tile_start) + layout.first_column
            first = x * window.stride_w - window.pad_left
            if first + columns < 0 or first > width:
                return True
        return False

    def _load_row(
        self,
        target: Callable[[Expr], Expr],
        source: Tensor,
        source_row: Expr,
        first_col: Expr,
        columns: int,
        pad_value: int,
        *,
        may_miss_image: bool,
    ) -> Stmt:
        """Copy ``columns`` pixels of a whole tensor's row; what lies outside reads as padding.

        ``may_miss_image`` says that in some tile all of them may lie outside.
        """
        pixel_bytes = source.pixel_bytes
        left = tirx.max(0, -first_col)
        right = tirx.max(0, first_col + columns - source.width)
        if may_miss_image:
            left, right = tirx.min(left, columns), tirx.min(right, columns)
        start = source_row * source.row_bytes + (first_col + left) * pixel_bytes
        copied = sequence(
            [
                branch(left > 0, fill_bytes(target(0), pad_value, left * pixel_bytes)),
                copy_bytes(
                    target(left * pixel_bytes),
                    self._context.pointer(source, start),
                    (columns - left - right) * pixel_bytes,
                ),
                branch(
                    right > 0,
                    fill_bytes(
                        target((columns - right) * pixel_bytes), pad_value, right * pixel_bytes
                    ),
                ),
            ]
        )
        outside = fill_bytes(target(0), pad_value, columns * pixel_bytes)
        return branch(is_inside(source_row, source.height), copied, outside)


def is_flat(group: Group) -> bool:
    """Whether one kernel call makes the whole output: no window, no stage."""
    layout = group.operators[0]
    operator = layout.operator
    return (
        group.stage is None
        and operator.access is Access.ROWS
        and operator.window.is_identity
        and operator.kind not in ("pad", "resize_nearest")
        and all(window is None for window in layout.windows)
    )


def row_pixels(block: Block, window: RowWindow | None) -> int:
    """Pixels from one row to the next where a kernel reads its input."""
    if window is not None:
        return window.columns
    return block.tensor.width if block.region is None else block.region.cols.extent
