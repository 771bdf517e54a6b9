"""Tables 1-4 of the paper, made again: every method on Clock, Pepsi, Camera and a colour pair, six metrics.

Also a table on 13 Lytro pairs, beside what others' images and implementations score, and one on the pairs
whose perfect fusion is known. Fused images are kept and made again only where the pair, the method's
code, its options or its weights have changed.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import io
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2
import numpy as np

from data_prep.command import command, uninterrupted
from eval import metrics, pairs
from eval.score import score
from fusion import images, methods, models

EXAMPLES = """examples:
  python eval/tables.py                         what `make tables` runs: build/tables
  python eval/tables.py --methods DWT,LP --no-lytro
  python eval/tables.py --keep experiments/tables

A pair that cannot be had (Clock and Pepsi are in the folder FUSION_DATA, or fetched) and a method whose
weights are not there are named in the tables; the rest is made.
"""
PLAIN = ("2-1-2_f64_k5-defocus", "2-1-2_f64_k5-paper")  # "Ours" is the first of them that is shipped
SELECT = "Ours+select"
OUTLINES = "PSNR at outlines"  # where halos and seams are


def entries() -> dict[str, tuple[str, dict]]:
    """{title: (method, options)} in the order of the tables; ours in several forms, the paper's net first."""
    found = {title: (name, {}) for name, title in methods.TITLES.items() if name != "two_stream"}
    shipped = models.names()
    plain = next(name for name in PLAIN if name in shipped)
    found["Ours"] = ("two_stream", {"model": plain})
    found[SELECT] = ("two_stream", {"model": plain, "refine": "select"})
    for name in shipped:
        if name != plain:
            found[f"Ours ({name})"] = ("two_stream", {"model": name})
    return found


