"""Which frame of a focus stack is sharp at each pixel: the one that the network's image agrees with.

Not from the paper. The network fuses the stack two by two (stack/tree.py). Each pixel comes from the
frame that is closest to that image in fine detail. A Potts prior penalises the length of boundaries
(stack/potts.py). Details as small as the frames' noise hardly count, so plain areas follow their
surroundings.
"""

from __future__ import annotations

from typing import Iterable

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable, remove_small_regions
from two_stream_fusion.base.tiles import map_tiles
from two_stream_fusion.stack import potts
from two_stream_fusion.stack.details import detail_distance, gaussian_radius, noise_variance

DETAIL_SIGMA = 4  # pixels: the Gaussian that is subtracted from differences
WINDOW = 3  # pixels: side of the mean over squared differences
FLOOR = 2  # levels of 255, squared: what counts as noise in frames without any
BOUNDARY_COST = 1  # of a pixel of boundary; a pixel that leaves no doubt is worth up to 1
MIN_AREA = 0.00005  # a region of a smaller share of the image is given to its surroundings


def select_frames(frames: Iterable[np.ndarray], fused: np.ndarray) -> np.ndarray:
    """Find the sharpest frame at each pixel.

    Args:
        frames: in the order of their focus (see focus_order), H x W or H x W x 3, uint8 or uint16, alike.
            Each is read once, and one is held at a time.
        fused: an image like them, the network's for all of them.

    Returns:
        H x W uint16, places in `frames`; the first of frames that are equal.

    Raises:
        ValueError: the images differ in shape or dtype.
    """
    choice = np.zeros(fused.shape[:2], np.uint16)
    nearest = None
    for i, frame in enumerate(frames):
        check_fusable(fused, frame)
        distance = map_tiles(_squared_distance, (frame, fused), gaussian_radius(DETAIL_SIGMA) + WINDOW // 2)
        if nearest is None:
            nearest = distance
            continue
        wins = _wins(nearest, distance, np.float32(FLOOR + noise_variance(frame)))
        better = potts.binary_potts(-wins / np.float32(BOUNDARY_COST))
        choice[better], nearest[better] = i, distance[better]
    return remove_small_regions(choice, MIN_AREA * choice.size)


def _wins(nearest, distance, noise):
    """H x W float32: how much closer a frame is than the nearest so far, -1 to 1; near 0 within noise."""
    both = nearest + distance
    return (nearest - distance) * both**2 / (both + noise) ** 3


def _squared_distance(image, fused):
    """H x W float32: squared difference of details in gray levels of 255, mean over channels and WINDOW."""
    squared = detail_distance(image, fused, DETAIL_SIGMA, np.square)
    return cv2.blur(squared, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)
