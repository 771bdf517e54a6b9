"""Fixed spots between two images: dust on the sensor and pixels that are always bright or dark.

Alignment locks on them where the scene is faint. Here they are found and filled with what is around them.
"""

from __future__ import annotations

import cv2
import numpy as np

FINE_SIGMA, BROAD_SIGMA = 0.8, 5  # pixels: spots lie between these two Gaussians
MIN_CONTRAST = 5  # times the median size of this band, in both images
MAX_DIFFERENCE = 0.5  # of two spots, as a share of the stronger one
MARGIN = 2  # pixels around a spot that are filled too
MAX_SHARE = 0.2  # of the image; where more is alike, it is the scene that stands still
FILL_SIGMA = 4  # pixels: the Gaussian that weighs what is around a spot


def find_spots(first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    """Find small things that two images have in the same places.

    Args:
        first, second: H x W float32.

    Returns:
        H x W bool, or None where there are none, or too many to be spots (MAX_SHARE). Sharp parts of a scene
        that stands still are among them: whether it stands still, others decide.
    """
    bands = [cv2.GaussianBlur(x, (0, 0), FINE_SIGMA) - cv2.GaussianBlur(x, (0, 0), BROAD_SIGMA)
             for x in (first, second)]  # fmt: skip
    strong = np.minimum(*(np.abs(band) / (np.median(np.abs(band)) + 1e-6) for band in bands)) > MIN_CONTRAST
    alike = np.abs(bands[0] - bands[1]) < MAX_DIFFERENCE * np.maximum(*map(np.abs, bands))
    spots = cv2.dilate((strong & alike).astype(np.uint8), np.ones((2 * MARGIN + 1,) * 2, np.uint8)) > 0
    return spots if 0 < spots.mean() <= MAX_SHARE else None


def fill_spots(gray: np.ndarray, spots: np.ndarray) -> np.ndarray:
    """Fill spots with the weighted mean of what is around them.

    Args:
        gray: H x W float32.
        spots: H x W bool.

    Returns:
        H x W float32; other pixels are unchanged.
    """
    is_clean = (~spots).astype(np.float32)
    total = cv2.GaussianBlur(gray * is_clean, (0, 0), FILL_SIGMA)
    weight = cv2.GaussianBlur(is_clean, (0, 0), FILL_SIGMA)
    return np.where(spots, total / np.maximum(weight, 1e-6), gray)
