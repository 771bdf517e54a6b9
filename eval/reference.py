"""Hold the comparison methods against others' images and implementations: means over the 13 Lytro pairs.

Prints what ours score beside what theirs do, by the same metrics. The status is 1 where a value is more
than TOLERANCE away. The values of theirs, and whose they are, stand in eval/lytro_tables.csv.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import csv
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
from eval import pairs, results
from two_stream_fusion import metrics
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.methods import registry as methods

EXAMPLES = """examples:
  python eval/reference.py
  python eval/reference.py --methods SP,CNN
"""
TOLERANCE = 0.005


class Row(NamedTuple):
    """What somebody else's version of a method scores."""

    method: str  # its title
    options: dict[str, object]  # with which ours is the same
    label: str  # of both
    source: str
    values: dict[str, float]


def rows() -> list[Row]:
    """The rows of eval/lytro_tables.csv."""
    names = {title: name for name, title in methods.TITLES.items()}
    with open(Path(__file__).with_name("lytro_tables.csv"), newline="", encoding="utf-8") as file:
        return [
            Row(
                row["method"],
                methods.parse(names[row["method"]], row["options"].split()),
                f"{row['method']} {row['options']}".strip(),
                row["source"],
                {metric: float(row[metric]) for metric in metrics.METRICS if metric in row},
            )
            for row in csv.DictReader(file)
        ]


def apart(ours, theirs) -> float:
    """The largest difference of a metric."""
    return max(abs(ours[metric] - value) for metric, value in theirs.items())


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--methods", metavar="TITLES", help="only these, between commas (default: all that there are)")
    add(
        "--tables",
        type=Path,
        default="build/tables",
        help="where fused images are kept (default: %(default)s)",
    )
    add("--workers", type=int, help="images in work at a time (default: one for each core)")
    args = parser.parse_args(argv)
    chosen = rows()
    if args.methods:
        wanted = args.methods.split(",")
        unknown = set(wanted) - {row.method for row in chosen}
        if unknown:
            parser.error(f"--methods: nothing to hold {unknown.pop()!r} against")
        chosen = [row for row in chosen if row.method in wanted]
    names = {title: name for name, title in methods.TITLES.items()}
    entries = {row.label: (names[row.method], row.options) for row in chosen}
    scores, missing, failed = results.run(pairs.LYTRO, entries, args.tables / "fused", args.workers)
    if missing or failed:
        raise ValueError("; ".join(f"{what}: {why}" for what, why in {**missing, **failed}.items()))
    ours, columns = results.mean(scores), list(chosen[0].values)
    print(f"Means over {len(scores)} Lytro pairs: ours, in brackets theirs.\n")
    header = ["method", *columns, "apart", "theirs"]
    lines = []
    for row in chosen:
        cells = [f"{ours[row.label][metric]:.4f} ({row.values[metric]:.4f})" for metric in columns]
        away = f"{apart(ours[row.label], row.values):.4f}"
        lines.append([row.label, *cells, away, row.source])
    print(markdown_tables.markdown(header, lines), end="")
    far = [row.label for row in chosen if apart(ours[row.label], row.values) > TOLERANCE]
    print(f"\nMore than {TOLERANCE} apart: {', '.join(far) or 'none'}.")
    return 1 if far else 0


if __name__ == "__main__":
    cli.run(main)
