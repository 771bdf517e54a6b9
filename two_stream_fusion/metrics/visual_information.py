"""VIF and VIFF: how much of the information that the eye takes from the sources is left in the fused image.

Sources X and fused image F are compared on four scales, each half the size of the one before, under Gaussians
of 17, 9, 5 and 3 pixels and sigma a fifth of that. A window is a gain and noise: F = g X + V, with
g = sXF / sX^2 and sV^2 = sF^2 - g sXF, and the eye adds noise of variance n. In it
    VID  = log10(1 + g^2 sX^2 / (sV^2 + n))      the information of X that F shows
    VIND = log10(1 + sX^2 / n)                   the information of X itself
VIF   sum over the sources of sum(VID) / sum(VIND) over all windows and scales, n = 2.
      H. R. Sheikh, A. C. Bovik, Image information and visual quality, 2006, DOI 10.1109/TIP.2005.859378, in
      the form in pixels (vifp) that its authors published beside that in wavelets.
VIFF  in each window the source with the smaller gain, the last one at a tie, so that it is not symmetric in
      the sources; per scale sum(VID) / sum(VIND), and their weighted sum with weights 1, 0, 0.15, 1 over
      2.15, n = 0.005 * 255^2.
      Y. Han, Y. Cai, Y. Cao, X. Xu, A new image fusion performance metric based on visual information
      fidelity, Information Fusion 14, 2013, DOI 10.1016/j.inffus.2011.08.002.

Range from 0 upward. A = B = F has VIF 2 (the number of the sources) and VIFF 1; more contrast than that of
the sources gives more. VIF of constant sources is 0/0: NaN.
Images need 41x41 pixels. g is 0 where it would be negative or the window is flat (variance below 1e-10).
Elsewhere: some papers report the mean over the sources, half of VIF, and call it VIFF, which is another
metric. MFIFB cites VIFF for its VIF. For colour the authors of VIFF take the L of CIELAB; here it is the
luma, as for all metrics.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence

import cv2
import numpy as np

from two_stream_fusion.metrics import preprocess
from two_stream_fusion.metrics.cache import cache_by_sources

_SIZES = (17, 9, 5, 3)
_MIN_SIDE = 41  # pixels: the smallest image that has a window on the last scale
_NOISE_VIF = 2.0
_NOISE_VIFF = 0.005 * 255**2
_WEIGHTS = (1 / 2.15, 0, 0.15 / 2.15, 1 / 2.15)
_ZERO = 1e-10


def vif(*images: np.ndarray) -> float:
    """VIF: visual information fidelity to each source, summed.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        From 0 upward; n for n sources equal to the fused image. NaN for a constant source.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 41x41 pixels.
    """
    return evaluate_gray(*preprocess.prepare(*images))[0]


def viff(*images: np.ndarray) -> float:
    """VIFF: visual information fidelity for fusion.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        From 0 upward; 1 for equal images.

    Raises:
        ValueError: as `vif` raises it.
    """
    return evaluate_gray(*preprocess.prepare(*images))[1]


def evaluate_gray(sources: Sequence[np.ndarray], fused: np.ndarray) -> tuple[float, float]:
    """VIF and VIFF of images that `preprocess.prepare` has returned.

    Args:
        sources: gray images, H x W.
        fused: the gray fused image, of the same shape and dtype.

    Returns:
        VIF and VIFF, as `vif` and `viff`.

    Raises:
        ValueError: the images are smaller than 41x41 pixels.
    """
    shown, whole = np.zeros((2, len(sources)))
    total = 0.0
    for weight, scale in zip(_WEIGHTS, _scales(sources, fused)):
        for i, (variance, gain, rest) in enumerate(scale):
            shown[i] += _information(gain, variance, rest, _NOISE_VIF)
            whole[i] += _own_information(variance, _NOISE_VIF)
        if weight:
            total += weight * _share_of_nearest(scale)
    return float(sum(s / w if w > 0 else math.nan for s, w in zip(shown, whole))), float(total)


def _share_of_nearest(scale):
    """The share of VIFF on one scale: in each window from the source with the smallest gain."""
    variance, gain, rest = scale[-1]
    for of_source in scale[-2::-1]:
        smaller = of_source[1] < gain
        variance, gain, rest = (np.where(smaller, *two) for two in zip(of_source, (variance, gain, rest)))
    # 1e-7 a window, which the authors add to both sums, decides where all windows are flat.
    little = 1e-7 * gain.size
    shown = _information(gain, variance, rest, _NOISE_VIFF)
    return (shown + little) / (_own_information(variance, _NOISE_VIFF) + little)


def _information(gain, variance, rest, noise):
    """The sum over windows of log10(1 + g^2 s^2 / (sV^2 + noise))."""
    ratio = gain * gain
    ratio *= variance
    ratio /= rest + noise
    return _sum_of_logarithms(ratio)


def _own_information(variance, noise):
    """The sum over windows of log10(1 + s^2 / noise)."""
    return _sum_of_logarithms(variance / noise)


def _sum_of_logarithms(x):
    """The sum of log10(1 + x); overwrites x."""
    x += 1
    cv2.log(x, x)  # it takes a sixth of the time of np.log10
    return float(x.sum()) / math.log(10)


def _scales(sources, fused):
    """For each scale a list over the sources: (sX^2, g, sV^2)."""
    if min(fused.shape) < _MIN_SIDE:
        raise ValueError(f"the images are {fused.shape}; four scales need {_MIN_SIDE} x {_MIN_SIDE} pixels")
    of_sources, of_fused = _moments(sources, fused)
    for i, size in enumerate(_SIZES):
        yield [_gain_and_rest(of_source[i], of_fused[i], size) for of_source in of_sources]


class _Moments(NamedTuple):
    """An image on one scale, and means and variances in the windows; 0 where a window is flat."""

    levels: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@cache_by_sources
def _moments(*images):
    """The _Moments of each image on each scale."""
    return [list(_moments_on_scales(preprocess.levels(image))) for image in images]


def _moments_on_scales(x):
    for size in _SIZES:
        if size < _SIZES[0]:
            x = preprocess.gaussian_means(x, size, size / 5)[::2, ::2].copy()
        mean = preprocess.gaussian_means(x, size, size / 5)
        variance = preprocess.gaussian_means(x * x, size, size / 5)
        variance -= mean * mean
        variance[variance < _ZERO] = 0
        yield _Moments(x, mean, variance)


def _gain_and_rest(of_source, of_fused, size):
    (x, mean, variance), (f, mean_f, variance_f) = of_source, of_fused
    covariance = preprocess.gaussian_means(x * f, size, size / 5)
    covariance -= mean * mean_f
    gain = covariance / (variance + _ZERO)
    rest = variance_f - gain * covariance
    flat, flat_f = variance == 0, variance_f == 0
    negative = (gain < 0) & ~flat & ~flat_f
    no_gain = flat | negative
    np.copyto(rest, variance_f, where=no_gain)
    rest[flat_f] = 0
    gain[no_gain | flat_f] = 0
    return variance, gain, np.maximum(rest, _ZERO, out=rest)
