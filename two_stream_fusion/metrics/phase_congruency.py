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

Range about 0..1, 1 for A = B = F but for edges below the threshold; NaN where no source has a feature, and
where F is constant. By the formula a part of F that is flat keeps everything there: C = 0.0001 / 0.0001.
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

from two_stream_fusion.metrics import cache, fourier, preprocess

_WAVELENGTHS = tuple(3 * 2.1**scale for scale in range(4))  # pixels
_RADIAL_WIDTH = 0.55
_ORIENTATIONS = 6
_ANGULAR_SIGMA = math.pi / _ORIENTATIONS / 1.2
_NOISE_SIGMAS = 2.0
_CUTOFF, _SHARPNESS = 0.5, 10  # of the weight for the spread of frequencies
_EPSILON = 0.0001
_FEATURE = 0.1  # pixels with more phase congruency are features
_C = 0.0001
_BLOCK = 2**14  # pixels at a time: they fit the processor's cache
_TINY = np.finfo(float).tiny


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
        About 0..1; NaN where no source has a feature, and where the fused image is constant.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    maps_of_sources, masks, count = _maps_of_sources(*sources)
    value = math.nan
    if count and fused.min() < fused.max():
        pairs = zip(maps_of_sources, _phase_congruency(fused))
        value = math.prod(_largest_correlations(maps, masks, of_fused) / count for maps, of_fused in pairs)
    if fused.size > cache.LARGEST:
        _filter_bank.cache_clear()
    return value


class _Map(NamedTuple):
    """A map of a source, 0 where that has no feature, and its mean and deviation under the Gaussian."""

    x: np.ndarray
    mean: np.ndarray
    sigma: np.ndarray


@cache.cache_by_images
def _maps_of_sources(*sources):
    """For each map a _Map of every source and of S; where they have features; how many features S has."""
    features = [_phase_congruency(source) for source in sources]
    strongest = features[-1]
    for other in features[-2::-1]:
        larger = other.congruency > strongest.congruency
        strongest = Features(*(np.where(larger, *two) for two in zip(other, strongest)))
    features.append(strongest)
    masks = [of_source.congruency > _FEATURE for of_source in features]
    maps = []
    for of_sources in zip(*features):
        masked = [x * mask for x, mask in zip(of_sources, masks)]
        means = [_gaussian(x) for x in masked]
        maps.append([_Map(x, mean, _sigma(x, mean)) for x, mean in zip(masked, means)])
    return maps, masks, int(masks[-1].sum())


def _largest_correlations(maps, masks, of_fused):
    """The sum over pixels of the largest correlation; that of a pixel that is no feature of a source is 0."""
    mean_f = _gaussian(of_fused)
    sigma_f = _sigma(of_fused, mean_f)
    largest = None
    for (x, mean, sigma), mask in zip(maps, masks):
        correlation = _gaussian(x * of_fused)
        correlation -= mean * mean_f
        correlation += _C
        scale = sigma * sigma_f
        scale += _C
        correlation /= scale
        correlation *= mask
        largest = correlation if largest is None else np.maximum(largest, correlation, out=largest)
    return float(largest.sum())


def _sigma(x, mean):
    """The standard deviation under the Gaussian, whose mean is given."""
    variance = _gaussian(x * x)
    variance -= mean * mean
    return cv2.sqrt(np.abs(variance, out=variance))


def _gaussian(x):
    """An 11x11 Gaussian of sigma 1.5, zeros outside the image."""
    kernel = cv2.getGaussianKernel(11, 1.5, cv2.CV_64F)
    return cv2.sepFilter2D(x, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)


def _phase_congruency(image):
    """The Features of a gray image."""
    spectra = _spectra(preprocess.levels(image) / image.size)
    bank = _filter_bank(*image.shape)
    sums = _Sums(*np.zeros((5, *image.shape)))
    product = np.empty(image.shape, np.complex128)
    for oriented in bank.orientations:
        _add_orientation(*_responses(spectra, oriented, bank.radial, product), oriented, sums)
    moments = _principal_moments(sums.xx, sums.yy, sums.xy)
    return Features(sums.energy / (sums.amplitude + _EPSILON), *moments)


class _Sums(NamedTuple):
    """Sums over orientations, H x W each."""

    energy: np.ndarray
    amplitude: np.ndarray
    xx: np.ndarray  # moments
    yy: np.ndarray
    xy: np.ndarray


