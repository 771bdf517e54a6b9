"""Tables 1-4 of the paper, made again: every method on Clock, Pepsi, Camera and a colour pair, six metrics.

Also a table on 13 Lytro pairs, beside what others' images and implementations score, and one on the pairs
whose perfect fusion is known. What is fused is kept, and made again only where something has changed
(eval/results.py).
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import csv
import math
from pathlib import Path

from eval import pairs
from eval.results import OUTLINES, SELECT, choose, load, mean, other_weights, run
from eval.score import score
from two_stream_fusion import metrics
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text
from two_stream_fusion.methods import registry as methods

EXAMPLES = """examples:
  python eval/tables.py                         what `make tables` runs: build/tables
  python eval/tables.py --methods DWT,LP --no-lytro
  python eval/tables.py --keep experiments/tables
  python eval/tables.py --set PSFs:area=0.01

A pair that cannot be had (Clock and Pepsi are in the folder FUSION_DATA, or fetched) and a method whose
weights are not there are named in the tables; the rest is made. The status is 1 where a method failed.
Pairs of your own: eval/compare.py.
"""


def published(name="paper_tables.csv") -> dict:
    """{table: {method: {metric: value}}} of the paper, or {method: ...} of lytro_tables.csv.

    Of that the rows of the defaults alone: eval/reference.py holds the others against ours.
    """
    found: dict = {}
    with open(Path(__file__).with_name(name), newline="") as file:
        for row in csv.DictReader(file):
            if row.get("options"):
                continue
            values = {metric: float(row[metric]) for metric in metrics.METRICS if metric in row}
            if "table" in row:
                found.setdefault(int(row["table"]), {})[row["method"]] = values
            else:
                found[row["method"]] = values
    return found


def best(rows, metric) -> set[str]:
    """The rows of the largest value, as it is shown: four decimals."""
    values = {title: round(row[metric], 4) for title, row in rows.items() if metric in row}
    values = {title: value for title, value in values.items() if not math.isnan(value)}
    return {title for title, value in values.items() if value == max(values.values())}


def wins(tables, title, others, columns) -> int:
    """How many cells of {table: rows} a row wins over `others`, alone or with others."""
    return sum(
        title in best({t: r for t, r in rows.items() if t == title or t in others}, metric)
        for rows in tables.values()
        for metric in columns
    )


def agreement(ours, theirs, metric) -> float:
    """Spearman's rank correlation over the methods both have; NaN of fewer than two."""
    from scipy.stats import spearmanr

    both = [title for title in theirs if title in ours]
    if len(both) < 2:
        return float("nan")
    return float(spearmanr([ours[t][metric] for t in both], [theirs[t][metric] for t in both])[0])


def markdown(rows, columns, beside=None) -> str:
    """A table; values of `beside` in brackets; the best of each column in bold, of both."""
    beside = beside or {}
    lines = []
    for title, row in rows.items():
        cells = [title]
        for metric in columns:
            cell = mark(f"{row[metric]:.4f}", title in best(rows, metric))
            if metric in beside.get(title, {}):
                cell += " (" + mark(f"{beside[title][metric]:.4f}", title in best(beside, metric)) + ")"
            cells.append(cell)
        lines.append(cells)
    return markdown_tables.markdown(["method", *columns], lines)


def firsts(results, columns) -> str:
    """A table of {pair: rows}: on how many pairs a row is the best, alone or with others."""
    rows = {title: dict.fromkeys(columns, 0) for scores in results.values() for title in scores}
    for scores in results.values():
        for metric in columns:
            for title in best(scores, metric):
                rows[title][metric] += 1
    return markdown_tables.markdown(
        ["best on", *columns], [[t, *counts.values()] for t, counts in rows.items()]
    )


def ideal(scores, rows, columns) -> str:
    """A table of the scores of the perfect fusion itself, and of how many of the rows score more."""
    above = (sum(round(row[m], 4) > round(scores[m], 4) for row in rows.values()) for m in columns)
    perfect = ["the perfect fusion", *(f"{scores[metric]:.4f}" for metric in columns)]
    return markdown_tables.markdown(["", *columns], [perfect, [f"of {len(rows)} rows score more", *above]])


def mark(text, winner) -> str:
    return f"**{text}**" if winner else text


