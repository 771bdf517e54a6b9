"""Score ways to fuse focus stacks whose ground truth is known.

The scenes are those of experiments/stacks/scenes.py. Methods and their options are chosen on the development
scenes; the held-out scenes are for the report. The command writes development.csv, or held_out.csv and
plot.png and plot.svg, and prints Markdown tables. Scenes and ways that are not asked for keep their rows.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import argparse
import csv
import os
from pathlib import Path
from statistics import mean
from typing import Iterable

from experiments.stacks import scenes, ways
from experiments.stacks.ways import Score
from tools import pictures
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text
from two_stream_fusion.methods import models

HERE = Path(__file__).resolve().parent

EXAMPLES = """examples:
  FUSION_DATA=~/data python experiments/stacks/run.py
  FUSION_DATA=~/data python experiments/stacks/run.py --held-out
  FUSION_DATA=~/data python experiments/stacks/run.py --held-out --ways default --scenes hairs "light field"
  FUSION_DATA=~/data python experiments/stacks/run.py --held-out --out build/stacks \\
      --ways "multi-stream f16" --weights f16=build/snapshots/N-stream_f16_k3_iter_12000.caffemodel
"""


def read_scores(path: Path) -> list[Score]:
    """The rows of a table that `write_scores` wrote; none where there is no such file."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = Score._fields[3:]
    return [
        Score(
            row["scene"],
            int(row["frames"]),
            row["way"],
            *(float(row[n]) if row[n] else None for n in numbers),
        )
        for row in rows
    ]


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Write a CSV table, a score a row, numbers with four digits after the point.

    Args:
        path: of the table.
        scores: its rows.
    """
    rows = [
        ["" if v is None else f"{v:.4f}" if isinstance(v, float) else v for v in score] for score in scores
    ]
    write_text(path, markdown_tables.comma_separated(Score._fields, rows))


def merge(old: Iterable[Score], new: Iterable[Score], order: list[str]) -> list[Score]:
    """Put new rows in the place of old ones of the same scene and way.

    Args:
        old: the rows there are.
        new: those that replace them, or are added.
        order: the names of the scenes.

    Returns:
        All rows, sorted by `order` and the columns of `tabulate`.
    """
    rows = {(score.scene, score.way): score for score in [*old, *new]}
    of_scenes = [score for score in rows.values() if score.scene in order]
    return sorted(of_scenes, key=lambda score: (order.index(score.scene), _rank(score.way)))


def tabulate(scores: list[Score]) -> str:
    """Markdown: PSNR of each scene and way; then the means of all columns."""
    labels = sorted({score.way for score in scores}, key=_rank)
    by_scene: dict[str, dict[str, Score]] = {}
    for score in scores:
        by_scene.setdefault(score.scene, {})[score.way] = score
    rows = []
    for scene, row in by_scene.items():
        count = next(iter(row.values())).frames
        rows.append([f"{scene}, {count}", *(f"{row[x].psnr:.2f}" if x in row else "" for x in labels)])
    table = markdown_tables.markdown(["scene, frames", *labels], rows)
    means = [[label, *_means([s for s in scores if s.way == label])] for label in labels]
    return table + "\n" + markdown_tables.markdown(["mean", *ways.COLUMNS], means)


def plot(scores: list[Score], path: Path) -> None:
    """Plot the distance of each way from the oracle, a row a scene.

    Args:
        scores: of all scenes.
        path: of the plot; an SVG is written beside.
    """
    names = list(dict.fromkeys(score.scene for score in scores))
    best = {score.scene: score.psnr for score in scores if score.way == "oracle"}
    figure, axes = pictures.pyplot().subplots(figsize=(7, 0.35 * len(names) + 1.2), layout="constrained")
    for label in sorted({score.way for score in scores} - {"oracle"}, key=_rank):
        own_scores = [score for score in scores if score.way == label and score.scene in best]
        style: dict[str, object] = {"marker": "o", "s": 16}
        if label == "default":
            style = {"marker": "D", "s": 60, "facecolors": "none", "edgecolors": "black", "zorder": 3}
        x = [score.psnr - best[score.scene] for score in own_scores]
        axes.scatter(x, [names.index(score.scene) for score in own_scores], label=label, **style)
    axes.axvline(0, color="gray", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(right=0.5)
    axes.set_xticks([-10, -5, -2, -1, 0], ["-10", "-5", "-2", "-1", "0"])
    axes.set_xlabel("PSNR, dB beyond the best frame at each pixel")
    axes.legend(fontsize="small")
    pictures.save(figure, path, has_svg=True)


def name_weights(text: str) -> tuple[str, Path]:
    """A type of argparse: the short name of a multi-stream net, and its weights.

    Args:
        text: the argument, such as f16=build/net.caffemodel.

    Returns:
        The name and the path.

    Raises:
        argparse.ArgumentTypeError: there is no such net.
    """
    name, _, path = text.partition("=")
    if name not in ways.MULTI_STREAM or not path:
        names = ", ".join(ways.MULTI_STREAM)
        raise argparse.ArgumentTypeError(f"{text}: NET=CAFFEMODEL is needed, NET one of {names}")
    return name, Path(path)


def quote(names: Iterable[str]) -> str:
    """List names that have commas."""
    return ", ".join(map(repr, names))


def _means(scores):
    """The mean of each column over the scenes that have it, as text."""
    texts = []
    for field, form in zip(Score._fields[3:], ("{:.2f}", "{:.4f}", "{:.2f}", "{:.3f}", "{:.2f}", "{:.0f}")):
        values = [getattr(score, field) for score in scores if getattr(score, field) is not None]
        texts.append(form.format(max(values) if field == "megabytes" else mean(values)) if values else "")
    return texts


def _rank(label):
    return ways.ORDER.index(label)


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--held-out", action="store_true", help="score the held-out scenes")
    add("--scenes", nargs="+", metavar="NAME", help="(default: all)")
    add("--ways", nargs="+", metavar="NAME", help=f"(default: all): {quote(ways.ORDER)}")
    add("--model", default=models.FAST, help="(default: %(default)s)")
    add("--weights", type=name_weights, action="append", default=[], metavar="NET=CAFFEMODEL",
        help="weights of net f16 or f32 instead of the released ones; give another --out, too")  # fmt: skip
    add("--out", type=Path, default=HERE, help="folder (default: experiments/stacks)")
    args = parser.parse_args(argv)
    if not os.environ.get("FUSION_DATA"):
        parser.error("FUSION_DATA names the folder of the photographs; it is not set")
    names = scenes.names(args.held_out)
    for noun, available, requested in (("scene", names, args.scenes), ("way", ways.ORDER, args.ways)):
        for name in requested or ():
            if name not in available:
                parser.error(f"no {noun} {name!r}: there are {quote(available)}")
    nets = ways.open_nets(args.model, dict(args.weights))
    path = args.out / f"{'held_out' if args.held_out else 'development'}.csv"
    table = read_scores(path)
    for name in args.scenes or names:
        scene = scenes.make_scene(name, args.held_out, Path(os.environ["FUSION_DATA"]))
        new = ways.score_scene(nets, scene, args.ways)
        print(f"{name}: " + ", ".join(f"{score.way} {score.psnr:.2f}" for score in new), flush=True)
        table = merge(table, new, names)
        write_scores(path, table)
    print("\n" + tabulate(table))
    if args.held_out:
        plot(table, args.out / "plot.png")


if __name__ == "__main__":
    cli.run(main)
