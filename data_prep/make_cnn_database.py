"""Make the HDF5 databases that the comparison method CNN is trained on (methods/cnn.py).

Liu et al. 2017, doi:10.1016/j.inffus.2016.12.001: every photograph, gray, is blurred five times over, each
time by a Gaussian of deviation 2 in a window of 7x7, and patches of 16x16 are cut out of it, sharp and
blurred, at the same random places, where the sharp one's variance is over 25. Datasets: a and b, rows x 1 x
16 x 16 bytes, one of them sharp, and label, rows: 1 where a is, else 0. Photographs, their division and the
seed are as in make_database.py.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import argparse

import cv2
import numpy as np

from data_prep import make_database
from data_prep.make_database import number
from two_stream_fusion.base import cli

EXAMPLES = """examples:
  python data_prep/make_cnn_database.py
  python data_prep/make_cnn_database.py --photos ~/Pictures --samples 1000
"""
PATCH = 16
BLURS = 5
VARIANCE = 25  # of a sharp patch on 0..255: flatter ones look alike in and out of focus


def datasets(settings):
    """{name: (shape of a row, dtype)}."""
    return {"a": ((1, PATCH, PATCH), "uint8"), "b": ((1, PATCH, PATCH), "uint8"), "label": ((), "uint8")}


def count(shape, settings):
    """The rows of a photograph: always as many, but none of one smaller than a patch."""
    return settings["samples"] if min(shape) >= PATCH else 0


def rows(entry, settings):
    """The rows of a photograph: a, b and label of each."""
    image, rng = make_database.reread(entry, settings)
    sharp = make_database.planes(image)[3]
    levels = [sharp]
    for _ in range(BLURS):
        levels.append(cv2.GaussianBlur(levels[-1], (7, 7), 2, borderType=cv2.BORDER_REFLECT_101))
    textured = np.argwhere(variance(sharp) > VARIANCE)
    if not len(textured):  # a photograph of nothing: rows of it teach little, but the count stands
        textured = np.argwhere(np.ones_like(variance(sharp), bool))
    for i in range(settings["samples"]):
        y, x = textured[rng.integers(len(textured))]
        blurred = levels[1 + rng.integers(BLURS)]
        pair = [level[None, y : y + PATCH, x : x + PATCH] for level in (sharp, blurred)]
        label = i % 2
        yield [*(pair if label else pair[::-1]), np.array(label, np.uint8)]


def variance(plane):
    """The variance of every whole patch of an H x W plane, by its upper left corner."""
    plane = plane.astype(np.float64)
    mean, square = (
        cv2.boxFilter(p, -1, (PATCH, PATCH), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
        for p in (plane, plane * plane)
    )
    height, width = plane.shape
    return (square - mean * mean)[: height - PATCH + 1, : width - PATCH + 1]


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[make_database.common()],
    )
    add = parser.add_argument
    add("--out", metavar="DIR", default="build/data_cnn", help="(default: %(default)s, as the net names it)")
    add(
        "--samples",
        type=number(1),
        default=400,
        help="rows of a photograph (default: %(default)s)",
    )
    add("--val-patches", type=number(0), default=6400, metavar="N", help="validation rows kept at the most;"
        " the solver tests on 100 batches of 64 (default: %(default)s, 0: all)")  # fmt: skip
    args = parser.parse_args(argv)
    names = ("samples", "val_share", "val_patches", "seed")
    settings = {name: getattr(args, name) for name in names}
    kind = make_database.Rows("cnn", datasets, count, rows)
    make_database.run(args.photos, args.out, settings, args.workers, kind)


if __name__ == "__main__":
    cli.run(main)
