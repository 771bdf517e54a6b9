"""Qcv: the visible difference of the fused image from the sources, where they have edges. Less is better.

Origin: H. Chen, P. K. Varshney, A human perception inspired quality metric for image fusion based on regional
information, Information Fusion 8, 2007, DOI 10.1016/j.inffus.2005.10.001.
    D_X(w) = mean over the window of (F - X filtered by the contrast sensitivity of Mannos and Sakrison)^2
    s_X(w) = sum over the window of g_X^5, with the strength g_X of Sobel's gradient, zeros outside the image
    Qcv = sum(s_X(w) D_X(w)) / sum(s_X(w))      over windows of 16x16 pixels and over the sources
    sensitivity 2.6 (0.0192 + 0.144 r) exp(-(0.144 r)^1.1) at the frequency r; 8 pixels count as one degree

Range from 0 (A = B = F) upward, in squared gray levels: some 10 to 1000. 0/0, for constant sources, is NaN.
As in the public toolbox (Z. Liu et al., DOI 10.1109/TPAMI.2011.109), which VIFB and MFIFB use,
- every image is stretched to 0..255 by its minimum and maximum first;
- windows that the border cuts are filled up with zeros;
- the sum of the weights divides the whole sum, not each term as the paper prints it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from two_stream_fusion.metrics import fourier, preprocess
from two_stream_fusion.metrics.cache import cache_by_images, cache_by_size

_WINDOW = 16
_PIXELS_A_DEGREE = 8


def qcv(*images: np.ndarray) -> float:
    """Qcv: visible difference at the sources' edges.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        From 0 upward; less is better. NaN for constant sources.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    sensitivity = _contrast_sensitivity(*fused.shape)
    f = preprocess.stretch(fused)
    visible_error = weights = 0.0
    for x, saliency in _saliencies(*sources):
        difference = fourier.multiply_and_invert(fourier.transform(x - f), sensitivity, f.shape)
        difference /= f.size
        visible_error += float((saliency * _block_sums(difference * difference)).sum()) / _WINDOW**2
        weights += float(saliency.sum())
    return visible_error / weights if weights > 0 else math.nan


@cache_by_size
def _contrast_sensitivity(height, width):
    """The sensitivity at the frequencies of np.fft.rfft2."""
    v, u = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    scale = 2 / _PIXELS_A_DEGREE
    r = 0.144 * np.sqrt((scale * height * v) ** 2 + (scale * width * u) ** 2)
    return 2.6 * (0.0192 + r) * np.exp(-(r**1.1))


@cache_by_images
def _saliencies(*sources):
    """Each source stretched, and its s_X(w)."""
    stretched = [preprocess.stretch(source) for source in sources]
    return [(x, _block_sums(_fifth_power_of_gradient(x))) for x in stretched]


def _fifth_power_of_gradient(x):
    sx, sy = (cv2.Sobel(x, cv2.CV_64F, dx, 1 - dx, borderType=cv2.BORDER_CONSTANT) for dx in (1, 0))
    square = sx * sx + sy * sy
    return square * square * np.sqrt(square)


def _block_sums(x):
    """Sums over windows side by side; what the border cuts off is zero."""
    rows = np.add.reduceat(x, np.arange(0, x.shape[0], _WINDOW), axis=0)
    return np.add.reduceat(rows, np.arange(0, x.shape[1], _WINDOW), axis=1)
