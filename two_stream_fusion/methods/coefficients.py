"""What the transform methods share: selection of coefficients, and fusion of images plane by plane."""

from __future__ import annotations

from typing import Callable

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable, depth_scale, gray, round_half_up

MAX_WINDOW = 255  # pixels a side of the largest window


def check_window(side: int) -> None:
    """Check the side of a window.

    Raises:
        ValueError: it is not an odd number of pixels from 1 to MAX_WINDOW.
    """
    if not (1 <= side <= MAX_WINDOW and side % 2 == 1):
        raise ValueError(f"window={side}: its side is an odd number of pixels from 1 to {MAX_WINDOW}")


def fuse_planes(
    fuse_plane: Callable[..., np.ndarray], *images: np.ndarray, colour: str = "channels"
) -> np.ndarray:
    """Fuse images by a function that fuses planes.

    Args:
        fuse_plane: takes one H x W float64 plane of each image, in 0..255, and returns the fused plane.
        images: two or more, H x W or H x W x 3 (RGB), uint8 or uint16, of one shape and dtype.
        colour: "channels" fuses R, G and B each by itself. "luma" fuses the lumas and adds what the fused
            luma differs from the mean luma to the mean of the images.

    Returns:
        The fused image, in the shape and dtype of the images, rounded half up and clipped.

    Raises:
        ValueError: the images cannot be fused, or `colour` is unknown.
    """
    check_fusable(*images)
    if colour not in ("channels", "luma"):
        raise ValueError(f"unknown colour {colour!r}: channels or luma")
    first = images[0]
    scale = depth_scale(first)
    if first.ndim == 2:
        return to_levels(fuse_plane(*(image / scale for image in images)), first)
    if colour == "luma":
        gain = fuse_plane(*map(gray, images)) - sum(map(gray, images)) / len(images)
        mean = sum(image / scale for image in images) / len(images)
        return to_levels(mean + gain[..., None], first)
    fused = np.empty_like(first)
    for c in range(first.shape[2]):
        fused[..., c] = to_levels(fuse_plane(*(image[..., c] / scale for image in images)), first)
    return fused


def to_levels(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Convert values in 0..255 to the levels and dtype of the image `like`, rounded half up and clipped.

    Args:
        values: floats in 0..255, of any shape.
        like: uint8 or uint16.

    Returns:
        Of the shape of `values`, in the dtype of `like`.
    """
    return round_half_up(values * depth_scale(like), like.dtype)


def select_coefficients(x: np.ndarray, y: np.ndarray, rule: str = "max_abs", window: int = 3) -> np.ndarray:
    """Select one of two coefficients at each place of a band.

    Args:
        x, y: H x W float64. Where both are equally strong y is taken.
        rule: "max_abs", the larger magnitude. "energy", the larger sum of squares in the window.
            "area_max", the band with the larger maximal magnitude at most places of the window (Li et al.
            1995, DOI 10.1006/gmip.1995.1022). "match", the larger energy where the windows differ and a
            weighted mean where they match (P. J. Burt, R. J. Kolczynski, Enhanced image capture through
            fusion, ICCV 1993, DOI 10.1109/ICCV.1993.378222).
        window: its side in pixels, odd.

    Returns:
        H x W float64.

    Raises:
        ValueError: the rule is unknown or the window is not odd, or out of range.
    """
    check_window(window)
    if rule == "max_abs":
        return np.where(np.abs(x) > np.abs(y), x, y)
    if rule == "energy":
        return np.where(_window_sum(x * x, window) > _window_sum(y * y, window), x, y)
    if rule == "area_max":
        return np.where(_wins_majority(np.abs(x), np.abs(y), window), x, y)
    if rule == "match":
        return _merge_by_match(x, y, window)
    raise ValueError(f"unknown rule {rule!r}: max_abs, area_max, energy or match")


def merge_lowpass(x: np.ndarray, y: np.ndarray, base: str = "average") -> np.ndarray:
    """Merge the low-pass bands of two images.

    Args:
        x, y: arrays of one shape, the bands of the images a and b.
        base: "average", or "a" or "b" for one of them alone.

    Returns:
        An array like `x`.

    Raises:
        ValueError: `base` is unknown.
    """
    if base == "average":
        return (x + y) / 2
    if base in ("a", "b"):
        return x if base == "a" else y
    raise ValueError(f"unknown base {base!r}: average, a or b")


def _window_sum(values, window):
    return cv2.boxFilter(values, -1, (window, window), normalize=False, borderType=cv2.BORDER_REFLECT_101)


def _merge_by_match(x, y, window, threshold=0.75):
    """The rule "match": the weaker has weight 0 up to the threshold, 0.5 at a match of 1."""
    energy_x, energy_y = _window_sum(x * x, window), _window_sum(y * y, window)
    match = 2 * _window_sum(x * y, window) / (energy_x + energy_y + 1e-12)
    weaker = np.clip(0.5 - 0.5 * (1 - match) / (1 - threshold), 0, 0.5)
    weight_x = np.where(energy_x > energy_y, 1 - weaker, weaker)
    return weight_x * x + (1 - weight_x) * y


def _wins_majority(x, y, window):
    """The rule "area_max": H x W bool, true where x has the larger window maximum at most places of a window.

    The bands are mirrored once at their border; beyond that they count as zero.
    """
    edge = window // 2
    x, y = (cv2.copyMakeBorder(v, *[edge] * 4, cv2.BORDER_REFLECT_101) for v in (x, y))
    ones = np.ones((window, window), np.uint8)
    max_x, max_y = (cv2.dilate(v, ones, borderType=cv2.BORDER_CONSTANT, borderValue=0) for v in (x, y))
    votes = cv2.boxFilter(
        (max_x > max_y).astype(np.float32),
        -1,
        (window, window),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )
    height, width = votes.shape
    return votes[edge : height - edge, edge : width - edge] > window * window // 2
