"""Tables as text, Markdown or comma-separated values, and files of text."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from two_stream_fusion.io import images


def row(cells) -> str:
    """A line of a Markdown table."""
    return "".join(f"| {cell} " if cell else "| " for cell in map(str, cells)) + "|"


def markdown(header, rows) -> str:
    """A Markdown table; each line ends."""
    return "\n".join([row(header), "|---" * len(header) + "|", *map(row, rows)]) + "\n"


def comma_separated(header, rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def write(path, text) -> None:
    """Write a file whole or not at all; its folder is made if it is not there."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with images.whole(path) as beside:
        beside.write_text(text, encoding="utf-8")
