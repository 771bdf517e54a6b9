"""Qcb: how much of the sources' local contrast, as the eye sees it, the fused image keeps.

Origin: Y. Chen, R. S. Blum, A new automated quality assessment algorithm for image fusion, Image and Vision
Computing 27, 2009, DOI 10.1016/j.imavis.2007.12.002.
Each image is filtered by the contrast sensitivity S(r) = exp(-(r / 15.3870)^2) - 0.7622 exp(-(r / 1.3456)^2)
of its frequencies; a width of 30 pixels counts as one degree. Then
    C = |G2 / G4 - 1|                  Peli's contrast, by Gaussians of sigma 2 and 4 in 31x31 pixels
    C' = C^3 / (C^2 + 0.0001)          masked contrast
    Q_XF = min(C'_X, C'_F) / max(C'_X, C'_F)
    Qcb = mean over pixels of sum(Q_XF C'_X^2) / sum(C'_X^2) over the sources

Range 0..1, 1 for A = B = F. A quotient 0/0 counts as equal: Q_XF is 1 and the sources weigh the same.
As in the public toolbox (Z. Liu et al., DOI 10.1109/TPAMI.2011.109), which VIFB and MFIFB use,
- every image is stretched to 0..255 by its minimum and maximum first: Qcb does not see a loss of contrast of
  the whole image;
- C is an absolute value, and the power of the mask is 3 (the paper has values of 2 to 4);
- the Gaussians are cut at 31 pixels without being normalised.
Elsewhere: the toolbox gives NaN where a quotient is 0/0, so for constant images.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from two_stream_fusion.metrics import fourier, preprocess
from two_stream_fusion.metrics.cache import cache_by_size, cache_by_sources

_PIXELS_A_DEGREE = 30
_MASKING = 0.0001
_TINY = np.finfo(float).tiny
_REACH = 15  # pixels: where the Gaussians are cut


def qcb(*images: np.ndarray) -> float:
    """Qcb: masked local contrast that the fused image keeps.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        0..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    contrasts, of_fused = _masked_contrasts(sources, fused)
    preserved = weights = 0.0
    for contrast in contrasts:
        larger = np.maximum(contrast, of_fused)
        np.maximum(larger, _TINY, out=larger)  # 0/0 has no weight
        share = np.minimum(contrast, of_fused)
        share /= larger
        weight = contrast * contrast
        share *= weight
        preserved += share
        weights += weight
    # Without contrast in any source the weights are equal; there Q_XF is 1 if F has no contrast, else 0.
    return float(np.divide(preserved, weights, out=1.0 * (of_fused == 0), where=weights > 0).mean())


@cache_by_size
def _contrast_sensitivity(height, width):
    """S at the frequencies of np.fft.rfft2."""
    v, u = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    scale = 2 / _PIXELS_A_DEGREE
    square = (scale * height * v) ** 2 + (scale * width * u) ** 2
    return np.exp(-square / 15.3870**2) - 0.7622 * np.exp(-square / 1.3456**2)


@cache_by_sources
def _masked_contrasts(*images):
    """C' of each image."""
    sensitivity = _contrast_sensitivity(*images[0].shape)
    return [_masked_contrast(image, sensitivity) for image in images]


def _masked_contrast(image, sensitivity):
    spectrum = fourier.transform(preprocess.stretch(image))
    seen = fourier.multiply_and_invert(spectrum, sensitivity, image.shape)
    seen /= image.size
    near, far = _gaussians(seen, (2, 4))
    contrast = np.divide(near, far, out=np.ones_like(near), where=far != 0)
    contrast -= 1
    np.abs(contrast, out=contrast)
    square = contrast * contrast
    contrast *= square
    square += _MASKING
    contrast /= square
    return contrast


def _gaussians(x, sigmas):
    """Gaussians cut at 31 pixels, zeros outside the image: by the Fourier transform in half the time."""
    shape = tuple(cv2.getOptimalDFTSize(n + _REACH) for n in x.shape)  # what wraps round meets zeros
    spectrum = fourier.transform(x, shape)
    spectrum /= math.prod(shape)
    for sigma in sigmas:
        of_rows, of_columns = (_transfer(n, sigma) for n in shape)
        transfer = of_rows[:, None] * of_columns[: spectrum.shape[1]]
        filtered = fourier.multiply_and_invert(spectrum, transfer, shape)
        yield filtered[: x.shape[0], : x.shape[1]]


def _transfer(n, sigma):
    """The Gaussian at the frequencies of a transform of n numbers."""
    distance = np.arange(1.0, _REACH + 1)
    taps = np.exp(-(distance**2) / (2 * sigma * sigma))
    waves = np.cos(2 * np.pi / n * np.outer(np.arange(n), distance))
    return (1 + 2 * (waves * taps).sum(1)) / (np.sqrt(2 * np.pi) * sigma)
