"""Regenerate Figures 6-9 of the paper: the sources and every method's image, with details enlarged.

The fused images are those of eval/tables.py; missing ones are made. The metrics stand over each. A pair that
is not available is named, and the other figures are made.

The methods have the options of the tables. With those RP leaves haze and half digits, and PSFs seams and
specks on Clock and Pepsi; the options of the last example remove them.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

from pathlib import Path
from typing import Mapping, Sequence

import cv2
import numpy as np

from eval import pairs, results
from two_stream_fusion import metrics
from two_stream_fusion.base import cli
from two_stream_fusion.base.files import atomic_write
from two_stream_fusion.io import images

EXAMPLES = """examples:
  python eval/figures.py                        what `make figures` runs: build/figures
  python eval/figures.py --out /tmp --tables build/tables
  python eval/figures.py --set RP:rule=area_max,window=5 --set PSFs:window=11,area=0.01 --out build/sheet
"""
FIGURES = {6: "clock", 7: "pepsi", 8: "camera", 9: "colour"}
# Where focus changes, as (left, top, side) in pixels of each pair.
DETAILS = {
    "clock": ((160, 150, 80), (185, 20, 80)),
    "pepsi": ((95, 190, 70), (330, 120, 70)),
    "camera": ((52, 40, 40), (100, 70, 40)),
    "colour": ((120, 60, 80), (430, 240, 80)),
}
COLOURS = ("#ffd000", "#00e5ff")


def draw_figure(pair: str, cells: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw images in two rows, each over its two enlarged DETAILS.

    Args:
        pair: a key of DETAILS.
        cells: {label of up to three lines: image, H x W or H x W x 3 uint8}, all of one size.
        path: the picture; its folder is created if it is missing.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    height, width = next(iter(cells.values())).shape[:2]
    columns = -(-len(cells) // 2)
    fig, axes = plt.subplots(2, columns, figsize=(2.6 * columns, 2 * (2.6 * (height / width + 0.5) + 0.5)))
    for axis in axes.flat:
        axis.set_axis_off()
    for number, (axis, (label, image)) in enumerate(zip(axes.flat, cells.items())):
        show = {"cmap": "gray", "vmin": 0, "vmax": 255} if image.ndim == 2 else {}
        details = [
            cv2.resize(image[y : y + side, x : x + side], (width // 2,) * 2, interpolation=cv2.INTER_NEAREST)
            for x, y, side in DETAILS[pair]
        ]
        strip = np.concatenate(details, axis=1)
        axis.imshow(np.concatenate([image[:, : strip.shape[1]], strip]), interpolation="antialiased", **show)
        axis.set_title(f"({chr(97 + number)}) {label}", fontsize=8, pad=3)
        for k, ((x, y, side), colour) in enumerate(zip(DETAILS[pair], COLOURS)):
            half = width // 2
            for corner, length in (((x, y), side), ((k * half + 1, height + 1), half - 3)):
                axis.add_patch(plt.Rectangle(corner, length, length, fill=False, edgecolor=colour))
    fig.subplots_adjust(0.003, 0.003, 0.997, 0.94, wspace=0.02, hspace=0.14)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        fig.savefig(partial, dpi=110)
    plt.close(fig)


def labelled_images(
    name: str, entries: Mapping[str, results.Entry], scores: Mapping[str, results.Scores], folder: Path
) -> dict[str, np.ndarray]:
    """The cells of a figure.

    Args:
        name: a pair.
        entries: {title: method with options}.
        scores: {title: {metric: value}} of the pair.
        folder: where fused images are kept.

    Returns:
        {label: image}, the sources first.
    """
    a, b, _ = pairs.load(name)
    cells = {"source A": a, "source B": b}
    for title, row in scores.items():
        path = results.fuse_pair(name, title, *entries[title], folder)
        values = [f"{metric} {row[metric]:.3f}" for metric in metrics.METRICS]
        cells["\n".join([title, "  ".join(values[:3]), "  ".join(values[3:])])] = images.read(path)
    return cells


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the status is 1 where a method failed."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--out", type=Path, default="build/figures", help="(default: %(default)s)")
    add("--tables", type=Path, default="build/tables", help="where fused images are kept (default:"
        " %(default)s)")  # fmt: skip
    add("--set", action="append", default=[], metavar="TITLE:KEY=VALUE,...", help="options of a method"
        " instead of its defaults")  # fmt: skip
    add("--jobs", type=int, metavar="N", help="images processed at a time (default: one for each core)")
    args = parser.parse_args(argv)
    folder, left_out = args.tables / "fused", results.titles_with_other_weights()
    entries = results.select_methods(settings=args.set)
    entries = {title: entry for title, entry in entries.items() if title not in left_out}
    scores, missing, failed = results.score_pairs(list(FIGURES.values()), entries, folder, args.jobs)
    for number, name in FIGURES.items():
        if name in missing:
            print(f"Figure {number} not made: {missing[name]}")
            continue
        cells = labelled_images(name, entries, scores[name], folder)
        path = args.out / f"fig{number}.png"
        draw_figure(name, cells, path)
        note = f" ({pairs.NOTES[name]})" if name in pairs.NOTES else ""
        print(f"{path}: {name}, {len(cells)} images{note}")
    for name, reason in {**missing, **failed}.items():
        if name not in FIGURES.values():
            print(f"{name} is left out: {reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
