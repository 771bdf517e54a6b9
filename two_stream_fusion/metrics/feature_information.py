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

from typing import Callable

import cv2
import numpy as np

from two_stream_fusion.metrics import preprocess

_AREA = 9  # pixels of a window
_CHUNK = 8192  # windows at a time: they fit the processor's cache
_TINY = 1e-300
_ODD = np.arange(1.0, 2 * _AREA - 2, 2)[:, None]  # n^2 is the sum of n of them
_OWN_NUMBERS = np.array([*range(_AREA), *range(_AREA - 1)], np.uint8)[:, None]  # of the cells of _path


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
    height, width = fused.shape
    if min(height, width) < 3:
        raise ValueError(f"the images are {fused.shape}; windows of 3 x 3 do not fit")
    # The scale of the levels does not matter: those of 16 bits stay whole numbers.
    of_fused = extract(fused.astype(np.float64))
    total, count = 0.0, (height - 2) * (width - 2)
    for source in sources:
        of_source = extract(source.astype(np.float64))
        differs = cv2.dilate((of_source != of_fused).view(np.uint8), np.ones((3, 3), np.uint8))
        inside = np.zeros_like(differs)
        inside[:-2, :-2] = differs[1:-1, 1:-1]
        different = np.flatnonzero(inside)  # upper left pixels of windows that are not equal
        total += count - len(different)
        for start in range(0, len(different), _CHUNK):
            chunk = different[start : start + _CHUNK]
            total += float(_information(_windows(of_source, chunk), _windows(of_fused, chunk)).sum())
    return total / count / len(sources)


def _windows(x, positions):
    """9 x N: the pixels of 3x3 windows column by column, less the smallest; ones in a flat window."""
    offsets = np.add.outer(np.arange(3), x.shape[1] * np.arange(3)).reshape(-1)
    pixels = x.reshape(-1).take(offsets[:, None] + positions)
    pixels -= np.minimum.reduce(pixels)
    pixels[:, ~pixels.any(0)] = 1
    return pixels


def _information(x, y):
    """2 I / (H + H) of each column of what `_windows` returns."""
    correlation = _correlation(x, y)
    p = x / np.add.reduce(x)
    q = y / np.add.reduce(y)
    entropies = -np.add.reduce(_times_log(p))
    entropies -= np.add.reduce(_times_log(q))
    # The lower bound is the upper one with the other order of q.
    q = np.where(correlation < 0, q[::-1], q)
    np.abs(correlation, out=correlation)
    cumulative_p, cumulative_q = _cumulative(p), _cumulative(q)
    masses, numbers, others = _path(cumulative_p, cumulative_q, p, q)
    phi = _share_of_bound(correlation, cumulative_p, cumulative_q, masses, numbers)
    # Where the bound is zero a cell holds (1 - phi) p q: in closed form, as if that were all. Then the up to
    # 17 cells that the path passes through are put right.
    rest = 1 - phi
    joint = rest * entropies
    joint -= _times_log(rest[None])[0]
    own = np.concatenate([p, q[:-1]])
    own *= others
    own *= rest
    masses *= phi
    masses += own
    joint += np.add.reduce(_times_log(own))
    joint -= np.add.reduce(_times_log(masses))
    information = entropies - joint
    usable = (information != 0) & (entropies > 0)
    return np.divide(2 * information, entropies, out=np.zeros_like(entropies), where=usable)


def _cumulative(p):
    """Cumulative frequencies; the last are exactly 1, and none is larger."""
    total = np.empty_like(p)
    total[0] = p[0]
    for i in range(1, _AREA):
        np.add(total[i - 1], p[i], out=total[i])
    np.minimum(total, 1, out=total)  # rounding must not lift one above the last
    total[-1] = 1
    return total


def _path(cumulative_p, cumulative_q, p, q):
    """The cells that the upper bound passes through.

    Nine end with a number of p, then eight with a number of q; the ninth of q ends with p.

    Returns:
        17 x N each: the mass of the cell, its number 0..8 of the other distribution, the frequency of that.
    """
    n = p.shape[1]
    before = np.zeros((2 * _AREA - 1, n), np.uint8)  # numbers of the other that end before
    for j in range(_AREA - 1):
        ends_before = (cumulative_q[j] < cumulative_p).view(np.uint8)
        before[:_AREA] += ends_before
        np.subtract(_AREA, np.add.reduce(ends_before, dtype=np.uint8), out=before[_AREA + j])
    index = before * np.intp(n)
    index += np.arange(n)
    masses, others = np.empty((2, *before.shape))
    for rows, own, other, frequencies in (
        (np.s_[:_AREA], cumulative_p, cumulative_q, q),
        (np.s_[_AREA:], cumulative_q[:-1], cumulative_p, p),
    ):
        begun = masses[rows]
        padded = np.zeros((_AREA + 1, n))
        padded[1:] = other
        padded.reshape(-1).take(index[rows], out=begun, mode="clip")
        np.maximum(begun[1:], own[:-1], out=begun[1:])
        np.subtract(own, begun, out=begun)
        # All numbers may end before one of q, with nothing left for it.
        padded[:-1] = frequencies
        padded[-1] = 0
        padded.reshape(-1).take(index[rows], out=others[rows], mode="clip")
    np.maximum(masses, 0, out=masses)
    return masses, before, others


def _correlation(x, y):
    """Pearson's correlation of the pixels; 1 of two flat windows, 0 of one."""
    sum_x, sum_y = np.add.reduce(x), np.add.reduce(y)
    # One pixel of a window that is not flat is 0, so that little is lost in these differences.
    variance_x = np.add.reduce(x * x) - sum_x * sum_x / _AREA
    variance_y = np.add.reduce(y * y) - sum_y * sum_y / _AREA
    covariance = np.add.reduce(x * y) - sum_x * sum_y / _AREA
    flat_x, flat_y = np.minimum.reduce(x) > 0, np.minimum.reduce(y) > 0
    scale = np.sqrt(variance_x * variance_y)
    known = ~(flat_x | flat_y)
    return np.divide(covariance, scale, out=1.0 * (flat_x & flat_y), where=known)


def _share_of_bound(correlation, cumulative_p, cumulative_q, masses, numbers):
    """phi: the correlation over that of the upper bound; 0 where a deviation is 0."""
    means, variances = [], []
    for cumulative in (cumulative_p[:-1], cumulative_q[:-1]):
        mean = _AREA - 1 - np.add.reduce(cumulative)
        mean_square = (_AREA - 1) ** 2 - np.add.reduce(cumulative * _ODD)
        means.append(mean)
        variances.append(np.maximum(mean_square - mean * mean, 0))
    covariance = np.add.reduce(masses * (numbers * _OWN_NUMBERS))
    covariance -= means[0] * means[1]
    product = np.sqrt(variances[0] * variances[1])
    usable = (product > 1e-12) & (covariance > 1e-12)
    return np.divide(correlation * product, covariance, out=np.zeros_like(product), where=usable)


def _times_log(x):
    """x log |x|; 0 for 0."""
    y = np.abs(x)
    np.maximum(y, _TINY, out=y)
    cv2.log(y, y)  # it takes a quarter of the time of NumPy's
    y *= x
    return y
