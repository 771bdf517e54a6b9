"""Preprocessing of images for the metrics: checks, luma, tiles and gradients."""

from __future__ import annotations

from typing import Iterator, Sequence

import cv2
import numpy as np

# Rec.601 luma in millionths, the weights of MATLAB's rgb2gray. base/pixels.py has luma too, in floats.
# Whole numbers make the rounding exact. The conversions of cv2 and PIL differ by one level on a few pixels,
# which moves the metrics by up to 4e-5.
_LUMA = np.array([298936, 587043, 114021])
# Rows and columns of a tile: what is computed on at a time fits the processor's cache.
_TILE = 48, 256
# glibc returns memory to the system as soon as a tile is done, to have it mapped and cleared again for the
# next one: a sixth of the time, of MEF_SSIM half. Releasing a large block, never touched, lifts the threshold
# for that; 32 MiB is the highest.
np.empty(2**25 - 2**16, np.uint8)

_DIFFERENCE = np.array([-1.0, 0.0, 1.0])
SOBEL = np.array([1.0, 2.0, 1.0])
PREWITT = np.array([1.0, 1.0, 1.0])


def prepare(*images: np.ndarray, names: Sequence[str] | None = None) -> tuple[list[np.ndarray], np.ndarray]:
    """Check images and convert them to gray.

    Args:
        images: two or more sources, then the fused image; each H x W (gray) or H x W x 3 (RGB), all of one
            shape and one dtype, uint8 or uint16. RGB of three equal channels may stand beside gray.
        names: what an error calls the images; A, B, C, ... and F if None.

    Returns:
        The gray sources and the gray fused image, H x W. RGB becomes Rec.601 luma; values are not rescaled.
        uint16 images that all hold 8-bit levels only (v * 257) are returned as uint8: their luma is rounded
        as that of their originals.

    Raises:
        ValueError: anything else; the message names two images that differ, with shapes and dtypes.
    """
    if len(images) < 3:
        raise ValueError(f"a metric needs two or more sources and a fused image; {len(images)} given")
    if names is None:
        names = [chr(ord("A") + i) for i in range(len(images) - 1)] + ["F"]
    arrays = [np.asarray(image) for image in images]
    if any(image.ndim == 2 for image in arrays):  # the luma of equal channels is any of them, exactly
        arrays = [image[..., 0] if _is_gray(image) else image for image in arrays]
    for i, (name, image) in enumerate(zip(names, arrays)):
        # An error names two images, since either may be the odd one: each source with the fused image.
        j = -1 if i < len(arrays) - 1 else 0
        partner = arrays[j]
        both = f"{name} is {_describe(image)}, {names[j]} is {_describe(partner)}"
        if not {image.dtype, partner.dtype} <= {np.dtype(np.uint8), np.dtype(np.uint16)}:
            raise ValueError(f"{both}: metrics are defined on uint8 (or uint16) images; convert it first")
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or image.size == 0:
            raise ValueError(f"{both}: an image is H x W (gray) or H x W x 3 (RGB)")
        if image.ndim != partner.ndim:
            raise ValueError(f"{both}: gray and colour cannot be compared; convert one of them")
        if image.shape != partner.shape:
            raise ValueError(f"{both}: they must have the same size")
        if image.dtype != partner.dtype:
            raise ValueError(f"{both}: they must have the same depth")
    *sources, fused = [_gray(image) for image in eight_bit_originals(*arrays)]
    return sources, fused


