"""Regenerate Tables 1-4 of the paper: every method on Clock, Pepsi, Camera and a colour pair, six metrics.

Also a table on 13 Lytro pairs, beside the scores of others' images and implementations, and one on the pairs
whose ground truth is known. Fused images are kept, and computed again only after a change
(eval/results.py).
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import csv
import math
import re
from pathlib import Path
from typing import Collection, Iterable, Mapping, Sequence

import numpy as np

from eval import pairs
from eval.results import (
    OUTLINE_PSNR,
    SELECT,
    PairName,
    Scores,
    load_pair,
    mean_scores,
    score_pairs,
    select_methods,
    titles_with_other_weights,
)
from eval.score import score
from two_stream_fusion import metrics
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text
from two_stream_fusion.methods import registry

EXAMPLES = """examples:
  python eval/tables.py                         what `make tables` runs: build/tables
  python eval/tables.py --methods DWT,LP --no-lytro
  python eval/tables.py --keep experiments/tables
  python eval/tables.py --set PSFs:area=0.01

Clock and Pepsi are in the folder FUSION_DATA, or fetched. The tables name each unavailable pair and
each method without weights; the rest is made. The status is 1 where a method failed.
Pairs of your own: eval/compare.py.
"""
DIGITS = 4  # decimals shown; values that are equal in them are equally good
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}

Rows = Mapping[str, Scores]  # {title: {metric: value}}


def read_published(name: str = "paper_tables.csv") -> dict:
    """Read published values from a CSV file beside this one.

    Args:
        name: paper_tables.csv or lytro_tables.csv. Of the latter the rows with default options alone:
            eval/reference.py compares the others with ours.

    Returns:
        {table: {method: {metric: value}}} of the paper, {method: {metric: value}} of lytro_tables.csv.
    """
    published: dict = {}
    with open(Path(__file__).with_name(name), newline="") as file:
        for row in csv.DictReader(file):
            if row.get("options"):
                continue
            values = {metric: float(row[metric]) for metric in metrics.METRICS if metric in row}
            if "table" in row:
                published.setdefault(int(row["table"]), {})[row["method"]] = values
            else:
                published[row["method"]] = values
    return published


def best(rows: Rows, metric: str) -> set[str]:
    """The titles with the best value of a metric, rounded to DIGITS decimals; NaN never wins.

    Args:
        rows: {title: {metric: value}}.
        metric: the column; rows without it do not count.

    Returns:
        The titles; several where values are equal, and none where no row has a value.
    """
    values = {title: round(row[metric], DIGITS) for title, row in rows.items() if metric in row}
    values = {title: value for title, value in values.items() if not math.isnan(value)}
    choose = max if metrics.is_higher_better(metric) else min
    return {title for title, value in values.items() if value == choose(values.values())}


def count_cells_won(
    tables: Mapping[int, Rows], title: str, others: Collection[str], columns: Iterable[str]
) -> int:
    """Count the cells of tables in which a row is the best among itself and others; ties count.

    Args:
        tables: {number: rows}.
        title: of the row.
        others: titles of the rows that it is compared with.
        columns: the metrics that count.

    Returns:
        The number of cells.
    """
    return sum(
        title in best({t: r for t, r in rows.items() if t == title or t in others}, metric)
        for rows in tables.values()
        for metric in columns
    )


def rank_correlation(ours: Rows, theirs: Rows, metric: str) -> float:
    """Spearman's rank correlation of a metric over the methods of two tables.

    Args:
        ours, theirs: {title: {metric: value}}.
        metric: the column.

    Returns:
        As of `spearman`, over the methods that both have.
    """
    shared = [title for title in theirs if title in ours]
    return spearman([ours[t][metric] for t in shared], [theirs[t][metric] for t in shared])


def rank_agreement(rows: Rows, metric: str, truth: str) -> float:
    """Spearman's rank correlation of a metric with a measure of the distance to the ground truth.

    Args:
        rows: {title: {metric: value}} of one pair; values may be missing.
        metric: a metric; where less of it is better it counts reversed.
        truth: PSNR or SSIM.

    Returns:
        As of `spearman`.
    """
    sign = 1 if metrics.is_higher_better(metric) else -1
    first, second = ([row.get(name, math.nan) for row in rows.values()] for name in (metric, truth))
    return sign * spearman(first, second)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation.

    Args:
        first, second: values of the same things; those that are NaN in one of them do not count.

    Returns:
        -1..1; NaN where fewer than three things have both values, or one of the two is the same for all.
    """
    from scipy.stats import spearmanr

    both = np.array([first, second], float)
    both = both[:, ~np.isnan(both).any(axis=0)]
    if both.shape[1] < 3 or (np.ptp(both, axis=1) == 0).any():
        return math.nan
    return float(spearmanr(*both)[0])


