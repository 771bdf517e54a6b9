"""Show patches of a training database in rows, as Fig. 4 of the paper: a, b (each blurred in part), clean."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from tools import pictures
from two_stream_fusion.base import cli
from two_stream_fusion.base.pixels import round_half_even
from two_stream_fusion.io import images

EXAMPLES = """examples:
  python tools/show_patches.py build/data/train.txt -o patches.png
  python tools/show_patches.py build/data/val/000.h5 -o patches.png --first 32 --count 12 --enlarge 3
"""
ROWS = ("a", "b", "label")


def files(path) -> list[str]:
    """The HDF5 files of a database: `path` itself, or those that the list `path` names."""
    return Path(path).read_text().split() if Path(path).suffix == ".txt" else [str(path)]


def opened(name):
    """The HDF5 file `name`; ValueError where it is none."""
    if not h5py.is_hdf5(name):
        with open(name, "rb"):  # what there is no file of, or what may not be read, is said so
            raise ValueError(
                f"{name}: not an HDF5 file; a database is an .h5 file or the .txt list of several"
            )
    return h5py.File(name, "r")


def patches(path, first, count):
    """Patches `first` to `first + count - 1` of a database, an .h5 file or a list of such files.

    Returns {"a", "b", "label": up to count x P x P x 3 uint8}, less where the database ends. ValueError where
    the files hold no such images, or none from `first` on; OSError where they cannot be read.
    """
    found = {name: [] for name in ROWS}
    for name in files(path):
        with opened(name) as file:
            if any(row not in file or file[row].ndim != 4 for row in ROWS):
                there = ", ".join(f"{key} {file[key].shape}" for key in file)
                raise ValueError(f"{name}: no images a, b and label, rows x channels x P x P; it has {there}")
            rows = file["a"].shape[0]
            for row in ROWS:
                found[row].append(file[row][first : first + count])
        taken = len(found["a"][-1])
        first, count = max(0, first - rows), count - taken
        if not count:
            break
    if not sum(map(len, found["a"])):
        raise ValueError(f"{path}: it ends before patch --first")
    return {row: to_colour(np.concatenate(parts)) for row, parts in found.items()}


def to_colour(rows):
    """N x C x P x P, bytes or floats in 0..1, as N x P x P x 3 uint8: R, G, B, or one channel as gray."""
    if rows.dtype != np.uint8:
        rows = round_half_even(255 * rows, np.uint8)
    rgb = rows[:, :3] if rows.shape[1] >= 3 else rows[:, :1].repeat(3, axis=1)
    return rgb.transpose(0, 2, 3, 1)


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("database", help="an .h5 file, or the .txt list of several")
    add("-o", "--output", required=True, help="the picture (.png ...), replaced if it is there")
    add("--first", type=int, default=0, metavar="N", help="the first patch shown (default: %(default)s)")
    add("--count", type=int, default=8, metavar="N", help="how many (default: %(default)s)")
    add("--enlarge", type=int, default=1, metavar="N", help="side of a pixel (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.first < 0 or min(args.count, args.enlarge) < 1:
        parser.error("--first is 0 or more, --count and --enlarge 1 or more")
    found = patches(args.database, args.first, args.count)
    shown = len(found["a"])
    tiles = np.concatenate([found[row] for row in ROWS])
    images.write(args.output, pictures.mosaic(tiles, shown, args.enlarge))
    print(f"{args.output}: patches {args.first} to {args.first + shown - 1}; rows a, b, clean")


if __name__ == "__main__":
    cli.run(main)
