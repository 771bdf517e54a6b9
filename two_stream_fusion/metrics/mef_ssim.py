"""MEF_SSIM: structural similarity with the patch that a fusion of the sources' structures should have.

Origin: K. Ma, K. Zeng, Z. Wang, Perceptual quality assessment for multi-exposure image fusion, 2015,
DOI 10.1109/TIP.2015.2442920. In every 11x11 window, with the sources x_k less their means, c_k = |x_k|, and
the consistency R = |sum x_k| / sum c_k of their structures:
    w_k = (c_k / 11)^p, p = tan(pi/2 R), at most 10
    r   = the sum of w_k x_k / c_k, scaled to the length max c_k
    MEF_SSIM = mean over windows of (2 srF + C) / (sr^2 + sF^2 + C),  C = (0.03 * 255)^2
with variances and covariance under SSIM's Gaussian of sigma 1.5. It has no term of brightness.

Range -1..1, 1 for A = B = F but for a thousandth that the authors add to c_k.
Variant MEF_MS_SSIM: the authors' own index, three scales (2x2 means of all images in between), each value to
the power of 0.0448, 0.2856 and 0.3001 over their sum, multiplied. It is NaN where a scale is negative.
Elsewhere: toolboxes for pairs call either of them MEF-SSIM or SSIM.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from two_stream_fusion.metrics import preprocess
from two_stream_fusion.metrics.cache import cache_by_images

_SIZE, _SIGMA = 11, 1.5
_AREA = _SIZE * _SIZE
_C = (0.03 * 255) ** 2
_MAX_POWER = 10
_WEIGHTS = (0.0448, 0.2856, 0.3001)
_MIN_SIDE = 41  # pixels: the smallest image that has a window on the last scale
_EPSILON = np.finfo(float).eps


def mef_ssim(*images: np.ndarray) -> float:
    """MEF_SSIM: similarity with the desired structure, on one scale.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 11x11 pixels.
    """
    sources, fused = preprocess.prepare(*images)
    return _mean_quality(_desired_structure(*sources), preprocess.levels(fused))


def mef_ms_ssim(*images: np.ndarray) -> float:
    """MEF_MS_SSIM: the same on three scales.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        0..1; NaN where a scale is negative.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 41x41 pixels.
    """
    sources, fused = preprocess.prepare(*images)
    if min(fused.shape) < _MIN_SIDE:
        raise ValueError(f"the images are {fused.shape}; three scales need {_MIN_SIDE} x {_MIN_SIDE} pixels")
    *xs, f = [preprocess.levels(x) for x in (*sources, fused)]
    product = 1.0
    for i, weight in enumerate(_WEIGHTS):
        if i:
            *xs, f = map(_halve, (*xs, f))
        quality = _mean_quality(_structure_of_levels(xs), f)
        product *= quality ** (weight / sum(_WEIGHTS)) if quality >= 0 else math.nan
    return product


def _halve(x):
    """Every second one of the 2x2 means, the border mirrored."""
    return cv2.boxFilter(x, cv2.CV_64F, (2, 2), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)[::2, ::2].copy()


def _mean_quality(structure, f):
    """MEF_SSIM of a float64 image."""
    mean_f = _gaussian(f)
    covariance = sum(
        factor * (_gaussian(x * f) - mean * mean_f)
        for factor, x, mean in zip(structure.factors, structure.sources, structure.means)
    )
    quality = 2 * covariance + _C
    quality /= structure.variance + (_gaussian(f * f) - mean_f * mean_f) + _C
    return float(quality.mean())


class _Structure(NamedTuple):
    """The desired structure r of each window: the sum of the sources times factors."""

    sources: list  # H x W, float64
    means: list  # of them
    factors: list
    variance: np.ndarray  # of r


@cache_by_images
def _desired_structure(*sources):
    return _structure_of_levels([preprocess.levels(x) for x in sources])


def _structure_of_levels(xs):
    n = len(xs)
    gaussians = [_gaussian(x) for x in xs]
    box, gaussian = {}, {}
    boxes = [_box(x) for x in xs]
    for k in range(n):
        for j in range(k + 1):
            product = xs[k] * xs[j]
            box[k, j] = _AREA * (_box(product) - boxes[k] * boxes[j])
            gaussian[k, j] = _gaussian(product) - gaussians[k] * gaussians[j]
    lengths = [np.sqrt(np.maximum(box[k, k], 0)) for k in range(n)]
    consistency = np.sqrt(np.maximum(_quadratic_form(box, [1.0] * n), 0))
    consistency += _EPSILON
    consistency /= sum(lengths) + _EPSILON
    np.clip(consistency, _EPSILON, 1 - _EPSILON, out=consistency)
    power = np.minimum(np.tan(np.pi / 2 * consistency), _MAX_POWER)
    lengths = [length + 0.001 for length in lengths]
    weights = [cv2.exp(power * cv2.log(length / _SIZE)) + _EPSILON for length in lengths]
    total = sum(weights)
    factors = [weight / total / length for weight, length in zip(weights, lengths)]
    norm = np.sqrt(np.maximum(_quadratic_form(box, factors), 0))
    scale = np.divide(np.maximum.reduce(lengths), norm, out=np.ones_like(norm), where=norm > 0)
    factors = [factor * scale for factor in factors]
    return _Structure(xs, gaussians, factors, _quadratic_form(gaussian, factors))


def _quadratic_form(covariances, factors):
    """The variance of the sum of factors times images."""
    return sum(
        (1 if k == j else 2) * factors[k] * factors[j] * covariance
        for (k, j), covariance in covariances.items()
    )


def _gaussian(x):
    return preprocess.gaussian_means(x, _SIZE, _SIGMA)


def _box(x):
    means = cv2.boxFilter(x, cv2.CV_64F, (_SIZE, _SIZE), anchor=(0, 0))
    return means[: x.shape[0] - _SIZE + 1, : x.shape[1] - _SIZE + 1]
