"""Qp: how well the fused image keeps edges and corners, as phase congruency finds them at any contrast.

Origin: J. Zhao, R. Laganiere, Z. Liu, Performance assessment of combinative pixel-level image fusion based on
an absolute feature measurement, International Journal of Innovative Computing, Information and Control 3(6A),
2007. Phase congruency: P. Kovesi, Image features from phase congruency, Videre 1(3), 1999, and Phase
congruency detects corners and edges, DICTA 2003.
Of every image there are three maps: phase congruency P, its maximum moment M (edges) and minimum moment m
(corners). For each of them, with the correlation of two maps under an 11x11 Gaussian of sigma 1.5
    C(X,F) = (sXF + 0.0001) / (sX sF + 0.0001)
a pixel has the largest of C(A,F), C(B,F) and C(S,F), where S is taken from the source with the larger P. Only
pixels where P of that source is above 0.1 have a C; the map has the sum of them over the number of pixels
where P of S is above 0.1. Qp is the product of the three maps.

Range about 0..1, 1 for A = B = F but for edges below the threshold; NaN where no source has a feature.
The filters are log-Gabor of 4 scales (wavelengths 3, 6.3, 13.2, 27.8 pixels, width 0.55) and 6 orientations,
the noise threshold is 2 sigma, as Kovesi's phasecong2 and the public toolbox have them (Z. Liu et al., DOI
10.1109/TPAMI.2011.109).
As in the toolbox the term of x y in the moments is a quarter of that of Kovesi's papers.
Elsewhere: toolboxes give NaN for images that hold flat areas only, where 0/0 counts as no congruency here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from two_stream_fusion.metrics import preprocess

_WAVELENGTHS = tuple(3 * 2.1**scale for scale in range(4))  # pixels
_RADIAL_WIDTH = 0.55
_ORIENTATIONS = 6
_ANGULAR_SIGMA = math.pi / _ORIENTATIONS / 1.2
_NOISE_SIGMAS = 2.0
_CUTOFF, _SHARPNESS = 0.5, 10  # of the weight for the spread of frequencies
_EPSILON = 0.0001
_FEATURE = 0.1  # pixels with more phase congruency are features
_C = 0.0001


class Features(NamedTuple):
    """Phase congruency and its moments, H x W float64 each."""

    congruency: np.ndarray
    maximum: np.ndarray  # of the moments: strong at edges
    minimum: np.ndarray  # strong at corners


def qp(*images: np.ndarray) -> float:
    """Qp: phase congruency that the fused image keeps.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        About 0..1; NaN where no source has a feature.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    *features, of_fused = _phase_congruency([*sources, fused])
    strongest = features[-1]
    for other in features[-2::-1]:
        larger = other.congruency > strongest.congruency
        strongest = Features(*(np.where(larger, *two) for two in zip(other, strongest)))
    features.append(strongest)
    masks = [of_source.congruency > _FEATURE for of_source in features]
    count = int(masks[-1].sum())
    if not count:
        return math.nan
    return math.prod(
        _largest_correlations([of_source[i] for of_source in features], masks, of_fused[i]) / count
        for i in range(3)
    )


def _largest_correlations(maps, masks, of_fused):
    """The sum over pixels of the largest correlation."""
    mean_f = _gaussian(of_fused)
    sigma_f = np.sqrt(np.abs(_gaussian(of_fused * of_fused) - mean_f * mean_f))
    # 0 where a pixel is no feature of a source; of all of them: negative where all correlations are.
    largest = np.where(np.logical_and.reduce(masks), -np.inf, 0.0)
    for x, mask in zip(maps, masks):
        x = x * mask
        mean = _gaussian(x)
        sigma = np.sqrt(np.abs(_gaussian(x * x) - mean * mean))
        correlation = _gaussian(x * of_fused) - mean * mean_f
        correlation += _C
        correlation /= sigma * sigma_f + _C
        np.maximum(largest, correlation, out=largest, where=mask)
    return float(largest.sum())


def _gaussian(x):
    """An 11x11 Gaussian of sigma 1.5, zeros outside the image."""
    kernel = cv2.getGaussianKernel(11, 1.5, cv2.CV_64F)
    return cv2.sepFilter2D(x, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)


