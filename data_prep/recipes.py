"""Ways to make two photographs focused on different things out of a sharp one.

A recipe takes the sharp photograph (H x W x 3 uint8), the object's region (H x W bool) and a NumPy
Generator, and returns a, b and label, H x W x 3 uint8: a with the object out of focus, b with all but the
object out of focus, and what a perfect fusion of the two is.
"""

from __future__ import annotations

import cv2
import numpy as np


def paper(clean, region, rng):
    """Section 3.1 of the paper: a Gaussian of one deviation in 2..10, cut off at the object's outline."""
    blurred = gaussian(clean, rng.uniform(2, 10))
    inside = region[..., None]
    return np.where(inside, blurred, clean), np.where(inside, clean, blurred), clean


def gaussian(image, deviation):
    """`image` (H x W x 3 uint8) blurred in float32, mirrored at its borders, rounded back to uint8."""
    channels = (image[..., c].astype(np.float32) for c in range(3))  # one at a time, for memory
    blurred = (cv2.GaussianBlur(c, (0, 0), deviation, borderType=cv2.BORDER_REFLECT_101) for c in channels)
    return np.dstack([np.clip(np.rint(c), 0, 255).astype(np.uint8) for c in blurred])


RECIPES = {"paper": paper}
