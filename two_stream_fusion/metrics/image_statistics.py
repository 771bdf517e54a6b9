"""SD, SF, AG, EI: contrast and sharpness of the fused image alone, which is why they need no good fusion.

With pixels F(y, x) of an image of H x W pixels, in gray levels of 8 bits:
SD   standard deviation, sqrt(mean((F - mean F)^2)).
     Y.-J. Rao, In-fibre Bragg grating sensors, 1997, DOI 10.1088/0957-0233/8/4/002, as benchmarks cite it.
SF   spatial frequency, sqrt(RF^2 + CF^2): RF^2 the sum of (F(y, x) - F(y, x-1))^2 divided by H W, CF^2 that
     of (F(y, x) - F(y-1, x))^2.
     A. M. Eskicioglu, P. S. Fisher, Image quality measures and their performance, 1995,
     DOI 10.1109/26.477498.
AG   average gradient, the sum of sqrt((dx^2 + dy^2) / 2) divided by (H - 1)(W - 1); dx and dy are half the
     difference of the two neighbours, at the border the difference to the one neighbour.
     G. Cui, H. Feng, Z. Xu, Q. Li, Y. Chen, Detail preserved fusion of visible and infrared images using
     regional saliency extraction and multi-scale image decomposition, 2015,
     DOI 10.1016/j.optcom.2014.12.032.
EI   edge intensity, the mean of sqrt(sx^2 + sy^2) by 3x3 Sobel masks (1 2 1), the border repeated.
     B. Rajalingam, R. Priya, Hybrid multimodality medical image fusion technique for feature enhancement in
     medical diagnosis, International Journal of Engineering Science Invention, 2018.

Range from 0 (a constant image) upward: SD to 127.5, SF to 361. Larger is taken for better, and noise raises
all four.

Variant SF_mean: each sum divided by the number of its differences, as mean(diff.^2) of several toolboxes
does. It is larger by a factor of about 1 + 1 / (2 H).
Elsewhere: other averages of the gradient use forward differences (the sum over (H - 1)(W - 1) pixels) or
Sobel masks; dividing the sum over H W pixels by (H - 1)(W - 1), as here, is the public toolboxes' own way.
SD with H W - 1 is std2 of MATLAB.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from two_stream_fusion.metrics import preprocess


def standard_deviation(*images: np.ndarray) -> float:
    """SD: standard deviation of the fused image; the sources are only checked.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        Gray levels of 8 bits, 0..127.5.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    _, fused = preprocess.prepare(*images)
    return float(preprocess.levels(fused).std())


def spatial_frequency(*images: np.ndarray) -> float:
    """SF: root of the mean squared differences of neighbours; the sources are only checked.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        Gray levels of 8 bits, 0..361.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    _, fused = preprocess.prepare(*images)
    return math.sqrt(sum(total for total, _ in _squared_differences(fused)) / fused.size)


def spatial_frequency_mean(*images: np.ndarray) -> float:
    """SF_mean: SF with the number of differences as divisor.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        Gray levels of 8 bits, 0..361; NaN for images of one row or column.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    _, fused = preprocess.prepare(*images)
    return math.sqrt(sum(t / count if count else math.nan for t, count in _squared_differences(fused)))


def average_gradient(*images: np.ndarray) -> float:
    """AG: average gradient of the fused image; the sources are only checked.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        Gray levels of 8 bits a pixel, from 0 upward.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images of one row or column.
    """
    _, fused = preprocess.prepare(*images)
    if min(fused.shape) < 2:
        raise ValueError(f"the images are {fused.shape}; a gradient needs 2 x 2 pixels or more")
    squares = [g * g for g in np.gradient(preprocess.levels(fused))]
    total = np.sqrt((squares[0] + squares[1]) / 2).sum()
    return float(total / ((fused.shape[0] - 1) * (fused.shape[1] - 1)))


def edge_intensity(*images: np.ndarray) -> float:
    """EI: mean strength of Sobel's gradient of the fused image; the sources are only checked.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        Sobel's units of 8-bit gray levels, from 0 upward.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    _, fused = preprocess.prepare(*images)
    x = preprocess.levels(fused)
    sx, sy = (cv2.Sobel(x, cv2.CV_64F, dx, 1 - dx, borderType=cv2.BORDER_REPLICATE) for dx in (1, 0))
    return float(cv2.magnitude(sx, sy).mean())


def _squared_differences(fused):
    """The sum of squared differences and their number, along x and along y."""
    x = preprocess.levels(fused)
    for difference in (x[:, 1:] - x[:, :-1], x[1:] - x[:-1]):
        yield float((difference * difference).sum()), difference.size
