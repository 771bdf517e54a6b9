"""The decision from the reconstruction: which photograph the network's image agrees with, at each pixel.

Ours, beyond the paper. A net that reconstructs every pixel loses a little of each; the photographs hold them
whole. So the distance of each photograph from the net's image in fine details (that in brightness says little
of focus) decides whose pixel is taken, and where it says little, so does what is around, since each pixel of
an outline costs as much as a pixel taken from a photograph that is farther by `outline` gray levels
(fusion/potts.py). What is still too small to be a thing goes to what surrounds it. Seams are softened by less
than a pixel, but widely where a line would show: where neither photograph shows more than gradual shades,
such as a background out of focus in both, and one is brighter than the other. Elsewhere each pixel of the
result is a photograph's own.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from . import potts
from .common import by_tiles, check, gray, scale, without_specks

SLOPE = 16  # gray levels of 255 a pixel: where both photographs stay under half of it, shades are gradual
STEP = 1  # gray levels of 255: photographs that differ by less join without a line; by twice that, with one


def refine(a, b, fused, *, outline=12, detail=2, area=0.0003, seam=0.4, wide=6):
    """(refined, from_b): a and b put together as `fused`, a net's image of them, says.

    a, b, fused: H x W or H x W x 3, uint8 or uint16, alike; refined is of their kind. from_b: H x W bool,
    where b is taken rather than a, which has the pixels that nothing speaks for.
    outline: what a pixel of outline costs, in gray levels of 255 by which a pixel taken is farther from
    `fused` than the other; 0 leaves each pixel to itself. detail: deviation in pixels of the Gaussian over
    differences that is taken away from them; 0 for none. area: a region of a smaller share of the image goes
    to what surrounds it. seam, wide: deviation in pixels of the Gaussian over outlines, where they do not
    show and where they would; 0 for hard ones.
    ValueError where images differ or an option is out of range.
    """
    check(a, b, fused)
    if not (0 <= area < 1 and all(option >= 0 for option in (outline, detail, seam, wide))):
        raise ValueError(
            f"outline={outline}, detail={detail}, area={area}, seam={seam}, wide={wide}: area is a share from"
            " 0 to below 1, the others are 0 or more"
        )
    farther = by_tiles(
        lambda a, b, fused: distance(b, fused, detail) - distance(a, fused, detail),
        (a, b, fused),
        blur_reach(detail),
    )
    from_b = potts.label(farther / np.float32(outline)) if outline else farther < 0
    from_b = without_specks(from_b, area * from_b.size)
    shades = Shades(wide)
    shades.add(a)
    shades.add(b)
    weight = shades.soften(from_b.astype(np.float32), seam)
    return by_tiles(_mixed, (a, b, weight)), from_b


def _mixed(a, b, weight):
    """The mean of two images, the second with a weight, in their type."""
    if a.ndim == 3:
        weight = weight[..., None]
    return np.floor(a * (1 - weight) + b * weight + np.float32(0.5)).astype(a.dtype)


def distance(image, fused, detail, measure=np.abs):
    """H x W float32: a measure of the difference in gray levels of 255, mean over channels.

    detail: deviation in pixels of the Gaussian over differences that is taken away from them; 0 for none.
    """
    total = np.zeros(image.shape[:2], np.float32)
    for planes in zip(cv2.split(image), cv2.split(fused)):
        difference = cv2.subtract(*planes, dtype=cv2.CV_32F)
        if detail:
            difference -= _blurred(difference, detail)
        difference /= np.float32(scale(image))
        total += measure(difference, out=difference)
    total /= np.atleast_3d(image).shape[2]
    return total


def blur_reach(sigma):
    """How far in pixels a Gaussian of a deviation looks."""
    return int(4 * sigma) + 1


def _blurred(values, sigma):
    return cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) if sigma else values


class Shades:
    """Where photographs have gradual shades alone, and not the same: there a line between them would show.

    All are added before the first weight is softened.
    reach: how far in pixels the line is softened, 0: not; no detail may be within twice that. slope: gray
    levels of 255 a pixel that are detail. shrink: compute it on squares of so many pixels a side, for a large
    reach, which is then in squares.
    """

    def __init__(self, reach, slope=SLOPE, shrink=1):
        self.reach, self.slope, self.shrink = reach, slope, shrink
        self.shape = self.steepest = self.low = self.high = None

    def add(self, image):
        """Take a photograph into account, H x W or H x W x 3, uint8 or uint16, all alike."""
        self.shape = image.shape[:2]
        levels = by_tiles(lambda part: gray(part).astype(np.float32), (image,))
        steepest = self._squares(_slope(levels))
        mean = _blurred(_smaller(levels, self.shrink), self.reach)
        if self.steepest is None:
            self.steepest, self.low, self.high = steepest, mean, mean.copy()
        else:
            cv2.max(self.steepest, steepest, dst=self.steepest)
            cv2.min(self.low, mean, dst=self.low)
            cv2.max(self.high, mean, dst=self.high)

    def soften(self, weight, seam):
        """A weight (H x W float32) blurred by a Gaussian of deviation seam, or reach where lines show."""
        narrow = _blurred(weight, seam)
        if self.reach:
            wide = _larger(_blurred(_smaller(weight, self.shrink), self.reach), self.shape)
            return narrow + self._line_shows * (wide - narrow)
        return narrow

    @cached_property
    def _line_shows(self):
        """H x W float32 in 0..1: 1 where none has a slope nearby, but there is a step between their means."""
        steepest = cv2.dilate(self.steepest, np.ones((int(4 * self.reach) // 2 * 2 + 1,) * 2, np.uint8))
        gradual = _blurred(np.clip(1.5 - steepest / self.slope, 0, 1), self.reach)
        return _larger(gradual * np.clip((self.high - self.low) / STEP - 1, 0, 1), self.shape)

    def _squares(self, values):
        """The largest value of each square."""
        if self.shrink == 1:
            return values
        height, width = (-(-n // self.shrink) for n in values.shape)
        more = ((0, height * self.shrink - values.shape[0]), (0, width * self.shrink - values.shape[1]))
        squares = np.pad(values, more, "edge").reshape(height, self.shrink, width, self.shrink)
        return squares.max(axis=(1, 3))


def _smaller(values, shrink):
    """The mean of each square of values."""
    if shrink == 1:
        return values
    size = [-(-n // shrink) for n in values.shape[::-1]]
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA)


def _larger(values, shape):
    if values.shape == shape:
        return values
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _slope(levels):
    """H x W float32: how steep gray levels are, in levels a pixel, noise smoothed away."""
    levels = _blurred(levels, 1)
    return cv2.magnitude(*(cv2.Sobel(levels, -1, x, 1 - x, scale=1 / 8) for x in (0, 1)))
