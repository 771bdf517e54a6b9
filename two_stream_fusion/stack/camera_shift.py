"""How far the camera moved between the frames of a stack: coarse shifts, whatever the focus.

Frames are compared in small versions, blurred so that their focus matters little. Each is matched to the mean
of the others by normalised cross-correlation. The error is about a tenth of a pixel of the small version.

J. P. Lewis, "Fast Template Matching", Vision Interface, 1995.
"""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

FINE_SIGMA, BROAD_SIGMA = 2, 12  # pixels: what lies between these two Gaussians is compared
MAX_SHIFT = 0.05  # of the longer side
ROUNDS = 1  # in which each frame is matched to the mean of the others, after one to a single frame
MIN_SHAKE = 0.003  # of the longer side: what is less does not change the order
MIN_CORRELATION = 0.5  # with the mean of the others, below which a shift is not believed


def estimate_shifts(small: Sequence[np.ndarray]) -> np.ndarray:
    """Estimate the shift of each frame of a stack, without knowing their order.

    Args:
        small: a small version of each frame (screening.small_gray), H x W float32, all of one shape.

    Returns:
        N x 2 float64, (x, y) as shares of the longer side: what the median frame shows at a point, this frame
        shows at that point and the shift. 0 where a shift is not believed: frames stay unlike (below
        MIN_CORRELATION).
    """
    height, width = small[0].shape
    reach = min(int(np.ceil(MAX_SHIFT * max(height, width))), (min(height, width) - 1) // 4)
    if reach < 1 or len(small) < 2:
        return np.zeros((len(small), 2))
    bands = [_band(levels) for levels in small]
    matches = [_match(bands[len(bands) // 2], band, reach) for band in bands]
    for _ in range(ROUNDS):
        moved = [shift_image(band, *shift) for band, (shift, _) in zip(bands, matches)]
        total = np.sum(moved, axis=0)
        matches = [_match(total - own, band, reach) for own, band in zip(moved, bands)]
    shifts = np.array([shift for shift, _ in matches])
    shifts -= np.median(shifts, axis=0)
    shifts[[correlation < MIN_CORRELATION for _, correlation in matches]] = 0
    return shifts / max(height, width)


def is_shaken(shifts: np.ndarray) -> bool:
    """Whether frames are so far apart that their details cannot be compared in place."""
    return bool(np.abs(shifts).max() > MIN_SHAKE)


def shift_image(levels: np.ndarray, x: float, y: float) -> np.ndarray:
    """Fetch each pixel of a gray image from a place beside it, mirrored at the borders.

    Args:
        levels: H x W float32.
        x, y: the displacement of that place, in pixels.

    Returns:
        H x W float32, interpolated linearly.
    """
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(levels, matrix, levels.shape[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def _band(levels):
    fine = cv2.GaussianBlur(levels, (0, 0), FINE_SIGMA)
    return fine - cv2.GaussianBlur(fine, (0, 0), BROAD_SIGMA)


def _match(reference, band, reach):
    """((x, y), correlation): the shift of a frame against the reference, in pixels."""
    inner = reference[reach:-reach, reach:-reach]
    scores = cv2.matchTemplate(band, np.ascontiguousarray(inner), cv2.TM_CCOEFF_NORMED)
    _, highest, _, (x, y) = cv2.minMaxLoc(scores)
    shift = x + _peak(scores[y], x) - reach, y + _peak(scores[:, x], y) - reach
    return shift, highest


def _peak(scores, i):
    """How far the peak of the parabola through three scores lies from the middle one, at i."""
    if not 0 < i < len(scores) - 1:
        return 0.0
    before, middle, after = map(float, scores[i - 1 : i + 2])
    curvature = before - 2 * middle + after
    return 0.5 * (before - after) / curvature if curvature else 0.0
