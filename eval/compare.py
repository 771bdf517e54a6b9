"""Fuse pairs of your own, or whole sets of pairs, by every method, and score them: one CSV, a table of means.

What is fused is kept, and made again only where something has changed (eval/results.py).
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import sys
from pathlib import Path

from data_prep import fetch
from eval import pairs, results
from eval.tables import firsts, markdown
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text

EXAMPLES = """examples:
  python eval/compare.py ~/pairs                          a folder of NAME_A.png and NAME_B.png, or of folders
  python eval/compare.py lytro-tif mffw --methods LP,GF,CNN,Ours
  python eval/compare.py ~/pairs --set PSFs:area=0.01 --set LP:levels=5 --out build/mine

A pair is NAME_A and NAME_B (or NAME_1 and NAME_2) of one size, or the two images of a folder; NAME_truth
beside them is the perfect fusion, and adds PSNR and SSIM where all pairs have one. Sets are those of
`python data_prep/fetch.py --list`. What cannot be read, fused or scored is named, the rest is made, and the
status is 1. Written to --out: scores.csv, a line for each pair and method; summary.md; fused/.
"""


def asked(names, out) -> tuple[list, dict[str, str]]:
    """(pairs of folders and of sets of data_prep/fetch.py, {what is none: why}); out: where results go."""
    found, others = {}, {}
    for name in names:
        if not Path(name).is_dir():
            found.update(dict.fromkeys(fetch.pairs(name)))
            continue
        inside, rest = pairs.within(name, out)
        if not inside:
            raise ValueError(
                f"{name}: no pair there: NAME_A and NAME_B, NAME_1 and NAME_2, or folders of two"
            )
        found.update({pair[1:]: pair for pair in inside})  # each once, however it is come by
        others.update(rest)
    return [pair or name for name, pair in found.items()], others


def main(argv=None):
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
        chosen = results.choose(args.methods, args.set)
    except ValueError as error:
        parser.error(str(error))
    names, missing = asked(args.pairs, args.out)
    scores, without, failed = results.run(names, chosen, args.out / "fused", args.workers)
    missing = {**missing, **without, **failed}
    scores = {pair: rows for pair, rows in scores.items() if rows}
    if scores:
        print(report(scores, missing, args.out))
        print(f"{args.out}: scores.csv, summary.md and the fused images")
    else:
        for name in ("scores.csv", "summary.md"):  # of an earlier run
            (args.out / name).unlink(missing_ok=True)
    for what, why in missing.items():
        print(f"compare.py: missing: {what}: {why}", file=sys.stderr)
    return 1 if missing else 0


def report(scores, missing, out):
    """Write scores.csv and summary.md of {pair: {title: {metric: value}}}; returns the text of the latter."""
    every = [row for rows in scores.values() for row in rows.values()]
    columns = [metric for metric in every[0] if all(metric in row for row in every)]
    names = [str(pair) for pair in scores]
    lines = [
        # Of two pairs of one name the CSV has the file.
        [pair if names.count(str(pair)) == 1 else pair.a, title, *(f"{row[m]:.6f}" for m in columns)]
        for pair, rows in scores.items()
        for title, row in rows.items()
    ]
    write_text(out / "scores.csv", markdown_tables.comma_separated(["pair", "method", *columns], lines))
    count = "one pair" if len(scores) == 1 else f"{len(scores)} pairs"
    text = f"## Mean of {count}\n\n{markdown(results.mean(scores), columns)}"
    text += f"\nOn how many each is the best, alone or level to four digits:\n\n{firsts(scores, columns)}"
    if missing:
        text += "\nMissing; a method that is missing on one pair is in no mean:\n\n"
        text += "".join(f"- {what}: {why}\n" for what, why in missing.items())
    write_text(out / "summary.md", text)
    return text


if __name__ == "__main__":
    cli.run(main)
