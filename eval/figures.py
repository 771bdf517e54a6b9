"""Figures 6-9 of the paper, made again: sources and what every method makes of them, with details enlarged.

The fused images are those of eval/tables.py, which makes what is not there yet; the metrics stand over each.
A pair that cannot be had is said so, and the other figures are made.

The methods are those of the tables. Two leave marks in this form that other options of theirs take away
(--set, in the last example): RP haze and halves of digits, PSFs seams and specks on Clock and Pepsi.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

from pathlib import Path

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


def figure(pair, cells, path):
    """Draw `cells`, {label of up to 3 lines: image}, in two rows, each over its two enlarged DETAILS."""
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
    with atomic_write(path) as beside:
        fig.savefig(beside, dpi=110)
    plt.close(fig)


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("--out", type=Path, default="build/figures", help="(default: %(default)s)")
    parser.add_argument(
        "--tables",
        type=Path,
        default="build/tables",
        help="where fused images are kept (default: %(default)s)",
    )
    parser.add_argument("--set", action="append", default=[], metavar="TITLE:KEY=VALUE,...", help="options"
        " of a method instead of its defaults")  # fmt: skip
    parser.add_argument("--workers", type=int, help="images in work at a time (default: one for each core)")
    args = parser.parse_args(argv)
    folder = args.tables / "fused"
    chosen = results.choose(varied=args.set)
    chosen = {title: entry for title, entry in chosen.items() if title not in results.other_weights()}
    scores, missing, failed = results.run(FIGURES.values(), chosen, folder, args.workers)
    for number, name in FIGURES.items():
        if name in missing:
            print(f"Figure {number} not made: {missing[name]}")
            continue
        a, b, _ = pairs.load(name)
        cells = {"source A": a, "source B": b}
        for title, row in scores[name].items():
            path = results.fuse(name, title, *chosen[title], folder)
            six = [f"{metric} {row[metric]:.3f}" for metric in metrics.METRICS]
            cells["\n".join([title, "  ".join(six[:3]), "  ".join(six[3:])])] = images.read(path)
        path = args.out / f"fig{number}.png"
        figure(name, cells, path)
        print(
            f"{path}: {name}, {len(cells)} images"
            + (f" ({pairs.NOTES[name]})" if name in pairs.NOTES else "")
        )
    for what, why in {**missing, **failed}.items():
        if what not in FIGURES.values():
            print(f"{what} is left out: {why}")
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
