"""Fine detail of images: Gaussian smoothing, their distance in what is left without it, and their noise."""

from __future__ import annotations

from typing import Any, Callable

import cv2
import numpy as np

from two_stream_fusion.base.pixels import depth_scale

SECOND = np.array([1, -2, 1], np.float32)  # second differences; in both directions, noise of 1 gives 6
CELL = 8  # pixels a side, of the squares in which noise is measured
PLAIN_SHARE = 0.1  # of the squares are plain


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


def noise_variance(image: np.ndarray) -> float:
    """Estimate the variance of an image's noise.

    Second differences in both directions hold noise and hardly any of the scene. They are measured where they
    are weakest, in the plainest tenth of the image. So the estimate is somewhat below the variance.
    J. Immerkaer, "Fast Noise Variance Estimation", Computer Vision and Image Understanding 64(2), 1996,
    doi:10.1006/cviu.1996.0060.

    Args:
        image: H x W or H x W x 3, uint8 or uint16.

    Returns:
        The variance in gray levels of 255, squared; the mean of the channels.
    """
    variances = []
    for plane in cv2.split(image):
        residual = cv2.sepFilter2D(plane, cv2.CV_32F, SECOND, SECOND, borderType=cv2.BORDER_REFLECT_101)
        residual *= np.float32(1 / (6 * depth_scale(image)))
        height, width = (max(1, side // CELL) for side in plane.shape)
        cells = cv2.resize(np.square(residual, out=residual), (width, height), interpolation=cv2.INTER_AREA)
        variances.append(np.quantile(cells, PLAIN_SHARE))
    return float(np.mean(variances))
