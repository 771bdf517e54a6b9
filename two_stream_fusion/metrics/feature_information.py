"""FMI: mutual information of features in small windows of the sources and the fused image.

Origin: M. B. A. Haghighat, A. Aghagolzadeh, H. Seyedarabi, A non-reference image fusion metric based on
mutual information of image features, 2011, DOI 10.1016/j.compeleceng.2011.07.012, in the fast form of
M. Haghighat, M. A. Razian, Fast-FMI: non-reference image fusion metric, 2014,
DOI 10.1109/ICAICT.2014.7036000.
The feature is the gradient along x (half the difference of both neighbours). In every 3x3 window the
features, stretched to 0..1, divided by their sum and read column by column, count as the distribution p of a
number 1..9. The joint distribution of two windows is
    phi U + (1 - phi) p_X p_F
with the Frechet bound U, the upper one where p_X and p_F are correlated, else the lower one, and with phi so
chosen that the correlation of the numbers is that of p_X and p_F. Then
    FMI = mean over windows and sources of 2 I(X,F) / (H(X) + H(F)).

Range 0..1, 1 for A = B = F. Windows of equal features have 1, flat windows of different levels too; 0/0 is 0.
Variants: FMI_pixel, whose features are the gray levels; FMI_dct, the coefficients of the cosine transform of
the whole image.
Elsewhere: in the public code F is stretched before it is compared with B. A window of F = B in which one
pixel is above eight equal ones has 0 there, not 1. That code takes an edge map for its feature where none is
named, and papers that say FMI_pixel may mean that. MATLAB and GNU Octave have different edge maps, and so
have their versions; it is not here. In FMI_w the feature is a wavelet transform.
"""

from __future__ import annotations

import math
from typing import Callable, NamedTuple

import cv2
import numpy as np

from two_stream_fusion.metrics import preprocess

_AREA = 9  # pixels of a window
_CHUNK = 8192  # windows at a time: they fit the processor's cache


def fmi(*images: np.ndarray) -> float:
    """FMI: mutual information of gradients along x.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        0..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 3x3 pixels.
    """
    return _feature_information(lambda x: np.gradient(x, axis=1), *images)


def fmi_pixel(*images: np.ndarray) -> float:
    """FMI_pixel: mutual information of gray levels in windows.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        0..1.

    Raises:
        ValueError: as `fmi` raises it.
    """
    return _feature_information(lambda x: x, *images)


def fmi_dct(*images: np.ndarray) -> float:
    """FMI_dct: mutual information of the coefficients of the cosine transform.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        0..1.

    Raises:
        ValueError: as `fmi` raises it.
    """
    from scipy.fft import dctn  # cv2 has even sizes only

    return _feature_information(lambda x: dctn(x, norm="ortho"), *images)


def _feature_information(extract: Callable[[np.ndarray], np.ndarray], *images) -> float:
    sources, fused = preprocess.prepare(*images)
    if min(fused.shape) < 3:
        raise ValueError(f"the images are {fused.shape}; windows of 3 x 3 do not fit")
    of_fused = _windows(extract(preprocess.levels(fused)))
    total, count = 0.0, of_fused.shape[1]
    for source in sources:
        features = _windows(extract(preprocess.levels(source)))
        different = np.flatnonzero((features != of_fused).any(0))
        total += count - len(different)
        for start in range(0, len(different), _CHUNK):
            chunk = different[start : start + _CHUNK]
            total += float(
                _information(_distribution(features[:, chunk]), _distribution(of_fused[:, chunk])).sum()
            )
    return total / count / len(sources)


def _windows(x):
    """9 x N: the pixels of each 3x3 window, column by column."""
    height, width = x.shape
    return np.stack(
        [x[i : height - 2 + i, j : width - 2 + j].reshape(-1) for j in range(3) for i in range(3)]
    )


def _distribution(x):
    """9 x N frequencies; a flat window has equal ones."""
    low, high = x.min(0), x.max(0)
    flat = low == high
    p = (x - low) / np.where(flat, 1, high - low)
    p[:, flat] = 1
    return p / p.sum(0)


