"""What a lens does to what is out of focus, and what it shows of what lies behind."""

from __future__ import annotations

import cv2
import numpy as np


def disc(image, radius):
    """`image` averaged over a disc; its edge is softened by a pixel, so that any radius will do."""
    if radius < 0.5:
        return image
    reach = np.arange(-int(radius + 1), int(radius + 1) + 1)
    kernel = np.clip(radius + 0.5 - np.hypot(reach[:, None], reach), 0, 1)
    kernel /= kernel.sum()
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def nearest(marked):
    """H x W int: the flat index of the marked pixel (H x W bool) nearest to each pixel."""
    _, labels = cv2.distanceTransformWithLabels(
        (~marked).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    index = np.zeros(labels.max() + 1, int)
    index[labels[marked]] = np.flatnonzero(marked)
    return index[labels]
