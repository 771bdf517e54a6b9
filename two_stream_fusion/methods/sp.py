"""SP: fusion in a steerable pyramid.

Z. Liu, K. Tsukada, K. Hanasaki, Y. K. Ho, Y. P. Dai, "Image fusion by using steerable pyramid", Pattern
Recognition Letters 22(9), 2001, doi:10.1016/S0167-8655(01)00047-2. The pyramid is E. P. Simoncelli,
W. T. Freeman, "The steerable pyramid", ICIP 1995, doi:10.1109/ICIP.1995.537667.

Computed with masks on the Fourier transform: a residual high-pass, `levels` octaves of `orientations` real
bands each, a residual low-pass. The masks meet in raised cosines an octave wide and their squares sum to
one, so the same masks rebuild the image exactly. Each channel is fused by itself.

Readings where the paper is silent: 4 levels of 4 orientations; the larger magnitude in the bands and the
high-pass (b where equal), the average in the low-pass. Images are mirrored at the border, the edge sample
not repeated, since the transform is circular; margin=0 uses it bare, and opposite borders disturb each other,
which lowers the scores a little. The result may overshoot and is clipped to the range.
"""

from __future__ import annotations

from math import factorial
from typing import Callable, NamedTuple

import cv2
import numpy as np
from scipy import fft

from two_stream_fusion.base.pixels import check_fusable
from two_stream_fusion.methods import coefficients


def fuse(
    a: np.ndarray,
    b: np.ndarray,
    *,
    levels: int = 4,
    orientations: int = 4,
    margin: int | None = None,
    rule: str = "max_abs",
    window: int = 3,
    base: str = "average",
    colour: str = "channels",
) -> np.ndarray:
    """Fuse two images by their steerable pyramids.

    Args:
        a, b: H x W or H x W x 3 (RGB), uint8 or uint16, of one shape and dtype, 2 pixels a side or more.
        levels: of the pyramid; fewer where the image is too small.
        orientations: bands of a level, 1 to 8.
        margin: pixels mirrored on each side, 0 to 4096; None for 2^(levels + 1).
        rule: "max_abs", "area_max", "energy" or "match", as coefficients.select_coefficients has them.
        window: the side in pixels of the rule's window, odd.
        base: the low-pass band: "average", "a" or "b".
        colour: "channels" (R, G and B each by itself) or "luma".

    Returns:
        The fused image, in the shape and dtype of `a`.

    Raises:
        ValueError: the images cannot be fused, or an option is unknown or out of range.
    """
    check_fusable(a, b)
    pyramid = Pyramid(a.shape[:2], levels, orientations, margin)

    def select(x, y):
        return coefficients.select_coefficients(x, y, rule, window)

    def merge(x, y):
        return coefficients.merge_lowpass(x, y, base)

    return coefficients.fuse_planes(lambda x, y: pyramid.fuse(x, y, select, merge), a, b, colour=colour)


class Level(NamedTuple):
    """The masks of an octave, over the half spectrum (rfft2) of an image of `size`."""

    size: tuple[int, int]
    bands: list[np.ndarray]  # one an orientation, without its factor (-j)^(orientations - 1)
    low: np.ndarray  # the low-pass of the next octave, cut to the half spectrum of its size


