"""Pages stand alone, and say the same as HTML and as Markdown."""

from __future__ import annotations

from html.parser import HTMLParser

from tvm_patch.report.cells import Cells, Column
from tvm_patch.report.page import Page, Picture, Section, html, markdown_page

CELLS = Cells(
    (Column("name", left=True), Column("B")), (("a<b", "1,024"), ("c&d", "2")), marked={1}
)
PAGE = Page(
    "digits: <memory>",
    "A sentence.",
    (
        Section("One part", ("Text & more.",), (CELLS,)),
        Section("Two", pictures=(Picture("two.png", "A picture", b"\x89PNG bytes"),)),
    ),
)


class Reader(HTMLParser):
    """Collects tags in balance, addresses and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_an_html_page_needs_no_other_file() -> None:
    reader = read(html(PAGE))
    outside = [a for a in reader.addresses if not a.startswith(("#", "data:image/png;base64,"))]
    assert outside == []
    assert {a[1:] for a in reader.addresses if a.startswith("#")} == set(reader.ids)


def test_text_is_text_whatever_it_holds() -> None:
    texts = read(html(PAGE)).texts
    for text in ("digits: <memory>", "Text & more.", "a<b", "c&d", "1,024", "A sentence."):
        assert text in texts


def test_markdown_says_the_same_with_pictures_beside_it() -> None:
    text = markdown_page(PAGE)
    assert text.startswith("# digits: <memory>\n\nA sentence.\n\n## One part\n\nText & more.\n\n")
    assert "| a<b | 1,024 |" in text
    assert "| **c&d** | **2** |" in text
    assert text.endswith("## Two\n\n![A picture](two.png)\n")
    assert [picture.file_name for picture in PAGE.pictures] == ["two.png"]