def markdown_table(rows: Rows, columns: Sequence[str], beside: Rows | None = None) -> str:
    """Format rows as a Markdown table, the best of each column in bold.

    Args:
        rows: {title: {metric: value}}.
        columns: metrics.
        beside: published values, shown in brackets, the best of theirs in bold too.

    Returns:
        The table.
    """
    beside = beside or {}
    lines = []
    for title, row in rows.items():
        cells = [title]
        for metric in columns:
            cell = bold(f"{row[metric]:.{DIGITS}f}", title in best(rows, metric))
            if metric in beside.get(title, {}):
                value = f"{beside[title][metric]:.{DIGITS}f}"
                cell += f" ({bold(value, title in best(beside, metric))})"
            cells.append(cell)
        lines.append(cells)
    return markdown_tables.markdown(["method", *columns], lines)


def count_wins(scores: Mapping[PairName, Rows], columns: Sequence[str]) -> str:
    """A Markdown table: on how many pairs each row is the best, ties included.

    Args:
        scores: {pair: rows}.
        columns: the metrics.

    Returns:
        The table's text.
    """
    counts = {title: dict.fromkeys(columns, 0) for rows in scores.values() for title in rows}
    for rows in scores.values():
        for metric in columns:
            for title in best(rows, metric):
                counts[title][metric] += 1
    lines = [[title, *by_metric.values()] for title, by_metric in counts.items()]
    return markdown_tables.markdown(["best on", *columns], lines)


def ground_truth_scores(scores: Scores, rows: Rows, columns: Sequence[str]) -> str:
    """A Markdown table: the scores of the ground truth itself, and how many of the rows score more.

    Args:
        scores: {metric: value} of the ground truth.
        rows: {title: {metric: value}} of the methods.
        columns: the metrics.

    Returns:
        The table's text.
    """
    above = (sum(round(row[m], DIGITS) > round(scores[m], DIGITS) for row in rows.values()) for m in columns)
    first = ["ground truth", *(f"{scores[metric]:.{DIGITS}f}" for metric in columns)]
    return markdown_tables.markdown(["", *columns], [first, [f"of {len(rows)} rows score more", *above]])


def bold(text: str, condition: bool = True) -> str:
    """Text in Markdown's bold where a condition holds.

    Args:
        text: of a cell.
        condition: whether it is bold.

    Returns:
        The cell.
    """
    return f"**{text}**" if condition else text


