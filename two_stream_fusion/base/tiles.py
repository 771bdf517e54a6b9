"""Large images in overlapping tiles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

TILE = 384  # pixels: side of the squares of map_tiles; what a tile needs fits a core's cache


def tiles(size, tile, margin):
    """Cut an H x W image into squares.

    tile: their side in pixels, 0 for the whole image. Returns a list of (inner, outer, inside), pairs of
    slices: the inner parts cover every pixel once, an outer part is its inner part with `margin` pixels
    around it, as far as the image goes, and inside is where in the outer part the inner one is. ValueError
    for a negative side.
    """
    if tile < 0:
        raise ValueError(f"tile={tile}: 0 or more pixels")
    cuts = []
    for length in size:
        cuts.append([])
        for start in range(0, length, tile or length):
            end = min(start + (tile or length), length)
            first = max(0, start - margin)
            outer = slice(first, min(length, end + margin))
            cuts[-1].append((slice(start, end), outer, slice(start - first, end - first)))
    return [tuple(zip(rows, columns)) for rows in cuts[0] for columns in cuts[1]]


def map_tiles(compute, arrays, margin=0):
    """What `compute` makes of arrays, tile by tile, all cores at work: a cache holds what a tile needs.

    arrays: H x W or H x W x C, of one size. compute: takes parts of them, with `margin` pixels around as far
    as the images go, and gives one array or a tuple of them, of the same height and width; none of its
    pixels may depend on what is farther than margin. Returns the same for the whole images.
    """
    size = arrays[0].shape[:2]

    def work(tile):
        inner, outer, inside = tile
        parts = compute(*(array[outer] for array in arrays))
        return inner, [part[inside] for part in (parts if isinstance(parts, tuple) else (parts,))]

    made = None
    with ThreadPoolExecutor(max(1, cv2.getNumThreads())) as pool:
        for inner, parts in pool.map(work, tiles(size, TILE, margin)):
            if made is None:
                made = [np.empty(size + part.shape[2:], part.dtype) for part in parts]
            for whole, part in zip(made, parts):
                whole[inner] = part
    return made[0] if len(made) == 1 else made
