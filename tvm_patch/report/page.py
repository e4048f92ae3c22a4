"""A page of text, tables and pictures: one HTML file that needs nothing else, or Markdown."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from tvm_patch.errors import ToolMissingError
from tvm_patch.report.cells import Cells, markdown

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Parameters
    ----------
    file_name : str
        What it is called beside a Markdown page.
    caption : str
        What it shows.
    png : bytes
        The file.
    """

    file_name: str
    caption: str
    png: bytes

    @property
    def data_uri(self) -> str:
        """The picture in an address, for pages that need no other file."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading.

    Parameters
    ----------
    title : str
        The heading.
    paragraphs : tuple of str
        Plain text.
    tables : tuple of Cells
        Below the text.
    pictures : tuple of Picture
        Below the tables.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Cells, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @property
    def anchor(self) -> str:
        """The heading as an address within the page."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True)
class Page:
    """A report.

    Parameters
    ----------
    title : str
        Of the page.
    lead : str
        One sentence on what it is about.
    sections : tuple of Section
        In order.
    """

    title: str
    lead: str
    sections: tuple[Section, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures, in order."""
        return tuple(picture for section in self.sections for picture in section.pictures)


def html(page: Page) -> str:
    """The page as one HTML file, pictures and style inside.

    Raises
    ------
    ToolMissingError
        When jinja2 is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise ToolMissingError(
            "the Python package 'jinja2', which writes pages, is not installed",
            hint="pip install 'tvm-patch[full]'",
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2").render(page=page)


def markdown_page(page: Page) -> str:
    """The page in Markdown; pictures are files beside it."""
    blocks = [f"# {page.title}", page.lead]
    for section in page.sections:
        blocks += [f"## {section.title}", *section.paragraphs]
        blocks += [markdown(table).rstrip() for table in section.tables]
        blocks += [f"![{each.caption}]({each.file_name})" for each in section.pictures]
    return "\n\n".join(blocks) + "\n"
