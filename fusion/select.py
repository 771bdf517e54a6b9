"""The decision from the reconstruction: which photograph the network's image agrees with, at each pixel.

Ours, beyond the paper. A net that reconstructs every pixel loses a little of each; the photographs hold them
whole. So the distance of each photograph from the net's image (absolute difference, mean over a window)
decides whose pixel is taken, and regions too small to be things go to what surrounds them. Seams are softened
by less than a pixel, but widely where a line would show: where neither photograph shows more than gradual
shades, such as a background out of focus in both, and one is brighter than the other. Elsewhere each pixel
of the result is a photograph's own.
"""

from __future__ import annotations

import cv2
import numpy as np

from .common import check, check_window, gray

SLOPE = 16  # gray levels of 255 a pixel: where both photographs stay under half of it, shades are gradual
STEP = 1  # gray levels of 255: photographs that differ by less join without a line; by twice that, with one


def refine(a, b, fused, *, window=5, area=0.001, seam=0.7, wide=6):
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
    weight = from_b.astype(np.float32)
    soft = _blurred(weight, wide)
    weight = _blurred(weight, seam)
    if wide:
        weight += _shows(a, b, wide) * (soft - weight)
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


def _shows(a, b, reach):
    """H x W float32 in 0..1: 1 where neither image has a slope within twice `reach` pixels, but a step
    between them, on the mean around."""
    step = cv2.absdiff(*(_blurred(gray(image).astype(np.float32), reach) for image in (a, b)))
    steepest = cv2.max(_slope(a), _slope(b))
    steepest = cv2.dilate(steepest, np.ones((int(4 * reach) // 2 * 2 + 1,) * 2, np.uint8))
    return _blurred(np.clip(1.5 - steepest / SLOPE, 0, 1), reach) * np.clip(step / STEP - 1, 0, 1)


def _slope(image):
    """H x W float32: how steep the gray of an image is, in levels of 255 a pixel, noise smoothed away."""
    levels = _blurred(gray(image).astype(np.float32), 1)
    return cv2.magnitude(*(cv2.Sobel(levels, -1, x, 1 - x, scale=1 / 8) for x in (0, 1)))