def _phase_congruency(images):
    """The Features of gray images of one shape."""
    from scipy.fft import fft2  # late, as all of SciPy; it takes half the time of NumPy's

    height, width = images[0].shape
    radial, angles = _filters(height, width)
    spectra = [fft2(preprocess.levels(image)) for image in images]
    energies, amplitudes = ([np.zeros((height, width)) for _ in images] for _ in range(2))
    moments = [np.zeros((3, height, width)) for _ in images]  # of x x, y y and x y
    for orientation in range(_ORIENTATIONS):
        angle = orientation * math.pi / _ORIENTATIONS
        # The distance of two angles, 0..pi
        turned = np.abs((angles - angle + math.pi) % (2 * math.pi) - math.pi)
        spread = np.exp(-(turned**2) / (2 * _ANGULAR_SIGMA**2))
        filters = [of_scale * spread for of_scale in radial]
        noise = _noise_gain(filters)
        for i, spectrum in enumerate(spectra):
            energy, amplitude = _energy(spectrum, filters, noise)
            energies[i] += energy
            amplitudes[i] += amplitude
            congruency = np.divide(energy, amplitude, out=energy, where=amplitude > 0)
            congruency *= congruency
            moments[i][0] += congruency * math.cos(angle) ** 2
            moments[i][1] += congruency * math.sin(angle) ** 2
            moments[i][2] += congruency * (math.cos(angle) * math.sin(angle))
    return [
        Features(energy / (amplitude + _EPSILON), *_principal_moments(*of_image))
        for energy, amplitude, of_image in zip(energies, amplitudes, moments)
    ]


def _energy(spectrum, filters, noise):
    """Weighted energy above the noise, and the sum of amplitudes, of one orientation."""
    from scipy.fft import ifft2

    responses = [ifft2(spectrum * of_scale, overwrite_x=True) for of_scale in filters]
    amplitudes = [np.abs(response) for response in responses]
    threshold = math.sqrt(np.median(amplitudes[0] ** 2) * noise)
    total, amplitude = sum(responses), sum(amplitudes)
    square = total.real**2 + total.imag**2
    energy = square.copy()
    for response in responses:
        energy -= np.abs(response.real * total.imag - response.imag * total.real)
    energy /= np.sqrt(square) + _EPSILON
    energy -= threshold
    np.maximum(energy, 0, out=energy)
    spread = amplitude / (np.maximum.reduce(amplitudes) + _EPSILON) / len(filters)
    energy /= 1 + np.exp((_CUTOFF - spread) * _SHARPNESS)
    return energy, amplitude


def _noise_gain(filters):
    """What the median squared amplitude on the smallest scale is multiplied by for the squared threshold."""
    # Of the real part of a filter's response to an impulse; its sum of squares by Parseval.
    total = sum(filters)
    mirrored = np.roll(total[::-1, ::-1], 1, (0, 1))
    even = ((total + mirrored) ** 2).sum() / 4
    power = even / (filters[0] ** 2).sum() / math.log(2)
    # Mean and deviation of a Rayleigh distribution; 1.7 is Kovesi's correction.
    sigmas = math.sqrt(math.pi / 2) + _NOISE_SIGMAS * math.sqrt(2 - math.pi / 2)
    return power * (sigmas / 1.7) ** 2


def _principal_moments(xx, yy, xy):
    """Maximum and minimum moment of the covariances."""
    xx, yy = (x / (_ORIENTATIONS / 2) for x in (xx, yy))
    xy = xy / _ORIENTATIONS  # the toolbox's: Kovesi has 4 times as much
    root = np.sqrt(xy * xy + (xx - yy) ** 2) + _EPSILON
    return (yy + xx + root) / 2, (yy + xx - root) / 2


def _filters(height, width):
    """Radial factors of the log-Gabor filters, one a scale, and the angle of every frequency."""
    x, y = _frequencies(width)[None], _frequencies(height)[:, None]
    radius = np.hypot(x, y)
    radius[0, 0] = 1
    # A low-pass keeps the corners of the spectrum, which have no orientation, out.
    u, v = np.fft.fftfreq(width)[None], np.fft.fftfreq(height)[:, None]
    lowpass = 1 / (1 + (np.hypot(u, v) / 0.45) ** 30)
    radial = []
    for wavelength in _WAVELENGTHS:
        factor = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * math.log(_RADIAL_WIDTH) ** 2)) * lowpass
        factor[0, 0] = 0
        radial.append(factor)
    return radial, np.arctan2(-y, x)


def _frequencies(n):
    """Frequencies as Kovesi has them: of odd sizes to 0.5 on either side."""
    return np.fft.fftfreq(n) * (n / (n - 1) if n % 2 and n > 1 else 1)
