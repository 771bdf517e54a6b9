"""Fine detail of an image: Gaussian smoothing and the distance of two images in what is left without it."""

from __future__ import annotations

from typing import Any, Callable

import cv2
import numpy as np

from two_stream_fusion.base.pixels import depth_scale


def gaussian_blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian, mirrored at the borders.

    Args:
        values: H x W or H x W x C.
        sigma: standard deviation in pixels; 0 gives `values` back.

    Returns:
        An array like `values`.
    """
    return cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) if sigma else values


def gaussian_radius(sigma: float) -> int:
    """The radius in pixels of the kernel of `gaussian_blur`: the margin that a tile needs."""
    return int(4 * sigma) + 1


def detail_distance(
    image: np.ndarray, fused: np.ndarray, sigma: float, measure: Callable[..., np.ndarray] = np.abs
) -> np.ndarray:
    """How far an image is from a fused one in fine detail, at each pixel.

    Args:
        image: H x W or H x W x 3, uint8 or uint16.
        fused: an image like `image`.
        sigma: standard deviation in pixels of the Gaussian that is subtracted from the differences; 0 for
            none.
        measure: a NumPy function of the differences, such as np.abs or np.square.

    Returns:
        H x W float32: the mean of `measure` over the channels, of differences in gray levels of 255.
    """
    total = np.zeros(image.shape[:2], np.float32)
    for planes in zip(cv2.split(image), cv2.split(fused)):
        difference: Any = cv2.subtract(*planes, dtype=cv2.CV_32F)
        if sigma:
            difference -= gaussian_blur(difference, sigma)
        difference /= np.float32(depth_scale(image))
        total += measure(difference, out=difference)
    total /= np.atleast_3d(image).shape[2]
    return total
