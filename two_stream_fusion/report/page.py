"""One HTML page from typed records: pictures under a slider, sortable tables, plots.

The page is one file. It holds its pictures, style and script, and a policy that forbids the browser to fetch
anything else.
"""

from __future__ import annotations

import base64
import hashlib
import os
import urllib.parse
from pathlib import Path
from typing import NamedTuple, Sequence

import jinja2

import two_stream_fusion
from two_stream_fusion.base.files import write_text
from two_stream_fusion.report.pictures import MAX_BYTES, MAX_SIDE, WHITE, Shown, encode_all
from two_stream_fusion.report.plots import HEIGHT, WIDTH, Plot, draw

FOLDER = Path(__file__).parent


class Picture(NamedTuple):
    """A picture of a view.

    name: its label. shown: the pixels. alt: what it shows, in words. size: (width, height) of the full image.
    link: of the full file, relative to the page; empty where there is none. difference: the same place as its
    difference from the ground truth. note: a few words behind the label, such as a score.
    """

    name: str
    shown: Shown
    alt: str
    size: tuple[int, int]
    link: str = ""
    difference: Shown | None = None
    note: str = ""


class Swatch(NamedTuple):
    """A colour of a legend, as (red, green, blue) of 0..255, and what it stands for."""

    colour: tuple[int, int, int]
    name: str


class View(NamedTuple):
    """Pictures of one scene and size, compared under a slider or side by side.

    left, right: the places in `pictures` of the two that the slider begins with. is_grid: begin side by side.
    shows_differences: begin with the differences. legend: of a map among the pictures.
    """

    label: str
    pictures: Sequence[Picture]
    left: int = 0
    right: int = 1
    is_grid: bool = False
    shows_differences: bool = False
    legend_title: str = ""
    legend: Sequence[Swatch] = ()


class Cell(NamedTuple):
    """A cell of a table. value: what it is sorted by. beside: a published value."""

    text: str
    value: float | str
    is_best: bool = False
    beside: str = ""
    is_beside_best: bool = False


class Table(NamedTuple):
    """A table that sorts by its columns; the first column names the rows."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


class Section(NamedTuple):
    """A part of a page. facts: (term, description). is_folded: opened by a click."""

    heading: str
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    views: Sequence[View] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    facts: Sequence[tuple[str, str]] = ()
    is_folded: bool = False


class Page(NamedTuple):
    """A page: title, one sentence below it, and its sections."""

    title: str
    lead: str
    sections: Sequence[Section]


def relative_link(target: str | Path, page: str | Path) -> str:
    """Make the link from a page to a file.

    Args:
        target: the file.
        page: where the page is written.

    Returns:
        A relative link, with all characters escaped that mean something in a link.
    """
    path = os.path.relpath(os.path.realpath(target), os.path.realpath(Path(page).parent))
    return urllib.parse.quote(os.fsencode(Path(path).as_posix()))  # a name may be any bytes


def render(page: Page, max_bytes: int = MAX_BYTES) -> str:
    """Make the HTML of a page.

    Args:
        page: what it shows.
        max_bytes: the bound of all its pictures together, in characters.

    Returns:
        The HTML. Names are escaped, and nothing outside of the file is loaded.

    Raises:
        ValueError: there are too many pictures.
    """
    pictures = [picture for section in page.sections for view in section.views for picture in view.pictures]
    shown_images = [part for picture in pictures for part in (picture.shown, picture.difference) if part]
    uris = iter(encode_all(shown_images, max_bytes))
    # Keyed by identity: equal pixels may be in two views.
    sources = {id(part): next(uris) for part in shown_images}
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(FOLDER)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        page=page,
        source=lambda part: sources[id(part)],
        draw=draw,
        width=WIDTH,
        height=HEIGHT,
        style=(FOLDER / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_digest=digest,
        megabytes=sum(map(len, sources.values())) / 1e6,
        max_side=MAX_SIDE,
        white=WHITE,
        version=two_stream_fusion.__version__,
    )


def write_page(path: str | Path, page: Page, replace: bool = True) -> None:
    """Write a page, whole or not at all.

    Args:
        path: the file; its folder is made where there is none.
        page: what it shows.
        replace: replace an older file.

    Raises:
        ValueError: without `replace` the file exists, or there are too many pictures.
    """
    write_text(path, render(page), replace)