def _add_orientation(even, odd, oriented, sums):
    """Add energy, amplitude and moments of one orientation to those of the others."""
    smallest = cv2.magnitude(even[0], odd[0])
    threshold = math.sqrt(_median_square(smallest) * oriented.noise)
    cosine, sine = math.cos(oriented.angle), math.sin(oriented.angle)
    rows_at_once = max(1, _BLOCK // smallest.shape[1])
    for top in range(0, len(smallest), rows_at_once):
        rows = np.s_[top : top + rows_at_once]
        responses = ([plane[rows] for plane in planes] for planes in (even, odd))
        energy, amplitude = _energy(*responses, smallest[rows], threshold)
        sums.energy[rows] += energy
        sums.amplitude[rows] += amplitude
        energy /= np.maximum(amplitude, _TINY, out=amplitude)
        energy *= energy
        for factor, moment in zip((cosine * cosine, sine * sine, cosine * sine), sums[2:]):
            cv2.scaleAdd(energy, factor, moment[rows], moment[rows])


def _energy(even, odd, smallest, threshold):
    """Weighted energy above the threshold, and the sum of amplitudes; overwrites the responses.

    `smallest` has the amplitudes of the smallest scale, and is not changed.
    """
    amplitude, largest = smallest, smallest
    even_sum, odd_sum = even[0], odd[0]
    for e, o in zip(even[1:], odd[1:]):
        of_scale = cv2.magnitude(e, o)
        largest = np.maximum(largest, of_scale)
        amplitude = amplitude + of_scale
        even_sum = even_sum + e
        odd_sum = odd_sum + o
    length = cv2.magnitude(even_sum, odd_sum)
    energy = length * length
    for e, o in zip(even, odd):
        e *= odd_sum
        o *= even_sum
        energy -= cv2.absdiff(e, o, e)
    length += _EPSILON
    energy /= length
    energy -= threshold
    np.maximum(energy, 0, out=energy)
    largest += _EPSILON
    exponent = np.divide(amplitude, largest, out=largest)
    exponent *= -_SHARPNESS / len(even)
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


def _noise_gain(radial_sum, smallest, spread):
    """What the median squared amplitude on the smallest scale is multiplied by for the squared threshold."""
    # Of the real part of a filter's response to an impulse; its sum of squares by Parseval.
    total = radial_sum * spread
    even = np.square(total + _mirror(total)).sum() / 4
    power = even / np.square(smallest * spread).sum() / math.log(2)
    # Mean and deviation of a Rayleigh distribution; 1.7 is Kovesi's correction.
    sigmas = math.sqrt(math.pi / 2) + _NOISE_SIGMAS * math.sqrt(2 - math.pi / 2)
    return power * (sigmas / 1.7) ** 2


def _spectra(image):
    """The Fourier transform X of a real image, and -i X, as fourier.multiply_and_invert takes them.

    Real and imaginary parts stand side by side.
    """
    spectrum = fourier.transform(image)
    return spectrum.view(np.float64), (-1j * spectrum).view(np.float64)


def _responses(spectra, oriented, radial, product):
    """The real and the imaginary part of the response on every scale: two lists of H x W.

    A filter is an even function of the frequency plus an odd one. Of a real image the even one makes the real
    part of the response, the odd one the imaginary part. Two transforms of half the spectrum take the time of
    a complex one, which would leave the parts to be separated.
    """
    parts = []
    for spectrum, factor in zip(spectra, (oriented.even, oriented.odd)):
        filtered = spectrum * factor
        parts.append(
            [fourier.multiply_and_invert(filtered, of_scale, product.shape, product) for of_scale in radial]
        )
    return parts


def _principal_moments(xx, yy, xy):
    """Maximum and minimum moment of the covariances."""
    xx, yy = (x / (_ORIENTATIONS / 2) for x in (xx, yy))
    xy = xy / _ORIENTATIONS  # the toolbox's: Kovesi has 4 times as much
    root = np.sqrt(xy * xy + (xx - yy) ** 2) + _EPSILON
    return (yy + xx + root) / 2, (yy + xx - root) / 2


class _Oriented(NamedTuple):
    """What the filters of an orientation have in common."""

    angle: float
    even: (
        np.ndarray
    )  # the angular factor, its even and its odd part for frequencies u >= 0, each number twice
    odd: np.ndarray
    noise: float  # what the median squared amplitude is multiplied by for the squared threshold


class _Bank(NamedTuple):
    """What the log-Gabor filters of a size are made of, for frequencies u >= 0.

    Every number stands twice, for real and imaginary part: H x (2 (W // 2) + 2).
    """

    radial: list  # the factor of each scale
    orientations: list  # an _Oriented each


@functools.lru_cache(maxsize=1)
def _filter_bank(height, width):
    """The _Bank of a size."""
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
    angles = np.arctan2(-y, x)
    total = sum(radial)
    orientations = []
    for orientation in range(_ORIENTATIONS):
        angle = orientation * math.pi / _ORIENTATIONS
        spread = _angular_spread(angles, angle)
        noise = _noise_gain(total, radial[0], spread)
        mirrored = _mirror(spread)
        even, odd = _twice((spread + mirrored) / 2), _twice((spread - mirrored) / 2)
        orientations.append(_Oriented(angle, even, odd, noise))
    return _Bank([_twice(factor) for factor in radial], orientations)


def _mirror(x):
    """The numbers at the negative frequencies."""
    return np.roll(x[::-1, ::-1], 1, (0, 1))


def _twice(x):
    """Frequencies u >= 0, every number twice."""
    return np.repeat(x[:, : x.shape[1] // 2 + 1], 2, axis=1)


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
