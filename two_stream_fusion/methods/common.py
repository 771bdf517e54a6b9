"""What the methods share: image types, colour, gray, selection of detail, maps without specks, tiles."""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.base.lens import nearest

GRAY = np.array([0.2989, 0.5870, 0.1140])  # weights of R, G, B, as MATLAB's rgb2gray has them
SMALLEST = 2  # pixels a side
WIDEST = 255  # pixels: what a window may reach over


def check(*images) -> None:
    """ValueError unless all are H x W or H x W x 3, uint8 or uint16, alike, no side below SMALLEST pixels."""
    first = images[0]
    if first.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"images of dtype {first.dtype} cannot be fused: use uint8 or uint16")
    if first.ndim not in (2, 3) or (first.ndim == 3 and first.shape[2] != 3):
        raise ValueError(f"an image of shape {first.shape} cannot be fused: H x W or H x W x 3")
    if min(first.shape[:2]) < SMALLEST:
        raise ValueError(f"an image of {first.shape[1]}x{first.shape[0]} pixels cannot be fused: too small")
    for image in images[1:]:
        if image.shape != first.shape or image.dtype != first.dtype:
            raise ValueError(f"images differ: {first.shape} {first.dtype} and {image.shape} {image.dtype}")


def check_window(side) -> None:
    """ValueError unless it is the side of a window: an odd number of pixels up to WIDEST."""
    if not (1 <= side <= WIDEST and side % 2 == 1):
        raise ValueError(f"window={side}: its side is an odd number of pixels from 1 to {WIDEST}")


def scale(image) -> float:
    """What one gray level of 0..255 is in the levels of the image: 1 for uint8, 257 for uint16."""
    return np.iinfo(image.dtype).max / 255


def gray(image) -> np.ndarray:
    """H x W float64 in 0..255: Rec.601 luma of a colour image, or the image itself."""
    values = image @ GRAY if image.ndim == 3 else image.astype(np.float64)
    return values / scale(image)


def rounded(values, like) -> np.ndarray:
    """Values in 0..255 as the type of the image `like`: rounded half up and clipped."""
    levels = np.floor(values * scale(like) + 0.5)
    return np.clip(levels, 0, np.iinfo(like.dtype).max).astype(like.dtype)


def by_channel(fuse_planes, *images, colour="channels") -> np.ndarray:
    """Fuse images plane by plane: fuse_planes takes and gives H x W float64 planes in 0..255.

    colour: "channels" fuses R, G and B each by itself; "luma" fuses the lumas and averages what the
    images hold besides. ValueError where the images cannot be fused or colour is neither.
    """
    check(*images)
    if colour not in ("channels", "luma"):
        raise ValueError(f"unknown colour {colour!r}: channels or luma")
    first = images[0]
    if first.ndim == 2:
        return rounded(fuse_planes(*(image / scale(image) for image in images)), first)
    if colour == "luma":
        gain = fuse_planes(*map(gray, images)) - sum(map(gray, images)) / len(images)
        mean = sum(image / scale(image) for image in images) / len(images)
        return rounded(mean + gain[..., None], first)
    fused = np.empty_like(first)
    for c in range(first.shape[2]):
        fused[..., c] = rounded(fuse_planes(*(image[..., c] / scale(image) for image in images)), first)
    return fused


def stronger(x, y, rule="max_abs", window=3) -> np.ndarray:
    """One coefficient of two, H x W float64 each.

    max_abs: the larger magnitude; y where they are equal.
    area_max: the one that holds the larger magnitude in its window at most places of that window
    (Li, Manjunath, Mitra 1994). energy: the larger sum of squares in the window.
    match: the same where the windows differ, a mean of both where they match (Burt, Kolczynski 1993).
    window: its side. ValueError for another rule, and as check_window.
    """
    check_window(window)
    if rule == "max_abs":
        return np.where(np.abs(x) > np.abs(y), x, y)
    if rule == "energy":
        return np.where(_box(x * x, window) > _box(y * y, window), x, y)
    if rule == "area_max":
        return np.where(_majority(np.abs(x), np.abs(y), window), x, y)
    if rule == "match":
        return _match(x, y, window)
    raise ValueError(f"unknown rule {rule!r}: max_abs, area_max, energy or match")


def residual(x, y, base="average"):
    """The low-pass rest of two: their average, or "a" or "b" alone."""
    if base == "average":
        return (x + y) / 2
    if base in ("a", "b"):
        return x if base == "a" else y
    raise ValueError(f"unknown base {base!r}: average, a or b")


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
    return choice.ravel()[nearest(~speck)]


def _box(values, window):
    return cv2.boxFilter(values, -1, (window, window), normalize=False, borderType=cv2.BORDER_REFLECT_101)


def _match(x, y, window, threshold=0.75):
    """The stronger of two, mixed with the weaker the more, up to half, their match exceeds the threshold."""
    energy_x, energy_y = _box(x * x, window), _box(y * y, window)
    match = 2 * _box(x * y, window) / (energy_x + energy_y + 1e-12)
    weaker = np.clip(0.5 - 0.5 * (1 - match) / (1 - threshold), 0, 0.5)
    weight_x = np.where(energy_x > energy_y, 1 - weaker, weaker)
    return weight_x * x + (1 - weight_x) * y


def _majority(x, y, window):
    """Where x wins: maxima over a window compared, then the vote of the window's places.

    The bands are mirror-extended once; what lies beyond the extension counts as zero.
    """
    edge = window // 2
    x, y = (cv2.copyMakeBorder(v, *[edge] * 4, cv2.BORDER_REFLECT_101) for v in (x, y))
    ones = np.ones((window, window), np.uint8)
    ax, ay = (cv2.dilate(v, ones, borderType=cv2.BORDER_CONSTANT, borderValue=0) for v in (x, y))
    votes = cv2.boxFilter(
        (ax > ay).astype(np.float32), -1, (window, window), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    height, width = votes.shape
    return votes[edge : height - edge, edge : width - edge] > window * window // 2
