"""A focus stack with ground truth, from the views of a light field.

The light field is Lytro 2067 of C. Shin et al., "EPINET", CVPR 2018, doi:10.1109/CVPR.2018.00499: 9 x 9 views
of one scene, photographed through a plenoptic camera. Shifted by a disparity and averaged, they show the
scene focused at its depth, as through a lens with an aperture as wide as all views. So objects hide what is
behind them as a lens shows it. The view in the middle is sharp throughout.
"""

from __future__ import annotations

import math
from typing import Sequence

import cv2
import numpy as np

from data_prep import fetch
from two_stream_fusion.base.pixels import round_half_even
from two_stream_fusion.io import images

DISPARITIES = np.linspace(-1.2, 1.2, 9)  # pixels between neighbouring views: the depths in focus
BORDER = 12  # pixels: shifted views do not cover it


def read_views() -> list[np.ndarray]:
    """Fetch the views where they are missing, and read them.

    Returns:
        81 views, 383 x 552 x 3 uint8 RGB, row by row.

    Raises:
        OSError: a view is not available.
    """
    paths, failures = fetch.fetch_all(fetch.list_files("lytro-2067"), fetch.ROOT)
    if failures:
        raise failures[0]
    return [images.read(path) for path in paths]


def focus_stack(views: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Refocus a light field at each of DISPARITIES.

    Args:
        views: N x N views row by row, each H x W x 3 uint8, more than 2 BORDER pixels wide and high.

    Returns:
        The frames and the ground truth, without the border, each of shape (H - 2 BORDER, W - 2 BORDER, 3).
    """
    inside = slice(BORDER, -BORDER)
    frames = [refocus(views, disparity)[inside, inside] for disparity in DISPARITIES]
    return frames, views[len(views) // 2][inside, inside]


def refocus(views: Sequence[np.ndarray], disparity: float) -> np.ndarray:
    """The mean of the views, each shifted by a disparity for each step from the view in the middle.

    Args:
        views: N x N views row by row, each H x W x 3 uint8.
        disparity: pixels between neighbouring views.

    Returns:
        An image of the same shape, uint8.
    """
    side = math.isqrt(len(views))
    height, width = views[0].shape[:2]
    total = np.zeros(views[0].shape, np.float32)
    for i, view in enumerate(views):
        down, right = i // side - side // 2, i % side - side // 2
        shift = np.array([[1, 0, disparity * right], [0, 1, disparity * down]], np.float64)
        total += cv2.warpAffine(
            view.astype(np.float32),
            shift,
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    return round_half_even(total / len(views), np.uint8)
