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

import functools
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
_ROWS = 32  # of an image at a time: they fit the processor's cache
_KEPT = 2**19  # pixels: filters of larger images are computed each time


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
    height, width = images[0].shape
    bank = _filter_bank(height, width)
    spectra = [_spectrum(preprocess.levels(image) / image.size) for image in images]
    energies, amplitudes = np.zeros((2, len(images), height, width))
    moments = np.zeros((len(images), 3, height, width))  # of x x, y y and x y
    for orientation in range(_ORIENTATIONS):
        angle = orientation * math.pi / _ORIENTATIONS
        cosine, sine = math.cos(angle), math.sin(angle)
        factors = [[cosine * cosine], [sine * sine], [cosine * sine]]
        spread = _angular_spread(bank.angles, angle)
        noise = _noise_gain(bank.radial, spread)
        spread = np.repeat(spread, 2, axis=1)
        for i, spectrum in enumerate(spectra):
            oriented = spectrum * spread
            responses = [cv2.split(_inverse(oriented * of_scale)) for of_scale in bank.doubled]
            add_to = energies[i], amplitudes[i], moments[i]
            _add_orientation(responses, noise, np.array(factors), *add_to)
    return [
        Features(energy / (amplitude + _EPSILON), *_principal_moments(*of_image))
        for energy, amplitude, of_image in zip(energies, amplitudes, moments)
    ]


def _add_orientation(responses, noise, factors, energies, amplitudes, moments):
    """Add energy, amplitude and moments of one orientation to those of the others."""
    threshold = math.sqrt(_median_square(cv2.magnitude(*responses[0])) * noise)
    for top in range(0, len(energies), _ROWS):
        rows = np.s_[top : top + _ROWS]
        energy, amplitude = _energy([(x[rows], y[rows]) for x, y in responses], threshold)
        energies[rows] += energy
        amplitudes[rows] += amplitude
        congruency = np.divide(energy, amplitude, out=energy, where=amplitude > 0)
        congruency *= congruency
        for factor, moment in zip(factors, moments):
            moment[rows] += congruency * factor


def _energy(responses, threshold):
    """Weighted energy above the threshold, and the sum of amplitudes; overwrites the responses."""
    amplitudes = [cv2.magnitude(real, imaginary) for real, imaginary in responses]
    amplitude, largest = amplitudes[0].copy(), amplitudes[0]
    real_sum, imaginary_sum = (plane.copy() for plane in responses[0])
    for (real, imaginary), of_scale in zip(responses[1:], amplitudes[1:]):
        real_sum += real
        imaginary_sum += imaginary
        amplitude += of_scale
        np.maximum(largest, of_scale, out=largest)
    energy = real_sum * real_sum
    energy += imaginary_sum * imaginary_sum
    length = cv2.sqrt(energy)
    for real, imaginary in responses:
        real *= imaginary_sum
        imaginary *= real_sum
        real -= imaginary
        energy -= np.abs(real, out=real)
    length += _EPSILON
    energy /= length
    energy -= threshold
    np.maximum(energy, 0, out=energy)
    largest += _EPSILON
    exponent = amplitude / largest
    exponent *= -_SHARPNESS / len(responses)
    exponent += _CUTOFF * _SHARPNESS
    cv2.exp(exponent, exponent)
    exponent += 1
    energy /= exponent
    return energy, amplitude


def _median_square(x):
    """The median of the squares of numbers from 0 upward."""
    half = x.size // 2
    parted = np.partition(x.reshape(-1), half)  # for two places it takes five times as long
    upper = parted[half]
    lower = upper if x.size % 2 else parted[:half].max()
    return (lower * lower + upper * upper) / 2


def _noise_gain(radial, spread):
    """What the median squared amplitude on the smallest scale is multiplied by for the squared threshold."""
    # Of the real part of a filter's response to an impulse; its sum of squares by Parseval.
    total = sum(radial) * spread
    mirrored = np.roll(total[::-1, ::-1], 1, (0, 1))
    even = np.square(total + mirrored).sum() / 4
    power = even / np.square(radial[0] * spread).sum() / math.log(2)
    # Mean and deviation of a Rayleigh distribution; 1.7 is Kovesi's correction.
    sigmas = math.sqrt(math.pi / 2) + _NOISE_SIGMAS * math.sqrt(2 - math.pi / 2)
    return power * (sigmas / 1.7) ** 2


def _spectrum(image):
    """The Fourier transform, H x 2 W: real and imaginary parts side by side."""
    from scipy.fft import fft2  # late, as all of SciPy; it takes half the time of NumPy's

    return fft2(image).view(np.float64)


def _inverse(spectrum):
    """The inverse Fourier transform of H x 2 W without its factor 1 / (H W): H x W x 2."""
    height, width = spectrum.shape[0], spectrum.shape[1] // 2
    if all(cv2.getOptimalDFTSize(n) == n for n in (height, width)):
        return cv2.dft(spectrum.reshape(height, width, 2), flags=cv2.DFT_INVERSE)  # faster than SciPy's
    from scipy.fft import ifft2

    response = ifft2(spectrum.view(np.complex128), norm="forward", overwrite_x=True)
    return response.view(np.float64).reshape(height, width, 2)


def _principal_moments(xx, yy, xy):
    """Maximum and minimum moment of the covariances."""
    xx, yy = (x / (_ORIENTATIONS / 2) for x in (xx, yy))
    xy = xy / _ORIENTATIONS  # the toolbox's: Kovesi has 4 times as much
    root = np.sqrt(xy * xy + (xx - yy) ** 2) + _EPSILON
    return (yy + xx + root) / 2, (yy + xx - root) / 2


class _Bank(NamedTuple):
    """What the log-Gabor filters of a size are made of."""

    angles: np.ndarray  # of every frequency, H x W, -pi to pi
    radial: list  # a factor H x W of each scale
    doubled: list  # the same H x 2 W, each number twice: for real and imaginary part


def _filter_bank(height, width):
    """The _Bank of a size; that of the last small size is kept."""
    return (_last_bank if height * width <= _KEPT else _last_bank.__wrapped__)(height, width)


@functools.lru_cache(maxsize=1)
def _last_bank(height, width):
    x, y = _frequencies(width)[None], _frequencies(height)[:, None]
    radius = np.hypot(x, y)
    radius[0, 0] = 1
    # A low-pass keeps the corners of the spectrum, which have no orientation, out.
    u, v = np.fft.fftfreq(width)[None], np.fft.fftfreq(height)[:, None]
    lowpass = 1 / (1 + (np.hypot(u, v) / 0.45) ** 30)
    logarithm = np.log(radius)
    radial = []
    for wavelength in _WAVELENGTHS:
        exponent = np.square(logarithm + math.log(wavelength))
        exponent /= -2 * math.log(_RADIAL_WIDTH) ** 2
        factor = cv2.exp(exponent)
        factor *= lowpass
        factor[0, 0] = 0
        radial.append(factor)
    return _Bank(np.arctan2(-y, x), radial, [np.repeat(factor, 2, axis=1) for factor in radial])


def _angular_spread(angles, angle):
    """The angular factor of the filters of an orientation, H x W."""
    distance = np.abs(angles - angle)
    np.minimum(distance, 2 * math.pi - distance, out=distance)
    distance *= distance
    distance /= -2 * _ANGULAR_SIGMA**2
    return cv2.exp(distance)


def _frequencies(n):
    """Frequencies as Kovesi has them: of odd sizes to 0.5 on either side."""
    return np.fft.fftfreq(n) * (n / (n - 1) if n % 2 and n > 1 else 1)