class Pyramid:
    """The masks of a steerable pyramid for planes of one shape; they serve every channel of a pair.

    Args:
        shape: (H, W) of the planes.
        levels, orientations, margin: as for `fuse`.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self, shape: tuple[int, int], levels: int = 4, orientations: int = 4, margin: int | None = None
    ):
        if levels < 1 or levels != int(levels):
            raise ValueError(f"levels={levels}: a pyramid has a whole number of levels, 1 or more")
        if orientations not in range(1, 9):
            raise ValueError(f"orientations={orientations}: 1 to 8")
        if margin is not None and (np.ndim(margin) or not 0 <= margin <= 4096 or margin % 1):
            raise ValueError(f"margin={margin}: mirrored pixels are a whole number from 0 to 4096, or None")
        levels = min(int(levels), min(shape).bit_length() - 1)
        self.shape = shape
        self.margin = 2 ** (levels + 1) if margin is None else int(margin)
        self.phase = (-1j) ** (int(orientations) - 1)
        # Every level halves the size, so it is a multiple of 2^levels; the other factors are small for speed.
        size = tuple(2**levels * fft.next_fast_len(-(-(n + 2 * self.margin) >> levels)) for n in shape)
        self.size = size
        _, _, r = _frequencies(size)
        self.high = _raised_cosine(r, np.pi)
        self.low = _complement(self.high)
        self.levels = []
        for _ in range(levels):
            self.levels.append(_level(size, int(orientations)))
            size = (size[0] // 2, size[1] // 2)

    def fuse(
        self,
        x: np.ndarray,
        y: np.ndarray,
        select: Callable[[np.ndarray, np.ndarray], np.ndarray],
        merge: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Fuse two planes of the pyramid's shape.

        Args:
            x, y: H x W float64.
            select: gives one band of two, H x W float64 each.
            merge: gives one low-pass of two. It gets half spectra, so it has to be linear.

        Returns:
            H x W float64, not clipped.
        """
        height, width = self.shape
        top = left = self.margin
        bottom, right = self.size[0] - height - top, self.size[1] - width - left
        spectra = np.empty((2, *self.high.shape), complex)
        for plane, spectrum in zip((x, y), spectra):
            plane = cv2.copyMakeBorder(plane, top, bottom, left, right, cv2.BORDER_REFLECT_101)
            spectrum[:] = fft.rfft2(plane)
        high = select(*_planes(spectra, self.high, self.size))
        spectra *= self.low
        fused = self._fuse_levels(spectra, self.levels, select, merge)
        fused *= self.low
        fused += fft.rfft2(high) * self.high
        return fft.irfft2(fused, self.size)[top : top + height, left : left + width]

    def _fuse_levels(self, spectra, levels, select, merge):
        """The fused half spectrum of the two in `spectra`, which it overwrites."""
        if not levels:
            return merge(*spectra)  # a linear rule is the same on spectra
        (size, bands, low), *deeper = levels
        rows, columns = _central_rows(size[0]), slice(low.shape[1])
        deep = spectra[:, rows, columns] * low
        spectra *= self.phase
        fused = np.zeros_like(spectra[0])
        for band in bands:
            fused += fft.rfft2(select(*_planes(spectra, band, size))) * band
        fused *= self.phase.conjugate()
        fused[rows, columns] += self._fuse_levels(deep, deeper, select, merge) * low
        return fused


def _planes(spectra, mask, size):
    """The masked spectra as planes, one after the other, which holds less memory."""
    return [fft.irfft2(spectrum * mask, size) for spectrum in spectra]


def _level(size, orientations):
    y, x, r = _frequencies(size)
    high = _raised_cosine(r, np.pi / 2)
    low = _complement(high)[_central_rows(size[0]), : size[1] // 4 + 1]
    n = orientations - 1
    high *= np.sqrt(2 ** (2 * n) * factorial(n) ** 2 / (orientations * factorial(2 * n)))
    bands = []
    for k in range(orientations):
        angle = np.pi * k / orientations
        bands.append(high * ((np.cos(angle) * x + np.sin(angle) * y) / r) ** n)
    return Level(size, bands, low)


def _frequencies(size):
    """Vertical and horizontal frequency of each place of a half spectrum, and their radius, 0..pi an axis."""
    y = 2 * np.pi * fft.fftfreq(size[0])[:, None]
    x = 2 * np.pi * fft.rfftfreq(size[1])
    r = np.hypot(y, x)
    r[0, 0] = np.finfo(float).tiny  # no division by zero; every mask but the low-pass is zero there
    return y, x, r


def _central_rows(height):
    """The rows of a spectrum that a plane of half the height has too."""
    half = height // 2
    return np.r_[: (half + 1) // 2, height - half // 2 : height]


def _raised_cosine(r, edge):
    """0 up to half the edge frequency, 1 from the edge on."""
    return np.sin(np.pi / 2 * np.clip(np.log2(2 * r / edge), 0, 1))


def _complement(mask):
    return np.sqrt(np.maximum(1 - mask * mask, 0))
