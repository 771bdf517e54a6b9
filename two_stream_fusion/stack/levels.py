"""The range of levels that images use, and the spreading of it over their type.

What is measured on images, and every method, is made for levels that use all of their type. 12 bits in 16,
dark photographs and photographs with an offset use a part. Their offset is subtracted, and they are shifted
left. Both steps are exact.

A few levels far outside say nothing about the images: hot pixels, a burnt-in scale bar, black borders. So the
range is that of quantiles. Levels outside of it are clipped. This holds for decisions alone: the pipeline
takes such pixels from the images as they are.

Not from the paper.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple

import cv2
import numpy as np

TAIL = 0.001  # of the pixels of an image at each end, which may lie outside of the range
MIN_GAIN = 2  # bits that the range of quantiles has to gain over that of the largest level
SAMPLE_SIDE = 1000  # pixels: of a larger image only some rows and columns are counted
NEAR = 1 / 8  # of the range of quantiles: extreme levels this close to it belong to it
MARGIN = 1 / 4  # of the levels to spare, which are left below the range


class LevelMap(NamedTuple):
    """A map of levels: `base` is subtracted, then they are shifted left by `bits`.

    clips: whether levels of the images may lie outside of what the map can hold.
    """

    base: int
    bits: int
    clips: bool

    def spread(self, image: np.ndarray) -> np.ndarray:
        """Spread the levels of an image of any shape, uint8 or uint16; levels outside are clipped.

        Returns:
            An array like `image`; `image` itself where nothing changes.
        """
        if not self.clips:
            return image << image.dtype.type(self.bits) if self.bits else image
        dtype = image.dtype.type
        top = np.iinfo(image.dtype).max >> self.bits
        return (np.clip(image, dtype(self.base), dtype(self.base + top)) - dtype(self.base)) << dtype(
            self.bits
        )

    def restore(self, image: np.ndarray) -> np.ndarray:
        """Invert `spread`.

        Returns:
            An array like `image`. Levels in between are rounded, halves upward.
        """
        if not self.bits:
            return image
        dtype = image.dtype.type
        half = (image >> dtype(self.bits - 1)) & dtype(1)
        levels = image >> dtype(self.bits)  # both parts, so that no sum leaves the type
        levels = np.minimum(levels + half, dtype(np.iinfo(image.dtype).max >> self.bits))
        return levels + dtype(self.base) if self.base else levels

    def outside(self, image: np.ndarray) -> np.ndarray:
        """Where `spread` clips an image, in any channel: H x W bool."""
        top = np.iinfo(image.dtype).max >> self.bits
        clipped = (image < self.base) | (image > self.base + top)
        return clipped.any(axis=2) if clipped.ndim == 3 else clipped


IDENTITY = LevelMap(0, 0, False)


def find_level_map(images: Iterable[np.ndarray]) -> LevelMap:
    """Find the map that spreads the levels of images over their type.

    A shift by the upper bits that no level uses clips nothing. It is taken unless the range of quantiles
    allows MIN_GAIN bits more. Of each image TAIL at both ends is outside of the range. The lowest and the
    highest level of an image, however many pixels have them, count where they are close to it (NEAR).

    Args:
        images: of one dtype, uint8 or uint16. No more are read once it is known that nothing changes.

    Returns:
        The map; IDENTITY where nothing changes.
    """
    ranges: list[_Range] = []
    for image in images:
        ranges.append(_measure_range(image))
        if ranges[-1].is_full:
            return IDENTITY
    size, top = ranges[0].size, 2 ** ranges[0].size - 1
    highest = max(r.highest for r in ranges)
    unused = size - highest.bit_length() if highest else 0
    inner = [(r.low, r.high) for r in ranges if r.low is not None and r.high is not None]
    if not inner:
        return LevelMap(0, unused, False)
    low, high = min(low for low, _ in inner), max(high for _, high in inner)
    bits = _unused_bits(high - low, size)
    if bits < unused + MIN_GAIN:
        return LevelMap(0, unused, False)
    lowest = min(r.lowest for r in ranges)
    length = highest - lowest
    if top >> bits < length <= top >> (bits - 1):
        bits -= 1  # clips nothing
    span = top >> bits
    base = low - int(MARGIN * (span - (high - low))) if high > span else 0
    if length <= span:
        base = min(max(base, highest - span), lowest)
    return LevelMap(min(max(0, base), top - span), bits, True)


def is_full_range(image: np.ndarray) -> bool:
    """Whether an image by itself uses so much of its type, uint8 or uint16, that nothing is to be spread."""
    return _measure_range(image).is_full


class _Range(NamedTuple):
    """The extreme levels of an image, quantiles of those between, and the bits (`size`) of its type."""

    lowest: int
    highest: int
    low: int | None
    high: int | None
    size: int

    @property
    def is_full(self) -> bool:
        if self.low is None or self.high is None or self.highest.bit_length() < self.size:
            return False
        return _unused_bits(self.high - self.low, self.size) < MIN_GAIN


def _measure_range(image):
    lowest, highest = int(image.min()), int(image.max())
    steps = (max(1, length // SAMPLE_SIDE) for length in image.shape[:2])
    sample = image[tuple(slice(None, None, step) for step in steps)]
    levels = [np.ascontiguousarray(sample).ravel()]
    counts = cv2.calcHist(levels, [0], None, [highest + 1], [0, highest + 1]).ravel().astype(np.int64)
    counts[[lowest, highest]] = 0
    total = np.cumsum(counts)
    low = high = None
    if total[-1]:
        low, high = map(int, np.searchsorted(total, (TAIL * total[-1], (1 - TAIL) * total[-1])))
        low = max(low, lowest)
        near = NEAR * (high - low)
        low, high = lowest if low - lowest <= near else low, highest if highest - high <= near else high
    return _Range(lowest, highest, low, high, 8 * image.dtype.itemsize)


def _unused_bits(length, size):
    """The bits that a range of levels leaves unused in a type of `size` bits."""
    return size - max(1, length).bit_length()
