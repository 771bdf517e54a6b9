"""Show patches of a training database in rows, as Fig. 4 of the paper: a, b (each blurred in part), clean."""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

from pathlib import Path

import h5py
import numpy as np

from tools import pictures
from two_stream_fusion.base import cli
from two_stream_fusion.base.pixels import round_half_even
from two_stream_fusion.io import images

EXAMPLES = """examples:
  python tools/show_patches.py build/data/train.txt -o patches.png
  python tools/show_patches.py build/data_p25/train.txt -o small.png --count 20
  python tools/show_patches.py build/data/val/000.h5 -o patches.png --first 32 --count 12 --enlarge 3
"""
ROWS = ("a", "b", "label")


def database_files(path: str | Path) -> list[str]:
    """The HDF5 files of a database: `path` itself, or those that the list `path` names."""
    return Path(path).read_text().split() if Path(path).suffix == ".txt" else [str(path)]


def open_hdf5(name: str) -> h5py.File:
    """Open an HDF5 file to read.

    Args:
        name: its path.

    Returns:
        The open file.

    Raises:
        ValueError: it is not an HDF5 file.
        OSError: it is missing or unreadable.
    """
    if not h5py.is_hdf5(name):
        with open(name, "rb"):  # OSError for a file that is missing or unreadable
            raise ValueError(
                f"{name}: not an HDF5 file; a database is an .h5 file or the .txt list of several"
            )
    return h5py.File(name, "r")


def read_patches(path: str, first: int, count: int) -> dict[str, np.ndarray]:
    """Read consecutive patches of a database.

    Args:
        path: an .h5 file or the .txt list of several.
        first: index of the first patch.
        count: how many.

    Returns:
        {"a", "b", "label": N x P x P x 3 uint8}; N is less than `count` at the end of the database.

    Raises:
        ValueError: a file holds no such images, or the database ends before `first`.
        OSError: a file cannot be read.
    """
    parts = {name: [] for name in ROWS}
    for name in database_files(path):
        with open_hdf5(name) as file:
            if any(row not in file or file[row].ndim != 4 for row in ROWS):
                contents = ", ".join(f"{key} {file[key].shape}" for key in file)
                raise ValueError(
                    f"{name}: no images a, b and label, rows x channels x P x P; it has {contents}"
                )
            rows = file["a"].shape[0]
            for row in ROWS:
                parts[row].append(file[row][first : first + count])
        first, count = max(0, first - rows), count - len(parts["a"][-1])
        if not count:
            break
    if not sum(map(len, parts["a"])):
        raise ValueError(f"{path}: it ends before patch --first")
    return {row: to_colour(np.concatenate(arrays)) for row, arrays in parts.items()}


def to_colour(rows: np.ndarray) -> np.ndarray:
    """Convert N x C x P x P, bytes or floats in 0..1, to N x P x P x 3 uint8: R, G, B, or gray."""
    if rows.dtype != np.uint8:
        rows = round_half_even(255 * rows, np.uint8)
    rgb = rows[:, :3] if rows.shape[1] >= 3 else rows[:, :1].repeat(3, axis=1)
    return rgb.transpose(0, 2, 3, 1)


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("database", help="an .h5 file, or the .txt list of several")
    cli.add_output(parser, "the picture (.png ...); replaces an existing file", required=True)
    add("--first", type=int, default=0, metavar="N", help="the first patch shown (default: %(default)s)")
    add("--count", type=int, default=8, metavar="N", help="how many (default: %(default)s)")
    add("--enlarge", type=int, default=1, metavar="N", help="side of a pixel (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.first < 0 or min(args.count, args.enlarge) < 1:
        parser.error("--first must be at least 0, --count and --enlarge at least 1")
    patches = read_patches(args.database, args.first, args.count)
    count = len(patches["a"])
    tiles = np.concatenate([patches[row] for row in ROWS])
    images.write(args.output, pictures.mosaic(tiles, count, args.enlarge))
    print(f"{args.output}: patches {args.first} to {args.first + count - 1}; rows a, b, clean")


if __name__ == "__main__":
    cli.run(main)
