"""Tables as data: printed so that they fit a terminal, or written as Markdown or HTML."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
# What a column takes beside its text: two spaces and one line; the table has one line more.
_AROUND = 3


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    name : str
        Its head.
    left : bool
        Names are aligned to the left, figures to the right.
    shrinks_to : int or None
        Characters that it may come down to where room is short; the middle of longer text is left
        out, since names of layers differ at their ends. None for text that has to stay whole.
    goes : int
        Columns that are left out where room is still short have 1, 2 and so on, in that order; 0
        stays.
    """

    name: str
    left: bool = False
    shrinks_to: int | None = None
    goes: int = 0


@dataclass(frozen=True)
class Cells:
    """A table.

    Parameters
    ----------
    columns : tuple of Column
        From left to right.
    rows : tuple of tuple of str
        As many cells each as there are columns.
    title : str or None
        Above it.
    marked : collection of int
        Rows to be emphasised.
    totals : int
        How many of the last rows are totals, apart from the others.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str | None = None
    marked: Collection[int] = ()
    totals: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.fitted(options.max_width)

    def is_bold(self, row: int) -> bool:
        """Whether a row is marked or a total."""
        return row in self.marked or row >= len(self.rows) - self.totals

    def fitted(self, width: int) -> Table:
        """For a terminal of ``width`` columns."""
        shown, widths = self._fit(width)
        table = Table(title=self.title, title_justify="left", title_style="bold")
        for index in shown:
            column = self.columns[index]
            table.add_column(column.name, justify="left" if column.left else "right", no_wrap=True)
        for number, row in enumerate(self.rows):
            if self.totals and number == len(self.rows) - self.totals:
                table.add_section()
            bold = self.is_bold(number)
            cells = [shortened(row[index], widths[index]) for index in shown]
            table.add_row(*cells, style="bold" if bold else None)
        return table

    def _fit(self, width: int) -> tuple[list[int], list[int]]:
        """Which columns are shown, and how wide each may be."""
        natural = [
            max(cell_len(text) for text in (column.name, *(row[i] for row in self.rows)))
            for i, column in enumerate(self.columns)
        ]
        least = [
            wide if column.shrinks_to is None else min(wide, max(column.shrinks_to, 1))
            for column, wide in zip(self.columns, natural, strict=True)
        ]
        shown = list(range(len(self.columns)))
        leaving = sorted((i for i in shown if self.columns[i].goes), key=self._goes)
        while leaving and sum(least[i] + _AROUND for i in shown) + 1 > width:
            shown.remove(leaving.pop(0))
        widths = list(natural)
        excess = sum(widths[i] + _AROUND for i in shown) + 1 - width
        for _ in range(max(0, excess)):
            # The widest gives first, so that no name is cut to nothing beside a long one.
            able = [i for i in shown if widths[i] > least[i]]
            if not able:
                break
            widths[max(able, key=widths.__getitem__)] -= 1
        return shown, widths

    def _goes(self, index: int) -> int:
        return self.columns[index].goes


def shortened(text: str, width: int) -> str:
    """Text of at most ``width`` characters; of longer text the middle is left out."""
    if len(text) <= width:
        return text
    if width <= 1:
        return _ELLIPSIS[:width]
    tail = width // 2
    return text[: width - 1 - tail] + _ELLIPSIS + text[len(text) - tail :]


def markdown(cells: Cells) -> str:
    """The table in Markdown; a title stands above it in bold."""
    return "\n".join(_markdown_lines(cells)) + "\n"


def _markdown_lines(cells: Cells) -> Iterator[str]:
    if cells.title:
        yield from (f"**{cells.title}**", "")
    yield _markdown_row([column.name for column in cells.columns])
    yield _markdown_row(["---" if column.left else "---:" for column in cells.columns])
    for number, row in enumerate(cells.rows):
        bold = cells.is_bold(number)
        yield _markdown_row([f"**{text}**" if bold and text.strip() else text for text in row])


def _markdown_row(row: Sequence[str]) -> str:
    escaped = [text.replace("|", "\\|") for text in row]
    return f"| {' | '.join(escaped)} |"
