"""The decision from the reconstruction: which photograph the network's image agrees with, at each pixel.

Ours, beyond the paper. A net that reconstructs every pixel loses a little of each; the photographs hold them
whole. So the distance of each photograph from the net's image (absolute difference, mean over a window)
decides whose pixel is taken; regions too small to be things go to what surrounds them; and seams are
softened by less than a pixel. Everywhere else each pixel of the result is a photograph's own.
"""

from __future__ import annotations

import cv2
import numpy as np

from .common import check


def refine(images, fused, *, window=7, area=0.001, seam=0.7):
    """(refined, choice): `images` put together as `fused`, a net's image of them, says.

    images: two or more, up to 256, H x W or H x W x 3, uint8 or uint16, alike and of the kind of `fused`; any
    sequence: it is gone through twice, one image at a time. refined: of their kind. choice: H x W uint8, the
    place in `images` of the one taken at each pixel, the first where they are equally near.
    window: side in pixels of the mean over distances, odd. area: a region of a smaller share of the image
    goes to the nearest larger one. seam: deviation in pixels of the Gaussian over outlines, 0 for hard ones.
    ValueError where images differ or an option is out of range.
    """
    if window < 1 or window % 2 != 1:
        raise ValueError(f"window={window}: the side of the window is an odd number from 1")
    if not (0 <= area < 1 and seam >= 0):
        raise ValueError(f"area={area}, seam={seam}: a share from 0 to below 1, and 0 or more pixels")
    choice = least = None
    for i, image in enumerate(images):
        check(fused, image)
        if i > 255:
            raise ValueError("more than 256 images: what is chosen is kept in a byte")
        distance = _distance(image, fused, window)
        if choice is None:
            choice, least = np.zeros(distance.shape, np.uint8), distance
        else:
            choice[distance < least] = i
            least = cv2.min(least, distance)
    del least
    choice = without_specks(choice, area * choice.size)
    return _compose(images, choice, seam), choice


def without_specks(choice, smallest):
    """H x W uint8 `choice`, its 8-connected regions under `smallest` pixels given to the nearest other one.

    Where all are that small none is given away.
    """
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
    _, at = cv2.distanceTransformWithLabels(
        speck.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_at = np.zeros(at.max() + 1, np.uint8)
    value_at[at[~speck]] = choice[~speck]
    return value_at[at]


def _distance(image, fused, window):
    """H x W float32: absolute difference, mean over channels and window."""
    difference = cv2.absdiff(image, fused).astype(np.float32)
    if difference.ndim == 3:
        difference = cv2.transform(difference, np.full((1, 3), 1 / 3, np.float32))
    return cv2.blur(difference, (window, window), borderType=cv2.BORDER_REFLECT_101)


def _compose(images, choice, seam):
    """The chosen pixels, mixed where the outlines softened by `seam` overlap."""
    total = 0
    for i, image in enumerate(images):
        weight = (choice == i).astype(np.float32)
        if seam > 0:
            weight = cv2.GaussianBlur(weight, (0, 0), seam, borderType=cv2.BORDER_REFLECT_101)
        total = total + image * (weight if image.ndim == 2 else weight[..., None])
    return np.floor(total + 0.5).astype(image.dtype)
