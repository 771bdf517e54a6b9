"""Rank fusion metrics by their agreement with the ground truth: which of them to believe.

Every method fuses pairs made of held-out photographs (eval/held_out.py). On each pair the methods are ranked
by every metric and by PSNR and SSIM to the ground truth; the table has Spearman's rank correlation of the two
rankings, the mean over the pairs.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

from data_prep.pair_patches import PairPatches
from data_prep.recipes import RECIPES
from eval import held_out, results
from eval.calibrate import average
from eval.tables import rank_agreement
from two_stream_fusion import metrics
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text
from two_stream_fusion.methods import registry

EXAMPLES = """examples:
  python eval/metric_agreement.py
  python eval/metric_agreement.py --count 8 --methods DWT,LP,GF,PSFs --metrics paper,SCD,VIFF
  python eval/metric_agreement.py --photos ~/photos --recipe handheld --side 256

Metrics for which lower is better are reversed, so that 1 is always agreement. One column ranks three trivial
results with the methods: the mean of both images, and each of them unchanged. A trustworthy metric
ranks these last. Written to --out: scores.csv, a line for each pair and method; summary.md.
"""
TRIVIAL = ("mean", "A", "B")
TRUTHS = ("PSNR", "SSIM")
# With PSNR over 710 real pairs with ground truth: Y. Liu et al., DOI 10.1109/TPAMI.2024.3367905.
PUBLISHED = {
    "Qw": 0.53,
    "Qcv": 0.46,
    "SCD": 0.43,
    "VIFF": 0.40,
    "Qabf": 0.36,
    "EN": 0.17,
    "MI": -0.10,
    "TE": -0.21,
}

AllScores = Mapping[str, Mapping[str, results.Scores]]  # {pair: {title: {metric: value}}}


def mean_agreement(scores: AllScores, columns: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """The mean of tables.rank_agreement over pairs, largest with PSNR first.

    Args:
        scores: {pair: {title: {metric: value}}}.
        columns: metrics.

    Returns:
        {metric: (with PSNR, with SSIM, with PSNR where TRIVIAL are ranked too)}; pairs without a value are
        left out, NaN if all are.
    """
    methods = [
        {title: row for title, row in rows.items() if title not in TRIVIAL} for rows in scores.values()
    ]
    means = {}
    for metric in columns:
        means[metric] = (
            _mean([rank_agreement(rows, metric, "PSNR") for rows in methods]),
            _mean([rank_agreement(rows, metric, "SSIM") for rows in methods]),
            _mean([rank_agreement(rows, metric, "PSNR") for rows in scores.values()]),
        )
    return dict(sorted(means.items(), key=lambda item: -np.nan_to_num(item[1][0], nan=-2)))


def _mean(values):
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def format_agreement(means: Mapping[str, Sequence[float]]) -> str:
    """A Markdown table of `mean_agreement`, with the published correlations beside."""
    rows = [
        [
            metric if metrics.is_higher_better(metric) else f"{metric}, reversed",
            *(f"{value:.2f}" for value in agreement),
            f"{PUBLISHED[metric]:.2f}" if metric in PUBLISHED else "",
        ]
        for metric, agreement in means.items()
    ]
    header = ["", "with PSNR", "with SSIM", "with PSNR, trivial results too", "published, with PSNR"]
    return markdown_tables.markdown(header, rows)


def score_methods(
    triples: Mapping[str, Sequence[np.ndarray]],
    entries: Mapping[str, results.Entry],
    columns: Sequence[str],
) -> dict[str, dict[str, results.Scores]]:
    """Fuse pairs by methods and trivially, and score the images.

    Args:
        triples: {name: [a, b, clean]}, H x W x 3 uint8 each.
        entries: {title: entry}.
        columns: metrics.

    Returns:
        {name: {title: {metric: value}}} with PSNR and SSIM; TRIVIAL come last.
    """
    from tqdm import tqdm

    scores: dict[str, dict[str, results.Scores]] = {}
    with tqdm(total=len(triples) * (len(entries) + 3), unit="image", disable=None, leave=False) as bar:
        for name, (a, b, clean) in triples.items():
            scores[name] = {}
            mean = average(a, b)
            for title, fused in [*entries.items(), *zip(TRIVIAL, (mean, a, b))]:
                image = results.fuse(a, b, fused) if isinstance(fused, results.Entry) else fused
                scores[name][title] = results.score([a, b], image, reference=clean, columns=columns)
                bar.update()
    return scores


def make_triples(
    photos: str | None, recipe: str, count: int, side: int | None
) -> dict[str, list[np.ndarray]]:
    """Make pairs of held-out photographs.

    Args:
        photos: the folder; None for the photographs of `make data`.
        recipe: of data_prep/recipes.py.
        count: pairs at most; those of two equal images are skipped.
        side: pixels; larger photographs are cut to their middle. None for all of them.

    Returns:
        {path: [a, b, clean]}, H x W x 3 uint8.

    Raises:
        ValueError, OSError: as held_out.held_out_photographs raises them.
    """
    spec = PairPatches(recipe=recipe)
    with ThreadPoolExecutor() as pool:
        photographs = held_out.held_out_photographs(
            photos, spec, pool, warn=lambda line: print(line, file=sys.stderr)
        )
    triples: dict[str, list[np.ndarray]] = {}
    for photograph in photographs:
        if len(triples) == count:
            break
        images = held_out.make_pair(photograph, spec)
        if side:
            y, x = (max(0, (n - side) // 2) for n in images[0].shape[:2])
            images = [np.ascontiguousarray(image[y : y + side, x : x + side]) for image in images]
        if (images[0] != images[1]).any():
            triples[str(photograph.path)] = images
    return triples


def write_report(scores: AllScores, columns: Sequence[str], recipe: str, out: Path) -> str:
    """Write scores.csv and summary.md.

    Args:
        scores: as `score_methods` returns them.
        columns: metrics.
        recipe: of the pairs.
        out: the folder.

    Returns:
        The text of summary.md.
    """
    all_columns = [*columns, *TRUTHS]
    lines = [
        [Path(name).name, title, *(f"{row[metric]:.6f}" for metric in all_columns)]
        for name, rows in scores.items()
        for title, row in rows.items()
    ]
    write_text(out / "scores.csv", markdown_tables.comma_separated(["pair", "method", *all_columns], lines))
    titles = ", ".join(title for title in next(iter(scores.values())) if title not in TRIVIAL)
    count = "one pair" if len(scores) == 1 else f"mean of {len(scores)} pairs"
    text = f"Spearman's rank correlation over {titles}; {count}, recipe {recipe}:\n\n" + format_agreement(
        mean_agreement(scores, columns)
    )
    write_text(out / "summary.md", text)
    return text


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--photos", metavar="DIR", help="the folder that was trained on (default: as `make data`)")
    add("--count", type=int, default=24, metavar="N", help="pairs (default: %(default)s)")
    add("--side", type=int, metavar="PIXELS", help="cut photographs to their middle (default: whole)")
    add("--recipe", choices=sorted(RECIPES), default="defocus", help="(default: %(default)s)")
    titles = [*registry.TITLES.values(), results.SELECT]
    add("--methods", default=",".join(titles), metavar="TITLES", help="(default: %(default)s)")
    add("--metrics", default="all", metavar="NAMES", help="names between commas, paper for the six of the"
        " paper, all (default: %(default)s)")  # fmt: skip
    add("--out", type=Path, default="build/metric_agreement", help="(default: %(default)s)")
    args = parser.parse_args(argv)
    if args.count < 1 or (args.side is not None and args.side < 64):
        parser.error("--count is 1 or more, --side 64 or more")
    try:
        columns = metrics.select_names(args.metrics)
        entries = results.select_methods(args.methods)
    except ValueError as error:
        parser.error(str(error))
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe reports errors only
    triples = make_triples(args.photos, args.recipe, args.count, args.side)
    if not triples:
        raise ValueError(f"{args.photos or 'the photographs'}: no pair")
    scores = score_methods(triples, entries, columns)
    print(write_report(scores, columns, args.recipe, args.out), end="")


if __name__ == "__main__":
    cli.run(main)
