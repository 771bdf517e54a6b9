"""Which frame of a focus stack is sharp at each pixel: one pass over neighbours in focus.

Not from the paper. The network fuses each frame with the one before it; both are photographs, never
results of earlier steps. Whichever of the two is closer to the network's output in fine detail wins there.
Wins add up along the stack, and the frame with the largest sum is taken. A Potts prior penalises the length
of boundaries (stack/potts.py).

Folding a stack like a pair accumulates errors instead. Between two frames that are both out of focus it still
has to choose, and inside of a plain area, where a net that sees ten pixels finds no edge, it chooses wrong.
Here only details count, and those as small as the frames' noise hardly do; plain areas follow their
surroundings.
"""

from __future__ import annotations

from functools import partial
from typing import Callable, Iterable

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable, remove_small_regions
from two_stream_fusion.base.tiles import map_tiles
from two_stream_fusion.stack import potts
from two_stream_fusion.stack.details import detail_distance, gaussian_radius
from two_stream_fusion.stack.noise import measure_noise

DETAIL_SIGMA = 4  # pixels: the Gaussian that is subtracted from differences
WINDOW = 3  # pixels: side of the mean over squared differences
FLOOR = 16  # mean square of differences, in levels of 255, that counts as noise in any frame; JPEG has that
BOUNDARY_COST = 0.5  # of a pixel of boundary; a pixel that leaves no doubt is worth up to 1 for each frame
MIN_AREA = 0.00005  # a region of a smaller share of the image is given to its surroundings


def select_frames(
    net: Callable[..., np.ndarray],
    frames: Iterable[np.ndarray],
    *,
    progress: Callable[[Iterable], Iterable] = iter,
    **options: object,
) -> np.ndarray:
    """Find the sharpest frame at each pixel.

    Args:
        net: fuses two images, such as a TwoStream; it is called with `options` and `progress`.
        frames: two or more images in the order of their focus (see stack/order.py), H x W or H x W x 3,
            uint8 or uint16, alike. Each is read once, and two are held at a time.
        progress: wraps the tiles that the net computes.
        **options: passed to the net, such as tile.

    Returns:
        H x W uint16, places in `frames`; the first of frames that are equal.

    Raises:
        ValueError: the images differ in shape or dtype.
    """
    frames = iter(frames)
    previous = next(frames)
    score = np.zeros(previous.shape[:2], np.float32)
    best_score, choice = score.copy(), np.zeros(score.shape, np.uint16)
    variance = measure_noise(previous).sigma ** 2
    for i, frame in enumerate(frames, start=1):
        check_fusable(previous, frame)
        fused = net(previous, frame, progress=progress, **options)
        noise, variance = FLOOR + variance, measure_noise(frame).sigma ** 2
        wins = partial(_wins, noise=np.float32(noise + variance))
        score += map_tiles(wins, (previous, frame, fused), gaussian_radius(DETAIL_SIGMA) + WINDOW // 2)
        better = potts.binary_potts((best_score - score) / np.float32(BOUNDARY_COST))
        choice[better], best_score[better] = i, score[better]
        previous = frame
    return remove_small_regions(choice, MIN_AREA * choice.size)


def _wins(a, b, fused, noise):
    """H x W float32: how much closer b is to `fused` than a, -1 to 1; near 0 where both are within noise."""
    distance_a, distance_b = _squared_distance(a, fused), _squared_distance(b, fused)
    both = distance_a + distance_b
    return (distance_a - distance_b) * both**2 / (both + noise) ** 3


def _squared_distance(image, fused):
    """H x W float32: squared difference of details in gray levels of 255, mean over channels and WINDOW."""
    squared = detail_distance(image, fused, DETAIL_SIGMA, np.square)
    return cv2.blur(squared, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)
