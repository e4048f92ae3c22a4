"""The loop of a column run: operators that go through a row together, a few columns at a time.

Each operator has a working tile: the rows under its readers' windows, some columns wide. In each
step its columns move to the left, new columns of older rows are loaded from the store of whole
rows, and those of new rows are computed and stored. Kernels have static widths, so the first and
the last steps, in which operators make other numbers of columns, are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby

from tvm import tirx

from tvm_patch.lower.group_context import GroupContext
from tvm_patch.lower.statements import (
    Expr,
    Stmt,
    branch,
    copy_bytes,
    fill_bytes,
    is_inside,
    loop,
    move_bytes,
    sequence,
)
from tvm_patch.plan.layout.columns import ColumnRun
from tvm_patch.plan.layout.group import OperatorLayout
from tvm_patch.plan.movement import tile_move


@dataclass(frozen=True)
class _Columns:
    """Columns of a working tile in one step, counted from its left edge.

    Parameters
    ----------
    shift : int
        Columns by which the tile has moved on since the step before.
    kept : int
        First column that was not in the tile before.
    first, count : int
        The new columns that are computed.
    read : int
        No operator reads columns from this one on, now or later.
    outside : tuple of (int, int)
        Columns [begin, end) left and right of the image that were not in the tile before, as far
        as they are read.
    """

    shift: int
    kept: int
    first: int
    count: int
    read: int
    outside: tuple[tuple[int, int], ...]


class ColumnRunLoop:
    """Generates the loop over the column steps of one run.

    Parameters
    ----------
    context : GroupContext
        The group.
    run : ColumnRun
        One of its runs.
    """

    def __init__(self, context: GroupContext, run: ColumnRun) -> None:
        self._context = context
        self._layouts = context.group.operators[run.first : run.last + 1]
        self._inside = {layout.operator.output: layout for layout in self._layouts[:-1]}

    def body(self, position: Expr) -> Stmt:
        """All steps at one position of the run."""
        assert self._layouts[-1].steps is not None
        count = len(self._layouts[-1].steps.new)
        shapes = [self._step_shape(number) for number in range(count)]
        statements: list[Stmt] = []
        number = 0
        for shape, alike in groupby(shapes):
            length = len(list(alike))
            statements.append(self._loop(shape, number, length, position))
            number += length
        return sequence(statements)

    def _loop(self, shape: Mapping[str, _Columns], first: int, length: int, position: Expr) -> Stmt:
        def step(number: Expr) -> Stmt:
            starts = {}
            for layout in self._layouts:
                assert layout.steps is not None
                shift = shape[layout.operator.name].shift
                starts[layout.operator.name] = layout.steps.starts[first] + number * shift
            return self._step(shape, starts, position)

        return loop("column", length, step)

    def _step_shape(self, number: int) -> Mapping[str, _Columns]:
        """What each operator does in a step, in columns of its tile."""
        shape: dict[str, _Columns] = {}
        for layout in self._layouts:
            steps = layout.steps
            assert steps is not None
            begin, end = steps.new[number]
            start, extent = steps.starts[number], steps.extent
            shift = start - steps.starts[number - 1] if number > 0 else 0
            kept = max(0, extent - shift) if number > 0 else 0
            width = self._context.graph.tensor[layout.operator.output].width
            read = extent
            if layout.operator.output in self._inside:
                read = min(extent, self._read_end(layout.operator.output) - start)
            sides = ((kept, min(extent, -start)), (max(kept, width - start), read))
            outside = tuple(side for side in sides if side[0] < side[1])
            first = begin - start if end > begin else 0
            shape[layout.operator.name] = _Columns(shift, kept, first, end - begin, read, outside)
        return shape

    def _read_end(self, tensor: str) -> int:
        """The column of the image behind the last one that the run reads of a tensor inside."""
        ends: list[int] = []
        for reader in self._layouts:
            if tensor in reader.operator.inputs and reader.steps is not None:
                window, last = reader.operator.window, max(end for _, end in reader.steps.new)
                ends.append((last - 1) * window.stride_w - window.pad_left + window.span_w)
        return max(ends)

    def _step(
        self, shape: Mapping[str, _Columns], starts: Mapping[str, Expr], position: Expr
    ) -> Stmt:
        statements: list[Stmt] = []
        for layout in self._layouts:
            columns = shape[layout.operator.name]
            statements.extend(self._context.marker.data(layout.operator.name))
            if layout.operator.output in self._inside:
                statements.append(self._advance(layout, columns))
                statements.append(self._load(layout, columns, starts, position))
            statements.append(self._make(layout, columns, starts, position))
        return sequence(statements)

    def _row(self, layout: OperatorLayout, row: Expr, position: Expr) -> Expr:
        """Row of the image that is the tile's ``row``."""
        rows = layout.region.rows
        return rows.scale * position - rows.offset + row

    def _tile(self, layout: OperatorLayout, row: Expr, column: Expr) -> Expr:
        """Address in the working tile."""
        block = self._context.group.blocks[layout.operator.output]
        offset = row * block.row_bytes + column * block.tensor.pixel_bytes
        return self._context.pointer(block.tensor, offset)

    def _stored(self, layout: OperatorLayout, y: Expr, column: Expr) -> Expr:
        """Address in the ring of stored rows."""
        assert layout.store is not None
        tensor = self._context.group.blocks[layout.operator.output].tensor
        slot = tirx.truncmod(y, layout.store.rows) if layout.store.rows > 1 else 0
        offset = slot * layout.store.row_bytes + column * tensor.pixel_bytes
        return self._context.addresses.storage(layout.store.buffer, offset, tensor.dtype)

    def _advance(self, layout: OperatorLayout, columns: _Columns) -> Stmt:
        """Move what stays to the left, and blank what is beside the image."""
        block = self._context.group.blocks[layout.operator.output]
        rows, pixel_bytes = layout.region.rows.extent, block.tensor.pixel_bytes
        statements: list[Stmt] = []
        kept = min(columns.kept, columns.read)
        if kept > 0 and columns.shift:
            move = tile_move(rows, block.row_bytes, kept * pixel_bytes, pixel_bytes)

            def line(row: Expr) -> Stmt:
                source = self._tile(layout, row, columns.shift)
                return move_bytes(self._tile(layout, row, 0), source, move.piece_bytes)

            statements.append(loop("line", move.pieces, line))
        blank = self._context.blank_value(layout)
        for begin, end in columns.outside:
            if blank is None:
                continue
            statements.append(
                loop("line", rows, self._filler(layout, begin, blank, (end - begin) * pixel_bytes))
            )
        return sequence(statements)

    def _filler(
        self, layout: OperatorLayout, column: int, blank: int, size_bytes: int
    ) -> Callable[[Expr], Stmt]:
        return lambda row: fill_bytes(self._tile(layout, row, column), blank, size_bytes)

    def _load(
        self,
        layout: OperatorLayout,
        columns: _Columns,
        starts: Mapping[str, Expr],
        position: Expr,
    ) -> Stmt:
        """New columns of rows that were made before."""
        if layout.store is None or not columns.count:
            return sequence([])
        tensor = self._context.group.blocks[layout.operator.output].tensor
        size_bytes = columns.count * tensor.pixel_bytes
        blank = self._context.blank_value(layout)
        column = starts[layout.operator.name] + columns.first

        def line(row: Expr) -> Stmt:
            y = self._row(layout, row, position)
            target = self._tile(layout, row, columns.first)
            load = copy_bytes(target, self._stored(layout, y, column), size_bytes)
            fill = None if blank is None else fill_bytes(target, blank, size_bytes)
            return branch(is_inside(y, tensor.height), load, fill)

        return loop("line", layout.holding.kept_rows, line)

    def _make(
        self,
        layout: OperatorLayout,
        columns: _Columns,
        starts: Mapping[str, Expr],
        position: Expr,
    ) -> Stmt:
        """New columns of new rows; where only padding is read there are no such rows."""
        if not columns.count:
            return sequence([])
        holding, block = layout.holding, self._context.group.blocks[layout.operator.output]
        stored_rows = min(layout.rows, layout.store.rows) if layout.store is not None else 0
        first = holding.kept_rows or layout.first_row
        column = starts[layout.operator.name] + columns.first

        def row_statement(row: Expr, *, is_stored: bool) -> Stmt:
            y = self._row(layout, row, position)
            target = self._target(layout, row, y, columns, column)
            make = [self._compute(layout, row, y, columns, column, starts, target)]
            size_bytes = columns.count * block.tensor.pixel_bytes
            if is_stored:
                make.append(copy_bytes(self._stored(layout, y, column), target, size_bytes))
            blank = self._context.blank_value(layout)
            fill = None
            if blank is not None and layout.operator.output in self._inside:
                fill = fill_bytes(target, blank, size_bytes)
            return branch(is_inside(y, block.tensor.height), sequence(make), fill)

        passing = layout.rows - stored_rows
        statements: list[Stmt] = []
        if passing:
            statements.append(
                loop("row", passing, lambda row: row_statement(row + first, is_stored=False))
            )
        if stored_rows:
            statements.append(
                loop(
                    "row",
                    stored_rows,
                    lambda row: row_statement(row + first + passing, is_stored=True),
                )
            )
        return sequence([*statements, *self._blank_rest(layout, columns, first)])

    def _blank_rest(self, layout: OperatorLayout, columns: _Columns, first: int) -> list[Stmt]:
        """Rows of the tile that lie outside the image at every position."""
        blank = self._context.blank_value(layout)
        if blank is None or layout.operator.output not in self._inside:
            return []
        block = self._context.group.blocks[layout.operator.output]
        size_bytes = columns.count * block.tensor.pixel_bytes
        begin = 0 if not layout.holding.kept_rows else first
        end = layout.region.rows.extent
        rest = [*range(begin, first), *range(first + layout.rows, end)]
        return [
            fill_bytes(self._tile(layout, row, columns.first), blank, size_bytes) for row in rest
        ]

    def _target(
        self, layout: OperatorLayout, row: Expr, y: Expr, columns: _Columns, column: Expr
    ) -> Expr:
        """Where new columns are written."""
        if layout.operator.output in self._inside:
            return self._tile(layout, row, columns.first)
        block = self._context.group.blocks[layout.operator.output]
        if block.region is None:
            offset = y * block.row_bytes + column * block.tensor.pixel_bytes
            return self._context.pointer(block.tensor, offset)
        return self._tile(layout, row, column + block.region.cols.offset)

    def _compute(
        self,
        layout: OperatorLayout,
        row: Expr,
        y: Expr,
        columns: _Columns,
        column: Expr,
        starts: Mapping[str, Expr],
        target: Expr,
    ) -> Stmt:
        assert layout.steps is not None
        window = layout.operator.window
        inputs: list[Expr] = []
        for name in layout.operator.inputs:
            block = self._context.group.blocks[name]
            if name in layout.operator.whole_inputs:
                inputs.append(self._context.pointer(block.tensor, 0))
                continue
            first_col = column * window.stride_w - window.pad_left
            if name in self._inside:
                first_col -= starts[self._inside[name].operator.name]
            elif block.region is not None:
                first_col += block.region.cols.offset
            first_row = self._context.first_input_row(layout, name, row, y)
            offset = first_row * block.row_bytes + first_col * block.tensor.pixel_bytes
            inputs.append(self._context.pointer(block.tensor, offset))
        number_of_kernel = layout.steps.widths.index(columns.count)
        return self._context.kernel(layout.operator.name, inputs, target, number_of_kernel)