def _information(p, q):
    """2 I / (H(p) + H(q)) of each column."""
    correlation = _correlation(p, q)
    # The lower bound is the upper one with the other order of q.
    q = np.where(correlation < 0, q[::-1], q)
    logs = _log2(p), _log2(q)
    entropies = -((p * logs[0]).sum(0) + (q * logs[1]).sum(0))
    first, second = _path(np.cumsum(p, 0), np.cumsum(q, 0))
    phi = _share_of_bound(np.abs(correlation), p, q, first, second)
    # Where the bound is zero a cell holds (1 - phi) p q: in closed form, as if that were all. Then the up to
    # 17 cells that the path passes through are put right.
    rest = 1 - phi
    log_rest = _log2(rest)
    joint = rest * (entropies - log_rest)
    for cells, own, other, own_log, other_log in (
        (first, p, q, logs[0], logs[1]),
        (second, q, p, logs[1], logs[0]),
    ):
        independent = other.reshape(-1).take(cells.position)
        independent *= own
        independent *= rest
        log_independent = other_log.reshape(-1).take(cells.position)
        log_independent += own_log
        log_independent += log_rest
        log_independent *= independent
        independent += phi * cells.mass
        log_independent -= independent * _log2(independent)
        joint += log_independent.sum(0)
    information = entropies - joint
    return np.divide(2 * information, entropies, out=np.zeros_like(entropies), where=information != 0)


class _Cells(NamedTuple):
    """Cells of the upper bound whose mass ends with that of a number of the own distribution: 9 x N each."""

    mass: np.ndarray
    number: np.ndarray  # 0..8 of the other distribution
    position: np.ndarray  # of that number in the other distribution's 9 x N, flattened


def _path(cumulative_p, cumulative_q):
    """The cells that the upper bound passes through, those that end with a number of p and those of q."""
    n = cumulative_p.shape[1]
    before_p, before_q = np.zeros((2, _AREA, n), np.uint8)  # numbers of the other that end before
    for j in range(_AREA):
        ends_before = (cumulative_q[j] < cumulative_p).view(np.uint8)
        before_p += ends_before
        before_q[j] = _AREA - ends_before.sum(0, dtype=np.uint8)
    columns = np.arange(n)
    result = []
    both = cumulative_p, cumulative_q
    for own, other, before in ((*both, before_p), (*both[::-1], before_q)):
        index = before * np.intp(n)
        index += columns
        begin = np.concatenate([np.zeros((1, n)), other]).reshape(-1).take(index)
        np.maximum(begin[1:], own[:-1], out=begin[1:])
        number = np.minimum(before, _AREA - 1)
        np.minimum(index, columns + (_AREA - 1) * n, out=index)
        result.append(_Cells(np.maximum(own - begin, 0), number, index))
    return result


def _correlation(p, q):
    """Pearson's correlation of the frequencies; 1 of two flat windows, 0 of one."""
    p, q = p - 1 / _AREA, q - 1 / _AREA
    squares_p, squares_q = (p * p).sum(0), (q * q).sum(0)
    flat_p, flat_q = squares_p < 1e-30, squares_q < 1e-30
    scale = np.sqrt(squares_p * squares_q)
    varies = ~(flat_p | flat_q)
    return np.divide((p * q).sum(0), scale, out=1.0 * (flat_p & flat_q), where=varies)


def _share_of_bound(correlation, p, q, first, second):
    """phi: the correlation over that of the upper bound; 0 where a deviation is 0."""
    numbers = np.arange(_AREA, dtype=float)[:, None]
    means, deviations = [], []
    for x in (p, q):
        weighted = numbers * x
        mean = weighted.sum(0)
        weighted *= numbers
        means.append(mean)
        deviations.append(np.sqrt(np.maximum(weighted.sum(0) - mean * mean, 0)))
    covariance = -means[0] * means[1]
    for cells in (first, second):
        covariance += (numbers * cells.number * cells.mass).sum(0)
    product = deviations[0] * deviations[1]
    usable = (product > 1e-12) & (covariance > 1e-12)
    return np.divide(correlation * product, covariance, out=np.zeros_like(product), where=usable)


def _log2(x):
    """log2 |x|; 0 for 0, where it is multiplied by 0."""
    x = np.abs(x)
    x[x == 0] = 1
    shape = x.shape
    # cv2's takes a third of the time of NumPy's.
    return (cv2.log(x.reshape(shape[0], -1)) * (1 / math.log(2))).reshape(shape)
