"""Match the brightness and white balance of photographs of one scene."""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable

COMPARED_SIDE = 256  # pixels: the longer side of the versions that are compared
BLUR_SIGMA = 2  # pixels of such a version, so that focus matters little
USABLE = (0.01, 0.97)  # the range of levels in 0..1 that are compared: not near black or saturation
TOLERANCE = 0.002  # gains this close to 1 change nothing


def match_exposure(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Multiply each channel by a gain, so that the image is as bright as the reference.

    The gain is the median, weighted by brightness, of the ratios of pixels in small, blurred versions. Places
    near black or saturation are left out.

    Args:
        reference: H x W or H x W x 3, uint8 or uint16.
        image: an image of the shape and dtype of `reference`, aligned with it.

    Returns:
        A new image, rounded and clipped. Its pixels are those of `image` where all gains are within TOLERANCE
        of 1 or there is no place to compare.

    Raises:
        ValueError: the images differ in shape or dtype.
    """
    return apply_gains(image, exposure_gains(reference, image))


def exposure_gains(reference: np.ndarray, image: np.ndarray) -> list[float]:
    """Find the gain of each channel by which `match_exposure` multiplies.

    Args:
        reference, image: as of `match_exposure`.

    Returns:
        A gain for each channel; none where nothing changes.

    Raises:
        ValueError: the images differ in shape or dtype.
    """
    check_fusable(reference, image)
    (reference_planes, usable), (planes, also_usable) = _small_planes(reference), _small_planes(image)
    usable &= also_usable
    if not usable.any():
        return []
    gains = [_weighted_median(a[usable] / b[usable], b[usable]) for a, b in zip(reference_planes, planes)]
    return [] if all(abs(gain - 1) <= TOLERANCE for gain in gains) else gains


def apply_gains(image: np.ndarray, gains: Sequence[float], black: int = 0) -> np.ndarray:
    """Multiply each channel by a gain.

    Args:
        image: H x W or H x W x 3, uint8 or uint16.
        gains: one a channel; none for a copy.
        black: the level that stays as it is.

    Returns:
        A new image, rounded and clipped.
    """
    if not gains:
        return image.copy()
    top = np.iinfo(image.dtype).max
    matched = np.empty_like(image)
    planes, results = (v.reshape(*image.shape[:2], -1) for v in (image, matched))
    for c, gain in enumerate(gains):
        values = np.floor((np.arange(top + 1) - black) * gain + black + 0.5)
        results[..., c] = np.clip(values, 0, top).astype(image.dtype)[planes[..., c]]
    return matched


def _small_planes(image):
    """(C x h x w float32 in 0..1, small and blurred; h x w bool: not near black or saturation)."""
    share = min(1, COMPARED_SIDE / max(image.shape[:2]))
    size = tuple(max(2, round(n * share)) for n in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = small.reshape(size[1], size[0], -1) / np.iinfo(image.dtype).max
    ends = ((small < USABLE[0]) | (small > USABLE[1])).any(axis=2).astype(np.uint8)
    usable = cv2.dilate(ends, np.ones((5, 5), np.uint8)) == 0
    return np.stack([cv2.GaussianBlur(c, (0, 0), BLUR_SIGMA) for c in np.moveaxis(small, 2, 0)]), usable


def _weighted_median(values, weights):
    """The value that half of the weight lies below."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])
