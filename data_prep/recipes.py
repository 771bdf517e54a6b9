"""Ways to make a pair of photographs focused at different depths out of a sharp one.

A recipe takes clean (H x W x 3 float32, 0..255), region (H x W bool, the object) and a NumPy
Generator, and returns a, b and label, float32 as clean: the two photographs and what a perfect
fusion of them is. Which of a and b has the object in focus is chosen by the caller.
"""

from __future__ import annotations

import cv2
import numpy as np


def paper(clean, region, rng):
    """Section 3.1 of the paper: a Gaussian of one deviation, 2..10 pixels, and a hard border.

    a has the object blurred, b everything else.
    """
    deviation = rng.uniform(2, 10)
    blurred = cv2.GaussianBlur(clean, (0, 0), deviation, borderType=cv2.BORDER_REFLECT_101)
    inside = region[..., None]
    return np.where(inside, blurred, clean), np.where(inside, clean, blurred), clean


RECIPES = {"paper": paper}
