"""The decision from the reconstruction: which photograph the network's image agrees with, at each pixel.

Ours, beyond the paper. A net that reconstructs every pixel loses a little of each; the photographs hold them
whole. So the distance of each photograph from the net's image in fine details (that in brightness says little
of focus) decides whose pixel is taken, and where it says little, so does what is around, since each pixel of
an outline costs as much as a pixel taken from a photograph that is farther by `outline` gray levels
(stack/potts.py). What is still too small to be a thing goes to what surrounds it. Seams are softened by less
than a pixel, but widely where a line would show: where neither photograph shows more than gradual shades,
such as a background out of focus in both, and one is brighter than the other. Elsewhere each pixel of the
result is a photograph's own.
"""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable, gray, level_scale, remove_small_regions
from two_stream_fusion.base.tiles import map_tiles
from two_stream_fusion.stack import potts

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
    check_fusable(a, b, fused)
    if not (0 <= area < 1 and all(option >= 0 for option in (outline, detail, seam, wide))):
        raise ValueError(
            f"outline={outline}, detail={detail}, area={area}, seam={seam}, wide={wide}: area is a share from"
            " 0 to below 1, the others are 0 or more"
        )
    farther = map_tiles(
        lambda a, b, fused: distance(b, fused, detail) - distance(a, fused, detail),
        (a, b, fused),
        blur_reach(detail),
    )
    from_b = potts.label(farther / np.float32(outline)) if outline else farther < 0
    from_b = remove_small_regions(from_b, area * from_b.size)
    weight = _softened(from_b.astype(np.float32), a, b, seam, wide)
    return map_tiles(_mixed, (a, b, weight)), from_b


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
            difference -= blurred(difference, detail)
        difference /= np.float32(level_scale(image))
        total += measure(difference, out=difference)
    total /= np.atleast_3d(image).shape[2]
    return total


def blur_reach(sigma):
    """How far in pixels a Gaussian of a deviation looks."""
    return int(4 * sigma) + 1


def blurred(values, sigma):
    """Values, H x W or H x W x 3, blurred by a Gaussian of a deviation, mirrored at their borders; 0: not."""
    return cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) if sigma else values


def _softened(weight, a, b, seam, wide):
    """A weight (H x W float32) blurred by a Gaussian of deviation `seam`, or `wide` where a line would show.

    That is where both photographs have gradual shades alone, within twice `wide`, and not the same.
    """
    narrow = blurred(weight, seam)
    if not wide:
        return narrow
    levels = [map_tiles(lambda part: gray(part).astype(np.float32), (image,)) for image in (a, b)]
    steepest = cv2.max(*map(_slope, levels))
    steepest = cv2.dilate(steepest, np.ones((int(4 * wide) // 2 * 2 + 1,) * 2, np.uint8))
    gradual = blurred(np.clip(1.5 - steepest / SLOPE, 0, 1), wide)
    step = np.abs(blurred(levels[0], wide) - blurred(levels[1], wide))
    return narrow + gradual * np.clip(step / STEP - 1, 0, 1) * (blurred(weight, wide) - narrow)


def _slope(levels):
    """H x W float32: how steep gray levels are, in levels a pixel, noise smoothed away."""
    levels = blurred(levels, 1)
    return cv2.magnitude(*(cv2.Sobel(levels, -1, x, 1 - x, scale=1 / 8) for x in (0, 1)))
