"""Helpers of the commands that draw: tiles side by side, weights as grays, figures in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from two_stream_fusion.base.files import atomic_write
from two_stream_fusion.base.pixels import round_half_even

if TYPE_CHECKING:
    import types

    import matplotlib.figure

GAP = 255  # white


def mosaic(tiles: np.ndarray, columns: int, enlarge: int = 1) -> np.ndarray:
    """Put tiles side by side, row by row, with a white pixel between them.

    Args:
        tiles: N x H x W or N x H x W x 3, uint8.
        columns: tiles in a row.
        enlarge: the side of the square that a pixel becomes; the gap stays one pixel.

    Returns:
        One image, uint8, with 3 channels where the tiles have them.
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


def signed_to_gray(values: np.ndarray) -> np.ndarray:
    """Map numbers of either sign to uint8 of the same shape: zero is 128, the largest magnitude 1 or 255."""
    values = np.asarray(values, np.float32)
    return round_half_even(128 + 127 * values / (np.abs(values).max() or 1), np.uint8)


def stretch_to_gray(values: np.ndarray) -> np.ndarray:
    """Map numbers to uint8 of the same shape: the minimum is 0, the maximum 255; all 0 where equal."""
    values = np.asarray(values, np.float32)
    low, high = values.min(), values.max()
    return round_half_even(255 * (values - low) / ((high - low) or 1), np.uint8)


def pyplot() -> types.ModuleType:
    """Import matplotlib.pyplot with a backend that opens no window."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure: matplotlib.figure.Figure, path: str | Path, dpi: int = 120, has_svg: bool = False) -> None:
    """Write a matplotlib figure atomically and close it.

    Args:
        figure: a matplotlib figure.
        path: the file; its suffix names the format.
        dpi: dots an inch.
        has_svg: write an SVG of the same name too. Equal figures give equal bytes.

    Raises:
        ValueError: matplotlib has no such format.
        OSError: the folder cannot be written to.
    """
    try:
        with atomic_write(path) as beside:
            figure.savefig(beside, dpi=dpi)
        if has_svg:
            with pyplot().rc_context({"svg.hashsalt": ""}), atomic_write(
                Path(path).with_suffix(".svg")
            ) as beside:
                figure.savefig(beside, metadata={"Date": None})
    finally:
        pyplot().close(figure)
