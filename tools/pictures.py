"""What the commands that draw share: tiles side by side, weights as grays, figures written whole."""

from __future__ import annotations

import numpy as np

from two_stream_fusion.base.files import atomic_write
from two_stream_fusion.base.pixels import round_half_even

GAP = 255  # white


def mosaic(tiles, columns, enlarge=1):
    """Tiles side by side, row by row, a white pixel between them.

    tiles: N x H x W or N x H x W x 3, uint8. enlarge: the side of the square that a pixel becomes; the gap
    stays a pixel. Returns rows x columns uint8, with 3 channels where the tiles have them.
    """
    tiles = np.asarray(tiles).repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    count, height, width = tiles.shape[:3]
    rows = -(-count // columns)
    shape = (rows * (height + 1) - 1, columns * (width + 1) - 1, *tiles.shape[3:])
    picture = np.full(shape, GAP, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * (height + 1), i % columns * (width + 1)
        picture[y : y + height, x : x + width] = tile
    return picture


def signed(values):
    """Numbers of either sign as uint8 of the same shape: zero is 128, the largest magnitude 1 or 255."""
    values = np.asarray(values, np.float32)
    return round_half_even(128 + 127 * values / (np.abs(values).max() or 1), np.uint8)


def stretched(values):
    """Numbers as uint8 of the same shape: the least is 0, the largest 255; all 0 where equal."""
    values = np.asarray(values, np.float32)
    low, high = values.min(), values.max()
    return round_half_even(255 * (values - low) / ((high - low) or 1), np.uint8)


def pyplot():
    """matplotlib.pyplot without a window."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure, path, dpi=120):
    """Write a matplotlib figure, whole or not at all, and close it. The ending of `path` says the format.

    ValueError where matplotlib has no such format, OSError where the folder cannot be written to.
    """
    try:
        with atomic_write(path) as beside:
            figure.savefig(beside, dpi=dpi)
    finally:
        pyplot().close(figure)
