"""Fuse pairs of your own, or whole sets of pairs, by every method, and score them: one CSV, a table of means.

Fused images are kept, and made again only where something has changed (eval/results.py).
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import sys
from pathlib import Path
from typing import Mapping, Sequence

from data_prep import fetch
from eval import pairs, results
from eval.tables import Rows, count_wins, markdown_table
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text

EXAMPLES = """examples:
  python eval/compare.py ~/pairs                          a folder of NAME_A.png and NAME_B.png, or of folders
  python eval/compare.py lytro-tif mffw --methods LP,GF,CNN,Ours
  python eval/compare.py ~/pairs --set PSFs:area=0.01 --set LP:levels=5 --out build/mine

A pair is NAME_A and NAME_B (or NAME_1 and NAME_2) of one size, NAME in the folders A and B (near and far, 1
and 2, source_1 and source_2), or the two images of a folder. NAME_truth, or NAME in a folder truth, is the
ground truth, and adds PSNR and SSIM where all pairs have one. Two images of different scenes are no pair. A
16-bit copy of an 8-bit image is fused and scored as its original. Sets are those of
`python data_prep/fetch.py --list`. Images that cannot be read, fused or scored are named, the rest is done,
and the status is 1. Written to --out: scores.csv, a line for each pair and method; summary.md; fused/.
"""


def find_all_pairs(
    names: Sequence[str], skip: Path | None = None
) -> tuple[list[results.PairName], dict[str, str]]:
    """Find the pairs of folders and of sets of data_prep/fetch.py.

    Args:
        names: folders, sets or pairs.
        skip: a folder to leave out: where results go.

    Returns:
        The pairs, each once, and {image: why it is in no pair}.

    Raises:
        ValueError: an unknown name, or a folder without a pair.
    """
    found, rejected = {}, {}
    for name in names:
        if not Path(name).is_dir():
            found.update(dict.fromkeys(fetch.pair_names(name)))
            continue
        in_folder, others = pairs.find_pairs(name, skip)
        if not in_folder:
            raise ValueError(
                f"{name}: no pair there: NAME_A and NAME_B, NAME_1 and NAME_2, folders A and B or of two"
            )
        found.update({pair[1:]: pair for pair in in_folder})  # by its files: folders may overlap
        rejected.update(others)
    return [pair or name for name, pair in found.items()], rejected


def write_report(
    scores: Mapping[results.PairName, Rows], missing: Mapping[results.PairName, str], out: Path
) -> str:
    """Write scores.csv and summary.md.

    Args:
        scores: {pair: {title: {metric: value}}}.
        missing: {pair, method or image: why it is missing}.
        out: the folder.

    Returns:
        The text of summary.md.
    """
    every = [row for rows in scores.values() for row in rows.values()]
    columns = [metric for metric in every[0] if all(metric in row for row in every)]
    names = [str(pair) for pair in scores]
    lines = [
        # Where two pairs have one name the CSV has the file.
        [pair if names.count(str(pair)) == 1 else pair.a, title, *(f"{row[m]:.6f}" for m in columns)]
        for pair, rows in scores.items()
        for title, row in rows.items()
    ]
    write_text(out / "scores.csv", markdown_tables.comma_separated(["pair", "method", *columns], lines))
    count = "one pair" if len(scores) == 1 else f"{len(scores)} pairs"
    text = f"## Mean of {count}\n\n{markdown_table(results.mean_scores(scores), columns)}"
    text += "\nOn how many each is the best, alone or level to four digits:\n\n"
    text += count_wins(scores, columns)
    if missing:
        text += "\nMissing; a method that is missing on one pair is in no mean:\n\n"
        text += "".join(f"- {name}: {why}\n" for name, why in missing.items())
    write_text(out / "summary.md", text)
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the status is 1 where something is missing."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("pairs", nargs="+", metavar="PAIRS", help="a folder, or a set or pair by its name")
    add("--out", type=Path, default="build/compare", help="(default: %(default)s)")
    add("--methods", metavar="TITLES", help="only these, between commas (default: all)")
    add("--set", action="append", default=[], metavar="TITLE:KEY=VALUE,...", help="options of a method"
        " instead of its defaults")  # fmt: skip
    add("--workers", type=int, help="images in work at a time (default: one for each core)")
    args = parser.parse_args(argv)
    try:
        entries = results.select_methods(args.methods, args.set)
    except ValueError as error:
        parser.error(str(error))
    names, rejected = find_all_pairs(args.pairs, args.out)
    scores, missing, failed = results.score_pairs(names, entries, args.out / "fused", args.workers)
    missing = {**rejected, **missing, **failed}
    scores = {pair: rows for pair, rows in scores.items() if rows}
    if scores:
        print(write_report(scores, missing, args.out))
        print(f"{args.out}: scores.csv, summary.md and the fused images")
    else:
        for name in ("scores.csv", "summary.md"):  # of an earlier run
            (args.out / name).unlink(missing_ok=True)
    for name, why in missing.items():
        print(f"compare.py: missing: {name}: {why}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    cli.run(main)