def latex(rows, columns) -> str:
    """The same for a paper: a tabular, the best of each column in bold."""
    lines = [r"\begin{tabular}{l" + "r" * len(columns) + "}", r"\hline"]
    lines += ["method & " + " & ".join(columns) + r" \\", r"\hline"]
    for title, row in rows.items():
        cells = [rf"\textbf{{{row[m]:.4f}}}" if title in best(rows, m) else f"{row[m]:.4f}" for m in columns]
        lines.append(title.replace("_", r"\_") + " & " + " & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def cells_won(tables, paper, columns) -> list[str]:
    """How many cells of `tables` ours win, as text; none without anything that the paper compares with."""
    both = {n: rows for n, rows in tables.items() if n in paper}
    there = set.intersection(*map(set, both.values())) if both else set()
    ours = [title for title in ("Ours", SELECT) if title in there]
    compared = [title for title in methods.TITLES.values() if title != "Ours" and title in there]
    if not ours or not compared:
        return []
    cells = len(both) * len(columns)
    few = "" if len(compared) == 9 else f", of nine: {', '.join(compared)}"
    lines = [f"- {title}: {wins(both, title, compared, columns)} of {cells}" for title in ours]
    theirs = wins({n: paper[n] for n in both}, "Ours", compared, columns)
    lines.append(f"- the paper's own, by its numbers: {theirs} of {cells}")
    head = f"## Cells won over the {len(compared)} methods compared with{few}\n\n"
    return [head + "\n".join(lines) + "\n"]


def report(results, missing, folder):
    """Write the tables below `folder`; returns (the text of summary.md, the stems of the files written).

    missing: {what: why}, of pairs and methods, and of what failed.
    """
    paper, parts, written, columns = published(), [], set(), list(metrics.METRICS)
    claimed = next(iter(next(iter(paper.values())).values()))  # the columns of the paper

    def save(stem, text, rows, listed, columns=columns):
        """A table in three forms; listed: {what stands before a line of the CSV: its scores}."""
        header = ("table", "pair", "method")[-len(next(iter(listed))) :]
        lines = [[*first, *(f"{row[m]:.6f}" for m in columns)] for first, row in listed.items()]
        write_text(folder / f"{stem}.csv", markdown_tables.comma_separated([*header, *columns], lines))
        write_text(folder / f"{stem}.md", text)
        write_text(folder / f"{stem}.tex", latex(rows, columns))
        parts.append(text)
        written.add(stem)

    tables = {n: results[p] for n, p in pairs.TABLES.items() if results.get(p)}
    for number, name in pairs.TABLES.items():
        head = f"## Table {number}: {name}\n\n"
        if number not in tables:
            parts.append(head + f"Not made: {missing.get(name, 'not asked for')}\n")
            continue
        rows, theirs = tables[number], paper.get(number, {})
        note = f"{pairs.NOTES[name]}\n\n" if name in pairs.NOTES else ""
        text = head + note + markdown(rows, columns, theirs)
        if len([title for title in theirs if title in rows]) > 1:
            rank = ", ".join(f"{m} {agreement(rows, theirs, m):.2f}" for m in claimed)
            text += f"\nRank agreement with the paper (Spearman): {rank}.\n"
        save(f"table{number}", text, rows, {(number, name, t): row for t, row in rows.items()})
    parts += cells_won(tables, paper, claimed)
    lytro = {p: results[p] for p in pairs.LYTRO if results.get(p)}
    if lytro:
        rows, apart = mean(lytro), other_weights()
        text = (
            f"## Lytro, mean of {len(lytro)} pairs\n\nIn brackets: others' images or implementations, as "
            "eval/lytro_tables.csv says, by the same metrics.\n\n"
            + markdown(rows, columns, published("lytro_tables.csv"))
            + f"\nOn how many of the {len(lytro)} each is the best of the nine, Ours and {SELECT}, "
            "alone or level to four digits:\n\n"
            + firsts({p: {t: r for t, r in of.items() if t not in apart} for p, of in lytro.items()}, columns)
        )
        save("lytro", text, rows, {(p, t): row for p, of in lytro.items() for t, row in of.items()})
    for name in pairs.TRUE:
        if not results.get(name):
            continue
        rows, (a, b, truth) = results[name], load(name)
        true = ("PSNR", "SSIM", OUTLINES)
        text = (
            f"## {name}, against its known perfect fusion\n\n"
            + markdown(rows, true)
            + "\nPSNR and SSIM are of the luma. What the metrics give that perfect fusion:\n\n"
            + ideal(score([a, b], truth), rows, columns)
        )
        save(f"truth_{name}", text, rows, {(t,): row for t, row in rows.items()}, true)
    if missing:
        parts.append("## Missing\n\n" + "\n".join(f"- {k}: {why}" for k, why in missing.items()) + "\n")
    text = "\n".join(parts)
    write_text(folder / "summary.md", text)
    return text, written


def remove_old(folder, names, written):
    """Remove what an earlier run left in `folder` of tables of the pairs `names` that were not made now."""
    stems = {f"table{number}": pair for number, pair in pairs.TABLES.items()}
    stems.update({f"truth_{pair}": pair for pair in pairs.TRUE}, lytro=pairs.LYTRO[0])
    for stem, pair in stems.items():
        if pair in names and stem not in written:
            for ending in ("csv", "md", "tex"):
                (folder / f"{stem}.{ending}").unlink(missing_ok=True)


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--out", type=Path, default="build/tables", help="(default: %(default)s)")
    add("--methods", metavar="TITLES", help="only these, between commas (default: all)")
    add("--set", action="append", default=[], metavar="TITLE:KEY=VALUE,...", help="options of a method"
        " instead of its defaults")  # fmt: skip
    add("--no-lytro", action="store_true", help="leave the 13 Lytro pairs out")
    add(
        "--keep",
        type=Path,
        metavar="DIR",
        help="also write the tables, without the images, to this folder, unless it has some not made now",
    )
    add("--workers", type=int, help="images in work at a time (default: one for each core)")
    args = parser.parse_args(argv)
    try:
        chosen = choose(args.methods, args.set)
    except ValueError as error:
        parser.error(str(error))
    names = [*pairs.TABLES.values(), *(() if args.no_lytro else pairs.LYTRO)]
    results, missing, failed = run(names, chosen, args.out / "fused", args.workers)
    text, written = report(results, {**missing, **failed}, args.out)
    remove_old(args.out, names, written)
    print(text + f"\n{args.out}: the same as .md, .csv and .tex, and the fused images")
    if args.keep:
        lost = sorted({path.stem for path in args.keep.glob("*.csv")} - written)
        if lost:
            raise ValueError(f"{args.keep}: has {', '.join(lost)}, not made now: left as it was")
        report(results, {**missing, **failed}, args.keep)
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