def prepare_pair(*images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check two sources and a fused image, and convert them to gray.

    Args:
        images: source A, source B and the fused image, as `prepare` takes them.

    Returns:
        The three gray images, as `prepare` returns them.

    Raises:
        ValueError: as `prepare` raises it, or for more than two sources.
    """
    sources, fused = prepare(*images)
    if len(sources) != 2:
        raise ValueError(f"this metric is defined for two sources; {len(sources)} given")
    return sources[0], sources[1], fused


def levels(image: np.ndarray) -> np.ndarray:
    """Gray levels as float64 on the scale 0..255, at every depth.

    Args:
        image: a gray image, H x W, uint8 or uint16.

    Returns:
        H x W float64.
    """
    return image / 257 if image.dtype == np.uint16 else image.astype(np.float64)


def stretch(image: np.ndarray) -> np.ndarray:
    """Stretch gray levels to 0..255 by their minimum and maximum, and round them.

    Only metrics that are defined with this step use it: Qcb, Qcv and TE_2012.

    Args:
        image: a gray image, H x W, uint8 or uint16.

    Returns:
        H x W float64 of whole numbers; a constant image keeps its level.
    """
    x = levels(image)
    low, high = x.min(), x.max()
    if low == high:
        return x
    x -= low
    x /= high - low
    x *= 255
    x += 0.5
    return np.floor(x, out=x)


def is_flat(x: np.ndarray, size: int) -> np.ndarray:
    """Which windows hold one level only.

    Args:
        x: H x W float64.
        size: side of the square windows in pixels.

    Returns:
        Booleans, (H - size + 1) x (W - size + 1): of the window whose upper left pixel stands there.
    """
    box = np.ones((size, size), np.uint8)
    inside = np.s_[: x.shape[0] - size + 1, : x.shape[1] - size + 1]
    return cv2.dilate(x, box, anchor=(0, 0))[inside] == cv2.erode(x, box, anchor=(0, 0))[inside]


def gaussian_means(x: np.ndarray, size: int, sigma: float) -> np.ndarray:
    """Means under a Gaussian, of all windows that are wholly inside the image.

    Args:
        x: H x W float64.
        size: side of the square windows in pixels.
        sigma: standard deviation in pixels.

    Returns:
        (H - size + 1) x (W - size + 1) float64.

    Raises:
        ValueError: the image is smaller than the window.
    """
    if min(x.shape) < size:
        raise ValueError(f"the images are {x.shape}; windows of {size} x {size} do not fit")
    kernel = cv2.getGaussianKernel(size, sigma, cv2.CV_64F)
    filtered = cv2.sepFilter2D(x, cv2.CV_64F, kernel, kernel, anchor=(0, 0))
    return filtered[: x.shape[0] - size + 1, : x.shape[1] - size + 1]


def eight_bit_originals(*images: np.ndarray) -> list[np.ndarray]:
    """The uint8 images that uint16 images are copies of.

    Args:
        images: of any shape and dtype.

    Returns:
        The same images; where all are uint16 and every level is 257 times a level of 8 bits, those levels as
        uint8.
    """
    if not all(image.dtype == np.uint16 and _is_scaled_up(image) for image in images):
        return list(images)
    return [(image // 257).astype(np.uint8) for image in images]


def _is_scaled_up(image):
    """Whether all levels of a uint16 image are multiples of 257; row by row, for most are not."""
    return all(not (row % 257).any() for row in image)


def level_scale(image: np.ndarray) -> int:
    """One 8-bit gray level in the levels of `image`: 1 for uint8, 257 for uint16 (65535 / 255)."""
    return 257 if image.dtype == np.uint16 else 1


def tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Cut an image into tiles.

    Args:
        height, width: of the image, in pixels.

    Yields:
        A pair of slices for each tile; together they cover every pixel once.
    """
    for top in range(0, height, _TILE[0]):
        for left in range(0, width, _TILE[1]):
            yield np.s_[top : min(top + _TILE[0], height), left : min(left + _TILE[1], width)]


def gradients(
    images: Sequence[np.ndarray], tile: tuple[slice, slice], mask: np.ndarray
) -> Iterator[np.ndarray]:
    """Compute differences along x (right minus left) and y (below minus above) in a tile.

    Args:
        images: n gray images of one shape, H x W. Outside them are zeros.
        tile: the rows and columns of the tile.
        mask: weights of the three taps across the difference, SOBEL or PREWITT.

    Yields:
        Two float64 arrays n x h x w: along x, then along y.
    """
    height, width = images[0].shape
    (top, bottom), (left, right) = ((s.start - 1, s.stop + 1) for s in tile)
    inside = np.s_[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    part = np.zeros((len(images), bottom - top, right - left), images[0].dtype)
    for plane, image in zip(part, images):
        piece = image[inside]
        y, x = inside[0].start - top, inside[1].start - left
        plane[y : y + piece.shape[0], x : x + piece.shape[1]] = piece
    # One below the other they are filtered in one go; what mixes two of them is in the margin, cut off below.
    column = part.reshape(-1, right - left)
    for x, y in ((_DIFFERENCE, mask), (mask, _DIFFERENCE)):
        # float32 holds every such sum of 16-bit levels exactly.
        response = cv2.sepFilter2D(column, cv2.CV_32F, x, y)
        yield response.reshape(part.shape)[:, 1:-1, 1:-1].astype(np.float64)


def _gray(image):
    if image.ndim == 2:
        return np.ascontiguousarray(image)
    gray = np.empty(image.shape[:2], image.dtype)
    for tile in tiles(*gray.shape):
        gray[tile] = (image[tile].astype(np.int64) @ _LUMA + 500000) // 1000000
    return gray


def _is_gray(image):
    """Whether all channels of H x W x C are the same."""
    return image.ndim == 3 and image.shape[2] in (1, 3) and (image == image[..., :1]).all()


def _describe(image):
    broken = image.dtype.kind == "f" and not np.isfinite(image).all()
    return f"{image.shape} {image.dtype}" + (" with values that are not finite" if broken else "")
