"""Large images in overlapping tiles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Sequence, Tuple

import cv2
import numpy as np

NETWORK_TILE = 512  # pixels a side, for memory alone: BVLC Caffe needs 6 GB for it, caffe_torch a tenth
TILE = 384  # pixels: side of the squares of map_tiles, for speed alone; the data of a tile fit a core's cache
Tile = Tuple[Tuple[slice, slice], Tuple[slice, slice], Tuple[slice, slice]]  # inner, outer, inside


def tiles(size: tuple[int, int], tile: int, margin: int) -> list[Tile]:
    """Cut an image into squares that overlap.

    Args:
        size: height and width of the image, in pixels.
        tile: side of a square in pixels; 0 for the whole image.
        margin: pixels around a square.

    Returns:
        Three pairs of slices a square: inner, outer and inside. The inner parts cover every pixel once.
        An outer part is the inner part with `margin` pixels around it, cut at the image's border. Inside is
        the place of the inner part in the outer part.

    Raises:
        ValueError: a negative side.
    """
    if tile < 0:
        raise ValueError(f"tile={tile}: 0 or more pixels are needed")
    cuts: list[list[tuple[slice, slice, slice]]] = []
    for length in size:
        cuts.append([])
        for start in range(0, length, tile or length):
            end = min(start + (tile or length), length)
            first = max(0, start - margin)
            outer = slice(first, min(length, end + margin))
            cuts[-1].append((slice(start, end), outer, slice(start - first, end - first)))
    return [
        ((y, x), (outer_y, outer_x), (inside_y, inside_x))
        for y, outer_y, inside_y in cuts[0]
        for x, outer_x, inside_x in cuts[1]
    ]


def map_tiles(compute: Callable, arrays: Sequence[np.ndarray], margin: int = 0) -> Any:
    """Apply a function to arrays tile by tile, on all cores.

    Args:
        compute: takes a part of each array and returns an array, or a tuple of arrays, of the same height and
            width. A pixel of its result depends on no pixel farther away than `margin`.
        arrays: H x W or H x W x C, of one height and width.
        margin: pixels around a tile, cut at the image's border.

    Returns:
        The results of `compute` for the whole arrays: an array, or a list of arrays for a tuple.
    """
    size = arrays[0].shape[:2]

    def work(tile):
        inner, outer, inside = tile
        parts = compute(*(array[outer] for array in arrays))
        return inner, [part[inside] for part in (parts if isinstance(parts, tuple) else (parts,))]

    results: list[np.ndarray] = []
    with ThreadPoolExecutor(max(1, cv2.getNumThreads())) as pool:
        for inner, parts in pool.map(work, tiles(size, TILE, margin)):
            if not results:
                results = [np.empty(size + part.shape[2:], part.dtype) for part in parts]
            for result, part in zip(results, parts):
                result[inner] = part
    return results[0] if len(results) == 1 else results
