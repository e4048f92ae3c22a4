"""Tables fit where they are printed, and say the same as Markdown."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tvm_patch.report.cells import Cells, Column, markdown, shortened

words = st.text("abcdefgh_-0123456789", max_size=40)


@st.composite
def tables(draw: st.DrawFn) -> Cells:
    count = draw(st.integers(1, 6))
    shrinks = st.one_of(st.none(), st.integers(1, 10))
    columns = tuple(
        Column(f"c{i}", draw(st.booleans()), draw(shrinks), draw(st.integers(0, 3)) if i else 0)
        for i in range(count)
    )
    rows = draw(st.lists(st.tuples(*[words] * count), max_size=5))
    return Cells(columns, tuple(rows), totals=draw(st.integers(0, len(rows))))


def lines_of(cells: Cells, width: int) -> list[str]:
    target = io.StringIO()
    Console(file=target, width=width).print(cells)
    return target.getvalue().splitlines()


@given(tables(), st.integers(10, 200))
def test_a_table_has_one_line_a_row_and_is_no_wider_than_it_must(cells: Cells, width: int) -> None:
    narrowest = 1 + sum(
        3 + min(column.shrinks_to or 99, max(len(t) for t in (column.name, *texts)))
        for column, texts in zip(
            cells.columns, zip(*cells.rows, strict=True) if cells.rows else [()] * 9, strict=False
        )
        if not column.goes
    )
    lines = lines_of(cells, max(width, narrowest))
    assert max(map(len, lines)) <= max(width, narrowest)
    assert sum(line.startswith("│") for line in lines) == len(cells.rows)


@given(tables())
def test_where_there_is_room_nothing_is_left_out(cells: Cells) -> None:
    lines = lines_of(cells, 500)
    shown = [line.split("│")[1:-1] for line in lines if line.startswith("│")]
    assert [tuple(cell.strip() for cell in row) for row in shown] == list(cells.rows)


def test_columns_go_in_their_order() -> None:
    columns = (Column("stays"), Column("second", goes=2), Column("first", goes=1))
    cells = Cells(columns, (("1", "2", "3"),))
    assert "second" in lines_of(cells, 20)[1]
    assert "first" not in lines_of(cells, 20)[1]
    assert "second" not in lines_of(cells, 12)[1]


@given(words, st.integers(1, 50))
def test_shortened_text_keeps_both_ends(text: str, width: int) -> None:
    short = shortened(text, width)
    assert len(short) <= width
    if len(text) <= width:
        assert short == text
    else:
        head, tail = short.split("\N{HORIZONTAL ELLIPSIS}")
        assert text.startswith(head)
        assert text.endswith(tail)


def test_markdown_has_every_cell_and_marks() -> None:
    columns = (Column("name", left=True), Column("bytes"))
    cells = Cells(columns, (("a|b", "1"), ("c", "2")), title="T", marked={1})
    assert markdown(cells).splitlines() == [
        "**T**",
        "",
        "| name | bytes |",
        "| --- | ---: |",
        r"| a\|b | 1 |",
        "| **c** | **2** |",
    ]
