"""CNN: a classifier of patches decides which photograph is in focus.

Y. Liu, X. Chen, H. Peng, Z. Wang, "Multi-focus image fusion with a deep convolutional neural network",
Information Fusion 36, 2017, doi:10.1016/j.inffus.2016.12.001.

prototxt/cnn is trained on pairs of a sharp and a blurred patch of 16x16 (data_prep/make_cnn_database.py). For
the patch that begins in every second row and column it gives the probability that a, not b, is in focus. The
focus map is the mean over the patches that cover a pixel. Above 0.5 the pixel belongs to a. Regions under a
share `area` of the image are removed. A guided filter (gf.py) then smooths the decision along the edges of
the image that it selects, and the photographs are mixed by it. The map is computed from gray and serves all
channels.

The net is the authors' light form: their two fully connected layers, with nothing in between, are one.
"""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable, gray, small_regions
from two_stream_fusion.methods import models
from two_stream_fusion.methods.coefficients import fuse_planes
from two_stream_fusion.methods.gf import guided_filter

PATCH = 16  # pixels a side
TILE = 512  # pixels a side of the part that is classified at once, for memory alone
MARGIN = 4  # pixels around a patch that change its score inside an image: 2 rows after pooling


def apply(images: Sequence[np.ndarray], decision: dict[str, np.ndarray]) -> np.ndarray:
    """Mix two images by the weight that `decide` gave them.

    Args:
        images: the two images, as for `decide`.
        decision: what `decide` returned for them.

    Returns:
        The fused image, in the shape and dtype of the images.
    """
    weight = decision["weight"]
    return fuse_planes(lambda a, b: weight * a + (1 - weight) * b, *images)


def decide(
    a: np.ndarray,
    b: np.ndarray,
    *,
    area: float = 0.01,
    radius: int = 8,
    eps: float = 0.1,
    model: str = "cnn",
) -> dict[str, np.ndarray]:
    """Decide where each of two images is in focus.

    Args:
        a, b: H x W or H x W x 3 (RGB), uint8 or uint16, of one shape and dtype, 2 pixels a side or more.
        area: regions of the decision under this share of the image, 0 to below 0.5, are removed.
        radius, eps: radius in pixels and regularisation of the guided filter.
        model: a model of models/.

    Returns:
        Three maps, H x W in 0..1, 1 where `a` is in focus. "focus", float64: the mean score. "decision",
        uint8: the score above 0.5, without small regions. "weight", float64: the decision, smoothed.

    Raises:
        ValueError: the images cannot be fused, an option is out of range, or there is no such model.
    """
    check_fusable(a, b)
    if not 0 <= area < 0.5:
        raise ValueError(f"area={area}: a share of the image from 0 to below 0.5")
    if radius < 1 or radius != int(radius) or not eps > 0:
        raise ValueError(f"radius={radius}, eps={eps}: a whole number from 1, and above 0")
    planes = [gray(image) / 255 for image in (a, b)]
    focus = mean_scores(scores(*planes, model=model), planes[0].shape)
    decision = flip_small_regions(focus > 0.5, np.ceil(area * focus.size)).astype(np.uint8)
    guide = np.where(decision, *planes)
    weight = np.clip(guided_filter(guide, decision.astype(np.float64), int(radius), eps), 0, 1)
    return {"focus": focus, "decision": decision, "weight": weight}


def scores(a: np.ndarray, b: np.ndarray, *, model: str = "cnn", tile: int = TILE) -> np.ndarray:
    """Classify all patches of two images.

    Args:
        a, b: H x W, gray in 0..1. Images smaller than a patch are mirrored up to its size.
        model: a model of models/.
        tile: pixels a side of the part that is classified at once. The result does not depend on it.

    Returns:
        rows x columns float32 in 0..1: the probability that the patch which begins at pixel (2 row, 2 column)
        is in focus in `a` rather than in `b`.

    Raises:
        ValueError: there is no such model, or it is of another method.
    """
    extended = [np.pad(x, [(0, max(0, PATCH - n)) for n in x.shape], mode="reflect") for x in (a, b)]
    size = extended[0].shape
    net = models.open_net(*models.model_files(model, "cnn"))
    result = np.empty([(n + 1) // 2 - PATCH // 2 + 1 for n in size], np.float32)
    step = tile // 2
    for y in range(0, result.shape[0], step):
        for x in range(0, result.shape[1], step):
            inner = result[y : y + step, x : x + step]
            # The rows and columns of these patches, and the margin that their scores depend on.
            starts = [max(0, 2 * first - MARGIN) for first in (y, x)]
            ends = [
                min(n, 2 * (first + count - 1) + PATCH + MARGIN)
                for n, first, count in zip(size, (y, x), inner.shape)
            ]
            for name, plane in zip("ab", extended):
                part = plane[starts[0] : ends[0], starts[1] : ends[1]]
                net.blobs[name].reshape(1, 1, *part.shape)
                net.blobs[name].data[...] = part
            net.reshape()
            in_focus = net.forward()["prob"][0, 1]
            top, left = y - starts[0] // 2, x - starts[1] // 2
            inner[...] = in_focus[top : top + inner.shape[0], left : left + inner.shape[1]]
    return result


def mean_scores(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Average, at each pixel, the scores of the patches that cover it.

    Args:
        values: rows x columns, as `scores` gives them.
        size: (H, W) of the image.

    Returns:
        H x W float64 in 0..1.
    """
    total, count = (np.zeros([max(PATCH, n) for n in size]) for _ in range(2))
    rows, columns = values.shape
    total[: 2 * rows : 2, : 2 * columns : 2] = values
    count[: 2 * rows : 2, : 2 * columns : 2] = 1
    sums = [
        cv2.boxFilter(
            x,
            -1,
            (PATCH, PATCH),
            anchor=(PATCH - 1, PATCH - 1),
            normalize=False,
            borderType=cv2.BORDER_CONSTANT,
        )
        for x in (total, count)
    ]
    # Running sums round: a mean of ones may lie a little over one.
    return np.clip(sums[0] / sums[1], 0, 1)[: size[0], : size[1]]


def flip_small_regions(decision: np.ndarray, min_pixels: float) -> np.ndarray:
    """Remove the small regions of true from a decision, then fill those of false.

    Args:
        decision: H x W bool. Regions are 8-connected.
        min_pixels: regions with fewer pixels are flipped.

    Returns:
        H x W bool.
    """
    decision = decision & ~small_regions(decision, min_pixels)
    return decision | small_regions(~decision, min_pixels)
