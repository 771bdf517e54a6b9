"""GF: fusion with weights smoothed by a guided filter.

S. Li, X. Kang, J. Hu, "Image Fusion with Guided Filtering", IEEE Trans. Image Processing 22(7), 2013,
doi:10.1109/TIP.2013.2244222; the guided filter itself is K. He, J. Sun, X. Tang, "Guided Image Filtering",
IEEE TPAMI 35(6), 2013, doi:10.1109/TPAMI.2012.213 (equations 5, 6 and 8).

Every image is split into a base (31x31 mean) and a detail layer. A pixel first belongs to the image of the
largest saliency (blurred magnitude of the Laplacian; the first image where they are equal); a guided filter,
led by the image itself, turns that into weights, smooth ones for the base (r1, eps1) and ones that follow
edges for the detail (r2, eps2). Saliency and guide are gray in 0..1, and one pair of weights serves all
channels. Any number of images is fused at once.

r1, eps1, r2, eps2: radius and regularisation of the two filters; the defaults are the authors'.
quantise: round weights to steps of 1/255, as the authors' code does without the paper saying so.
Readings where the paper is silent: filters other than the guided one repeat the edge samples; the guided
filter's windows end at the border and are divided by the pixels they hold.
"""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.methods.common import by_channel, check, gray, rounded

BASE = (31, 31)  # window of the mean that is the base layer
_TINY = 1e-12  # keeps the sum of the weights from zero


def fuse(a, b, *more, r1=45, eps1=0.3, r2=7, eps2=1e-6, quantise=True) -> np.ndarray:
    """Fuse two or more images, H x W or H x W x 3, uint8 or uint16, alike; the result is of their kind.

    ValueError where the images cannot be fused or an option is out of range.
    """
    images = (a, b, *more)
    return apply(images, decide(*images, r1=r1, eps1=eps1, r2=r2, eps2=eps2, quantise=quantise))


def apply(images, decided) -> np.ndarray:
    """Images put together as `decide` says of them."""

    def fuse_planes(*planes):
        fused = np.zeros(planes[0].shape)
        for i, plane in enumerate(planes, 1):
            base = cv2.blur(plane, BASE, borderType=cv2.BORDER_REPLICATE)
            fused += decided[f"base_{i}"] * base
            fused += decided[f"detail_{i}"] * (plane - base)
        return fused

    return by_channel(fuse_planes, *images)


def decide(*images, r1=45, eps1=0.3, r2=7, eps2=1e-6, quantise=True):
    """The weights that `fuse` gives the images, in their order: "base_1", "base_2", ..., "detail_1", ...

    Each is H x W float64 in 0..1; at each pixel those of the bases sum to 1, and those of the details.
    Options and errors as `fuse`.
    """
    check(*images)
    for name, radius, eps in (("1", r1, eps1), ("2", r2, eps2)):
        if radius < 1 or radius != int(radius):
            raise ValueError(f"r{name}={radius}: the radius of a guided filter is a whole number from 1")
        if not eps > 0:
            raise ValueError(f"eps{name}={eps}: the regularisation of a guided filter is above 0")
    grays = (image if image.ndim == 2 else rounded(gray(image), image) for image in images)
    guides = [image / np.iinfo(image.dtype).max for image in grays]
    most, winner = _saliency(guides[0]), np.zeros(guides[0].shape, np.uint16)
    for i, guide in enumerate(guides[1:], 1):
        saliency = _saliency(guide)
        np.copyto(winner, i, where=saliency > most)
        np.maximum(most, saliency, out=most)
    decided = {}
    for layer, radius, eps in (("base", int(r1), eps1), ("detail", int(r2), eps2)):
        smooth = [
            guided_filter(guide, (winner == i).astype(np.float64), radius, eps)
            for i, guide in enumerate(guides)
        ]
        for weight in smooth:
            np.clip(weight, 0, 1, out=weight)
            if quantise:  # and left in steps of 1: the division by the sum takes them out
                weight *= 255
                weight += 0.5
                np.floor(weight, out=weight)
            weight += _TINY
        total = sum(smooth)
        for weight in smooth:
            weight /= total
        decided.update((f"{layer}_{i}", weight) for i, weight in enumerate(smooth, 1))
    return decided


def guided_filter(guide, values, radius, eps) -> np.ndarray:
    """H x W float64 `values`, smoothed but for the edges of `guide` (H x W float64 in 0..1).

    Windows are 2 radius + 1 a side, cut at the border; eps is the variance of the guide below which
    a window is flat.
    """
    radius = min(radius, max(guide.shape))  # a window that holds all
    rows, columns = (_window_lengths(n, radius) for n in guide.shape)
    pixels = rows[:, None] * columns
    side = (2 * radius + 1,) * 2

    def total(x):
        return cv2.boxFilter(x, cv2.CV_64F, side, normalize=False, borderType=cv2.BORDER_CONSTANT)

    # Sums over windows rather than means, where either will do: every pass over an image takes its time.
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
