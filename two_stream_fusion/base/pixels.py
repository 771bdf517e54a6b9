"""Pixels of images: what can be fused, luma, levels, rounding, hidden pixels, regions of label maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

MIN_SIDE = 2  # pixels a side of the smallest image that the methods fuse
# Rec.601 luma of R, G and B, with the rounding of Y'UV (0.299, 0.587, 0.114) and of MATLAB's rgb2gray.
# The network was trained with the first; published results of the comparison methods used the second.
LUMA = (0.299, 0.587, 0.114)
LUMA_MATLAB = (0.2989, 0.5870, 0.1140)


def check_fusable(*images: np.ndarray, min_side: int = MIN_SIDE) -> None:
    """Check that images can be fused with each other.

    Args:
        images: one or more.
        min_side: the smallest height and width allowed, in pixels.

    Raises:
        ValueError: an image is not H x W or H x W x 3, not uint8 or uint16, has a side below `min_side`, or
            differs from the first in shape or dtype.
    """
    first = images[0]
    if first.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"images of dtype {first.dtype} cannot be fused: use uint8 or uint16")
    if first.ndim not in (2, 3) or (first.ndim == 3 and first.shape[2] != 3):
        raise ValueError(f"an image of shape {first.shape} cannot be fused: H x W or H x W x 3")
    if min(first.shape[:2]) < min_side:
        raise ValueError(f"an image of {first.shape[1]}x{first.shape[0]} pixels cannot be fused: too small")
    check_alike(*images)


def check_alike(*images: np.ndarray) -> None:
    """Check that images have one shape and one dtype.

    Raises:
        ValueError: an image differs from the first; the message names both shapes and dtypes.
    """
    first = images[0]
    for image in images[1:]:
        if image.shape != first.shape or image.dtype != first.dtype:
            raise ValueError(f"images differ: {first.shape} {first.dtype} and {image.shape} {image.dtype}")


def depth_scale(image: np.ndarray) -> float:
    """One gray level of 0..255 in the levels of a uint8 or uint16 image: 1 or 257."""
    return np.iinfo(image.dtype).max / 255


def eight_bits(image: np.ndarray) -> np.ndarray:
    """The levels of an image in uint8, rounded.

    Args:
        image: of any shape, uint8 or uint16.

    Returns:
        Of the same shape; `image` itself where it is uint8.
    """
    if image.dtype == np.uint8:
        return image
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def gray(image: np.ndarray) -> np.ndarray:
    """The luma of a colour image, or a gray image itself.

    Args:
        image: H x W or H x W x 3 (RGB), uint8 or uint16.

    Returns:
        H x W float64 in 0..255, weighted by LUMA_MATLAB.
    """
    values = image @ np.array(LUMA_MATLAB) if image.ndim == 3 else image.astype(np.float64)
    return values / depth_scale(image)


def gray_levels(image: np.ndarray) -> np.ndarray:
    """As `gray`, in float32: several times as fast, and exact to about 1e-4 levels.

    Args:
        image: as of `gray`; or H x W float32, levels in 0..255, which stay as they are.

    Returns:
        H x W float32 in 0..255.
    """
    if image.dtype == np.float32:
        return image
    levels: np.ndarray = image.astype(np.float32)
    if image.ndim == 3:
        levels = cv2.transform(levels, np.array([LUMA_MATLAB], np.float32))
    scale = np.float32(depth_scale(image))
    return levels if scale == 1 else levels / scale


def round_half_up(values: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Round levels to uint8 or uint16, halves upward as MATLAB does, and clip them to the type's range.

    Args:
        values: floats of any shape, in levels of `dtype`.
        dtype: np.uint8 or np.uint16.

    Returns:
        Of the shape of `values`, in `dtype`.
    """
    return np.clip(np.floor(values + 0.5), 0, np.iinfo(dtype).max).astype(dtype)


def round_half_even(values: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Round levels to uint8 or uint16, halves to the even level as IEEE 754 does, and clip them to the range.

    Args:
        values: floats of any shape, in levels of `dtype`.
        dtype: np.uint8 or np.uint16.

    Returns:
        Of the shape of `values`, in `dtype`.
    """
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)


def nearest_index(marked: np.ndarray) -> np.ndarray:
    """The nearest marked pixel of each pixel.

    Args:
        marked: H x W bool, true in at least one place.

    Returns:
        H x W int: the flat index of that pixel. Distances are OpenCV's with a 5x5 mask, off by up to 2 %.
    """
    _, labels = cv2.distanceTransformWithLabels(
        (~marked).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    index = np.zeros(labels.max() + 1, int)
    index[labels[marked]] = np.flatnonzero(marked)
    return index[labels]


def extend_visible(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Give pixels under alpha 0 the colour of the nearest visible pixel.

    Args:
        pixels: H x W or H x W x 3.
        alpha: H x W; None for an opaque image.

    Returns:
        An array like `pixels`, zero where no pixel is visible; `pixels` itself where none is hidden.
    """
    hidden = None if alpha is None else alpha == 0
    if hidden is None or not hidden.any():
        return pixels
    if hidden.all():
        return np.zeros_like(pixels)
    extended = pixels.copy()
    left, top, width, height = cv2.boundingRect(hidden.astype(np.uint8))
    # Next to the rectangle of hidden pixels lie the nearest visible ones.
    part = slice(max(0, top - 1), top + height + 1), slice(max(0, left - 1), left + width + 1)
    holes, colours = hidden[part], pixels[part]
    extended[part][holes] = colours.reshape(holes.size, *pixels.shape[2:])[nearest_index(~holes)[holes]]
    return extended


def small_regions(mask: np.ndarray, min_pixels: float) -> np.ndarray:
    """The 8-connected regions of a mask that have fewer than `min_pixels` pixels.

    Args:
        mask: H x W bool.
        min_pixels: the size from which a region counts as large.

    Returns:
        H x W bool, true in the small regions.
    """
    _, region, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] < min_pixels
    small[0] = False  # the background
    return small[region]


def remove_small_regions(labels: np.ndarray, min_pixels: float) -> np.ndarray:
    """Give small regions of a label map the label of the nearest large region.

    Args:
        labels: H x W bool or integers. Regions are 8-connected pixels of one label.
        min_pixels: regions with fewer pixels are removed.

    Returns:
        An array of the same shape and dtype; `labels` itself where all regions or none are small.
    """
    if min_pixels <= 1:
        return labels
    small = np.zeros(labels.shape, bool)
    for value in np.unique(labels):
        small |= small_regions(labels == value, min_pixels)
    if small.all() or not small.any():
        return labels
    # Small regions may touch, so each of their pixels takes the label of the nearest large region.
    return labels.ravel()[nearest_index(~small)]
