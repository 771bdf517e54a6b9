"""The order of focus of the frames of a stack: neighbours have their details at the same pixels.

Where the camera shook between frames, their details are first moved back (stack/camera_shift.py). Without
this, a shake of 2 % of the width breaks the order of half of the stacks.

Not from the paper.
"""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from two_stream_fusion.base.pixels import gray_levels
from two_stream_fusion.stack import camera_shift
from two_stream_fusion.stack.details import gaussian_blur

COMPARED_SIDE = 600  # pixels: the longer side at which frames are compared
MAP_SIDE = 200  # pixels: the longer side of maps of detail, which can be shifted
GRID = 24  # cells a side, of the grid on which frames are compared
DETAIL_SIGMA = 1.5  # pixels: what is finer than this Gaussian counts as detail
MAX_STARTS = 50  # paths that are tried at most, each from another frame
KEEP_ORDER_RATIO = 1.01  # of the length of its path and of the shortest: the original order stays up to it
ALIKE_RATIO = 1.05  # of the mean distance of all frames and of neighbours: frames have no order up to it


def order_by_details(maps: Sequence[np.ndarray], shifts: np.ndarray | None = None) -> list[int]:
    """Sort the frames of a focus stack by their focus.

    Frames are focused alike if their details have the same strength at the same positions. So the shortest
    path through all frames is their order. It is approximated by paths that grow at both ends to the nearest
    frame.

    Args:
        maps: the `detail_map` of each frame.
        shifts: how far the frames are apart, as camera_shift.estimate_shifts gives it; shifts too small for
            shake (is_shaken there) change nothing.

    Returns:
        The indices of the frames in their order, from either end of the stack. The original order stays where
        its path is hardly longer than the shortest (KEEP_ORDER_RATIO), and where all frames are about as far
        from each other as neighbours are (ALIKE_RATIO).
    """
    if shifts is not None and camera_shift.is_shaken(shifts):
        maps = _registered(maps, shifts)
    details = np.array([detail_grid(details) for details in maps])
    distances = np.array([np.abs(details - grid).mean(axis=(1, 2)) for grid in details])
    return _sort(distances)


def downscale_frame(frame: np.ndarray) -> np.ndarray:
    """A frame of at most COMPARED_SIDE pixels a side, of the same kind: enough for all that is compared."""
    size = _fit_within(frame.shape, COMPARED_SIDE)
    return frame if size == frame.shape[1::-1] else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def detail_map(frame: np.ndarray) -> np.ndarray:
    """How much detail a small version of a frame has at each pixel: float32, at most MAP_SIDE a side.

    Args:
        frame: H x W or H x W x 3, uint8 or uint16; or its gray levels, float32.

    Returns:
        H x W float32.
    """
    levels = gray_levels(downscale_frame(frame))
    fine = cv2.absdiff(levels, gaussian_blur(levels, DETAIL_SIGMA))
    return cv2.resize(fine, _fit_within(fine.shape, MAP_SIDE), interpolation=cv2.INTER_AREA)


def detail_grid(details: np.ndarray) -> np.ndarray:
    """The logarithm of how much detail a `detail_map` has in each cell: GRID x GRID float32."""
    return np.log(cv2.resize(details, (GRID, GRID), interpolation=cv2.INTER_AREA) + np.float32(0.5))


def _registered(maps, shifts):
    """The maps moved back by their shifts, and cropped to what all frames show."""
    height, width = maps[0].shape
    pixels = shifts * max(height, width)
    left, top = np.ceil(np.maximum(0, -pixels.min(axis=0))).astype(int)
    right, bottom = np.ceil(np.maximum(0, pixels.max(axis=0))).astype(int)
    moved = (camera_shift.shift_image(details, x, y) for details, (x, y) in zip(maps, pixels))
    return [np.ascontiguousarray(details[top : height - bottom, left : width - right]) for details in moved]


def _sort(distances):
    """The shortest path through all frames, or the original order where that is hardly longer."""
    original = list(range(len(distances)))
    starts = original[:: -(-len(original) // MAX_STARTS)]
    paths = (_nearest_neighbour_path(distances, start) for start in starts)
    shortest = min(paths, key=lambda path: _path_length(distances, path))
    length = _path_length(distances, shortest)
    has_order = distances.sum() / len(original) > ALIKE_RATIO * length  # the mean of all, times the steps
    if not has_order or _path_length(distances, original) <= KEEP_ORDER_RATIO * length:
        return original
    return shortest if shortest[0] < shortest[-1] else shortest[::-1]


def _fit_within(shape, side):
    """(width, height) of an image of a shape H x W..., scaled so that no side is longer than `side`."""
    scale = min(1, side / max(shape[:2]))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _nearest_neighbour_path(distances, start):
    """A path through all frames from `start` on: the frame nearest to either end is added there."""
    path, remaining = [start], np.arange(len(distances)) != start
    while remaining.any():
        to_ends = np.where(remaining, distances[[path[0], path[-1]]], np.inf)
        end, nearest = map(int, np.unravel_index(to_ends.argmin(), to_ends.shape))
        path.insert(end * len(path), nearest)
        remaining[nearest] = False
    return path


def _path_length(distances, path):
    return distances[path[:-1], path[1:]].sum()
