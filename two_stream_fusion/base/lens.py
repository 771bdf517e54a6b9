"""What a lens does to what is out of focus, and what it shows of what lies behind."""

from __future__ import annotations

import cv2
import numpy as np


def disc(image, radius) -> np.ndarray:
    """`image` (H x W or H x W x C) averaged over a disc of a radius in pixels, mirrored at its borders.

    The disc's edge is softened by a pixel, so that any radius from 0 will do.
    """
    reach = np.arange(-int(np.ceil(radius)), int(np.ceil(radius)) + 1)
    kernel = np.clip(radius + 0.5 - np.hypot(reach[:, None], reach), 0, 1)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def nearest(marked) -> np.ndarray:
    """H x W int: the flat index of the marked pixel (H x W bool, one or more) nearest to each pixel."""
    _, labels = cv2.distanceTransformWithLabels(
        (~marked).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    index = np.zeros(labels.max() + 1, int)
    index[labels[marked]] = np.flatnonzero(marked)
    return index[labels]