def imports(name) -> set[str]:
    """A module of fusion/ and those of fusion/ that it imports, directly or not, by their names."""
    seen, coming = set(), [name]
    while coming:
        module = coming.pop()
        if module in seen:
            continue
        seen.add(module)
        for node in ast.walk(ast.parse((ROOT / "fusion" / f"{module}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                inside = node.level == 1 or (node.module or "").split(".")[0] == "fusion"
                tail = (node.module or "").split(".")[-1]
                names = [tail] if tail not in ("", "fusion") else [alias.name for alias in node.names]
                coming += [n for n in names if inside and (ROOT / "fusion" / f"{n}.py").is_file()]
    return seen


def recipe(method, options) -> str:
    """What an image depends on besides the pair, as text: options, code, nets and weights."""
    code = {name: digest((ROOT / "fusion" / f"{name}.py").read_bytes()) for name in sorted(imports(method))}
    used = [options["model"]] if "model" in options else models.names(method)
    trained = {name: [digest(path.read_bytes()) for path in models.files(name, method)] for name in used}
    return json.dumps([method, options, code, trained], sort_keys=True)


def digest(data) -> str:
    return hashlib.sha256(data).hexdigest()


@lru_cache(maxsize=None)
def load(pair):
    return pairs.load(pair)


def fuse(pair, title, method, options, folder) -> Path:
    """The file of a fused image, made where it is not there yet; its name says what it was made of."""
    a, b, _ = load(pair)
    key = digest(b"".join([recipe(method, options).encode(), a.tobytes(), b.tobytes()]))[:16]
    folder = Path(folder, pair.replace("/", "-"))
    path = folder / f"{title.replace(' ', '_')}-{key}.png"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        fused = methods.fuse(method, [a, b], **options)
        for old in folder.glob(f"{title.replace(' ', '_')}-{'?' * 16}.png"):
            old.unlink()
        images.write(path, fused)
    return path


def job(pair, title, method, options, folder):
    """The scores of a method on a pair: {metric: value}."""
    cv2.setNumThreads(1)
    a, b, truth = load(pair)
    fused = images.read(fuse(pair, title, method, options, folder))
    scores = score([a, b], fused, reference=truth)
    if truth is not None:
        at = pairs.outlines(pair)
        with np.errstate(divide="ignore"):
            scores[OUTLINES] = float(-10 * np.log10(np.mean((fused[at] / 255.0 - truth[at] / 255.0) ** 2)))
    return scores


def run(names, chosen, folder, workers=None):
    """({pair: {title: {metric: value}}}, {what: why it is missing}), all cores at work."""
    from tqdm import tqdm

    missing, jobs = {}, []
    for pair in names:
        try:
            load(pair)
        except OSError as error:
            missing[pair] = str(error)
    for title, (method, options) in chosen.items():
        try:
            recipe(method, options)
            if method in ("cnn", "srcnn") and not models.names(method):
                raise ValueError("its weights are not shipped")
        except ValueError as error:
            missing[title] = str(error)
    # What takes longest comes first, so that the cores finish together.
    for title, (method, options) in reversed(list(chosen.items())):
        jobs += [
            (p, title, method, options, folder) for p in names if p not in missing and title not in missing
        ]
    # Of the processes started here: each has a core, and Caffe speaks up for errors only.
    os.environ.update(OMP_NUM_THREADS="1", GLOG_minloglevel="2")
    results = {}
    pool = ProcessPoolExecutor(workers or os.cpu_count(), multiprocessing.get_context("spawn"))
    try:
        with uninterrupted():
            futures = {pool.submit(job, *arguments): arguments[:2] for arguments in jobs}
        for future in tqdm(
            as_completed(futures), "fusing", len(jobs), unit="image", disable=None, leave=False
        ):
            results[futures[future]] = future.result()
    finally:
        for process in list((pool._processes or {}).values()) if sys.exc_info()[0] else []:
            process.terminate()  # Ctrl-C: what is half done is not waited for
        pool.shutdown()
    ordered = {p: {t: results[p, t] for t in chosen if (p, t) in results} for p in names if p not in missing}
    return ordered, missing


def mean(of) -> dict[str, dict[str, float]]:
    """{title: {metric: mean}} of the scores of several pairs."""
    titles = next(iter(of.values()))
    return {
        t: {m: float(np.mean([scores[t][m] for scores in of.values()])) for m in titles[t]} for t in titles
    }


def published(name="paper_tables.csv") -> dict:
    """{table: {method: {metric: value}}} of the paper, or {method: ...} of lytro_tables.csv.

    Of that the rows of the defaults alone: eval/reference.py holds the others against ours.
    """
    found: dict = {}
    with open(Path(__file__).with_name(name), newline="") as file:
        for row in csv.DictReader(file):
            if row.get("options"):
                continue
            values = {metric: float(row[metric]) for metric in metrics.METRICS}
            if "table" in row:
                found.setdefault(int(row["table"]), {})[row["method"]] = values
            else:
                found[row["method"]] = values
    return found


def best(rows, metric) -> set[str]:
    """The rows of the largest value, as it is shown: four decimals."""
    values = {title: round(row[metric], 4) for title, row in rows.items() if metric in row}
    return {title for title, value in values.items() if value == max(values.values())}


def wins(tables, title, others) -> int:
    """How many cells of {table: rows} a row wins over `others`, alone or with others."""
    return sum(
        title in best({t: r for t, r in rows.items() if t == title or t in others}, metric)
        for rows in tables.values()
        for metric in metrics.METRICS
    )


def agreement(ours, theirs, metric) -> float:
    """Spearman's rank correlation over the methods both have."""
    from scipy.stats import spearmanr

    both = [title for title in theirs if title in ours]
    return float(spearmanr([ours[t][metric] for t in both], [theirs[t][metric] for t in both])[0])


def markdown(rows, beside=None, columns=tuple(metrics.METRICS)) -> str:
    """A table; values of `beside` in brackets; the best of each column in bold, of both."""
    beside = beside or {}
    lines = ["| method | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for title, row in rows.items():
        cells = []
        for metric in columns:
            cell = mark(f"{row[metric]:.4f}", title in best(rows, metric))
            if title in beside:
                cell += " (" + mark(f"{beside[title][metric]:.4f}", title in best(beside, metric)) + ")"
            cells.append(cell)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def ideal(scores, rows, columns=tuple(metrics.METRICS)) -> str:
    """A table of the scores of the perfect fusion itself, and of how many of the rows score more."""
    above = (sum(round(row[m], 4) > round(scores[m], 4) for row in rows.values()) for m in columns)
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines.append("| the perfect fusion | " + " | ".join(f"{scores[metric]:.4f}" for metric in columns) + " |")
    lines.append(f"| of {len(rows)} rows score more | " + " | ".join(map(str, above)) + " |")
    return "\n".join(lines) + "\n"


def mark(text, winner) -> str:
    return f"**{text}**" if winner else text


def latex(rows, columns=tuple(metrics.METRICS)) -> str:
    """The same for a paper: a tabular, the best of each column in bold."""
    lines = [r"\begin{tabular}{l" + "r" * len(columns) + "}", r"\hline"]
    lines += ["method & " + " & ".join(columns) + r" \\", r"\hline"]
    for title, row in rows.items():
        cells = [rf"\textbf{{{row[m]:.4f}}}" if title in best(rows, m) else f"{row[m]:.4f}" for m in columns]
        lines.append(title.replace("_", r"\_") + " & " + " & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def write(path, text):
    """Whole or not at all."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with images.whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def comma_separated(rows, header):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def report(results, missing, folder):
    """Write the tables below `folder`; returns the text of summary.md."""
    paper, parts = published(), []
    tables = {n: results[p] for n, p in pairs.TABLES.items() if results.get(p)}
    compared = [t for t in next(iter(paper.values())) if t != "Ours"]
    six = tuple(metrics.METRICS)
    for number, name in pairs.TABLES.items():
        head = f"## Table {number}: {name}\n\n"
        if number not in tables:
            parts.append(head + f"Not made: {missing.get(name, 'not asked for')}\n")
            continue
        rows = tables[number]
        rank = ", ".join(f"{m} {agreement(rows, paper[number], m):.2f}" for m in six)
        note = f"{pairs.NOTES[name]}\n\n" if name in pairs.NOTES else ""
        parts.append(
            head
            + note
            + markdown(rows, paper[number])
            + f"\nRank agreement with the paper (Spearman): {rank}.\n"
        )
        write(
            folder / f"table{number}.csv",
            comma_separated(
                [[number, name, t, *(f"{r[m]:.6f}" for m in six)] for t, r in rows.items()],
                ["table", "pair", "method", *six],
            ),
        )
        write(folder / f"table{number}.md", parts[-1])
        write(folder / f"table{number}.tex", latex(rows))
    if tables:
        cells = len(tables) * len(six)
        lines = [
            f"- {t}: {wins(tables, t, compared)} of {cells}"
            for t in ("Ours", SELECT)
            if t in tables[min(tables)]
        ]
        theirs = wins({n: paper[n] for n in tables}, "Ours", compared)
        parts.append(
            "## Cells won over the nine methods compared with\n\n"
            + "\n".join([*lines, f"- the paper's own, by its numbers: {theirs} of {cells}"])
            + "\n"
        )
    lytro = {p: results[p] for p in pairs.LYTRO if results.get(p)}
    if lytro:
        rows = mean(lytro)
        parts.append(
            f"## Lytro, mean of {len(lytro)} pairs\n\nIn brackets: others' images or implementations, as "
            "eval/lytro_tables.csv says, by the same metrics.\n\n"
            + markdown(rows, published("lytro_tables.csv"))
        )
        write(folder / "lytro.md", parts[-1])
        write(
            folder / "lytro.csv",
            comma_separated(
                [[p, t, *(f"{r[m]:.6f}" for m in six)] for p, rs in lytro.items() for t, r in rs.items()],
                ["pair", "method", *six],
            ),
        )
    known = {p: results[p] for p in pairs.TRUE if results.get(p)}
    for name, rows in known.items():
        a, b, truth = load(name)
        parts.append(
            f"## {name}, against its known perfect fusion\n\n"
            + markdown(rows, columns=("PSNR", "SSIM", OUTLINES))
            + "\nWhat the metrics of the paper give that perfect fusion:\n\n"
            + ideal(score([a, b], truth), rows)
        )
        write(folder / f"truth_{name}.md", parts[-1])
    if missing:
        parts.append("## Missing\n\n" + "\n".join(f"- {k}: {why}" for k, why in missing.items()) + "\n")
    text = "\n".join(parts)
    write(folder / "summary.md", text)
    return text


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, default="build/tables", help="(default: %(default)s)")
    add("--methods", metavar="TITLES", help="only these, between commas (default: all)")
    add("--no-lytro", action="store_true", help="leave the 13 Lytro pairs out")
    add("--keep", type=Path, metavar="DIR", help="also write the tables, without the images, to this folder")
    add("--workers", type=int, help="images in work at a time (default: one for each core)")
    args = parser.parse_args(argv)
    chosen = entries()
    if args.methods:
        wanted = args.methods.split(",")
        unknown = [title for title in wanted if title not in chosen]
        if unknown:
            parser.error(f"--methods: {unknown[0]!r} is none of {', '.join(chosen)}")
        chosen = {title: chosen[title] for title in chosen if title in wanted}
    names = [*pairs.TABLES.values(), *(() if args.no_lytro else pairs.LYTRO)]
    results, missing = run(names, chosen, args.out / "fused", args.workers)
    for folder in filter(None, (args.keep, args.out)):
        text = report(results, missing, folder)
    print(text + f"\n{args.out}: the same as .md, .csv and .tex, and the fused images")


if __name__ == "__main__":
    command(main)
