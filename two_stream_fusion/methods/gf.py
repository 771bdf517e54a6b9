"""GF: fusion with weights smoothed by a guided filter.

S. Li, X. Kang, J. Hu, "Image Fusion with Guided Filtering", IEEE Trans. Image Processing 22(7), 2013,
doi:10.1109/TIP.2013.2244222; the guided filter itself is K. He, J. Sun, X. Tang, "Guided Image Filtering",
IEEE TPAMI 35(6), 2013, doi:10.1109/TPAMI.2012.213 (equations 5, 6 and 8).

Every image is split into a base (31x31 mean) and a detail layer. A pixel first belongs to the image of the
largest saliency (blurred magnitude of the Laplacian; the first image where they are equal). A guided filter,
whose guide is the image itself, turns that into weights: smooth ones for the base (r1, eps1), and ones that
follow edges for the detail (r2, eps2). Saliency and guide are gray in 0..1, and one pair of weights serves
all channels. Any number of images is fused at once.

r1, eps1, r2, eps2: radius and regularisation of the two filters; the defaults are the authors'.
quantise: round weights to steps of 1/255, as the authors' code does; the paper does not mention it.
Readings where the paper is silent: filters other than the guided one repeat the edge samples; the guided
filter's windows end at the border and are divided by the pixels they hold.
"""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable, gray
from two_stream_fusion.methods.coefficients import fuse_planes, to_levels

BASE = (31, 31)  # window of the mean that is the base layer
_TINY = 1e-12  # against division by zero, where all weights are zero


def apply(images: Sequence[np.ndarray], decision: dict[str, np.ndarray]) -> np.ndarray:
    """Sum the layers of images by the weights that `decide` gave them.

    Args:
        images: two or more, as for `decide`.
        decision: what `decide` returned for them.

    Returns:
        The fused image, in the shape and dtype of the images.
    """

    def fuse_plane(*planes):
        fused = np.zeros(planes[0].shape)
        for i, plane in enumerate(planes, 1):
            base = cv2.blur(plane, BASE, borderType=cv2.BORDER_REPLICATE)
            fused += decision[f"base_{i}"] * base
            fused += decision[f"detail_{i}"] * (plane - base)
        return fused

    return fuse_planes(fuse_plane, *images)


def decide(
    *images: np.ndarray,
    r1: int = 45,
    eps1: float = 0.3,
    r2: int = 7,
    eps2: float = 1e-6,
    quantise: bool = True,
) -> dict[str, np.ndarray]:
    """Compute the weights of images in the fused image.

    Args:
        images: two or more, H x W or H x W x 3 (RGB), uint8 or uint16, of one shape and dtype.
        r1, eps1: radius in pixels and regularisation of the filter of the base weights.
        r2, eps2: the same of the detail weights.
        quantise: whether to round weights to steps of 1/255.

    Returns:
        "base_1", "base_2", ... and "detail_1", ..., in the order of the images, each H x W float64 in 0..1.
        At each pixel the base weights sum to 1, and so do the detail weights.

    Raises:
        ValueError: the images cannot be fused, or an option is out of range.
    """
    check_fusable(*images)
    for name, radius, eps in (("1", r1, eps1), ("2", r2, eps2)):
        if radius < 1 or radius != int(radius):
            raise ValueError(f"r{name}={radius}: the radius of a guided filter is a whole number from 1")
        if not eps > 0:
            raise ValueError(f"eps{name}={eps}: the regularisation of a guided filter is above 0")
    grays = (image if image.ndim == 2 else to_levels(gray(image), image) for image in images)
    guides = [image / np.iinfo(image.dtype).max for image in grays]
    highest, winner = _saliency(guides[0]), np.zeros(guides[0].shape, np.uint16)
    for i, guide in enumerate(guides[1:], 1):
        saliency = _saliency(guide)
        np.copyto(winner, i, where=saliency > highest)
        np.maximum(highest, saliency, out=highest)
    weights: dict[str, np.ndarray] = {}
    for layer, radius, eps in (("base", int(r1), eps1), ("detail", int(r2), eps2)):
        smooth = [
            guided_filter(guide, (winner == i).astype(np.float64), radius, eps)
            for i, guide in enumerate(guides)
        ]
        for weight in smooth:
            np.clip(weight, 0, 1, out=weight)
            if quantise:  # in steps of 1 here; the division by the sum brings them to 0..1
                weight *= 255
                weight += 0.5
                np.floor(weight, out=weight)
            weight += _TINY
        total = sum(smooth)
        for weight in smooth:
            weight /= total
        weights.update((f"{layer}_{i}", weight) for i, weight in enumerate(smooth, 1))
    return weights


def guided_filter(guide: np.ndarray, values: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Smooth values, but keep the edges of a guide (He et al., equations 5, 6 and 8).

    Args:
        guide: H x W float64 in 0..1.
        values: H x W float64.
        radius: in pixels. Windows have 2 radius + 1 pixels a side and end at the border.
        eps: the variance of the guide below which a window counts as flat.

    Returns:
        H x W float64.
    """
    radius = min(radius, max(guide.shape))  # a window that covers the image
    rows, columns = (_window_lengths(n, radius) for n in guide.shape)
    pixels = rows[:, None] * columns
    side = (2 * radius + 1,) * 2

    def total(x):
        return cv2.boxFilter(x, cv2.CV_64F, side, normalize=False, borderType=cv2.BORDER_CONSTANT)

    # Sums in place of means wherever possible: each division is a pass over the image.
    sum_guide, sum_values = total(guide), total(values)
    mean_guide = sum_guide / pixels
    slope = total(guide * values)
    slope -= mean_guide * sum_values
    variance = total(guide * guide)
    variance -= mean_guide * sum_guide
    variance += eps * pixels
    slope /= variance
    mean_guide *= slope
    intercept = sum_values / pixels
    intercept -= mean_guide
    smooth = total(slope)
    smooth *= guide
    smooth += total(intercept)
    smooth /= pixels
    return smooth


def _window_lengths(length, radius):
    """How many samples of 0..length - 1 lie within `radius` of each."""
    at = np.arange(length)
    return (np.minimum(at + radius, length - 1) - np.maximum(at - radius, 0) + 1).astype(np.float64)


def _saliency(guide):
    edges = np.abs(cv2.Laplacian(guide, cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REPLICATE))
    return cv2.GaussianBlur(edges, (11, 11), 5, borderType=cv2.BORDER_REPLICATE)
