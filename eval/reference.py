"""Compare our versions of the other methods with others' images and implementations, on 13 Lytro pairs.

Prints the mean scores of ours beside those of theirs, by the same metrics. The status is 1 where two differ
by more than TOLERANCE. eval/lytro_tables.csv has their values and sources.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import csv
from pathlib import Path
from typing import Mapping, NamedTuple, Sequence

from eval import pairs, results
from two_stream_fusion import metrics
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.methods import registry

EXAMPLES = """examples:
  python eval/reference.py
  python eval/reference.py --methods SP,CNN
  python eval/reference.py --tables /tmp/tables --jobs 1
"""
TOLERANCE = 0.005


class PublishedScores(NamedTuple):
    """The scores of somebody else's version of a method."""

    method: str  # its title
    options: dict[str, object]  # those with which ours does the same
    label: str  # the title and the options
    source: str  # whose it is
    values: dict[str, float]  # {metric: mean over the Lytro pairs}


def read_rows() -> list[PublishedScores]:
    """The rows of eval/lytro_tables.csv."""
    names = {title: name for name, title in registry.TITLES.items()}
    with open(Path(__file__).with_name("lytro_tables.csv"), newline="", encoding="utf-8") as file:
        return [
            PublishedScores(
                row["method"],
                registry.parse_options(names[row["method"]], row["options"].split()),
                f"{row['method']} {row['options']}".strip(),
                row["source"],
                {metric: float(row[metric]) for metric in metrics.METRICS if metric in row},
            )
            for row in csv.DictReader(file)
        ]


def largest_difference(ours: Mapping[str, float], published: Mapping[str, float]) -> float:
    """The largest absolute difference over the metrics of `published`.

    Args:
        ours: {metric: value} of this repository.
        published: {metric: value} of the published code.

    Returns:
        In the units of the metrics.
    """
    return max(abs(ours[metric] - value) for metric, value in published.items())


def comparison_table(rows: Sequence[PublishedScores], ours: Mapping[str, results.Scores]) -> str:
    """A Markdown table of our scores, in brackets theirs.

    Args:
        rows: theirs.
        ours: {label of a row: {metric: value}}.

    Returns:
        The table.
    """
    columns = list(rows[0].values)
    lines = []
    for row in rows:
        cells = [f"{ours[row.label][metric]:.4f} ({row.values[metric]:.4f})" for metric in columns]
        difference = f"{largest_difference(ours[row.label], row.values):.4f}"
        lines.append([row.label, *cells, difference, row.source])
    return markdown_tables.markdown(["method", *columns, "apart", "theirs"], lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the status is 1 where a method is farther than TOLERANCE from theirs."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--methods", metavar="TITLES", help="only these, between commas (default: all)")
    add("--tables", type=Path, default="build/tables", help="where fused images are kept (default:"
        " %(default)s)")  # fmt: skip
    add("--jobs", type=int, metavar="N", help="images processed at a time (default: one for each core)")
    args = parser.parse_args(argv)
    rows = read_rows()
    if args.methods:
        requested = args.methods.split(",")
        unknown = set(requested) - {row.method for row in rows}
        if unknown:
            parser.error(f"--methods: nothing to compare {unknown.pop()!r} with")
        rows = [row for row in rows if row.method in requested]
    names = {title: name for name, title in registry.TITLES.items()}
    entries = {row.label: results.Entry(names[row.method], row.options) for row in rows}
    scores, missing, failed = results.score_pairs(pairs.LYTRO, entries, args.tables / "fused", args.jobs)
    if missing or failed:
        raise ValueError("; ".join(f"{name}: {reason}" for name, reason in {**missing, **failed}.items()))
    ours = results.mean_scores(scores)
    print(f"Means over {len(scores)} Lytro pairs: ours, in brackets theirs.\n")
    print(comparison_table(rows, ours), end="")
    deviating = [row.label for row in rows if largest_difference(ours[row.label], row.values) > TOLERANCE]
    print(f"\nMore than {TOLERANCE} apart: {', '.join(deviating) or 'none'}.")
    return 1 if deviating else 0


if __name__ == "__main__":
    cli.run(main)
