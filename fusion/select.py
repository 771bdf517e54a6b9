"""The decision from the reconstruction: which photograph the network's image agrees with, at each pixel.

Ours, beyond the paper. A net that reconstructs every pixel loses a little of each; the photographs hold them
whole. So the distance of each photograph from the net's image (absolute difference, mean over a window)
decides whose pixel is taken, and regions too small to be things go to what surrounds them. Seams are softened
by less than a pixel, but widely where a line would show: where neither photograph shows more than gradual
shades, such as a background out of focus in both, and one is brighter than the other. Elsewhere each pixel
of the result is a photograph's own.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from .common import check, check_window, gray

SLOPE = 16  # gray levels of 255 a pixel: where both photographs stay under half of it, shades are gradual
STEP = 1  # gray levels of 255: photographs that differ by less join without a line; by twice that, with one


def refine(a, b, fused, *, window=3, area=0.001, seam=0.5, wide=6):
    """(refined, from_b): a and b put together as `fused`, a net's image of them, says.

    a, b, fused: H x W or H x W x 3, uint8 or uint16, alike; refined is of their kind. from_b: H x W bool,
    where b is taken rather than a, which has the pixels that both are equally near to.
    window: side in pixels of the mean over distances, odd. area: a region of a smaller share of the image
    goes to what surrounds it. seam, wide: deviation in pixels of the Gaussian over outlines, where they do
    not show and where they would; 0 for hard ones.
    ValueError where images differ or an option is out of range.
    """
    check(a, b, fused)
    check_window(window)
    if not (0 <= area < 1 and seam >= 0 and wide >= 0):
        raise ValueError(
            f"area={area}, seam={seam}, wide={wide}: a share from 0 to below 1, and 0 or more pixels"
        )
    from_b = _distance(b, fused, window) < _distance(a, fused, window)
    from_b = without_specks(from_b, area * from_b.size)
    shades = Shades(wide)
    shades.add(a)
    shades.add(b)
    weight = shades.soften(from_b.astype(np.float32), seam)
    if a.ndim == 3:
        weight = weight[..., None]
    return np.floor(a * (1 - weight) + b * weight + np.float32(0.5)).astype(a.dtype), from_b


def without_specks(choice, smallest):
    """`choice` (H x W bool or integers), its 8-connected regions under `smallest` pixels as what is around.

    Where all are that small it stays as it is.
    """
    if smallest <= 1:
        return choice
    speck = np.zeros(choice.shape, bool)
    for value in np.unique(choice):
        _, region, stats, _ = cv2.connectedComponentsWithStats(
            (choice == value).astype(np.uint8), connectivity=8
        )
        small = stats[:, cv2.CC_STAT_AREA] < smallest
        small[0] = False  # all that is not of this value
        speck |= small[region]
    if speck.all() or not speck.any():
        return choice
    # Specks may touch, so each pixel of one takes after the nearest that is in none.
    _, at = cv2.distanceTransformWithLabels(
        speck.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_at = np.zeros(at.max() + 1, choice.dtype)
    value_at[at[~speck]] = choice[~speck]
    return value_at[at]


def _distance(image, fused, window):
    """H x W float32: absolute difference, mean over channels and window."""
    difference = cv2.absdiff(image, fused).astype(np.float32)
    if difference.ndim == 3:
        difference = cv2.transform(difference, np.full((1, 3), 1 / 3, np.float32))
    return cv2.blur(difference, (window, window), borderType=cv2.BORDER_REFLECT_101)


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
        levels = gray(image).astype(np.float32)
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
