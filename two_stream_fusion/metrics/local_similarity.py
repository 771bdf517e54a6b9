"""Qc and Qy: local similarity of the fused image with the source that it resembles, beside piella.py.

Both take the universal quality index of Z. Wang, A. C. Bovik (DOI 10.1109/97.995823)
    Q0(X,Y) = (2 mX mY + C)(2 sXY + C) / ((mX^2 + mY^2 + C)(sX^2 + sY^2 + C)),    C = 2e-16
under a 7x7 Gaussian of sigma 1.5, in windows wholly inside the image, and average over the windows.
Qc   sim Q0(A,F) + (1 - sim) Q0(B,F) with sim = sAF / (sAF + sBF), clipped to 0..1.
     N. Cvejic, A. Loza, D. Bull, N. Canagarajah, A similarity metric for assessment of image fusion
     algorithms, International Journal of Signal Processing 2(3), 2005.
Qy   where Q0(A,B) is 0.75 or more: l Q0(A,F) + (1 - l) Q0(B,F) with l = sA^2 / (sA^2 + sB^2); elsewhere the
     larger of Q0(A,F) and Q0(B,F).
     C. Yang, J.-Q. Zhang, X.-R. Wang, X. Liu, A novel similarity based quality metric for image fusion,
     Information Fusion 9, 2008, DOI 10.1016/j.inffus.2006.09.001.

Range -1..1, 1 for A = B = F. F = A has a Qy of nearly 1, since the sources differ wherever they are blurred.
A weight of 0/0 is 0.5; in a flat window variance and covariance are exactly 0. Two sources only.
The window and C are those of the public toolbox (Z. Liu et al., DOI 10.1109/TPAMI.2011.109; Qy as corrected
by Y. Liu et al., DOI 10.1016/j.inffus.2020.06.013).

Variant Qc_2012: that toolbox's Qc. Where sim is below 0 or above 1 it sets the local quality to 0 or 1, not
sim, so it is not symmetric in the sources. MFIFB's Qc is this one.
Elsewhere: the toolboxes have residues of rounding in flat windows, which decide Q0 there, and the toolbox of
2012 gives NaN where a weight is 0/0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from two_stream_fusion.metrics import preprocess
from two_stream_fusion.metrics.cache import cache_by_images

_SIZE, _SIGMA = 7, 1.5
_C = 2e-16
_SIMILAR = 0.75  # sources are alike in a window


def qc(*images: np.ndarray) -> float:
    """Qc: similarity weighted by the sources' covariances with the fused image.

    Args:
        images: source A, source B and the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, for more than two sources, or for images smaller than
            7x7 pixels.
    """
    share, with_a, with_b = _shares_and_similarities(*images)
    return float(_mix(np.clip(share, 0, 1, out=share), with_a, with_b).mean())


def qc_2012(*images: np.ndarray) -> float:
    """Qc_2012: Qc of the toolbox of 2012.

    Args:
        images: source A, source B and the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `qc` raises it.
    """
    share, with_a, with_b = _shares_and_similarities(*images)
    inside = (share >= 0) & (share <= 1)
    local = np.where(share > 1, 1.0, 0.0)
    np.copyto(local, _mix(share, with_a, with_b), where=inside)
    return float(local.mean())


def qy(*images: np.ndarray) -> float:
    """Qy: similarity with both sources where they are alike, with the nearer one elsewhere.

    Args:
        images: source A, source B and the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `qc` raises it.
    """
    return evaluate_gray(*preprocess.prepare_pair(*images))[1]


def evaluate_gray(first: np.ndarray, second: np.ndarray, fused_image: np.ndarray) -> tuple[float, float]:
    """Qc and Qy of images that `preprocess.prepare_pair` has returned.

    Args:
        first, second: gray images, H x W.
        fused_image: the gray fused image, of the same shape and dtype.

    Returns:
        Qc and Qy, as `qc` and `qy`.

    Raises:
        ValueError: the images are smaller than 7x7 pixels.
    """
    a, b, alike = _of_sources(first, second)
    fused = _Moments.of(fused_image)
    (with_a, covariance_a), (with_b, covariance_b) = _similarity(a, fused), _similarity(b, fused)
    share = _quotient(covariance_a, covariance_a + covariance_b)
    by_covariance = _mix(np.clip(share, 0, 1, out=share), with_a, with_b)
    by_variance = _mix(_quotient(a.variance, a.variance + b.variance), with_a, with_b)
    np.maximum(with_a, with_b, out=with_a)
    np.copyto(with_a, by_variance, where=alike)
    return float(by_covariance.mean()), float(with_a.mean())


def _mix(share, with_a, with_b):
    return share * with_a + (1 - share) * with_b


class _Moments(NamedTuple):
    """Levels, which windows are flat, and means and variances in the windows."""

    levels: np.ndarray
    flat: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, image):
        x = preprocess.levels(image)
        mean = preprocess.gaussian_means(x, _SIZE, _SIGMA)
        variance = preprocess.gaussian_means(x * x, _SIZE, _SIGMA) - mean * mean
        flat = preprocess.is_flat(x, _SIZE)
        variance[flat] = 0
        return cls(x, flat, mean, variance)


@cache_by_images
def _of_sources(first, second):
    """The _Moments of both, and in which windows they are alike."""
    a, b = _Moments.of(first), _Moments.of(second)
    return a, b, _similarity(a, b)[0] >= _SIMILAR


def _similarity(x, y):
    """Q0 and the covariance in each window."""
    products = x.mean * y.mean
    covariance = preprocess.gaussian_means(x.levels * y.levels, _SIZE, _SIGMA) - products
    covariance[x.flat | y.flat] = 0
    index = (2 * products + _C) * (2 * covariance + _C)
    index /= (x.mean * x.mean + y.mean * y.mean + _C) * (x.variance + y.variance + _C)
    return index, covariance


def _shares_and_similarities(*images):
    """sAF / (sAF + sBF), Q0(A,F) and Q0(B,F)."""
    *sources, fused_image = preprocess.prepare_pair(*images)
    a, b, _ = _of_sources(*sources)
    fused = _Moments.of(fused_image)
    with_a, covariance_a = _similarity(a, fused)
    with_b, covariance_b = _similarity(b, fused)
    return _quotient(covariance_a, covariance_a + covariance_b), with_a, with_b


def _quotient(part, whole):
    """part / whole; 0.5 for 0/0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = part / whole
    share[(part == 0) & (whole == 0)] = 0.5
    return share
