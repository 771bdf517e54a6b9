"""The blur of a lens that is out of focus."""

from __future__ import annotations

import cv2
import numpy as np


def disc(image: np.ndarray, radius: float) -> np.ndarray:
    """Average an image over a disc, the blur of an ideal lens.

    Args:
        image: H x W or H x W x C, of any type that cv2.filter2D takes. Borders are mirrored, the edge
            sample not repeated.
        radius: in pixels, 0 or more. The edge of the disc is softened by a pixel, so fractions count.

    Returns:
        The blurred image, in the shape and dtype of `image`.
    """
    offsets = np.arange(-int(np.ceil(radius)), int(np.ceil(radius)) + 1)
    kernel = np.clip(radius + 0.5 - np.hypot(offsets[:, None], offsets), 0, 1)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
