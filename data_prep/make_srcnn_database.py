"""Make the HDF5 databases that the comparison method SRCNN is trained on (methods/srcnn.py).

A photograph, gray, is halved by averaging 2x2 pixels and brought back by bicubic interpolation. Rows are
crops of 48x48 from one plane of the wavelet transforms (methods/uwt.py, at the spacing that the method has
at the raised size): data is from the interpolated photograph, label from the photograph itself, rows x 1 x
48 x 48 float32 each, divided as the method divides them. --planes says which of the two nets it is for: the
one of the approximation or the one of all details. Photographs, their division and the seed are as in
make_database.py.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import argparse

import cv2
import numpy as np

from data_prep import make_database
from data_prep.make_database import number
from two_stream_fusion.base import cli
from two_stream_fusion.methods import uwt
from two_stream_fusion.methods.srcnn import LEVELS, LEVELS_OF_GRAY, SCALE, raised

EXAMPLES = """examples:
  python data_prep/make_srcnn_database.py --planes approximation
  python data_prep/make_srcnn_database.py --planes detail --photos ~/Pictures
"""
PATCH = 48
MARGIN = 24  # pixels of the photograph's border left out: there the transform goes on at the other side


def datasets(settings):
    """{name: (shape of a row, dtype)}."""
    return dict.fromkeys(("data", "label"), ((1, PATCH, PATCH), "float32"))


def count(shape, settings):
    """The rows of a photograph: always as many, but none of one too small."""
    return settings["samples"] if min(shape) >= PATCH + 2 * MARGIN + 8 else 0


def rows(entry, settings):
    """The rows of a photograph: data and label of each."""
    image, rng = make_database.reread(entry, settings)
    step = SCALE * 2**LEVELS
    height, width = (n // step * step for n in image.shape[:2])
    sharp = make_database.planes(image)[3, :height, :width].astype(np.float32)
    half = cv2.resize(sharp, (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA)
    wanted, given = (uwt.transform(x, LEVELS, spacing=SCALE) for x in (sharp, raised(half)))
    approximation = settings["planes"] == "approximation"
    for _ in range(settings["samples"]):
        plane = 0 if approximation else rng.integers(1, len(wanted))
        y, x = (rng.integers(MARGIN, n - MARGIN - PATCH + 1) for n in (height, width))
        crops = (planes[plane, y : y + PATCH, x : x + PATCH] for planes in (given, wanted))
        yield [(crop[None] / LEVELS_OF_GRAY[settings["planes"]]).astype(np.float32) for crop in crops]


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[make_database.common()],
    )
    add = parser.add_argument
    add("--planes", choices=("approximation", "detail"), required=True, help="what the net is for")
    add("--out", metavar="DIR", help="(default: build/data_srcnn_PLANES, as the net names it)")
    add(
        "--samples",
        type=number(1),
        default=8,
        help="rows of a photograph (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    settings = {name: getattr(args, name) for name in ("planes", "samples", "val_share", "seed")}
    settings["val_patches"] = 0  # all
    kind = make_database.Rows(f"srcnn_{args.planes}", datasets, count, rows)
    out = args.out or f"build/data_srcnn_{args.planes}"
    make_database.run(args.photos, out, settings, args.workers, kind)


if __name__ == "__main__":
    cli.run(main)