def latex_table(rows: Rows, columns: Sequence[str]) -> str:
    """Format rows as a LaTeX tabular, the best of each column in bold.

    Args:
        rows: {title: {metric: value}}.
        columns: the metrics.

    Returns:
        The table's text.
    """
    lines = [r"\begin{tabular}{l" + "r" * len(columns) + "}", r"\hline"]
    lines += ["method & " + " & ".join(map(_escape, columns)) + r" \\", r"\hline"]
    for title, row in rows.items():
        values = {metric: f"{row[metric]:.{DIGITS}f}" for metric in columns}
        cells = [rf"\textbf{{{v}}}" if title in best(rows, m) else v for m, v in values.items()]
        lines.append(_escape(title) + " & " + " & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def _escape(text):
    """Text for LaTeX, whose own characters are escaped."""
    return re.sub(r"[\\{}_%&#$~^]", lambda match: LATEX.get(match[0], rf"\{match[0]}"), text)


def latex_float(rows: Rows, columns: Sequence[str], caption: str, label: str) -> str:
    """Format rows as a LaTeX table that floats, with a caption and a label.

    Args:
        rows: {title: {metric: value}}.
        columns: metrics.
        caption: what the rows are, one sentence; what bold type and less of a metric mean is added.
        label: of the table, for references to it.

    Returns:
        The environment `table`.
    """
    text = f"{caption} The best value of each column is in bold type."
    lower = [metric for metric in columns if not metrics.is_higher_better(metric)]
    if lower:
        text += f" Less is better for {' and '.join(lower)}, more for all others."
    else:
        text += " More is better."
    return (
        f"\\begin{{table}}\n\\centering\n\\caption{{{_escape(text)}}}\n\\label{{{label}}}\n"
        f"{latex_table(rows, columns)}\\end{{table}}\n"
    )


class Report:
    """Writes tables to a folder and collects their text.

    Args:
        folder: where the tables go.
        columns: metrics.

    Attributes:
        parts: the text so far.
        stems: names of the tables written, without suffix.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self.folder, self.columns = folder, list(columns)
        self.parts: list[str] = []
        self.stems: set[str] = set()

    def save(
        self, stem: str, text: str, rows: Rows, lines: dict[tuple, Scores], columns: Sequence[str] = ()
    ) -> None:
        """Write a table as Markdown, LaTeX and CSV.

        Args:
            stem: the files' name without suffix.
            text: the Markdown.
            rows: {title: scores} of the LaTeX table.
            lines: {the first cells of a CSV line, of table, pair and method: scores}.
            columns: metrics, where they are others than those of the report.
        """
        columns = columns or self.columns
        header = ("table", "pair", "method")[-len(next(iter(lines))) :]
        cells = [[*first, *(f"{row[m]:.6f}" for m in columns)] for first, row in lines.items()]
        write_text(self.folder / f"{stem}.csv", markdown_tables.comma_separated([*header, *columns], cells))
        write_text(self.folder / f"{stem}.md", text)
        write_text(self.folder / f"{stem}.tex", latex_table(rows, columns))
        self.parts.append(text)
        self.stems.add(stem)


def write_tables(
    scores: Mapping[PairName, Rows], missing: Mapping[PairName, str], folder: Path
) -> tuple[str, set[str]]:
    """Write the tables and summary.md.

    Args:
        scores: {pair: {title: {metric: value}}}.
        missing: {pair, method or "TITLE on PAIR": why it is missing}.
        folder: where they go.

    Returns:
        The text of summary.md, and the stems of the files written.
    """
    report = Report(folder, metrics.METRICS)
    paper = read_published()
    claimed = list(next(iter(next(iter(paper.values())).values())))  # the columns of the paper
    tables = {n: scores[name] for n, name in pairs.TABLES.items() if scores.get(name)}
    for number, name in pairs.TABLES.items():
        if number in tables:
            _add_paper_table(report, number, name, tables[number], paper.get(number, {}), claimed)
        else:
            reason = missing.get(name, "not asked for")
            report.parts.append(f"## Table {number}: {name}\n\nNot made: {reason}\n")
    report.parts += _cells_won_section(tables, paper, claimed)
    lytro = {name: scores[name] for name in pairs.LYTRO if scores.get(name)}
    if lytro:
        _add_lytro_table(report, lytro)
    for name in pairs.WITH_GROUND_TRUTH:
        if scores.get(name):
            _add_ground_truth_table(report, name, scores[name])
    if missing:
        lines = "\n".join(f"- {name}: {reason}" for name, reason in missing.items())
        report.parts.append(f"## Missing\n\n{lines}\n")
    text = "\n".join(report.parts)
    write_text(folder / "summary.md", text)
    return text, report.stems


def _add_paper_table(report, number, name, rows, published, claimed):
    note = f"{pairs.NOTES[name]}\n\n" if name in pairs.NOTES else ""
    text = f"## Table {number}: {name}\n\n{note}{markdown_table(rows, report.columns, published)}"
    if len([title for title in published if title in rows]) > 1:
        rank = ", ".join(f"{metric} {rank_correlation(rows, published, metric):.2f}" for metric in claimed)
        text += f"\nRank agreement with the paper (Spearman): {rank}.\n"
    report.save(f"table{number}", text, rows, {(number, name, t): row for t, row in rows.items()})


def _add_lytro_table(report, lytro):
    rows, left_out = mean_scores(lytro), titles_with_other_weights()
    compared = {
        name: {title: row for title, row in of_pair.items() if title not in left_out}
        for name, of_pair in lytro.items()
    }
    compared_methods = [title for title in rows if title in registry.TITLES.values() and title != "Ours"]
    others = "the nine" if len(compared_methods) == 9 else ", ".join(compared_methods)
    text = (
        f"## Lytro, mean of {len(lytro)} pairs\n\nIn brackets: others' images or implementations, as "
        "eval/lytro_tables.csv says, by the same metrics.\n\n"
        + markdown_table(rows, report.columns, read_published("lytro_tables.csv"))
        + f"\nOn how many of the {len(lytro)} each is the best of {others}, Ours and {SELECT}, "
        "alone or level to four digits:\n\n" + count_wins(compared, report.columns)
    )
    lines = {(name, title): row for name, of_pair in lytro.items() for title, row in of_pair.items()}
    report.save("lytro", text, rows, lines)


def _add_ground_truth_table(report, name, rows):
    a, b, ground_truth = load_pair(name)
    columns = ("PSNR", "SSIM", OUTLINE_PSNR)
    text = (
        f"## {name}, against its ground truth\n\n"
        + markdown_table(rows, columns)
        + "\nPSNR and SSIM are of the luma. What the metrics give the ground truth:\n\n"
        + ground_truth_scores(score([a, b], ground_truth), rows, report.columns)
    )
    report.save(f"truth_{name}", text, rows, {(t,): row for t, row in rows.items()}, columns)


def _cells_won_section(tables, paper, columns):
    """How many cells ours win, as a list of one text; empty without ours or a method of the paper."""
    shared = {n: rows for n, rows in tables.items() if n in paper}
    common = set.intersection(*map(set, shared.values())) if shared else set()
    ours = [title for title in ("Ours", SELECT) if title in common]
    compared = [title for title in registry.TITLES.values() if title != "Ours" and title in common]
    if not ours or not compared:
        return []
    cells = len(shared) * len(columns)
    note = "" if len(compared) == 9 else f", of nine: {', '.join(compared)}"
    lines = [f"- {title}: {count_cells_won(shared, title, compared, columns)} of {cells}" for title in ours]
    claimed_wins = count_cells_won({n: paper[n] for n in shared}, "Ours", compared, columns)
    lines.append(f"- the paper's own, by its numbers: {claimed_wins} of {cells}")
    head = f"## Cells won over the {len(compared)} methods compared with{note}\n\n"
    return [head + "\n".join(lines) + "\n"]


def remove_stale_tables(folder: Path, names: Collection[str], written: Collection[str]) -> None:
    """Remove tables that an earlier run left in a folder and this one did not make.

    Args:
        folder: where the tables are.
        names: the pairs of this run; tables of other pairs stay.
        written: stems of the tables of this run.
    """
    stems = {f"table{number}": name for number, name in pairs.TABLES.items()}
    stems.update({f"truth_{name}": name for name in pairs.WITH_GROUND_TRUTH}, lytro=pairs.LYTRO[0])
    for stem, name in stems.items():
        if name in names and stem not in written:
            for suffix in ("csv", "md", "tex"):
                (folder / f"{stem}.{suffix}").unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the status is 1 where a method failed."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--out", type=Path, default="build/tables", help="(default: %(default)s)")
    add("--methods", metavar="TITLES", help="only these, between commas (default: all)")
    add("--set", action="append", default=[], metavar="TITLE:KEY=VALUE,...", help="options of a method"
        " instead of its defaults")  # fmt: skip
    add("--no-lytro", action="store_true", help="leave the 13 Lytro pairs out")
    add("--keep", type=Path, metavar="DIR", help="also write the tables, without the images, to this folder,"
        " unless it has some that were not made now")  # fmt: skip
    add("--jobs", type=int, metavar="N", help="images processed at a time (default: one for each core)")
    args = parser.parse_args(argv)
    try:
        entries = select_methods(args.methods, args.set)
    except ValueError as error:
        parser.error(str(error))
    names = [*pairs.TABLES.values(), *(() if args.no_lytro else pairs.LYTRO)]

    scores, missing, failed = score_pairs(names, entries, args.out / "fused", args.jobs)
    text, written = write_tables(scores, {**missing, **failed}, args.out)
    remove_stale_tables(args.out, names, written)
    print(text + f"\n{args.out}: the same as .md, .csv and .tex, and the fused images")
    if args.keep:
        lost = sorted({path.stem for path in args.keep.glob("*.csv")} - written)
        if lost:
            raise ValueError(f"{args.keep}: has {', '.join(lost)}, not made now: left as it was")
        write_tables(scores, {**missing, **failed}, args.keep)
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
