"""The noise of an image."""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.base.pixels import depth_scale

SECOND = np.array([1, -2, 1], np.float32)  # second differences; in both directions, noise of 1 gives 6
CELL = 8  # pixels a side, of the squares in which noise is measured
PLAIN_SHARE = 0.1  # of the squares are plain


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
