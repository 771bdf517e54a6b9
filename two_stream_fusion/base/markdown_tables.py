"""Tables as text: Markdown and comma-separated values."""

from __future__ import annotations

import csv
import io
from typing import Iterable, Sequence


def row(cells: Iterable[object]) -> str:
    """A line of a Markdown table."""
    return "".join(f"| {cell} " if cell else "| " for cell in map(str, cells)) + "|"


def markdown(header: Sequence[object], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; each line ends.

    Args:
        header: the titles of the columns.
        rows: the cells of each row, which `str` formats.

    Returns:
        The table's text.
    """
    return "\n".join([row(header), "|---" * len(header) + "|", *map(row, rows)]) + "\n"


def comma_separated(header: Sequence[object], rows: Iterable[Iterable[object]]) -> str:
    """A table as CSV; each line ends.

    Args:
        header: the titles of the columns.
        rows: the cells of each row.

    Returns:
        The text of the file.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()
