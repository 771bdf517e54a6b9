"""SCD, PSNR_sources, SSIM_sources: how the fused image and its differences from the sources are related.

SCD           sum of the correlations of differences, r(F - B, A) + r(F - A, B), with Pearson's correlation r
              over all pixels: what B did not bring to F should look like A.
              V. Aslantas, E. Bendes, A new image quality metric for image fusion: the sum of the correlations
              of differences, 2015, DOI 10.1016/j.aeue.2015.09.004.
PSNR_sources  10 log10(255^2 / MSE) in dB, with the mean of the mean squared errors of F to each source.
              P. Jagalingam, A. V. Hegde, A review of quality metrics for fused image, 2015,
              DOI 10.1016/j.aqpro.2015.02.019.
SSIM_sources  the mean of the structural similarity (fidelity.py) of F to each source: 11x11 Gaussian window
              of sigma 1.5, windows wholly inside the image. Z. Wang, A. C. Bovik, H. R. Sheikh,
              E. P. Simoncelli, 2004, DOI 10.1109/TIP.2003.819861.

Range: SCD -2..2, NaN where F is one of the sources or a source is constant (a correlation is 0/0).
PSNR_sources is infinite only where all images are equal; the average of the sources has the highest there is.
SSIM_sources -1..1, 1 for A = B = F. Larger is taken for better.

Variant PSNR_VIFB: the toolbox of VIFB (X. Zhang, P. Ye, G. Xiao, 2020, DOI 10.1109/CVPRW50498.2020.00060)
puts sqrt(sum of squared errors) / (H W) in the place of each mean squared error: some 30 dB more on a
photograph, and more on a larger one.
Elsewhere: a toolbox with levels of 0..1 and a peak of 255 reports PSNR_sources + 48.13 dB. VIFB and MFIFB
report the sum of SSIM over the two sources, twice SSIM_sources. PSNR and SSIM of eval/score.py are to the
ground truth, which real pairs lack.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from two_stream_fusion.metrics import preprocess
from two_stream_fusion.metrics.cache import cache_by_sources
from two_stream_fusion.metrics.fidelity import SSIM_MIN_SIDE


def correlations_of_differences(*images: np.ndarray) -> float:
    """SCD: the sum of the correlations of differences.

    Args:
        images: source A, source B and the fused image, as `preprocess.prepare` takes them.

    Returns:
        -2..2; NaN where a correlation is 0/0.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for more than two sources.
    """
    # Whole numbers, whose sums are exact: what is constant stays so. The scale does not matter.
    a, b, fused = (x.astype(np.float64) for x in preprocess.prepare_pair(*images))
    return _correlation(fused - b, a) + _correlation(fused - a, b)


def psnr_sources(*images: np.ndarray) -> float:
    """PSNR_sources: peak signal-to-noise ratio of the fused image to the sources.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        dB for a peak of 255; infinite where all images are equal.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    return _decibels(sum(_squared_error(source, fused) for source in sources) / fused.size / len(sources))


def psnr_vifb(*images: np.ndarray) -> float:
    """PSNR_VIFB: the toolbox of VIFB's, with the root of the squared errors.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        dB; infinite where all images are equal.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    roots = sum(math.sqrt(_squared_error(source, fused)) for source in sources)
    return _decibels(roots / fused.size / len(sources))


def ssim_sources(*images: np.ndarray) -> float:
    """SSIM_sources: the mean structural similarity of the fused image to the sources.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 11x11 pixels.
    """
    sources, fused = preprocess.prepare(*images)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    of_sources, (f, mf, vf) = _moments(sources, fused)
    total = 0.0
    for x, m, v in of_sources:
        covariance = _means(x * f) - m * mf
        similarity = (2 * m * mf + c1) * (2 * covariance + c2)
        similarity /= (m * m + mf * mf + c1) * (v + vf + c2)
        total += similarity.mean()
    return float(total / len(sources))


@cache_by_sources
def _moments(*images):
    """Levels, means and variances of each image."""
    result = []
    for x in map(preprocess.levels, images):
        mean = _means(x)
        result.append((x, mean, _means(x * x) - mean * mean))
    return result


def _means(x):
    return preprocess.gaussian_means(x, SSIM_MIN_SIDE, 1.5)


def _correlation(x, y):
    """Pearson's correlation over all pixels; NaN where either is constant."""
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(_dot(x, x) * _dot(y, y))
    return _dot(x, y) / scale if scale > 0 else math.nan


def _dot(x, y):
    return float((x * y).sum())  # not np.vdot: BLAS would wake its threads for it


def _squared_error(x, y):
    return cv2.norm(preprocess.levels(x), preprocess.levels(y), cv2.NORM_L2SQR)


def _decibels(error):
    return 10 * math.log10(255**2 / error) if error > 0 else math.inf
